"""Fingerprint of an evaluation: its data, classes, limits and package versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.result_lists import ReadResults, RowCounts
from fgclip2_det.io.digests import file_digest, json_digest

from .protocols import LIMITS, PROTOCOLS

_PACKAGES = ('numpy', 'pycocotools', 'torch', 'mmdet')
_ROOT = Path(__file__).resolve().parents[2]


def evaluation_fingerprint(
    protocol: str,
    truths: Truths,
    ann_file: str | os.PathLike,
    read: ReadResults,
    predictions_file: str | os.PathLike,
    iou_types: Sequence[str],
    novel_ids: Sequence | None = None,
    notes: dict[str, str] | None = None,
) -> dict[str, object]:
    """The fingerprint of an evaluation.

    Args:
        protocol: name of the protocol.
        truths, ann_file: the ground truth and the file that it was read from.
        read, predictions_file: the same of the predictions.
        iou_types: as evaluated.
        novel_ids: category ids of the novel classes.
        notes: what the caller knows about how the predictions were made.

    Returns:
        Plain values for JSON. Digests are SHA-256; that of the images is over ids and
        file names by rising id, that of the classes over names by rising id with
        their split, that of the objects over boxes, areas, flags and LVIS's lists in an
        order of their own; ``file_order_sha256`` is over the same as they stand in the
        file, as earlier results have it. ``masks``, where they were evaluated, is over
        those of all objects in whatever order.
    """
    flavours = PROTOCOLS[protocol]
    seen = len({*read.results.image.tolist()})
    return {
        'name': protocol,
        **describe_data(truths, novel_ids or () if protocol == 'ov-coco' else None),
        'max_detections': {flavour: LIMITS[flavour] for flavour in flavours},
        'flavours': list(flavours),
        'iou_types': list(iou_types),
        'notes': dict(notes or {}),
        'predictions': {
            **describe_rows(read, predictions_file),
            'images_without_rows': len(truths.images) - seen,
        },
        'files': {
            'ann': Path(ann_file).name,
            'predictions': Path(predictions_file).name,
        },
        'versions': versions(),
        'commit': commit(),
    }


def describe_data(truths: Truths, novel_ids: Collection | None) -> dict[str, object]:
    """Counts and digests of images, classes and objects.

    Args:
        truths: the ground truth.
        novel_ids: category ids of the novel classes, the others are base; None: the
            split of the classes is their frequency, or there is none.
    """
    images = [[i['id'], i.get('file_name')] for i in truths.images]
    if novel_ids is None:
        splits = [c.get('frequency', 'all') for c in truths.categories]
    else:
        novel = set(novel_ids)
        splits = ['novel' if c['id'] in novel else 'base' for c in truths.categories]
    classes = [list(pair) for pair in zip(truths.names, splits, strict=True)]
    return {
        'images': {'count': len(images), 'sha256': json_digest(images)},
        'classes': {
            'count': len(classes),
            'splits': {split: splits.count(split) for split in sorted(set(splits))},
            'sha256': json_digest(classes),
        },
        'objects': {
            'count': len(truths.areas),
            'sha256': _objects_digest(truths, _canonical_order(truths)),
            'file_order_sha256': _objects_digest(truths, slice(None)),
        },
        **_describe_masks(truths),
    }


def describe_rows(
    read: RowCounts, predictions_file: str | os.PathLike
) -> dict[str, object]:
    """Digest of a result list, and how many of its rows count."""
    return {
        'sha256': file_digest(predictions_file),
        'rows': read.num_rows,
        'rows_of_other_images': read.num_other_images,
        'rows_of_other_classes': read.num_other_classes,
        'rows_outside': read.num_outside,
        'rows_outside_kept': read.outside_kept,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of packages that matter; None: not installed."""
    from fgclip2_det.compat.stack import OWNERS  # not for who reads metrics alone

    installed: dict[str, str | None] = {'python': platform.python_version()}
    for name in _PACKAGES:
        found = [_version(owner) for owner in OWNERS.get(name, (name,))]
        installed[name] = next(filter(None, found), None)
    return installed


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Git commit of the checkout that contains this package; None without one."""
    if not (_ROOT / '.git').exists():
        return None
    command = ['git', '-C', str(_ROOT), 'rev-parse', 'HEAD']
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _canonical_order(truths: Truths) -> np.ndarray:
    """(G,) rows by image, class, box, area and flags: rows that tie are equal."""
    keys = (
        truths.ignored,
        truths.crowd,
        truths.areas,
        *truths.bboxes.T[::-1],
        truths.category,
        truths.image,
    )
    return np.lexsort(keys)  # the last key counts most


def _describe_masks(truths: Truths) -> dict[str, dict]:
    """Count and digest of the masks, with the image and class that each is of."""
    if truths.masks is None:
        return {}
    places = zip(truths.image, truths.category, truths.masks, strict=True)
    rows = sorted(
        [int(image), int(category), *map(int, mask['size']), mask['counts'].decode()]
        for image, category, mask in places
    )
    return {'masks': {'count': len(rows), 'sha256': json_digest(rows)}}


def _objects_digest(truths: Truths, order: np.ndarray | slice) -> str:
    digest = hashlib.sha256()
    rows = (
        truths.image,
        truths.category,
        truths.bboxes,
        truths.areas,
        truths.crowd,
        truths.ignored,
    )
    columns = (*(column[order] for column in rows),
               truths.negative, truths.not_exhaustive)  # fmt: skip
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()
