"""Detectors of ``transformers`` as MMDetection detectors, for re-scoring."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from PIL import Image
from torch import Tensor

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.fgclip2.seen_picture import seen_picture
from fgclip2_det.models.detectors.open_vocab_mixin import as_vocabulary
from fgclip2_det.models.detectors.readable_names import (
    readable_names,
    warn_of_other_scripts,
)
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.synonyms import match_names

# (n, 4) xyxy in pixels, (n,) scores, (n,) labels
Found = tuple[Tensor, Tensor, Tensor]


def query_labels(detector, image: Image.Image, names: list[str]) -> Found:
    """OWL-ViT, OWLv2: every query has one name, its best."""
    inputs = detector.process(images=image, text=[names])
    outputs = detector.model(**inputs)
    (found,) = detector.processor.post_process_grounded_object_detection(
        outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
    )
    return found['boxes'], found['scores'], found['labels']


def token_scores(detector, image: Image.Image, names: list[str]) -> Found:
    """Grounding DINO, MM-GDINO, LLMDet: every query has a score for every name, the
    mean of its tokens' sigmoids, as MMDetection computes it.

    ``post_process_grounded_object_detection`` would instead glue the tokens above a
    threshold into phrases, which need not be names.
    """
    names = [_caption_name(name) for name in names]
    caption = '. '.join(names) + '.'
    spans = detector.processor.tokenizer(caption, return_offsets_mapping=True)
    starts, start = [], 0
    for name in names:
        starts.append((start, start + len(name)))
        start += len(name) + 2
    is_of = torch.tensor(
        [[a < b and lo <= a and b <= hi for a, b in spans['offset_mapping']]
         for lo, hi in starts], dtype=torch.float32)  # fmt: skip
    limit = detector.model.config.max_text_len
    if is_of.shape[1] > limit or not is_of.any(1).all():
        raise ValueError(
            f'{len(names)} names make {is_of.shape[1]} tokens, at most {limit} fit; '
            'set a smaller chunk_size'
        )
    outputs = detector.model(**detector.process(images=image, text=caption))
    tokens = outputs.logits[0, :, : is_of.shape[1]].float().sigmoid()
    is_of = is_of.to(tokens.device)
    scores = tokens @ (is_of / is_of.sum(1, keepdim=True)).T  # (queries, names)
    count = min(detector.max_per_image or scores.numel(), scores.numel())
    best, cells = scores.flatten().topk(count)
    best, cells = best[best > detector.score_thr], cells[best > detector.score_thr]
    boxes = _to_xyxy(outputs.pred_boxes[0].float(), image)
    return boxes[cells // len(names)], best, cells % len(names)


def closed_set(detector, image: Image.Image, names: list[str]) -> Found:
    """DETR and its kin: labels of their own, by their names."""
    own = {name: int(label) for label, name in detector.model.config.id2label.items()}
    label_of = {own[name]: i for i, name in enumerate(names) if name in own}
    outputs = detector.model(**detector.process(images=image))
    (found,) = detector.processor.post_process_object_detection(
        outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
    )
    known = [i for i, label in enumerate(found['labels'].tolist()) if label in label_of]
    labels = [label_of[label] for label in found['labels'][known].tolist()]
    labels = torch.tensor(labels, dtype=torch.long)
    return found['boxes'][known], found['scores'][known], labels


def one_name_at_a_time(detector, image: Image.Image, names: list[str]) -> Found:
    """SAM 3: the picture once, then one pass of the rest for every name."""
    pixels = detector.process(images=image)['pixel_values']
    seen, parts = detector.model.get_vision_features(pixels), []
    for label, name in enumerate(names):
        text = detector.process(text=name)
        outputs = detector.model(
            vision_embeds=seen,
            input_ids=text['input_ids'],
            attention_mask=text['attention_mask'],
        )
        (found,) = detector.processor.post_process_object_detection(
            outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
        )
        labels = torch.full((len(found['scores']),), label)
        parts.append((found['boxes'], found['scores'], labels))
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return boxes, scores, labels


# model_type of config.json -> (class of transformers, how it is asked)
ADAPTERS: dict[str, tuple[str, Callable[..., Found]]] = {
    'owlvit': ('AutoModelForZeroShotObjectDetection', query_labels),
    'owlv2': ('AutoModelForZeroShotObjectDetection', query_labels),
    'grounding-dino': ('AutoModelForZeroShotObjectDetection', token_scores),
    'mm-grounding-dino': ('AutoModelForZeroShotObjectDetection', token_scores),
    'detr': ('AutoModelForObjectDetection', closed_set),
    'conditional_detr': ('AutoModelForObjectDetection', closed_set),
    'deformable_detr': ('AutoModelForObjectDetection', closed_set),
    'rt_detr': ('AutoModelForObjectDetection', closed_set),
    'sam3': ('Sam3Model', one_name_at_a_time),
}


@MODELS.register_module()
class HuggingFaceDetector(BaseDetector):
    """A detector of ``transformers``, asked for the names of a vocabulary.

    It reads pictures from ``img_path`` and prepares them itself; the pipeline's own
    image is not used, but decides how the picture lies (:func:`seen_picture`). Another
    model needs one function ``(detector, PIL image, names) -> (boxes (n, 4) xyxy in
    pixels, scores (n,), labels (n,))`` in ``ADAPTERS`` under the ``model_type`` of its
    config.json.

    Args:
        pretrained: folder or hub id; weights are read from safetensors only.
        chunk_size: names a pass; None for all at once. LLMDet's LVIS results ask for
            40 at a time.
        score_thr: results at or below it are left out.
        max_per_image: best results of a pass; None for all.
        vocabulary: options of ``Vocabulary``; None leaves it to the data set.

    Raises:
        ValueError: for a model that has no adapter.
        ImportError: without ``transformers``.

    Example:
        >>> detector = HuggingFaceDetector('google/owlv2-base-patch16-ensemble')
        >>> detector.set_vocabulary(['cat', 'remote'])
        >>> boxes, scores, labels = detector.detect('cats.jpg')
    """

    def __init__(
        self,
        pretrained: str,
        chunk_size: int | None = None,
        score_thr: float = 0.0,
        max_per_image: int | None = 300,
        vocabulary: dict | None = None,
    ) -> None:
        super().__init__()
        try:
            import transformers
        except ImportError as error:
            raise ImportError(
                'detectors of Hugging Face need transformers: pip install -e .[test]'
            ) from error
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f'chunk_size must be at least 1 or None, got {chunk_size}')
        kind = transformers.AutoConfig.from_pretrained(pretrained).model_type
        if kind not in ADAPTERS:
            raise ValueError(
                f'{pretrained} is a {kind!r}, but there are adapters for '
                f'{sorted(ADAPTERS)}; see ADAPTERS in {__name__}'
            )
        class_name, self._ask = ADAPTERS[kind]
        build = getattr(transformers, class_name).from_pretrained
        self.model = build(pretrained, use_safetensors=True).eval()
        closed = self._ask is closed_set
        auto = transformers.AutoImageProcessor if closed else transformers.AutoProcessor
        self.processor = auto.from_pretrained(pretrained)
        self.chunk_size, self.score_thr = chunk_size, score_thr
        self.max_per_image = max_per_image
        self.templates: str = 'raw'
        self.trained_classes: Sequence[str] = ()
        self.vocabulary: Vocabulary | None = None
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**vocabulary))
        self.configured_vocabulary = self.vocabulary

    def set_vocabulary(self, names: Vocabulary | Sequence[str] | str) -> Vocabulary:
        """Change the names to look for; labels index them.

        A class is asked for by the first of its aliases that the model can read; one
        with classes of its own by their names for it, see :mod:`.synonyms`. Classes
        that such a model lacks are a warning.

        Raises:
            ValueError: names that the model cannot read, or of which it has none.
        """
        vocabulary = as_vocabulary(names, self.templates, self.trained_classes)
        self._names = self._names_to_ask(vocabulary.aliases)
        self.vocabulary = vocabulary
        self.dataset_meta = dict(classes=tuple(self.vocabulary.names))
        return self.vocabulary

    def _names_to_ask(self, aliases: Sequence[Sequence[str]]) -> list[str]:
        aliases = [[spoken(name) for name in names] for names in aliases]
        if self._ask is closed_set:
            return _own_names(self.model.config.id2label, aliases)
        reader, config = type(self.model).__name__, self.model.config
        prepare, limit = _caption_name, getattr(config, 'max_text_len', None)
        if self._ask is not token_scores:  # CLIP's text towers
            prepare, limit = str, config.text_config.max_position_embeddings
        tokenizer = self.processor.tokenizer
        names = readable_names(aliases, tokenizer, limit, prepare, reader)
        if self._ask is not token_scores:
            warn_of_other_scripts(names, reader)
        return names

    @torch.no_grad()
    def detect(self, image) -> Found:
        """Boxes (n, 4) xyxy in pixels, scores (n,) and labels (n,) of one image.

        Args:
            image: what ``fgclip2_det.fgclip2.load_image`` takes.

        Raises:
            ValueError: without a vocabulary, or more names than the model takes.
        """
        if self.vocabulary is None:
            raise ValueError(
                "the detector has no vocabulary; call set_vocabulary(['cat', 'dog'])"
            )
        image = load_image(image).convert('RGB')
        names = self._names
        chunk = self.chunk_size or len(names)
        if self._ask is closed_set:
            chunk = len(names)
        parts = []
        for start in range(0, len(names), chunk):
            found = self._ask(self, image, names[start : start + chunk])
            boxes, scores, labels = (value.detach().cpu() for value in found)
            best = scores.argsort(descending=True)[: self.max_per_image]
            parts.append((boxes[best], scores[best], labels[best] + start))
        boxes, scores, labels = (torch.cat(p) for p in zip(*parts, strict=True))
        return boxes, scores, labels

    def process(self, **inputs) -> dict:
        """The processor's tensors, on the model's device."""
        device = next(self.model.parameters()).device
        batch = self.processor(**inputs, return_tensors='pt')
        return {name: value.to(device) for name, value in batch.items()}

    def predict(
        self, batch_inputs, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Detections of the pictures that the data samples name."""
        device = next(self.model.parameters()).device
        for i, sample in enumerate(batch_data_samples):
            inputs = None if batch_inputs is None else batch_inputs[i]
            boxes, scores, labels = self.detect(seen_picture(sample.metainfo, inputs))
            sample.pred_instances = InstanceData(
                bboxes=boxes.to(device), scores=scores.to(device),
                labels=labels.to(device),
            )  # fmt: skip
        return batch_data_samples

    def loss(self, batch_inputs, batch_data_samples: SampleList) -> dict:
        """Raises ``NotImplementedError``: train it with ``transformers``."""
        raise NotImplementedError('train this detector with transformers')

    def _forward(self, batch_inputs, batch_data_samples=None):
        raise NotImplementedError('use predict')

    def extract_feat(self, batch_inputs):
        """Raises ``NotImplementedError``."""
        raise NotImplementedError('use predict')


def _caption_name(name: str) -> str:
    """A name within 'a cat. a dog.', where full stops separate."""
    return ' '.join(name.lower().replace('.', ' ').split())


def _own_names(
    id2label: Mapping[int, str], aliases: Sequence[Sequence[str]]
) -> list[str]:
    """The model's name of each class; of those that it lacks, an empty one."""
    own = list(id2label.values())
    found = match_names(aliases, own)
    missing = [n[0] for n, name in zip(aliases, found, strict=True) if name is None]
    if len(missing) == len(aliases):
        raise ValueError(
            f'none of the names ({aliases[0][0]!r}, ...) is a class of the detector '
            f'({own[0]!r}, ...); it finds its own classes only'
        )
    if missing:
        warnings.warn(
            f'the detector has no class for {len(missing)} of {len(aliases)} names, '
            f'which it will not find: {", ".join(map(repr, missing))}; give the '
            "detector's word as an alias if it has one",
            stacklevel=4,
        )
    return [name or '' for name in found]


def _to_xyxy(boxes: Tensor, image: Image.Image) -> Tensor:
    """(n, 4) centre, size in parts of the image -> xyxy in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = boxes.new_tensor([*image.size, *image.size])
    return torch.cat([centre - half, centre + half], 1) * scale
