"""MMDetection's pickled results, read without running code of the pickle."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

_STORAGE = 'torch.storage._load_from_bytes'
# How tensors, arrays and their numbers are pickled; none of these runs foreign code
_KNOWN = {
    'collections.OrderedDict',
    'torch._utils._rebuild_tensor_v2',
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


class _PlainUnpickler(pickle.Unpickler):
    """Tensors, arrays and Python's own values; everything else is refused."""

    def find_class(self, module: str, name: str) -> object:
        full = f'{module}.{name}'
        if full == _STORAGE:  # its own would unpickle freely
            return lambda data: torch.load(io.BytesIO(data), weights_only=True)
        if full not in _KNOWN:
            raise ValueError(f'it holds {full}, which is neither a tensor nor an array')
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
    try:
        content = _PlainUnpickler(io.BytesIO(Path(path).read_bytes())).load()
    except (
        AttributeError, EOFError, ImportError, IndexError, KeyError, OSError,
        RuntimeError, TypeError, ValueError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ValueError(f'{path} cannot be read as results: {error}') from error
    if not isinstance(content, list):
        raise ValueError(
            f'{path} must hold a list with one entry an image, got a '
            f'{type(content).__name__}'
        )
    if callable(category_ids):
        category_ids = category_ids(_num_labels(content))
    rows = []
    for number, entry in enumerate(content):
        try:
            rows += _rows(entry, category_ids)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: image {number} (from 0) must have img_id and pred_instances '
                f'with bboxes (n, 4), scores (n,) and labels (n,): {error!r}'
            ) from error
    return rows


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
    n = len(labels)
    if boxes.shape != (n, 4) or scores.shape != (n,) or labels.ndim != 1:
        raise ValueError(
            f'shapes {tuple(boxes.shape)}, {tuple(scores.shape)}, {tuple(labels.shape)}'
        )
    if n and not 0 <= labels.min() <= labels.max() < len(category_ids):
        raise ValueError(
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
