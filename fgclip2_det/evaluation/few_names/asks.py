"""Asks: a few names for an image, of which half are there.

A detector that is asked for names does not know which of them the image has. Each
image is asked for 1, 2, 5, 20 and all names; half of a few names are present, half
absent, and the names of a smaller ask are among those of a larger one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.ground_truths import Truths

from .languages import names_in
from .name_pools import NamePools, name_pools
from .nearness import Nearness

ALL = 'all'
DEFAULT_KS = (1, 2, 5, 20, ALL)
MODES = ('random', 'hard')
K = int | str  # a number of names, or ALL


@dataclass(frozen=True)
class Ask:
    """Names that a detector is asked for in one image, in one call.

    Attributes:
        id: counts from 1; rows of results have it as ``ask_id``.
        image_id, file_name: of the annotation file; ``file_name`` may be None.
        names: to ask for, in the order of the categories, whatever is present.
        category_ids: of each name.
        k: the number of names that was wanted, or 'all'. There are fewer names where
            the image has fewer that are known to be present or absent.
    """

    id: int
    image_id: int | str
    file_name: str | None
    names: tuple[str, ...]
    category_ids: tuple[int | str, ...]
    k: K


def draw_asks(
    truths: Truths,
    ks: Sequence[K] = DEFAULT_KS,
    seed: int = 0,
    mode: str = 'random',
    *,
    names: Sequence[str] | None = None,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    negatives: Mapping[int | str, Collection] | None = None,
) -> list[Ask]:
    """Draw the asks of every image.

    An image's draw depends on its id, the seed and the annotations alone: neither
    other images nor other ``ks`` change it. Of an even k half of the names are
    present, of an odd one a coin decides which half has one more. Where there are
    too few names of one half, the other fills up.

    Args:
        truths: the ground truth. Absent is what has no object, or for LVIS (images with
            ``neg_category_ids``) what is in that list alone.
        ks: numbers of names and 'all'; any order.
        seed: not negative.
        mode: how absent names are chosen: 'random', or 'hard': nearest to the present
            ones (:class:`.Nearness`).
        names: what to ask for by category, (K,), such as Chinese names; the
            categories' own when None. The draw does not depend on them.
        embed: for 'hard': K names -> (K, D) text embeddings.
        negatives: image id -> ids of categories that are absent, of files that say so
            in their annotations, such as FG-OVD; no other is asked for then.

    Returns:
        Asks by image in the order of ``truths``, then by rising k; images of which
        nothing is known have none.

    Raises:
        ValueError: on impossible arguments; for 'hard' without ``embed`` where a
            present name shares a word with no other.

    Example:
        >>> asks = draw_asks(read_truths('val.json'), ks=(2,), seed=0)
        >>> asks[0].names
        ('red square', 'blue star')
    """
    ks = check_ks(ks)
    check_draw(seed, mode)
    pools = name_pools(truths, negatives)
    own = names_in(truths.categories)
    if names is not None and len(names) != len(own):
        raise ValueError(f'there are {len(own)} categories but {len(names)} names')
    nearness = None
    if mode == 'hard' and not pools.from_annotations:
        nearness = Nearness(own, embed)
    asked = own if names is None else list(names)
    asks: list[Ask] = []
    for i, image in enumerate(truths.images):
        for k, chosen in _draw(image['id'], i, pools, ks, seed, nearness):
            asks.append(
                Ask(
                    len(asks) + 1,
                    image['id'],
                    truths.file_names.get(image['id']),
                    tuple(asked[c] for c in chosen),
                    tuple(truths.categories[c]['id'] for c in chosen),
                    k,
                )
            )
    return asks


def check_ks(ks: Sequence[K]) -> tuple[K, ...]:
    """The numbers of names, rising, 'all' last.

    Raises:
        ValueError: none, twice the same, or one that is neither positive nor 'all'.
    """
    wrong = [k for k in ks if k != ALL and (type(k) is not int or k < 1)]
    if wrong or not ks or len(set(ks)) < len(ks):
        raise ValueError(
            f"ks must be different numbers from 1 on, and 'all', got {list(ks)}"
        )
    numbers: list[K] = sorted(k for k in ks if isinstance(k, int))
    return tuple(numbers + [ALL] * (ALL in ks))


def check_draw(seed: int, mode: str) -> None:
    """ValueError on a negative seed or an unknown mode."""
    if mode not in MODES:
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
    if type(seed) is not int or seed < 0:
        raise ValueError(f'seed must be a whole number from 0 on, got {seed!r}')


def _draw(
    image_id: int | str,
    image: int,
    pools: NamePools,
    ks: Sequence[K],
    seed: int,
    nearness: Nearness | None,
) -> list[tuple[K, list[int]]]:
    """(k, rising category indices) of one image."""
    stream = image_stream(seed, image_id)
    rng = np.random.default_rng(stream)
    present = rng.permutation(pools.present[image])
    absent = rng.permutation(pools.absent[image])
    if nearness is not None and any(k != ALL for k in ks):
        absent = nearness.nearest_first(present, absent, image_id)
    drawn = []
    for k in ks:
        if isinstance(k, int):
            coin = int(np.random.default_rng([*stream, k]).integers(2))
            wanted = min((k + coin) // 2, len(present))
            num_absent = min(k - wanted, len(absent))
            chosen = [*present[: k - num_absent], *absent[:num_absent]]
        else:
            chosen = [*present, *absent, *pools.unsure[image]]
        if chosen:
            drawn.append((k, sorted(int(c) for c in chosen)))
    return drawn


def image_stream(seed: int, image_id: int | str) -> list[int]:
    """Seed of the random numbers of one image, whatever other images there are."""
    digest = hashlib.sha256(str(image_id).encode()).digest()
    return [seed, *np.frombuffer(digest[:16], '<u4').tolist()]
