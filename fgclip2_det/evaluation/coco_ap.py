"""COCO average precision of arrays, through faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fgclip2_det.evaluation.image_boxes import ImageBoxes, box_iou

if TYPE_CHECKING:
    from faster_coco_eval import COCO


def average_precision(
    truths: Sequence[ImageBoxes],
    detections: Sequence[ImageBoxes],
    num_classes: int,
    max_dets: int = 100,
) -> np.ndarray:
    """COCO's AP per class and IoU threshold.

    Args:
        truths: ground truth, one entry per image.
        detections: one entry per image, in the same order.
        num_classes: C; labels are 0 to C - 1.
        max_dets: detections that count per image and class, best first.

    Returns:
        (C, 10): IoU 0.50 to 0.95; NaN where a class has no ground truth.
    """
    # here: phrases are scored without it, and without the mm packages
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    coco = [_coco(images, num_classes) for images in (truths, detections)]
    evaluator = COCOeval_faster(*coco, 'bbox')
    evaluator.params.maxDets = [max_dets]
    evaluator.params.areaRng = evaluator.params.areaRng[:1]  # all sizes
    evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
    evaluator.evaluate()
    evaluator.accumulate()
    precision = np.asarray(evaluator.eval['precision'])  # (IoU, recall, C, 1, 1)
    precision = precision.reshape(10, -1, num_classes)
    return np.where(precision < 0, np.nan, precision).mean(1).T


def _coco(images: Sequence[ImageBoxes], num_classes: int) -> COCO:
    """COCO object of ground truth or detections; all ids count from 1."""
    from faster_coco_eval import COCO

    categories = [{'id': c, 'name': str(c)} for c in range(1, num_classes + 1)]
    annotations = []
    for image_id, image in enumerate(images, 1):
        columns = {
            'bbox': image.bboxes,
            'area': image.bboxes[:, 2:].prod(1),
            'category_id': image.labels + 1,
        }
        if image.scores is None:
            columns['iscrowd'] = image.crowd.astype(int)
        else:
            columns |= {'score': image.scores, 'iscrowd': np.zeros_like(image.labels)}
        for values in zip(*(c.tolist() for c in columns.values()), strict=True):
            annotations.append(
                dict(zip(columns, values, strict=True))
                | {'image_id': image_id, 'id': len(annotations) + 1}
            )
    return COCO(
        {
            'images': [{'id': i} for i in range(1, len(images) + 1)],
            'categories': categories,
            'annotations': annotations,
        }
    )


def merge_duplicates(image: ImageBoxes, iou_threshold: float) -> ImageBoxes:
    """Detections of one image as if there were one class: labels 0, no doubles.

    A detector may give one box several labels; of boxes that overlap by
    ``iou_threshold`` or more the best scored stays.
    """
    order = np.argsort(-image.scores, kind='stable')
    bboxes = image.bboxes[order]
    keep = np.ones(len(order), bool)
    overlaps = box_iou(bboxes, bboxes) >= iou_threshold
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~overlaps[i, i + 1 :]
    kept = order[keep]
    return ImageBoxes(
        image.bboxes[kept], np.zeros(len(kept), np.int64), image.scores[kept]
    )


def merge_classes(image: ImageBoxes) -> ImageBoxes:
    """The same boxes, all with label 0."""
    return replace(image, labels=np.zeros_like(image.labels))
