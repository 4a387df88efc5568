"""Rendering of OVShapes images: geometry, texture, overlap and background."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from .classes import ShapeClass

TEXTURES = ('solid', 'striped', 'dotted')
BACKGROUNDS = ('plain', 'gradient', 'clutter')
SIZE_RANGE = (28 / 256, 110 / 256)  # longer side of a box / image side
MIN_VISIBLE = 0.5  # visible fraction of every object
_SUPERSAMPLE = 4
# (hue, saturation, value) ranges; hues in degrees leave gaps between neighbours
_HSV = {
    'red': ((-7, 6), (0.82, 1.0), (0.75, 0.95)),
    'orange': ((24, 33), (0.88, 1.0), (0.92, 1.0)),
    'yellow': ((52, 59), (0.80, 1.0), (0.90, 1.0)),
    'green': ((110, 145), (0.65, 1.0), (0.45, 0.80)),
    'blue': ((208, 232), (0.75, 1.0), (0.65, 0.95)),
    'purple': ((276, 294), (0.60, 0.95), (0.50, 0.75)),
    'black': ((0, 360), (0.0, 0.2), (0.02, 0.10)),
    'white': ((0, 360), (0.0, 0.03), (0.95, 1.0)),
    'brown': ((18, 28), (0.62, 0.85), (0.34, 0.50)),
    'vermilion': ((13, 17), (0.85, 1.0), (0.80, 0.98)),
    'amber': ((40, 46), (0.85, 1.0), (0.90, 1.0)),
    'lime': ((76, 92), (0.80, 1.0), (0.85, 1.0)),
    'teal': ((155, 166), (0.65, 1.0), (0.45, 0.80)),
    'cyan': ((175, 187), (0.70, 1.0), (0.65, 0.92)),
    'azure': ((194, 200), (0.75, 1.0), (0.65, 0.95)),
    'indigo': ((244, 262), (0.65, 1.0), (0.55, 0.85)),
    'magenta': ((304, 314), (0.60, 0.95), (0.50, 0.80)),
    'pink': ((322, 338), (0.45, 0.75), (0.90, 1.0)),
    'charcoal': ((0, 360), (0.0, 0.15), (0.17, 0.24)),
    'cream': ((40, 60), (0.10, 0.25), (0.95, 1.0)),
}


@dataclass(frozen=True)
class ShapeObject:
    """One drawn object, with the attributes that captions use.

    Args:
        shape_class: its colour, shape and names.
        texture: one of ``TEXTURES``.
        bbox: (x1, y1, x2, y2) in pixels, tight box of the outline without occlusion.
        angle: counter-clockwise rotation in degrees.
        visible: visible fraction of the object, 0 to 1.
    """

    shape_class: ShapeClass
    texture: str
    bbox: tuple[float, float, float, float]
    angle: float
    visible: float = 1.0

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the box centre in pixels."""
        x1, y1, x2, y2 = self.bbox
        return (x1 + x2) / 2, (y1 + y2) / 2


def render_image(
    rng: np.random.Generator, classes: Sequence[ShapeClass], image_size: int = 256
) -> tuple[np.ndarray, list[ShapeObject]]:
    """Draw 2 to 6 objects of random classes on a random background.

    Args:
        rng: the only source of randomness.
        classes: classes that the objects are drawn from, with equal probability.
        image_size: side in pixels; object sizes scale with it.

    Returns:
        (image_size, image_size, 3) uint8 RGB and the objects, lowest first.
    """
    canvas, _, objects = _draw_objects(rng, classes, image_size)
    return _expose(rng, canvas), objects


def render_owners(
    rng: np.random.Generator, classes: Sequence[ShapeClass], image_size: int = 256
) -> tuple[np.ndarray, list[ShapeObject]]:
    """Whose pixel is whose, in the image that :func:`render_image` draws.

    Args:
        rng, classes, image_size: as of :func:`render_image`, the generator in the same
            state.

    Returns:
        (image_size, image_size) int8, the object that is on top where more than half of
        a pixel is its own, -1 for the background; and the objects.
    """
    _, owner, objects = _draw_objects(rng, classes, image_size)
    return owner, objects


