"""Prompting of each type of ``transformers`` detector, and decoding of its outputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

# (n, 4) xyxy in pixels, (n,) scores, (n,) labels
BoxesScoresLabels = tuple[Tensor, Tensor, Tensor]


def query_labels(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """OWL-ViT, OWLv2: every query is assigned its best name."""
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
    threshold into phrases, which need not be names.
    """
    names = [caption_name(name) for name in names]
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
    outputs = detector.model(**detector.process(images=image, text=caption))
    tokens = outputs.logits[0, :, : is_of.shape[1]].float().sigmoid()
    is_of = is_of.to(tokens.device)
    scores = tokens @ (is_of / is_of.sum(1, keepdim=True)).T  # (queries, names)
    count = min(detector.max_per_image or scores.numel(), scores.numel())
    best, cells = scores.flatten().topk(count)
    best, cells = best[best > detector.score_thr], cells[best > detector.score_thr]
    boxes = _to_xyxy(outputs.pred_boxes[0].float(), image)
    return boxes[cells // len(names)], best, cells % len(names)


def closed_set(detector, image: Image.Image, names: list[str]) -> BoxesScoresLabels:
    """DETR and other closed-set detectors: their fixed classes, matched by name."""
    own = {name: int(label) for label, name in detector.model.config.id2label.items()}
    label_of = {own[name]: i for i, name in enumerate(names) if name in own}
    outputs = detector.model(**detector.process(images=image))
    (result,) = detector.processor.post_process_object_detection(
        outputs, threshold=detector.score_thr, target_sizes=[image.size[::-1]]
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
    """SAM 3: the image encoder runs once, the other parts once per name."""
    pixels = detector.process(images=image)['pixel_values']
    seen, parts = detector.model.get_vision_features(pixels), []
    for label, name in enumerate(names):
        text = detector.process(text=name)
        outputs = detector.model(
            vision_embeds=seen,
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


# model_type of config.json -> (class of transformers, its adapter)
ADAPTERS: dict[str, tuple[str, Callable[..., BoxesScoresLabels]]] = {
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


def caption_name(name: str) -> str:
    """A name for a caption such as 'cat. dog.', in which full stops separate names."""
    return ' '.join(name.lower().replace('.', ' ').split())


def _to_xyxy(boxes: Tensor, image: Image.Image) -> Tensor:
    """(n, 4) centre and size relative to the image -> xyxy in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    scale = boxes.new_tensor([*image.size, *image.size])
    return torch.cat([centre - half, centre + half], 1) * scale
