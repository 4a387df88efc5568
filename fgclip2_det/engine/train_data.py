"""Description of a run's training data, kept in its checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from torch.utils.data import DataLoader

from fgclip2_det.io.digests import add_file

_WHOLE = 2**30  # bytes; only the beginning and end of larger files are read


def describe_data(loader: DataLoader) -> dict[str, Any]:
    """Number of samples, batch size, digest and shares of the training data.

    Returns:
        ``num_samples``; ``batch_size``, samples per step in all processes, None if the
        loader has none; ``digest`` of the annotation files' content, or of the shards'
        names and sizes; ``num_shares``, processes that shards are dealt to, of each
        data set, None where the order of samples does not depend on their number.
    """
    digest, num_samples = hashlib.blake2b(digest_size=16), 0
    num_shares = []
    for dataset in _datasets(loader.dataset):
        num_shares.append(getattr(dataset, 'num_shares', None))
        num_samples += int(getattr(dataset, 'num_samples', None) or len(dataset))
        for path in _files(dataset):
            digest.update(f'{path.stat().st_size}\n'.encode())
            add_file(digest, path, _WHOLE)
        for shard in getattr(dataset, 'shards', ()):
            digest.update(f'{shard.name} {shard.stat().st_size}\n'.encode())
    batch_size = loader.batch_size
    for part in (loader.batch_sampler, loader.dataset):
        batch_size = batch_size or getattr(part, 'batch_size', None)
    return dict(
        num_samples=num_samples,
        batch_size=batch_size and batch_size * get_world_size(),
        digest=digest.hexdigest(),
        num_shares=num_shares,
    )


def _datasets(dataset: Any) -> Iterator[Any]:
    """Data sets without their wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner[0] is None:
        yield dataset
        return
    for child in inner:
        yield from _datasets(child)


def _files(dataset: Any) -> Iterator[Path]:
    """Local annotation files of a data set."""
    paths = getattr(getattr(dataset, 'records', None), 'files', None)
    paths = paths or [getattr(dataset, 'ann_file', None)]
    for path in paths:
        if isinstance(path, str | Path) and Path(path).is_file():
            yield Path(path)