def _draw_objects(
    rng: np.random.Generator, classes: Sequence[ShapeClass], image_size: int
) -> tuple[np.ndarray, np.ndarray, list[ShapeObject]]:
    """Canvas (float), topmost object of each pixel, and the objects."""
    canvas = _background(rng, image_size)
    owner = np.full((image_size, image_size), -1, np.int8)  # topmost object per pixel
    objects: list[ShapeObject] = []
    areas, shown = np.zeros((2, 6), int)  # pixels per object: all, and not yet hidden
    wanted = int(rng.integers(2, 7))
    for _ in range(8 * wanted):
        if len(objects) == wanted:
            break
        shape_class = classes[int(rng.integers(len(classes)))]
        points, angle = _place_outline(rng, shape_class.shape, image_size)
        window, alpha = _rasterise(points)
        inside = alpha > 0.5
        below = owner[window][inside]
        left = shown - np.bincount(below[below >= 0], minlength=6)
        if (left < MIN_VISIBLE * areas).any():
            continue
        texture = TEXTURES[rng.integers(len(TEXTURES))]
        color = _paint(rng, shape_class.color, texture, alpha.shape)
        canvas[window] += alpha[..., None] * (color - canvas[window])
        owner[window][inside] = len(objects)
        shown = left
        shown[len(objects)] = areas[len(objects)] = inside.sum()
        bbox = (*points[0].min(0).tolist(), *points[0].max(0).tolist())
        objects.append(ShapeObject(shape_class, texture, bbox, angle))
    visible = (shown[: len(objects)] / areas[: len(objects)]).tolist()
    objects = [replace(o, visible=v) for o, v in zip(objects, visible, strict=True)]
    return canvas, owner, objects


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Apply brightness and sensor noise, and convert to 8 bits."""
    noise = rng.standard_normal(canvas.shape[:2], dtype=np.float32)
    noise *= np.float32(rng.uniform(0, 9))
    canvas *= np.float32(rng.uniform(0.82, 1.12))
    canvas += noise[..., None]
    return canvas.clip(0, 255, out=canvas).astype(np.uint8)


def _arc(start: float, stop: float, radius: float = 1.0, x: float = 0.0) -> np.ndarray:
    """(40, 2) points of a circle around (x, 0); angles in degrees."""
    t = np.radians(np.linspace(start, stop, 40))
    return np.stack([x + radius * np.cos(t), radius * np.sin(t)], 1)


def _crescent() -> np.ndarray:
    """A unit disc without the disc of radius 0.85 around (0.45, 0)."""
    x = (0.45**2 + 1 - 0.85**2) / 0.9  # where the two circles meet
    y = math.sqrt(1 - x * x)
    tip = math.degrees(math.atan2(y, x))
    inner_tip = math.degrees(math.atan2(y, x - 0.45))
    back = _arc(360 - inner_tip, inner_tip, 0.85, 0.45)
    return np.concatenate([_arc(tip, 360 - tip), back])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 60)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], 1)


def _star() -> np.ndarray:
    t = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]
    return radius * np.stack([np.cos(t), np.sin(t)], 1)


def _cross() -> np.ndarray:
    quarter = _polygon(-1, -0.34, -0.34, -0.34, -0.34, -1)
    turn = np.array([[0, 1], [-1, 0]])  # by 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _polygon(*xy: float) -> np.ndarray:
    return np.array(xy, float).reshape(-1, 2)


# Per shape the outer outline and, for the ring, its hole; any unit
_OUTLINES = {
    'circle': [_arc(0, 360)],
    'square': [_polygon(-1, -1, 1, -1, 1, 1, -1, 1)],
    'triangle': [_polygon(0, -1, 0.866, 0.5, -0.866, 0.5)],
    'diamond': [_polygon(0, -1, 0.56, 0, 0, 1, -0.56, 0)],
    'star': [_star()],
    'heart': [_heart()],
    'cross': [_cross()],
    'arrow': [
        _polygon(1, 0, 0.1, -0.8, 0.1, -0.3, -1, -0.3, -1, 0.3, 0.1, 0.3, 0.1, 0.8)
    ],
    'crescent': [_crescent()],
    'ring': [_arc(0, 360), _arc(0, 360, 0.55)],
}


def _place_outline(
    rng: np.random.Generator, shape: str, image_size: int
) -> tuple[list[np.ndarray], float]:
    """Rotate, scale and move an outline to a random position inside the image.

    Returns:
        Outer outline and holes, each (n, 2) as (x, y) pixels, and the angle.
    """
    angle = rng.uniform(-45, 45)
    side = math.exp(rng.uniform(*np.log(SIZE_RANGE))) * image_size
    t = math.radians(-angle)  # y points down
    rotation = np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])
    points = [p @ rotation for p in _OUTLINES[shape]]
    low, high = points[0].min(0), points[0].max(0)
    scale = side / (high - low).max()
    corner = rng.uniform(1, image_size - 1 - (high - low) * scale)
    return [(p - low) * scale + corner for p in points], angle


def _rasterise(points: list[np.ndarray]) -> tuple[tuple[slice, slice], np.ndarray]:
    """Window (rows, columns) that holds the outline and its (h, w) coverage, 0 to 1."""
    left, top = np.floor(points[0].min(0)).astype(int)
    right, bottom = np.ceil(points[0].max(0)).astype(int)
    size = ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE)
    mask = Image.new('L', size)
    draw = ImageDraw.Draw(mask)
    for value, outline in zip((255, 0), points, strict=False):
        corners = (outline - (left, top)) * _SUPERSAMPLE - 0.5
        draw.polygon(corners.ravel().tolist(), fill=value)
    alpha = np.asarray(mask.reduce(_SUPERSAMPLE), np.float32) / 255
    return (slice(top, bottom), slice(left, right)), alpha


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32, 0 to 255; hue in degrees."""
    rgb = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return np.array(rgb, np.float32) * 255


