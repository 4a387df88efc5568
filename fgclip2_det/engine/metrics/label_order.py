"""Check the category order of MMDetection's metrics against a data set's classes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

from mmdet.evaluation.metrics import CocoMetric
from mmdet.evaluation.metrics.lvis_metric import LVISFixedAPMetric
from mmengine.evaluator import BaseMetric

from fgclip2_det.coco.categories import describe_orders, first_exchange


def check_metric(metric: BaseMetric, classes: Sequence[str]) -> None:
    """Check that a metric uses the label order of ``classes``.

    ``CocoMetric`` labels the categories named in ``classes`` in the order of the file,
    the LVIS metrics all categories. Metrics without an annotation file and those of
    this package use labels or names and are not affected.

    Raises:
        ValueError: if the orders differ, naming the metric and both orders.
    """
    categories = _categories_of(metric, classes)
    if categories is None:
        return
    by_name = getattr(metric, '_lvis_api', None) is None
    label = first_exchange(classes, categories, complete=by_name)
    if label is not None:
        name = type(metric).__name__
        ours = 'OpenVocabCocoMetric' if by_name else 'OpenVocabLVISMetric'
        raise ValueError(
            f'{describe_orders(label, classes, categories, name)}; write '
            f"metainfo's classes in the order of the file, or use {ours}, which "
            'matches names'
        )


def install() -> None:
    """Patch MMDetection's metrics to check the label order of this package's data sets
    when they process the first images, under any tool."""
    for kind in (CocoMetric, *CocoMetric.__subclasses__(), LVISFixedAPMetric):
        own = vars(kind).get('process')
        if own is not None and not hasattr(own, '_checks_labels'):
            kind.process = _checked(own)


def _checked(process: Callable) -> Callable:
    @functools.wraps(process)
    def checked(self: BaseMetric, *args: Any, **kwargs: Any) -> None:
        meta = self.dataset_meta or {}
        if 'base_classes' in meta and not self.results:
            check_metric(self, meta['classes'])
        return process(self, *args, **kwargs)

    cast(Any, checked)._checks_labels = True
    return checked


def _categories_of(metric: BaseMetric, classes: Sequence[str]) -> list[dict] | None:
    """Categories in the label order of an MMDetection metric with an annotation file;
    None for other metrics."""
    lvis = getattr(metric, '_lvis_api', None)
    if lvis is not None:
        return [lvis.cats[i] for i in lvis.get_cat_ids()]
    api: Any = getattr(metric, '_coco_api', None)
    if api is None or not isinstance(metric, CocoMetric):
        return None
    return [api.cats[i] for i in api.getCatIds(catNms=list(classes))]
