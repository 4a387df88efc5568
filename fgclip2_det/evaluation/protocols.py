"""Benchmark protocols: which detections count, and what is averaged over what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.results import Results

from .average_precision import ClassFigures
from .coco_ap import (
    PER_IMAGE_AND_CLASS,
    coco_figures,
    coco_summary,
    ov_coco_summary,
)
from .lvis_ap import (
    FLAVOURS,
    PER_CLASS,
    PER_IMAGE,
    lvis_figures,
    lvis_summary,
    within_limit,
)

IOU_TYPES = ('bbox', 'segm')
PROTOCOLS = {
    'coco': ('coco',),
    'ov-coco': ('ov-coco',),
    'lvis': ('lvis',),
    'lvis-fixed': ('lvis-fixed',),
    'lvis-both': FLAVOURS,
}
_COCO_LIMIT = {'per_image_and_class': PER_IMAGE_AND_CLASS}
LIMITS = {  # detections
    'coco': _COCO_LIMIT,
    'ov-coco': _COCO_LIMIT,
    'lvis': {'per_image': PER_IMAGE},
    'lvis-fixed': {'per_class': PER_CLASS},
}


@dataclass(frozen=True)
class ProtocolFigures:
    """Outcome of an evaluation.

    Attributes:
        metrics: '{flavour}/{IoU type}/{name}' -> 0 to 1; -1 where no class of the
            average has an object.
        classwise: '{flavour}/{IoU type}' -> class name -> {'AP': ..., 'AP50': ...};
            None where a class has no object.
    """

    metrics: dict[str, float]
    classwise: dict[str, dict[str, dict[str, float | None]]]


def check_protocol(protocol: str, iou_types: Sequence[str]) -> None:
    """ValueError on an unknown protocol, and on unknown or repeated IoU types."""
    if protocol not in PROTOCOLS:
        raise ValueError(f'protocol must be one of {list(PROTOCOLS)}, got {protocol!r}')
    if not iou_types or len({*iou_types} & {*IOU_TYPES}) < len(iou_types):
        raise ValueError(
            f'iou types must be one or both of {IOU_TYPES}, got {list(iou_types)}'
        )


def evaluate_results(
    protocol: str,
    truths: Truths,
    results: Results,
    iou_types: Sequence[str] = ('bbox',),
    novel_ids: Sequence | None = None,
) -> ProtocolFigures:
    """All figures of a protocol.

    Args:
        protocol: of :data:`PROTOCOLS`.
        truths: the ground truth, read with ``federated`` for LVIS.
        results: with boxes and masks as ``iou_types`` need them.
        iou_types: 'bbox', 'segm' or both.
        novel_ids: category ids of the novel classes, for 'ov-coco'.

    Raises:
        ValueError: see :func:`check_protocol`; 'ov-coco' without novel classes.
    """
    check_protocol(protocol, iou_types)
    if protocol == 'ov-coco' and not novel_ids:
        raise ValueError(
            "protocol 'ov-coco' needs novel classes; name them, give the categories "
            "a 'split', or use protocol 'coco'"
        )
    metrics, classwise = {}, {}
    for flavour in PROTOCOLS[protocol]:
        for iou_type in iou_types:
            chosen = results
            if iou_type == 'bbox':
                chosen = replace(results, areas=None, masks=None)
            if flavour in FLAVOURS:
                figures = lvis_figures(truths, chosen, flavour)
                values = lvis_summary(figures, truths)
            else:
                figures = coco_figures(truths, chosen, full=flavour == 'coco')
                values = coco_summary(figures)
                if flavour == 'ov-coco':
                    values = ov_coco_summary(figures, truths, novel_ids or ())
            title = f'{flavour}/{iou_type}'
            metrics |= {f'{title}/{name}': value for name, value in values.items()}
            classwise[title] = _by_class(figures, truths)
    return ProtocolFigures(metrics, classwise)


def keep_for(protocol: str) -> Callable[[Results], np.ndarray] | None:
    """``keep`` of ``read_results``: detections that a protocol may still count."""
    flavours = [f for f in PROTOCOLS[protocol] if f in FLAVOURS]
    if not flavours:
        return None

    def keep(results: Results) -> np.ndarray:
        return np.any([within_limit(results, f) for f in flavours], axis=0)

    return keep


def _by_class(figures: ClassFigures, truths: Truths) -> dict:
    rows = {}
    for name, ap in zip(truths.names, figures.precision[0], strict=True):
        there = not np.isnan(ap[0])
        rows[name] = {'AP': float(ap.mean()) if there else None,
                      'AP50': float(ap[0]) if there else None}  # fmt: skip
    return rows
