"""Detectors of ``transformers`` as MMDetection detectors, for re-scoring."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.fgclip2.detector_image import detector_image
from fgclip2_det.models.detectors.huggingface_outputs import (
    ADAPTERS,
    Adapter,
    BoxesScoresLabels,
    caption_name,
    closed_set,
    named_labels,
    token_scores,
)
from fgclip2_det.models.detectors.open_vocab_mixin import Names, as_vocabulary
from fgclip2_det.models.detectors.readable_names import (
    readable_names,
    warn_of_other_scripts,
)
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.synonyms import match_names


@MODELS.register_module()
class HuggingFaceDetector(BaseDetector):
    """A detector of ``transformers``, prompted with the names of a vocabulary.

    It reads images from ``img_path`` and preprocesses them itself; the pipeline's image
    only determines the orientation (:func:`detector_image`). To support another model,
    add an ``Adapter`` to ``ADAPTERS`` of :mod:`.huggingface_outputs` under the
    ``model_type`` of its config.json.

    Args:
        pretrained: folder or hub id; weights are read from safetensors only.
        chunk_size: names per pass; None for all at once. LLMDet's LVIS results use 40.
        score_thr: results at or below it are left out.
        max_per_image: best results of a pass; None for all.
        vocabulary: options of ``Vocabulary``; None for the data set's classes.

    Raises:
        ValueError: for a model that has no adapter, or that the installed
            ``transformers`` lacks.
        ImportError: without ``transformers``, or without what the model's processor
            needs (torchvision for OmDet-Turbo and SAM 3). For RF-DETR it is a
            ValueError of ``transformers`` that names torchvision.

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
        if max_per_image is not None and max_per_image < 1:
            raise ValueError(
                f'max_per_image must be at least 1 or None, got {max_per_image}'
            )
        kind = _kind(pretrained)
        self.adapter = Adapter(*ADAPTERS[kind])
        self._ask = self.adapter.ask
        build = getattr(transformers, self.adapter.model).from_pretrained
        self.model = build(pretrained, use_safetensors=True).eval()
        self.processor = _processor(pretrained, kind, self.adapter.processor)
        self.chunk_size, self.score_thr = chunk_size, score_thr
        self.max_per_image = max_per_image
        self.templates: str = 'raw'
        self.trained_classes: Sequence[str] = ()
        self.seen: dict[str, Any] = {}  # what is known of the image at hand
        self.vocabulary: Vocabulary | None = None
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**vocabulary))
        self.configured_vocabulary = self.vocabulary

    def set_vocabulary(self, names: Names) -> Vocabulary:
        """Change the names to detect; labels are indices into them.

        A class is prompted by the first of its aliases that the model can tokenize. A
        model with fixed classes uses the matching ones, see :mod:`.synonyms`, and warns
        about classes that it lacks.

        Raises:
            ValueError: for names that the model cannot tokenize, or if a model with
                fixed classes has none of them.
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
        prepare, limit = caption_name, getattr(config, 'max_text_len', None)
        if self._ask is not token_scores:  # CLIP's text towers
            prepare, limit = str, config.text_config.max_position_embeddings
        tokenizer = self.processor.tokenizer
        names = readable_names(aliases, tokenizer, limit, prepare, reader)
        if self._ask is not token_scores:
            warn_of_other_scripts(names, reader)
        return names

    @torch.no_grad()
    def detect(self, image) -> BoxesScoresLabels:
        """Boxes (n, 4) xyxy in pixels, scores (n,) and labels (n,) of one image.

        A box whose right side is left of its left one, or its bottom above its top, is
        left out: D-FINE and Florence-2 can give such.

        Args:
            image: what ``fgclip2_det.fgclip2.load_image`` takes.

        Raises:
            ValueError: without a vocabulary, or for more names than the model accepts.
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
        parts, self.seen = [], {}
        for start in range(0, len(names), chunk):
            detections = self._ask(self, image, names[start : start + chunk])
            boxes, scores, labels = (value.detach().cpu() for value in detections)
            turned = (boxes[:, 2:] < boxes[:, :2]).any(1)
            boxes, scores, labels = (x[~turned] for x in (boxes, scores, labels))
            best = scores.argsort(descending=True, stable=True)[: self.max_per_image]
            parts.append((boxes[best], scores[best], labels[best] + start))
        self.seen = {}
        boxes, scores, labels = (torch.cat(p) for p in zip(*parts, strict=True))
        return boxes, scores, labels

    def process(self, **inputs) -> dict:
        """Outputs of the processor, on the model's device."""
        device = next(self.model.parameters()).device
        batch = self.processor(**inputs, return_tensors='pt')
        return {name: value.to(device) for name, value in batch.items()}

    def predict(
        self, batch_inputs, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Detections of the images at the data samples' ``img_path``."""
        device = next(self.model.parameters()).device
        for i, sample in enumerate(batch_data_samples):
            inputs = None if batch_inputs is None else batch_inputs[i]
            boxes, scores, labels = self.detect(detector_image(sample.metainfo, inputs))
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


def _kind(pretrained: str) -> str:
    """``model_type`` of a checkpoint: one that has an adapter and can be loaded."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    content, _ = transformers.PretrainedConfig.get_config_dict(pretrained)
    kind = content.get('model_type')
    if kind not in ADAPTERS:
        raise ValueError(
            f'{pretrained} is a {kind!r}, but there are adapters for '
            f'{sorted(ADAPTERS)}; see ADAPTERS in {token_scores.__module__}'
        )
    if kind not in CONFIG_MAPPING:
        version = transformers.__version__
        raise ValueError(
            f'{pretrained} is a {kind!r}, which transformers {version} does not have; '
            'install a newer one: pip install -U transformers'
        )
    return kind


def _processor(pretrained: str, kind: str, class_name: str):
    """Its image processor; for a model that reads names, with the tokenizer."""
    import transformers

    try:
        return getattr(transformers, class_name).from_pretrained(pretrained)
    except ImportError as error:
        raise ImportError(
            f'the processor of a {kind!r} needs packages that are missing, torchvision '
            f'for example (pip install torchvision): {error}'
        ) from error


def _own_names(
    id2label: Mapping[int, str], aliases: Sequence[Sequence[str]]
) -> list[str]:
    """The model's own name of each class; '' for classes that it lacks."""
    own = list(named_labels(id2label).values())
    if not own:
        raise ValueError(
            'config.json of the detector names no class; give its id2label the names '
            'of its labels'
        )
    matches = match_names(aliases, own)
    missing = [n[0] for n, name in zip(aliases, matches, strict=True) if name is None]
    if len(missing) == len(aliases):
        raise ValueError(
            f'none of the names ({aliases[0][0]!r}, ...) is a class of the detector '
            f'({own[0]!r}, ...); it only detects its own classes'
        )
    if missing:
        warnings.warn(
            f'the detector has no class for {len(missing)} of {len(aliases)} names, '
            f'which it cannot detect: {", ".join(map(repr, missing))}; give the '
            "detector's own name as an alias if it has one",
            stacklevel=4,
        )
    return [name or '' for name in matches]
