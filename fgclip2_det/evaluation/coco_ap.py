"""COCO average precision: of result lists, and of boxes of images in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fgclip2_det.coco.ground_truths import Truths, make_truths
from fgclip2_det.coco.results import Results

from .average_precision import (
    AREA_RANGES,
    ClassFigures,
    class_figures,
    in_class_blocks,
    mean,
)
from .image_boxes import ImageBoxes, given_column
from .matching import arrange

PER_IMAGE_AND_CLASS = 100
COCO_NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl',
              'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')  # fmt: skip


def coco_figures(
    truths: Truths,
    results: Results,
    full: bool = True,
    max_dets: int = PER_IMAGE_AND_CLASS,
) -> ClassFigures:
    """Figures of each class, as pycocotools computes them.

    Args:
        truths: the ground truth; its ``ignored`` plays no part, as in pycocotools.
        results: masks decide where they have some, else boxes.
        full: False leaves out sizes and limited recalls, which 'ov-coco' does not use.
        max_dets: detections that count per image and class, best first.

    Reference: pycocotools' COCOeval.
    """

    def figures(truths: Truths, rows: np.ndarray) -> ClassFigures:
        detections = arrange(results, rows, truths)
        if (detections.ranks >= max_dets).any():
            rows = detections.rows[detections.ranks < max_dets]
            detections = arrange(results, np.sort(rows), truths)
        return class_figures(
            truths,
            results,
            detections,
            crowd=truths.crowd,
            gt_ignored=truths.crowd,
            dt_ignored=np.zeros(len(detections.rows), bool),
            areas=tuple(AREA_RANGES) if full else ('all',),
            limits=(1, 10) if full else (),
        )

    rows = np.arange(len(results))
    return in_class_blocks(figures, truths, results.category, rows)


def coco_summary(figures: ClassFigures) -> dict[str, float]:
    """pycocotools' twelve metrics in order; AP, AP50, AP75 alone without sizes."""
    ap = figures.precision
    values = [ap[0], ap[0, :, 0], ap[0, :, 5], *ap[1:]]
    if len(ap) > 1:
        values += [*figures.limited_recall.values(), *figures.recall]
    return {n: mean(v) for n, v in zip(COCO_NAMES, values, strict=False)}


def ov_coco_summary(
    figures: ClassFigures, truths: Truths, novel_ids: Sequence
) -> dict[str, float]:
    """AP50 and AP (IoU 0.50:0.95) of base, novel and all classes.

    Reference: Bansal et al. (arXiv:1804.04340), section 4, the generalised setting.
    """
    novel = np.zeros(len(truths.categories), bool)
    novel[[truths.category_index[i] for i in novel_ids]] = True
    values, ap = {}, figures.precision[0]
    for group, chosen in (('base', ~novel), ('novel', novel), ('all', novel | ~novel)):
        values[f'{group}_ap50'] = mean(ap[chosen, 0])
        values[f'{group}_ap'] = mean(ap[chosen])
    return values


def box_ap(
    truths: Sequence[ImageBoxes],
    detections: Sequence[ImageBoxes],
    num_classes: int,
    max_dets: int = PER_IMAGE_AND_CLASS,
) -> np.ndarray:
    """COCO's AP of boxes per class and IoU threshold.

    Args:
        truths: ground truth, one entry per image; ``crowd`` is as ``iscrowd``.
        detections: one entry per image, in the same order, which decides between ties.
        num_classes: C; labels are 0 to C - 1.
        max_dets: detections that count per image and class, best first.

    Returns:
        (C, 10): IoU 0.50 to 0.95; NaN where a class has no object.
    """
    crowd = [np.zeros(0, bool), *(given_column(i.crowd, 'crowd') for i in truths)]
    ground_truth = make_truths(
        [{'id': i} for i in range(len(truths))],
        [{'id': c, 'name': str(c)} for c in range(num_classes)],
        *_columns(truths),
        crowd=np.concatenate(crowd).astype(bool),
    )
    image, labels, bboxes = _columns(detections)
    scores = [np.zeros(0), *(given_column(i.scores, 'scores') for i in detections)]
    results = Results(
        image.astype(np.int32), labels.astype(np.int32), bboxes, np.concatenate(scores)
    )
    return coco_figures(ground_truth, results, False, max_dets).precision[0]


def _columns(images: Sequence[ImageBoxes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) image, (N,) label and (N, 4) box of all boxes."""
    image = np.repeat(np.arange(len(images)), [len(one.labels) for one in images])
    labels = np.concatenate([np.zeros(0, np.int64), *(one.labels for one in images)])
    bboxes = np.concatenate([np.zeros((0, 4)), *(one.bboxes for one in images)])
    return image, labels.astype(np.int64), bboxes
