"""MMDetection's pickled results, read without running code of the pickle."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections.abc import Callable, Sequence

import torch
from torch import _utils

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_bytes

_REBUILD = 'torch._utils._rebuild_tensor_v2'
_STORAGE = 'torch.storage._load_from_bytes'
# How tensors, arrays and their numbers are pickled; none of these runs foreign code
_KNOWN = {
    'collections.OrderedDict',
    'torch.Size',
    'torch.device',
    '_codecs.encode',
    *(
        f'numpy.{core}.multiarray.{name}'
        for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ),
    'numpy.ndarray',
    'numpy.dtype',
}


_PUTS = ('PUT', 'BINPUT', 'LONG_BINPUT')
_WHOLE = (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)


class _PlainUnpickler(pickle.Unpickler):
    """Tensors, arrays and Python's own values; everything else is refused."""

    def find_class(self, module: str, name: str) -> object:
        full = f'{module}.{name}'
        if full == _STORAGE:  # its own would unpickle freely
            return lambda data: torch.load(io.BytesIO(data), weights_only=True)
        if full == _REBUILD:  # a pickle may set attributes of a function
            return lambda *args: _utils._rebuild_tensor_v2(*args)
        if full not in _KNOWN:
            raise InputError(f'it holds {full}, which is neither a tensor nor an array')
        return super().find_class(module, name)


def read_mmdet_pickle(
    path: str | os.PathLike,
    category_ids: Sequence[int | str] | Callable[[int], Sequence[int | str]],
) -> list[dict]:
    """Rows of a COCO result list, from what ``DumpDetResults`` or ``--out`` wrote.

    Args:
        path: pickle of a list with a dict per image: ``img_id`` and
            ``pred_instances`` with ``bboxes`` (n, 4) xyxy in pixels of the image,
            ``scores`` (n,) and ``labels`` (n,).
        category_ids: id of each label, in the order of the detector's classes, which
            the file does not name; or what gives them for the number of labels that
            occur (the highest plus one).

    Returns:
        ``{image_id, category_id, bbox, score}`` for every box, xywh; not checked yet.

    Raises:
        ValueError: naming the file: no such list, anything in it that is not a tensor,
            an array or a plain value, and labels that are not indices of category_ids.
    """
    data = read_bytes(path)
    _check_places(path, data)
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # an unpickler raises what the pickle makes it raise
        reason = str(error) or type(error).__name__
        raise InputError(f'{path} cannot be read as results: {reason}') from error
    if not isinstance(content, list):
        raise InputError(
            f'{path} must hold a list with one entry an image, got a '
            f'{type(content).__name__}'
        )
    if callable(category_ids):
        category_ids = category_ids(_num_labels(content))
    rows = []
    for number, entry in enumerate(content):
        try:
            rows += _rows(entry, category_ids)
        except (
            AttributeError, LookupError, RuntimeError, TypeError, ValueError,
        ) as error:  # fmt: skip
            raise InputError(
                f'{path}: image {number} (from 0) must have img_id and pred_instances '
                f'with bboxes (n, 4), scores (n,) and labels (n,): {error!r}'
            ) from error
    return rows


def _check_places(path: str | os.PathLike, data: bytes) -> None:
    """Refuse a pickle that puts something at a place far beyond the others: the
    unpickler allocates all places before it."""
    try:
        for number, (code, value, _) in enumerate(pickletools.genops(data)):
            if code.name in _PUTS and isinstance(value, int) and value > number:
                raise InputError(f'place {value} after {number} operations')
    except Exception as error:  # of bytes that are no pickle
        raise InputError(f'{path} cannot be read as results: {error}') from error


def _num_labels(content: list) -> int:
    """The highest label plus one; entries that have none are refused later."""
    highest = -1
    for entry in content:
        try:
            labels = torch.as_tensor(entry['pred_instances']['labels'])
            highest = max(highest, int(labels.max()) if labels.numel() else -1)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
            continue
    return highest + 1


def _rows(entry: dict, category_ids: Sequence[int | str]) -> list[dict]:
    instances = entry['pred_instances']
    boxes, scores, labels = (
        torch.as_tensor(instances[name]) for name in ('bboxes', 'scores', 'labels')
    )
    whole = labels.dtype in _WHOLE
    if not (whole and boxes.is_floating_point() and scores.is_floating_point()):
        raise InputError(f'types {boxes.dtype}, {scores.dtype}, {labels.dtype}')
    n = len(labels)
    if boxes.shape != (n, 4) or scores.shape != (n,) or labels.ndim != 1:
        raise InputError(
            f'shapes {tuple(boxes.shape)}, {tuple(scores.shape)}, {tuple(labels.shape)}'
        )
    if n and not 0 <= labels.min() <= labels.max() < len(category_ids):
        raise InputError(
            f'labels {labels.min()} to {labels.max()} of {len(category_ids)} categories'
        )
    boxes = boxes.double()
    sides = (boxes[:, 2:] - boxes[:, :2]).tolist()
    return [
        dict(
            image_id=entry['img_id'],
            category_id=category_ids[label],
            bbox=[*corner, *side],
            score=score,
        )
        for corner, side, score, label in zip(
            boxes[:, :2].tolist(), sides, scores.double().tolist(), labels.tolist(),
            strict=True,
        )
    ]  # fmt: skip
