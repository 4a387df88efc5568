"""Masks of objects of which only the box is known."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST = 96  # pixels of the region that is cut, so that large objects take no longer
MARGIN = 0.25  # of the longer side around the box: what the background looks like
CORE = (0.12, 0.35)  # half width and height, of the box: surely the object
ROUNDS = 3
SEEDS = 3  # beginnings that are tried until something is found
LEAST = 0.1  # of the box: a smaller mask is none


def box_mask(image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The object in a box, cut from what surrounds the box.

    GrabCut (Rother et al., SIGGRAPH 2004) on the box with a margin: outside is
    background, a core in the middle is object, the rest is decided by colour. The same
    for the same input.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) xyxy in pixels, inside the image.

    Returns:
        (h, w) bool of the region that :func:`outer_box` gives, its longer side at most
        ``LONGEST``, for :func:`enlarge`; None where nothing was found that fills a
        tenth of the box.
    """
    left, top, right, bottom = outer_box(box, image.shape[:2])
    region = image[top:bottom, left:right]
    x1, y1, x2, y2 = box - np.array([left, top, left, top], box.dtype)
    height, width = region.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(2, round(width * scale)), max(2, round(height * scale))
    small = cv2.resize(region, size, interpolation=cv2.INTER_AREA)
    x1, x2 = (value * size[0] / width for value in (x1, x2))
    y1, y2 = (value * size[1] / height for value in (y1, y2))
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1])[:, None] + 0.5
    inside = (columns >= x1) & (columns <= x2) & (rows >= y1) & (rows <= y2)
    core = (abs(columns - (x1 + x2) / 2) <= CORE[0] * (x2 - x1)) & (
        abs(rows - (y1 + y2) / 2) <= CORE[1] * (y2 - y1)
    )
    if not core.any() or inside.all():
        return None
    marks = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    marks[core] = cv2.GC_FGD
    for seed in range(SEEDS):
        mask = _grab_cut(small, marks, seed)
        if mask.sum() >= LEAST * inside.sum():
            return mask
    return None


def enlarge(mask: np.ndarray, place: tuple[int, int, int, int]) -> np.ndarray:
    """A mask at the size of its region (x1, y1, x2, y2) in whole pixels."""
    left, top, right, bottom = place
    return cv2.resize(mask.astype(np.float32), (right - left, bottom - top)) > 0.5


def _grab_cut(image: np.ndarray, marks: np.ndarray, seed: int) -> np.ndarray:
    """(h, w) bool; its colour models begin with k-means on random centres, drawn by a
    generator of this thread that goes on from call to call unless it is seeded."""
    marks, models = marks.copy(), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(seed)
    unused = 0, 0, 1, 1  # a rectangle, which marks replace
    cv2.grabCut(image, marks, unused, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)


def outer_box(box: np.ndarray, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box with its margin as whole pixels (x1, y1, x2, y2) of an image of ``shape``
    (height, width)."""
    x1, y1, x2, y2 = box
    margin = MARGIN * max(x2 - x1, y2 - y1)
    height, width = shape
    return (
        max(0, int(np.floor(x1 - margin))),
        max(0, int(np.floor(y1 - margin))),
        min(width, int(np.ceil(x2 + margin))),
        min(height, int(np.ceil(y2 + margin))),
    )
