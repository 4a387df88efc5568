"""Near-duplicate images, by a 64-bit difference hash.

An image becomes a grey thumbnail of 9 x 8 pixels; a bit says whether a pixel is
darker than its right neighbour. Copies of another size or JPEG quality differ in a few
bits, unrelated photographs in about 32 of 64. Flips, crops and rotations are not
detected; unrelated images that look alike at 9 x 8 pixels are: look at the images that
are named.

Source: the difference hash 'dHash' of N. Krawetz, hackerfactor.com, 2013.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fgclip2_det.fgclip2.image import open_image, upright
from fgclip2_det.io import InputError
from fgclip2_det.io.threads import thread_map

_SIDE = 8
_DRAFT = (
    16 * _SIDE,
    16 * _SIDE,
)  # JPEG is decoded at about this size: several times faster
_FLAT = 8  # grey levels: the signs of smaller differences are noise
_BLOCK = 1 << 23  # pairs compared at once: 32 MB of float32


def difference_hash(path: Path | str) -> np.ndarray | None:
    """(64,) bool, row by row: a pixel is darker than its right neighbour.

    None for an image of (nearly) one colour, which has no differences to compare.

    Raises:
        ValueError: naming the file, if it cannot be read.
    """
    with open_image(path) as image:
        image.draft('L', _DRAFT)
        return hash_of(upright(image))


def hash_of(image: Image.Image) -> np.ndarray | None:
    """:func:`difference_hash` of an upright image in memory."""
    grey = image.convert('L')
    small = grey.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.int16)  # (8, 9)
    if np.ptp(pixels) < _FLAT:
        return None
    return (pixels[:, :-1] < pixels[:, 1:]).ravel()


def hash_images(
    paths: Sequence[Path],
    bar: Callable[[Iterable], Iterable] = iter,
    workers: int = 4,
) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of images, read by threads.

    Args:
        paths: N files.
        bar: wraps the images, to show progress.
        workers: number of threads.

    Returns:
        (N, 64) bool hashes and (N,) bool, True where the image is flat and its hash
        means nothing.

    Raises:
        ValueError: as :func:`difference_hash`.
    """
    hashes = np.zeros((len(paths), _SIDE * _SIDE), dtype=bool)
    flat = np.zeros(len(paths), dtype=bool)
    with thread_map(difference_hash, paths, workers) as results:
        for i, bits in enumerate(bar(results)):
            flat[i] = bits is None
            if bits is not None:
                hashes[i] = bits
    return hashes, flat


def close_pairs(
    first: np.ndarray, second: np.ndarray, max_distance: int = 4
) -> Iterator[tuple[int, int, int]]:
    """Pairs of hashes that differ in few bits: (index, index, distance).

    Pairs come by rising index of ``first``, then of ``second``. Signs +1 and -1 have
    the product 64 - 2 x distance, so that a block of pairs is one matrix product:
    100,000 x 5,000 pairs take seconds and a few dozen MB.

    Args:
        first: (N, 64) bool.
        second: (M, 64) bool.
        max_distance: 0 to 64.

    Raises:
        ValueError: if ``max_distance`` is out of range.
    """
    if not 0 <= max_distance <= first.shape[1]:
        raise InputError(
            f'the distance must be 0 to {first.shape[1]} bits, got {max_distance}'
        )
    others = second.T.astype(np.float32) * 2 - 1
    rows = max(1, _BLOCK // max(1, len(second)))
    for start in range(0, len(first), rows):
        signs = first[start : start + rows].astype(np.float32) * 2 - 1
        products = signs @ others  # whole numbers up to 64: exact
        close = np.nonzero(products >= first.shape[1] - 2 * max_distance)
        for i, j in zip(*close, strict=True):
            distance = int(first.shape[1] - products[i, j]) // 2
            yield start + int(i), int(j), distance


def duplicate_groups(
    hashes: np.ndarray, flat: np.ndarray | None = None, max_distance: int = 4
) -> list[list[int]]:
    """Groups of images that are linked by close hashes, those of one image left out.

    Args:
        hashes: (N, 64) bool.
        flat: (N,) bool, images whose hash means nothing; None: none of them.
        max_distance: bits in which two linked images differ at most.

    Returns:
        Rising indices of each group of two images or more, by their first.
    """
    used = np.arange(len(hashes)) if flat is None else np.flatnonzero(~flat)
    leader = list(range(len(used)))

    def first(i: int) -> int:
        while leader[i] != i:
            leader[i] = i = leader[leader[i]]
        return i

    for i, j, _ in close_pairs(hashes[used], hashes[used], max_distance):
        if i < j:
            low, high = sorted((first(i), first(j)))
            leader[high] = low
    groups: dict[int, list[int]] = {}
    for i, own in enumerate(used):
        groups.setdefault(first(i), []).append(int(own))
    return [group for group in groups.values() if len(group) > 1]
