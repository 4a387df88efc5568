"""Shapes of labelling tools, as boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fgclip2_det.coco.checks import is_number

from .records import OwnBox


def around(points: Sequence[float]) -> list[float]:
    """x, y, width, height of the upright box around x, y, x, y, ..."""
    xs, ys = points[::2], points[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def corner_box(name: str, x1: float, y1: float, x2: float, y2: float) -> OwnBox:
    """A box of two opposite corners, whichever was drawn first."""
    return OwnBox(name, around([x1, y1, x2, y2]))


def polygon(name: str, points: Sequence[float]) -> OwnBox:
    """A box around a polygon x, y, x, y, ..., which is kept."""
    return OwnBox(name, around(points), {'segmentation': [list(points)]})


def turned_box(
    name: str, x: float, y: float, w: float, h: float, degrees: float, about: str
) -> OwnBox:
    """The upright box around a rectangle that is turned clockwise.

    Args:
        name: of the class.
        x, y, w, h: the rectangle before it is turned, in pixels.
        degrees: by which it is turned.
        about: 'corner', its upper left one as in Label Studio, or 'center' as in CVAT.
    """
    turn = math.radians(degrees)
    px, py = (x, y) if about == 'corner' else (x + w / 2, y + h / 2)
    points = []
    for cx, cy in ((x, y), (x + w, y), (x + w, y + h), (x, y + h)):
        dx, dy = cx - px, cy - py
        points.append(px + dx * math.cos(turn) - dy * math.sin(turn))
        points.append(py + dx * math.sin(turn) + dy * math.cos(turn))
    return OwnBox(name, [round(value, 6) for value in around(points)])


def as_size(width: Any, height: Any) -> tuple[float, float] | None:
    """(width, height) of two positive numbers; None for anything else."""
    if is_number(width) and is_number(height) and width > 0 and height > 0:
        return float(width), float(height)
    return None


def four_numbers(values: object) -> list[float] | None:
    """Four finite numbers of a list; None for anything else."""
    if not isinstance(values, list) or len(values) != 4:
        return None
    return [float(v) for v in values] if all(map(is_number, values)) else None


def flat_points(value: object) -> list[float] | None:
    """x, y, x, y, ... of a list of pairs; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    flat: list[float] = []
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return None
        if not all(map(is_number, pair)):
            return None
        flat += map(float, pair)
    return flat
