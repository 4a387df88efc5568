"""Pairs of ask and name, and the boxes that answer them, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths
from fgclip2_det.coco.results import Results

from ..image_boxes import ImageBoxes
from .asks import Ask, K, check_ks
from .name_pools import counted_objects


@dataclass(frozen=True)
class AskedPairs:
    """P pairs of ask and name, in the order of the asks and of their names.

    Attributes:
        ks: numbers of names, rising, 'all' last.
        starts: (A + 1,) first pair of each ask; the last is P.
        k: (P,) index into ``ks``.
        image, category: (P,) indices into the ground truth.
        keys: (P,) :meth:`.Truths.keys` of both.
        present: (P,) bool, the image has an object of that name that counts.
        absent: (P,) bool, it has none at all; crowds alone are neither.
    """

    ks: tuple[K, ...]
    starts: np.ndarray
    k: np.ndarray
    image: np.ndarray
    category: np.ndarray
    keys: np.ndarray
    present: np.ndarray
    absent: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def ask_of_pairs(self) -> np.ndarray:
        """(P,) index of each pair's ask."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@dataclass(frozen=True)
class AskedBoxes:
    """N boxes that answer pairs.

    Attributes:
        pair: (N,) index of the pair.
        bboxes: (N, 4) float64 xywh in pixels.
        scores: (N,) float64 in [0, 1].
    """

    pair: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray


def pairs_of(asks: Sequence[Ask], truths: Truths) -> AskedPairs:
    """Columns of asks.

    Raises:
        ValueError: on an image or category that the ground truth does not have, and on
            two asks of one image with the same k.
    """
    if not asks:
        raise ValueError('there are no asks; the annotations need images and names')
    seen = set()
    for ask in asks:
        if (ask.image_id, ask.k) in seen:
            raise ValueError(
                f'ask {ask.id} is the second of image {ask.image_id!r} with k {ask.k}; '
                'an image is asked once for each k'
            )
        seen.add((ask.image_id, ask.k))
    ks = check_ks(list({ask.k: None for ask in asks}))
    places = {k: n for n, k in enumerate(ks)}
    counts = [len(ask.category_ids) for ask in asks]
    images = [_index(truths.image_index, ask.image_id, ask, 'image') for ask in asks]
    image = np.repeat(images, counts).astype(np.int64)
    category = np.array(
        [_index(truths.category_index, c, ask, 'category')
         for ask in asks for c in ask.category_ids], np.int64)  # fmt: skip
    keys = truths.keys(image, category)
    labelled = truths.keys(truths.image, truths.category)
    return AskedPairs(
        ks=ks,
        starts=np.concatenate([[0], np.cumsum(counts)]),
        k=np.repeat([places[ask.k] for ask in asks], counts).astype(np.int64),
        image=image,
        category=category,
        keys=keys,
        present=np.isin(keys, labelled[counted_objects(truths)]),
        absent=~np.isin(keys, labelled),
    )


def boxes_of_asks(asks: Sequence[Ask], boxes: Sequence[ImageBoxes]) -> AskedBoxes:
    """Boxes of each ask, whose labels index the names of that ask.

    Raises:
        ValueError: if there are not as many as asks, or a label is beyond the names.
    """
    if len(asks) != len(boxes):
        raise ValueError(f'there are {len(asks)} asks but boxes of {len(boxes)}')
    first = 0
    pair: list[np.ndarray] = [np.zeros(0, np.int64)]
    bboxes: list[np.ndarray] = [np.zeros((0, 4))]
    scores: list[np.ndarray] = [np.zeros(0)]
    for ask, own in zip(asks, boxes, strict=True):
        labels = np.asarray(own.labels, np.int64)
        if own.scores is None or not ((labels >= 0) & (labels < len(ask.names))).all():
            raise ValueError(
                f'ask {ask.id} has {len(ask.names)} names; its boxes need scores, and '
                f'labels below that, got {labels[:5].tolist()}'
            )
        pair.append(first + labels)
        bboxes.append(np.asarray(own.bboxes, np.float64).reshape(-1, 4))
        scores.append(np.asarray(own.scores, np.float64))
        first += len(ask.names)
    return AskedBoxes(*(np.concatenate(part) for part in (pair, bboxes, scores)))


def boxes_of_all_names(
    pairs: AskedPairs, results: Results, truths: Truths
) -> AskedBoxes:
    """What each ask is answered by a detector that was run once with all its names:
    each image's boxes of the names that are asked for."""
    keys = truths.keys(results.image, results.category)
    pair, row = match_keys(pairs.keys, keys)
    return AskedBoxes(pair, results.bboxes[row], results.scores[row])


def match_keys(wanted: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All combinations of equal keys.

    Args:
        wanted: (P,) int.
        keys: (N,) int.

    Returns:
        (M,) indices into ``wanted``, rising, and (M,) indices into ``keys``, in the
        order of ``keys`` for each of them.
    """
    order = np.argsort(keys, kind='stable')
    start = np.searchsorted(keys[order], wanted, 'left')
    counts = np.searchsorted(keys[order], wanted, 'right') - start
    ends = np.cumsum(counts)
    within = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    return np.repeat(np.arange(len(wanted)), counts), order[
        np.repeat(start, counts) + within
    ]


def _index(index: dict, key: int | str, ask: Ask, kind: str) -> int:
    place = index.get(key, LEFT_OUT)
    if place == LEFT_OUT:
        raise ValueError(
            f'ask {ask.id}: {kind} {key!r} is not in the annotation file, or does not '
            'count; draw the asks from that file'
        )
    return place
