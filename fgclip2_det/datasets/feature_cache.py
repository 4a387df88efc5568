"""Disk cache of a frozen encoder's feature maps."""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.fileio import get
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.cache_size import (
    VARIABLE,
    cache_limit,
    folder_bytes,
    mark_used,
    remove_oldest,
)
from fgclip2_det.io.locks import locked
from fgclip2_det.io.threads import thread_map

SHARD_BYTES = 2**28  # approximate size of a file
_INFO = '#info'  # suffix of the entry with original h and w and a checksum


class FeatureCache:
    """Folder of safetensors shards with one feature map of any size per key.

    Shards are written under a temporary name and renamed; each process writes its own,
    under a lock of the folder, and all processes read all of them. Every process opens
    the files itself, so a cache can be pickled for data loader workers.

    Args:
        folder: folder of the shards; created when the first one is written.
        fingerprint: digest of what the maps depend on besides image and view.
        dtype: type of the stored maps; bfloat16 halves the disk space.

    Raises:
        ValueError: if a shard has another fingerprint, is truncated or is damaged.

    Example:
        >>> cache = FeatureCache('features', fingerprint)
        >>> cache.keys() >= {view_key(digests['a.jpg'], 1024, False)}
        True
    """

    def __init__(
        self,
        folder: Path | str,
        fingerprint: str,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.folder, self.fingerprint, self.dtype = Path(folder), fingerprint, dtype
        self._files: dict[Path, safe_open] = {}
        self._process = os.getpid()
        self.refresh()

    def refresh(self) -> None:
        """Read the index of all existing shards."""
        self._shard_of: dict[str, Path] = {}
        self._indexed: set[Path] = set()
        self.read_new()

    def read_new(self) -> None:
        """Read the index of shards that other processes have added."""
        for path in sorted(set(self.folder.glob('*.safetensors')) - self._indexed):
            keys = self._keys_of(path)
            self._indexed.add(path)
            self._shard_of.update(dict.fromkeys(keys, path))

    def _keys_of(self, path: Path) -> list[str]:
        """Keys in a shard; none if it was removed a moment ago."""
        with self._reading(path):
            try:
                opened = safe_open(path, framework='pt')
            except FileNotFoundError:
                return []
            with opened as file:
                stored = (file.metadata() or {}).get('fingerprint')
                keys = file.keys()
        if stored != self.fingerprint:
            raise InputError(
                f'{path} was written for another encoder or dtype '
                f'({stored}, here {self.fingerprint}); choose another folder, '
                'or delete this one'
            )
        return [key for key in keys if not key.endswith(_INFO)]

    def make_room(self, needed: int, keys: Collection[str], shared: bool) -> int:
        """Remove shards that have none of ``keys``, the least recently used first, for
        the folder to stay within ``FGCLIP2_CACHE_SIZE`` when maps are added.

        Called within :func:`fgclip2_det.io.locks.locked`.

        Args:
            needed: bytes to be added.
            keys: of the maps that are used now.
            shared: another process uses the folder, so that nothing may be removed.

        Returns:
            Bytes removed.

        Raises:
            ValueError: if the maps do not fit; names both sizes.
        """
        used = {self._shard_of[key] for key in keys if key in self._shard_of}
        for path in used:
            mark_used(path)
        limit = cache_limit(None)
        if limit is None:
            return 0
        excess = folder_bytes(self._indexed) + needed - limit
        if excess <= 0:
            return 0
        spare = set() if shared else self._indexed - used
        removed = remove_oldest(spare, excess)
        self.refresh()
        if removed < excess:
            reason = ' while another process uses the folder' if shared else ''
            raise InputError(
                f'{self.folder} may take {limit / 1e9:.3f} GB ({VARIABLE}) and the '
                f'maps need {(excess - removed) / 1e9:.3f} GB more{reason}; set a '
                'larger size, or take fewer views'
            )
        return removed

    def keys(self) -> set[str]:
        """Keys of all maps in the cache."""
        return set(self._shard_of)

    def __contains__(self, key: str) -> bool:
        return key in self._shard_of

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_files': {}, '_process': None}

    def read(self, key: str) -> tuple[Tensor, tuple[int, int]]:
        """A map (D, h, w) and the image's original size (h, w).

        Raises:
            KeyError: if there is no such key.
            ValueError: if its shard is damaged.
        """
        path = self._shard_of[key]
        if self._process != os.getpid():  # a fork must not share file positions
            self._files, self._process = {}, os.getpid()
        with self._reading(path):
            if path not in self._files:
                self._files[path] = safe_open(path, framework='pt')
            file = self._files[path]
            features = file.get_tensor(key)
            info = file.get_tensor(key + _INFO)
            plain = info.dtype == torch.int64 and info.shape == (3,)
            height, width, checksum = info.tolist() if plain else (0, 0, None)
            is_map = features.ndim == 3 and features.dtype == self.dtype
            if not is_map or min(height, width) < 1 or checksum != _checksum(features):
                raise OSError(f'checksum of {key}')  # reported like other damage
        return features, (height, width)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, OSError) as error:
            raise InputError(
                f'{path} is truncated or damaged ({error}); delete it to compute its '
                'maps again'
            ) from error


