"""Checks of a score dump: its header, and the arrays of a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import torch
from torch import Tensor

from fgclip2_det.io import InputError

MAX_IMAGES = 100_000_000
_REMEDY = 'delete it and run tools/dump_scores.py again'
_LARGEST_COSINE = 1.01  # rounding of float16 included
# array -> its type, and how many columns each row has; cosines have one a class
_KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    'boxes': ('F32', (4,)),
    'box_of': ('I32', ()),
    'scores': ('F32', ()),
    'labels': ('I32', ()),
    'bboxes': ('F64', (4,)),
}


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_count(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= MAX_IMAGES


def check_header(path: Path, content: Mapping[str, Any]) -> None:
    """Raise InputError naming the first entry of ``dump.json`` that is wrong.

    Args:
        path: of the file, for messages.
        content: with the fields of :class:`.score_dump.DumpHeader`.
    """
    classes, ids = content['classes'], content['category_ids']
    texts = ('encoder', 'language', 'predictions_sha256', 'ann_sha256')
    patches = content['max_num_patches']
    distinct = _are_texts(classes) and len(set(classes)) == len(classes)
    known = {
        'format': content['format'] is not True,
        **{name: isinstance(content[name], str) for name in texts},
        'classes': distinct,
        'category_ids': _are_ids(ids),
        'novel_classes': _are_texts(content['novel_classes']),
        'templates': _are_texts(content['templates']),
        'max_num_patches': patches == 'auto' or _is_count(patches, 1),
        'num_images': _is_count(content['num_images']),
        'images_per_shard': _is_count(content['images_per_shard'], 1),
        'ranker': isinstance(content['ranker'], str),
        'num_ranked': _is_count(content['num_ranked'])
        and bool(content['num_ranked']) == bool(content['ranker']),
    }
    for name, right in known.items():
        if not right:
            raise InputError(
                f'{path}: {name} cannot be {short_repr(content[name])} (at most '
                f'{MAX_IMAGES:,} images, names and ids once each); dump again into '
                'another folder'
            )


def _are_ids(ids: Any) -> bool:
    if not isinstance(ids, list):
        return False
    given = [i for i in ids if i is not None]
    plain = all(type(i) in (int, str) for i in given)
    return plain and len(set(given)) == len(given)


def check_names(
    path: Path, classes: Sequence[str], ids: Sequence, novel: Sequence[str]
) -> None:
    """Raise InputError unless every class has an id, and novel ones are classes."""
    if len(ids) != len(classes):
        raise InputError(
            f'{path}: {len(ids)} category_ids for {len(classes)} classes; dump '
            'again into another folder'
        )
    if unknown := set(novel) - set(classes):
        raise InputError(
            f'{path}: novel_classes has {min(unknown)!r}, which is no class; dump '
            'again into another folder'
        )


def check_places(
    file: Path, image_ids: Any, boxes: Tensor, rows: Tensor
) -> tuple[list[int], list[int]]:
    """Where the boxes and the rows of each image begin, checked.

    Args:
        file: of the shard, for messages.
        image_ids: as its metadata have them.
        boxes, rows: (images + 1,) int64, ``box_offsets`` and ``row_offsets``.

    Raises:
        InputError: ids that are no list of numbers and texts, offsets that do not begin
            at 0, fall, or are of another number of images.
    """
    listed = isinstance(image_ids, list)
    if not listed or not all(type(i) in (int, str) for i in image_ids):
        raise InputError(
            f'{file}: image_ids must be a list of ids, got {short_repr(image_ids)}; '
            f'{_REMEDY}'
        )
    for name, offsets in (('box_offsets', boxes), ('row_offsets', rows)):
        plain = offsets.dtype == torch.int64 and offsets.shape == (len(image_ids) + 1,)
        if not plain or offsets[0] != 0 or (offsets.diff() < 0).any():
            raise InputError(
                f'{file}: {name} must rise from 0, one number more than the '
                f'{len(image_ids)} images; {_REMEDY}'
            )
    return boxes.tolist(), rows.tolist()


def check_columns(
    file: Path,
    shapes: Mapping[str, tuple[str, list[int]]],
    num_boxes: int,
    num_rows: int,
    num_classes: int,
    num_ranked: int = 0,
) -> None:
    """Raise InputError naming the first array of a shard that is of another type or
    size, before it is read.

    Args:
        file: of the shard, for messages.
        shapes: array -> its type and shape, as the file's header has them.
        num_boxes, num_rows: of all images of the shard.
        num_classes: of the dump.
        num_ranked: names that a ranker read with each box; 0: there was none.
    """
    wanted = {'cosines': ('F16', [num_boxes, num_classes])}
    if num_ranked:
        ranked = [num_boxes, num_ranked]
        wanted |= {'ranked': ('I32', ranked), 'odds': ('F32', ranked)}
    for name, (kind, columns) in _KINDS.items():
        count = num_boxes if name == 'boxes' else num_rows
        wanted[name] = (kind, [count, *columns])
    for name, right in wanted.items():
        kind, shape = shapes.get(name, ('nothing', []))
        if (kind, shape) != right:
            raise InputError(
                f'{file} has {name} {shape}, expected {right[1]} (of {kind}, expected '
                f'{right[0]}); {_REMEDY}'
            )


def check_values(file: Path, arrays: Mapping[str, Tensor], num_classes: int) -> None:
    """Raise InputError naming the first array of a shard with a value that cannot be.

    Args:
        file: of the shard, for messages.
        arrays: 'boxes' (K, 4) xyxy, 'scores' and 'labels' (N,), 'bboxes' (N, 4) xywh;
            'ranked' and 'odds' (K, k) where there was a ranker.
        num_classes: of the dump.
    """
    boxes, bboxes = arrays['boxes'], arrays['bboxes']
    scores, labels = arrays['scores'], arrays['labels']
    right = {
        'boxes': boxes.isfinite().all() and (boxes[:, 2:] >= boxes[:, :2]).all(),
        'bboxes': bboxes.isfinite().all() and (bboxes[:, 2:] >= 0).all(),
        'scores': ((scores >= 0) & (scores <= 1 + 2**-10)).all(),
        'labels': ((labels >= 0) & (labels < num_classes)).all(),
    }
    if 'ranked' in arrays:
        ranked = arrays['ranked'].long().sort(1).values
        apart = (ranked[:, 1:] > ranked[:, :-1]).all()
        right['ranked'] = apart and ((ranked >= 0) & (ranked < num_classes)).all()
        right['odds'] = arrays['odds'].isfinite().all()
    for name, fine in right.items():
        if not fine:
            raise InputError(f'{file}: {name} hold values that cannot be; {_REMEDY}')


def check_image(
    file: Path, image_id: int | str, cosines: Tensor, box_of: Tensor
) -> None:
    """Raise InputError for cosines (k, C) that are none, or rows of another box.

    Args:
        file: of the shard, for messages.
        image_id: for messages.
        cosines: (k, C) of the image's boxes.
        box_of: (n,) of its rows.
    """
    if not (cosines.abs() <= _LARGEST_COSINE).all():
        worst = cosines.flatten()[cosines.abs().argmax()]
        raise InputError(
            f'{file}: image {image_id!r} has a cosine of {worst:g}, expected -1 to 1; '
            f'{_REMEDY}'
        )
    if not ((box_of >= 0) & (box_of < len(cosines))).all():
        raise InputError(
            f'{file}: box_of of image {image_id!r} must lie in 0 to '
            f'{len(cosines) - 1}; {_REMEDY}'
        )
