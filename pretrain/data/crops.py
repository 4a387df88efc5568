"""Object-centred crops: one square view per box of a sample."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from pretrain.data.records import Sample


def object_samples(
    sample: Sample,
    image_size: int,
    rng: np.random.Generator,
    context: float | Sequence[float] = 1.25,
    jitter: float = 0.1,
    position_grid: int | None = None,
) -> list[Sample]:
    """One sample per box, whose image shows the box and some context.

    The region is a square, moved into the image where it reaches outside. Where
    the image is narrower than the square, the region is as narrow as the image, so
    that nothing is stretched or invented. The whole box stays visible.

    Args:
        sample: n boxes.
        image_size: pixels of the longer side of each view.
        rng: of the jitter.
        context: side of the square over the longer side of the box, 1 or more; of two
            numbers, anything between them, log-uniform. A range shows objects at many
            sizes, without which what is learned holds for one size alone.
        jitter: the square's side and its place vary by up to this share of it.
        position_grid: patches a side of the scene that a view counts as a part of,
            at a random place: its patches get the positions they have there, so that
            what is learned from views serves whole scenes. None: the view is a
            complete image.

    Returns:
        n samples with one box each: the object in the view's pixels. The phrase is
        the short caption; the long one is the long expression, or the phrase.
    """
    views = []
    bboxes: Any = sample.bboxes.astype(np.float64)
    for number, bbox in enumerate(bboxes):
        region = _region(bbox, sample.image.size, rng, context, jitter)
        size = region[2:] - region[:2]  # (w, h)
        scale = image_size / size.max()
        width, height = np.maximum(np.round(size * scale), 1).astype(int).tolist()
        view = sample.image.resize(
            (width, height), Image.Resampling.BILINEAR, box=tuple(region.tolist())
        )
        offset, ratio = np.tile(region[:2], 2), np.array([width, height] * 2)
        inside = (bbox - offset) / np.tile(size, 2) * ratio
        phrase, truths = sample.phrases[number], sample.true_texts[number]
        views.append(
            replace(
                sample,
                image=view,
                short=phrase,
                long=truths[1] or phrase,
                bboxes=np.clip(inside, 0, ratio)[None].astype(np.float32),
                phrases=[phrase],
                hard_positives=[sample.hard_positives[number]],
                hard_negatives=[sample.hard_negatives[number]],
                true_texts=[truths],
                window=position_grid and (position_grid, *rng.random(2).tolist()),
                image_id=sample.image_id and f'{sample.image_id}#{number}',
            )
        )
    return views


def _region(
    bbox: np.ndarray,
    image_size: tuple[int, int],
    rng: np.random.Generator,
    context: float | Sequence[float],
    jitter: float,
) -> np.ndarray:
    """xyxy of the region around a box, in pixels of the image."""
    low, high = bbox[:2], bbox[2:]
    if isinstance(context, Sequence):
        context = math.exp(rng.uniform(*np.log(context)))
    factors = 1 + jitter * rng.uniform(-1, 1, 3)  # of the side, and of the place
    side = (high - low).max() * max(context * factors[0], 1)
    size = np.minimum(side, image_size)  # (w, h)
    start = (low + high - size) / 2 + (factors[1:] - 1) * side
    start = np.clip(start, high - size, low)  # the box stays inside
    start = np.clip(start, 0, np.array(image_size) - size)
    return np.concatenate([start, np.minimum(start + size, image_size)])
