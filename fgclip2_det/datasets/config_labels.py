"""Label order of saved results, read from the detector's config."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mmdet.datasets import CocoDataset, LVISV05Dataset
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fgclip2_det.datasets import OpenVocabCocoDataset, OpenVocabLVISDataset
from fgclip2_det.vocabulary.names import read_names_file

_CLASS_OPTIONS = (
    'data_root', 'metainfo', 'base_classes', 'novel_classes', 'class_split', 'language',
    'only_base',
)  # fmt: skip


LabelOrder = str | os.PathLike | Sequence[str] | None


def label_order_of(order: LabelOrder) -> str | Sequence[str] | Callable | None:
    """Convert to the ``label_order`` argument of ``read_predictions``.

    A text file of names in label order is replaced by the names, a config (.py) by a
    function of the annotation file's categories.
    """
    if isinstance(order, str | os.PathLike) and Path(order).suffix == '.py':
        return partial(label_names_of_config, order)
    if isinstance(order, str | os.PathLike) and Path(order).is_file():
        return [aliases[0] for aliases in read_names_file(order)]
    return os.fspath(order) if isinstance(order, os.PathLike) else order


def label_names_of_config(
    path: str | os.PathLike, categories: Sequence[Mapping]
) -> list[str]:
    """Category names in the label order of the config's test data set.

    ``CocoDataset`` labels the categories named in ``metainfo`` in the file's order,
    ``LVISV1Dataset`` all categories, and this package's data sets base before novel
    ones. For a wrapper, the first data set inside it is used.

    Args:
        path: a config, as for ``tools/test.py``.
        categories: categories of the annotation file.

    Raises:
        ValueError: if the config cannot be read, has no test data set that reads COCO
            files, or names classes that the file lacks.
    """
    init_default_scope('mmdet')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code, and may raise anything
        raise ValueError(
            f'{path} cannot be read as a config ({type(error).__name__}: {error})'
        ) from error
    dataset: Mapping = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while dataset and not isinstance(dataset.get('type'), type):
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets', ())), None)
        if inner is None:
            break
        dataset = inner
    kind = (
        DATASETS.get(str(dataset['type']).removeprefix('mmdet.')) if dataset else None
    )
    if kind is None or not issubclass(kind, CocoDataset):
        raise ValueError(
            f'{path}: its test data set ({dataset.get("type")}) does not read COCO '
            'files; give the names in label order instead'
        )
    names = [category['name'] for category in categories]
    if issubclass(kind, OpenVocabCocoDataset):
        return _ours(path, kind, dataset, categories)
    if issubclass(kind, LVISV05Dataset):
        return names
    classes = (dataset.get('metainfo') or {}).get('classes', kind.METAINFO['classes'])
    return [name for name in names if name in classes]


def _ours(
    path: str | os.PathLike,
    kind: type[OpenVocabCocoDataset],
    dataset: Mapping,
    categories: Sequence[Mapping],
) -> list[str]:
    lvis = issubclass(kind, OpenVocabLVISDataset)
    build = OpenVocabLVISDataset if lvis else OpenVocabCocoDataset
    options = {key: dataset[key] for key in _CLASS_OPTIONS if key in dataset}
    built = build(ann_file='', pipeline=[], lazy_init=True, **options)
    try:
        built._set_classes(copy.deepcopy([dict(entry) for entry in categories]))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    names = {category['id']: category['name'] for category in categories}
    ids = built.metainfo['category_ids']
    classes = built.metainfo['classes']
    return [names.get(i, name) for i, name in zip(ids, classes, strict=True)]
