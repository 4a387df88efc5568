"""Check that data set, vocabulary, detector and metric agree on the label order.

MMDetection's ``CocoDataset`` and ``CocoMetric`` label the categories in the order of
the annotation file (``LVISV1Dataset`` and ``LVISMetric`` all of them), whatever the
order of ``metainfo['classes']``. This package's data sets and vocabularies use the
latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner

from fgclip2_det.coco.categories import (
    describe_orders,
    first_exchange,
    read_categories,
)
from fgclip2_det.engine.metrics.label_order import check_metric

# keys that may differ between files with the same class names
_OF_ONE_FILE = ('category_ids', 'cumulative_sizes')
_LABELS = ('classes', 'base_classes', 'novel_classes')


def unify_metainfo(runner: Runner) -> None:
    """Merge the ``metainfo`` of concatenated data sets.

    The ``metainfo`` of a ``ConcatDataset`` is a list if any value differs, for instance
    the category ids. Data set, evaluator and visualizer get the merged dict instead.

    Raises:
        ValueError: if the data sets have different label orders.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if not isinstance(loop, BaseLoop):
            continue
        dataset = loop.dataloader.dataset
        if not isinstance(getattr(dataset, 'metainfo', None), list):
            continue
        merged = merge_metainfo(dataset.metainfo)
        _set_metainfo(dataset, merged)
        if hasattr(loop, 'evaluator'):
            loop.evaluator.dataset_meta = dict(merged)
            runner.visualizer.dataset_meta = dict(merged)


def merge_metainfo(metas: Sequence[Mapping]) -> dict:
    """Common ``metainfo`` of data sets with the same label order.

    Has the keys of all; the first data set's values take precedence. ``category_ids``
    are kept only if they are equal, ``image_counts`` are summed.

    Raises:
        ValueError: if ``classes``, ``base_classes`` or ``novel_classes`` differ.
    """
    first = metas[0]
    for number, meta in enumerate(metas[1:], 1):
        for key in _LABELS:
            ours, theirs = (list(m.get(key, ())) for m in (first, meta))
            if ours != theirs and (key in first and key in meta):
                raise ValueError(
                    f'data sets 0 and {number} of a ConcatDataset differ in {key}: '
                    f'{_few(ours)} and {_few(theirs)}; give both the same classes in '
                    'the same order (metainfo, base_classes, novel_classes)'
                )
    merged = {key: value for meta in reversed(metas) for key, value in meta.items()}
    for key in _OF_ONE_FILE:
        if any(meta.get(key) != first.get(key) for meta in metas):
            merged.pop(key, None)
    if all('image_counts' in meta for meta in metas):
        counts = zip(*(meta['image_counts'] for meta in metas), strict=True)
        merged['image_counts'] = tuple(map(sum, counts))
    return merged


def check_dataset(dataset: Any) -> None:
    """Check that a data set's labels follow the order of its class names.

    Args:
        dataset: a data set or a wrapper; every data set inside is checked.

    Raises:
        ValueError: if they do not, naming the annotation file and both orders.
    """
    for leaf in leaf_datasets(dataset):
        ids = getattr(leaf, 'cat_ids', None)
        if not isinstance(leaf, CocoDataset) or 'category_ids' in leaf.metainfo:
            continue  # labels are indices of classes
        categories = {c.get('id'): c for c in read_categories(leaf.ann_file)}
        if not ids or not set(ids) <= set(categories):
            continue
        classes, ordered = leaf.metainfo['classes'], [categories[i] for i in ids]
        label = first_exchange(classes, ordered)
        if label is None and len(ordered) > len(classes):
            label = len(classes)
        if label is not None:
            order = describe_orders(
                label, classes, ordered, f'the boxes of {type(leaf).__name__}'
            )
            raise ValueError(
                f"{leaf.ann_file}: {order}; write metainfo's classes in the order of "
                'the file, or use OpenVocabCocoDataset'
            )


def check_metrics(evaluator: Evaluator, classes: Sequence[str]) -> None:
    """Check that MMDetection's metrics use the label order of the data set.

    Raises:
        ValueError: if one does not, naming the metric and both orders.
    """
    for metric in evaluator.metrics:
        check_metric(metric, classes)


def check_trained_classes(trained: Sequence[str], classes: Sequence[str]) -> None:
    """Check that a checkpoint was trained with the label order of the data set.

    Raises:
        ValueError: if it was not, with both orders.
    """
    categories = [{'name': name} for name in trained]
    label = first_exchange(classes, categories)
    if label is not None:
        order = describe_orders(label, classes, categories, "the checkpoint's detector")
        raise ValueError(f'{order}; give the data set its classes in that order')


def leaf_datasets(dataset: Any) -> Iterator[BaseDataset]:
    """Data sets without their wrappers."""
    inner = getattr(dataset, 'datasets', None)
    if inner is None and hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
    for child in inner or ():
        yield from leaf_datasets(child)


def _set_metainfo(dataset: Any, metainfo: dict) -> None:
    """Replace the list in a ``ConcatDataset`` and in the wrappers around it."""
    if isinstance(getattr(dataset, '_metainfo', None), list):
        dataset._metainfo = metainfo
        if hasattr(dataset, 'dataset'):
            _set_metainfo(dataset.dataset, metainfo)


def _few(names: Sequence[str]) -> str:
    return (
        f'{len(names)} ({", ".join(map(repr, names[:3]))}{", ..." * (len(names) > 3)})'
    )