class FeatureWriter:
    """Fills a cache, shard by shard.

    Args:
        cache: cache to fill; ``refresh`` it when all processes are done.
        rank: rank of this process, part of its shards' names.
        shard_bytes: size in bytes at which a shard is written.

    Example:
        >>> with FeatureWriter(cache) as writer:
        ...     writer.add(key, features, (480, 640))
    """

    def __init__(
        self, cache: FeatureCache, rank: int = 0, shard_bytes: int = SHARD_BYTES
    ) -> None:
        self.cache, self.rank, self.shard_bytes = cache, rank, shard_bytes
        self._maps: dict[str, Tensor] = {}
        self._bytes = self._number = 0

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.flush()

    def add(self, key: str, features: Tensor, size: tuple[int, int]) -> None:
        """Add the map (D, h, w) of an image of ``size`` (h, w)."""
        kept = features.detach().to('cpu', self.cache.dtype).contiguous()
        self._maps[key] = kept
        self._maps[key + _INFO] = torch.tensor([*size, _checksum(kept)])
        self._bytes += kept.nbytes
        if self._bytes >= self.shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write the maps added since the last shard."""
        if not self._maps:
            return
        with locked(self.cache.folder):
            self.cache.read_new()
            for key in self.cache.keys() & self._maps.keys():  # by another process
                del self._maps[key], self._maps[key + _INFO]
            if self._maps:
                self._write()
        self._maps, self._bytes = {}, 0

    def _write(self) -> None:
        while (path := self._path()).exists():  # of another run or process
            self._number += 1
        with temporary_path(path) as partial:
            metadata = {'fingerprint': self.cache.fingerprint}
            save_file(self._maps, partial, metadata=metadata)

    def _path(self) -> Path:
        name = f'maps-{self.rank:03d}-{self._number:05d}.safetensors'
        return self.cache.folder / name


def view_key(digest: str, budget: int, flip: bool) -> str:
    """Key of a view: digest of the image file, patch budget, mirrored or not."""
    return f'{digest}|{budget}|{"flip" if flip else "plain"}'


def image_digests(
    paths: Iterable[str], backend_args: dict | None = None, num_threads: int = 8
) -> dict[str, str]:
    """SHA-256 digest of each file's content.

    Reading all files costs little, since an epoch reads a hundred times as much from
    the maps, and unlike size and modification time a digest identifies the image.

    Args:
        paths: paths of the images.
        backend_args: arguments of the file backend, as in MMEngine.
        num_threads: number of files read in parallel.

    Returns:
        Path -> digest; ``'unreadable PATH'`` for a file that cannot be read.
    """

    def digest(path: str) -> str:
        try:
            content = get(path, backend_args=backend_args)
        except OSError:  # the data set reports it, or skips the image
            return f'unreadable {path}'
        return hashlib.sha256(content).hexdigest()

    paths = list(dict.fromkeys(paths))
    with thread_map(digest, paths, num_threads) as results:
        digests = tqdm(results, 'images', len(paths), delay=1, disable=None)
        return dict(zip(paths, digests, strict=True))


def _checksum(features: Tensor) -> int:
    """CRC-32 of the bytes."""
    return zlib.crc32(features.view(torch.uint8).numpy().data)


def check_disk(folder: Path | str, needed: int) -> None:
    """Raise ``ValueError`` if fewer than ``needed`` bytes are free."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f'{folder} has {free / 1e9:.1f} GB free, the maps need '
            f'{needed / 1e9:.1f} GB; choose another folder or fewer views'
        )
