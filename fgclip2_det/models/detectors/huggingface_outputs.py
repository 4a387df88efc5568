"""Prompting of each type of ``transformers`` detector, and decoding of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from mmdet.models.detectors.glip import clean_label_name
from PIL import Image
from torch import Tensor

from fgclip2_det.coco.names import normalize_name

# (n, 4) xyxy in pixels, (n,) scores, (n,) labels
BoxesScoresLabels = tuple[Tensor, Tensor, Tensor]


def query_labels(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """OWL-ViT, OWLv2: every query is assigned its best name. OmDet-Turbo: as many
    queries and names with the best scores as there are queries, without duplicates.
    """
    inputs = detector.process(images=image, text=[names])
    outputs = detector.model(**inputs)
    (result,) = detector.processor.post_process_grounded_object_detection(
        outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
    )
    return result['boxes'], result['scores'], result['labels']


def token_scores(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """Grounding DINO, MM-GDINO, LLMDet: every query has a score for every name, the
    mean of its tokens' sigmoids, as MMDetection computes it.

    ``post_process_grounded_object_detection`` instead joins the tokens above a
    threshold into phrases, which need not be names. Names that are equal in the caption
    are there as often as they are asked, each with scores of its own.
    """
    names = _caption_names(names)
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
            f'{len(names)} names have {is_of.shape[1]} tokens, at most {limit} are '
            'possible; set a smaller chunk_size'
        )
    if not detector.seen:  # once for all chunks of names
        detector.seen = detector.process(images=image)
    outputs = detector.model(**detector.seen, **detector.process(text=caption))
    tokens = outputs.logits[0, :, : is_of.shape[1]].float().sigmoid()
    is_of = is_of.to(tokens.device)
    scores = tokens @ (is_of / is_of.sum(1, keepdim=True)).T  # (queries, names)
    count = min(detector.max_per_image or scores.numel(), scores.numel())
    best, cells = scores.flatten().topk(count)
    best, cells = best[best > detector.score_thr], cells[best > detector.score_thr]
    boxes = _to_xyxy(outputs.pred_boxes[0].float(), image)
    return boxes[cells // len(names)], best, cells % len(names)


def named_labels(id2label: Mapping[int, str]) -> dict[int, str]:
    """The labels of a model with fixed classes that have a name.

    COCO's ids of 1 to 90 leave out ten. Checkpoints call these labels 'N/A', or leave
    them out of ``id2label``; either way nothing is reported for them.
    """
    return {
        int(label): name
        for label, name in id2label.items()
        if normalize_name(name).strip() not in ('', 'n/a')
    }


def closed_set(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """DETR and other closed-set detectors: their fixed classes, matched by name."""
    own = named_labels(detector.model.config.id2label)
    positions = {name: i for i, name in enumerate(names) if name}
    label_of = {
        label: positions[name] for label, name in own.items() if name in positions
    }
    outputs = detector.model(**detector.process(images=image))
    options = {}
    if detector.adapter.top_k:  # it keeps 100 unless told otherwise
        count = outputs.logits[0].numel()
        options['top_k'] = min(detector.max_per_image or count, count)
    (result,) = detector.processor.post_process_object_detection(
        outputs,
        threshold=detector.score_thr,
        target_sizes=[image.size[::-1]],
        **options,
    )
    known = [
        i for i, label in enumerate(result['labels'].tolist()) if label in label_of
    ]
    labels = [label_of[label] for label in result['labels'][known].tolist()]
    labels = torch.tensor(labels, dtype=torch.long)
    return result['boxes'][known], result['scores'][known], labels


def one_name_at_a_time(
    detector, image: Image.Image, names: list[str]
) -> BoxesScoresLabels:
    """SAM 3 and its Lite-Text: the image encoder runs once, the rest once per name."""
    if not detector.seen:  # once for all chunks of names
        pixels = detector.process(images=image)['pixel_values']
        features = detector.model.get_vision_features(pixels)
        detector.seen = {'vision_embeds': features}
    parts = []
    for label, name in enumerate(names):
        text = detector.process(text=name)
        outputs = detector.model(
            **detector.seen,
            input_ids=text['input_ids'],
            attention_mask=text['attention_mask'],
        )
        (result,) = detector.processor.post_process_object_detection(
            outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
        )
        labels = torch.full((len(result['scores']),), label)
        parts.append((result['boxes'], result['scores'], labels))
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return boxes, scores, labels


_FLORENCE_TASK = '<OPEN_VOCABULARY_DETECTION>'


def written_boxes(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """Florence-2: the image encoder runs once, the boxes of each name are written.

    Its answer has no scores: each box has 1, so that the encoder alone ranks them. An
    answer of polygons counts as the boxes around them.
    """
    model, processor = detector.model, detector.processor
    seen, parts, labels = None, [], []
    for label, name in enumerate(names):
        inputs = detector.process(images=image, text=_FLORENCE_TASK + name)
        pixels = inputs.pop('pixel_values')
        seen = model.get_image_features(pixels) if seen is None else seen
        written = model.generate(
            **inputs,
            mm_encoder_outputs={'image': seen},
            max_length=model.config.text_config.max_position_embeddings,
        )
        (text,) = processor.batch_decode(written, skip_special_tokens=False)
        answer = processor.post_process_generation(
            text, task=_FLORENCE_TASK, image_size=image.size
        )[_FLORENCE_TASK]
        parts += answer['bboxes']
        parts += [_around(shape) for shape in answer['polygons'] if any(shape)]
        labels += [label] * (len(parts) - len(labels))
    boxes = torch.tensor(parts, dtype=torch.float32).reshape(-1, 4)
    return boxes, torch.ones(len(boxes)), torch.tensor(labels, dtype=torch.long)


class Adapter(NamedTuple):
    """How the detectors of one ``model_type`` are loaded and asked.

    Attributes:
        model, processor: classes of ``transformers``; the processor of a closed set is
            ``'AutoImageProcessor'``.
        ask: ``(detector, PIL image, names) -> (boxes (n, 4) xyxy in pixels, scores
            (n,), labels (n,))``.
        top_k: whether the number of boxes that its post-processing keeps is
            ``max_per_image``, where it would keep 100 by itself.
    """

    model: str
    ask: Callable[..., BoxesScoresLabels]
    processor: str = 'AutoProcessor'
    top_k: bool = False


# model_type of config.json -> Adapter
ADAPTERS: dict[str, Adapter] = {
    **dict.fromkeys(
        ('owlvit', 'owlv2', 'omdet-turbo'),
        Adapter('AutoModelForZeroShotObjectDetection', query_labels),
    ),
    **dict.fromkeys(
        ('grounding-dino', 'mm-grounding-dino'),
        Adapter('AutoModelForZeroShotObjectDetection', token_scores),
    ),
    **dict.fromkeys(
        ('detr', 'conditional_detr', 'deformable_detr', 'yolos',
         'rt_detr', 'rt_detr_v2', 'd_fine', 'deimv2', 'rf_detr'),
        Adapter('AutoModelForObjectDetection', closed_set, 'AutoImageProcessor'),
    ),
    **dict.fromkeys(
        ('dab-detr', 'lw_detr'),
        Adapter('AutoModelForObjectDetection', closed_set, 'AutoImageProcessor', True),
    ),
    # a checkpoint of the video model, of which the detector is a part
    'sam3_video': Adapter('Sam3Model', one_name_at_a_time, 'Sam3Processor'),
    'sam3': Adapter('Sam3Model', one_name_at_a_time),
    'sam3_lite_text': Adapter('Sam3LiteTextModel', one_name_at_a_time),
    'florence2': Adapter('Florence2ForConditionalGeneration', written_boxes),
}  # fmt: skip


def caption_name(name: str) -> str:
    """A name for a caption such as 'cat. dog.', in which full stops separate names.

    What stands in parentheses is left out, as MMDetection does in the evaluations of
    Grounding DINO, MM-GDINO and LLMDet: LVIS's 'bow_(weapon)' is asked as 'bow'.
    """
    return ' '.join(clean_label_name(name).lower().replace('.', ' ').split())


def _caption_names(names: list[str]) -> list[str]:
    """ValueError for a name of which a caption would have nothing."""
    asked = [caption_name(name) for name in names]
    if '' in asked:
        raise ValueError(
            f'nothing of the name {names[asked.index("")]!r} is in the caption, which '
            'leaves out full stops and what stands in parentheses; change the name'
        )
    return asked


def _to_xyxy(boxes: Tensor, image: Image.Image) -> Tensor:
    """(n, 4) centre and size relative to the image -> xyxy in pixels, clipped to the
    image as by MMDetection's ``GroundingDINOHead``."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    corners = torch.cat([centre - half, centre + half], 1)
    return corners.clamp(0, 1) * boxes.new_tensor([*image.size, *image.size])


def _around(polygons: list[list[float]]) -> list[float]:
    """The box xyxy around an object's polygons, each x, y, x, y, ..."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return [min(xs), min(ys), max(xs), max(ys)]
