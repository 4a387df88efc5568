"""Publish a trained detector as one small file."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.models.checkpoints import read_checkpoint

META = ('cfg', 'dataset_meta', 'epoch', 'iter', 'seed', 'mmengine_version')
DTYPES = ('float32', 'bfloat16', 'float16')


def publish_checkpoint(
    source: str | os.PathLike, target: str | os.PathLike, dtype: str = 'float32'
) -> int:
    """Write the parts of a checkpoint that inference needs: weights, config, classes.

    Like MMDetection's ``publish_model.py``, this drops optimizer, schedules and logs,
    so training cannot be resumed from the file. Weights with two or more dimensions,
    except the text embeddings, are stored as ``dtype``; the others keep their type.
    Loading casts them to the model's type.

    Args:
        source: checkpoint of a training.
        target: file to write.
        dtype: 'float32', 'bfloat16' or 'float16'.

    Returns:
        Number of bytes written.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        ValueError: if it is damaged or has no config, or for an unknown ``dtype``.
    """
    if dtype not in DTYPES:
        raise ValueError(f'dtype must be one of {", ".join(DTYPES)}, got {dtype!r}')
    checkpoint = read_checkpoint(source)
    meta = checkpoint.get('meta', {})
    if not isinstance(meta.get('cfg'), str):
        raise ValueError(
            f'{source} contains no config, which loading needs; publish a checkpoint '
            'of tools/train.py'
        )
    weights = _cast(checkpoint['state_dict'], getattr(torch, dtype))
    kept = {name: meta[name] for name in META if name in meta}
    buffer = io.BytesIO()
    torch.save(dict(meta=kept, state_dict=weights), buffer)
    write_atomic(Path(target), buffer.getvalue())
    return buffer.tell()


def _cast(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    def stored(name: str, weight: Tensor) -> Tensor:
        matrix = weight.is_floating_point() and weight.dim() > 1
        if not matrix or name.endswith('text_embeds'):
            return weight
        return weight.to(dtype)

    return {name: stored(name, weight) for name, weight in weights.items()}