def _paint(
    rng: np.random.Generator, color: str, texture: str, shape: tuple[int, int]
) -> np.ndarray:
    """(h, w, 3) float32 or (3,): the colour, with paler stripes or dots if textured."""
    main = _rgb(*(rng.uniform(*limits) for limits in _HSV[color]))
    if texture == 'solid':
        return main
    # white would turn grey stripes, black dark grey ones
    towards, share = (128, 0.45) if color in ('black', 'white') else (255, 0.55)
    second = main + share * (towards - main)
    pattern = _pattern(rng, texture, shape)
    return main + pattern[..., None] * (second - main)


def _pattern(
    rng: np.random.Generator, texture: str, shape: tuple[int, int]
) -> np.ndarray:
    """(h, w) float32 weight of the second tone, 0 to 1, edges one pixel soft."""
    period = max(5.0, max(shape) * rng.uniform(0.16, 0.24))
    t = rng.uniform(0, math.pi)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    u = (x * math.cos(t) + y * math.sin(t)) / period + rng.uniform()
    v = (y * math.cos(t) - x * math.sin(t)) / period + rng.uniform()
    du, dv = np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5)  # 0 in the middle of a cell
    if texture == 'striped':
        return (0.5 + (0.2 - du) * period).clip(0, 1)
    return (0.5 + (0.3 - np.hypot(du, dv)) * period).clip(0, 1)


def _muted(rng: np.random.Generator) -> tuple[int, int, int]:
    """A greyish mid-tone, which is no colour of objects."""
    color = _rgb(rng.uniform(0, 360), rng.uniform(0, 0.22), rng.uniform(0.36, 0.68))
    return tuple(color.astype(int).tolist())


def _background(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """(image_size, image_size, 3) float32, 0 to 255."""
    kind = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    first, last = np.array(_muted(rng), np.float32), np.array(_muted(rng), np.float32)
    if kind == 'plain':
        return np.tile(first, (image_size, image_size, 1))
    t = rng.uniform(0, 2 * math.pi)
    steps = np.linspace(-0.35, 0.35, image_size, dtype=np.float32)
    ramp = 0.5 + np.add.outer(steps * math.sin(t), steps * math.cos(t))
    image = first + ramp[..., None] * (last - first)
    if kind == 'clutter':
        image = _clutter(rng, image)
    return image


def _clutter(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Draw greyish polygons and lines over an image, at twice its resolution."""
    side = 2 * len(image)
    canvas = Image.fromarray(image.astype(np.uint8)).resize(
        (side, side), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(3, 9)):
        centre = rng.uniform(0, side, 2)
        corners = centre + rng.uniform(-0.2, 0.2, (rng.integers(3, 6), 2)) * side
        draw.polygon(corners.ravel().tolist(), fill=_muted(rng))
    for _ in range(rng.integers(4, 12)):
        ends = rng.uniform(0, side, 4).tolist()
        draw.line(ends, fill=_muted(rng), width=int(rng.integers(2, 9)))
    return np.asarray(canvas.reduce(2), np.float32)
