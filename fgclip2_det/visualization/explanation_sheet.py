"""A sheet with a box, bars of its values, and a heat map of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from fgclip2_det.visualization.draw import _fit, _font, class_color, draw_detections

SIDE = 520  # pixels of an image's longer side
GAP, ROW, FONT_SIZE = 16, 24, 15
LABEL, BAR, NUMBER = 250, 230, 62  # widths in pixels
PAPER, INK, PALE = '#f4f4f2', '#202124', '#dcdcd8'
# anchors of a dark-to-bright scale whose order survives a grey print
HEAT = np.array(
    [[20, 15, 60], [90, 25, 120], [190, 55, 85], [245, 125, 20], [250, 240, 150]]
)


class Bars(NamedTuple):
    """A group of bars.

    Attributes:
        title: above them.
        rows: names and values.
        span: values of an empty and of a full bar.
    """

    title: str
    rows: list[tuple[str, float]]
    span: tuple[float, float]


def explanation_sheet(
    rgb: Image.Image,
    bbox: Sequence[float],
    name: str,
    score: float,
    heat: np.ndarray,
    heat_size: tuple[float, float],
    bars: Sequence[Bars],
) -> Image.Image:
    """Image with the box and heat map on the left, bars on the right.

    Args:
        rgb: upright RGB.
        bbox: xyxy in its pixels.
        name, score: of the box; English or Chinese.
        heat: (h, w) values, dark to bright over their range.
        heat_size: (w, h) in the image's pixels that ``heat`` covers.
        bars: groups, from top to bottom.

    Returns:
        RGB image.
    """
    zoom = SIDE / max(rgb.size)
    width, height = rgb.size
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    scaled = [value * zoom for value in bbox]
    shown = rgb.resize(size, Image.Resampling.LANCZOS)
    views = [
        draw_detections(shown, [scaled], [name], [score]),
        _outlined(heat_picture(shown, heat, heat_size, zoom), scaled),
    ]
    column = LABEL + BAR + NUMBER
    left = sum(view.height + GAP for view in views)
    right = sum((len(group.rows) + 2) * ROW for group in bars)
    sheet = Image.new(
        'RGB', (size[0] + column + 3 * GAP, max(left, right) + GAP), PAPER
    )
    top = GAP
    for view in views:
        sheet.paste(view, (GAP, top))
        top += view.height + GAP
    canvas, top = ImageDraw.Draw(sheet), GAP
    for group in bars:
        top = _draw_bars(canvas, group, (size[0] + 2 * GAP, top), name)
    return sheet


def heat_picture(
    rgb: Image.Image, heat: np.ndarray, heat_size: tuple[float, float], zoom: float
) -> Image.Image:
    """A grey image under its heat map.

    Args:
        rgb: RGB.
        heat: (h, w).
        heat_size: (w, h) that it covers before ``zoom``.
        zoom: of the image.
    """
    low, high = float(heat.min()), float(heat.max())
    share = (heat - low) / max(high - low, 1e-6)
    covered = [max(1, round(side * zoom)) for side in heat_size]
    grown = Image.fromarray(share.astype(np.float32)).resize(
        (covered[0], covered[1]), Image.Resampling.BILINEAR
    )
    share = np.asarray(grown.crop((0, 0, *rgb.size))).clip(0, 1)
    place = share * (len(HEAT) - 1)
    below = place.astype(int).clip(max=len(HEAT) - 2)
    rest = (place - below)[..., None]
    colors = HEAT[below] * (1 - rest) + HEAT[below + 1] * rest
    grey = np.asarray(rgb.convert('L'))[..., None]
    return Image.fromarray((0.7 * colors + 0.3 * grey).astype(np.uint8))


def _outlined(image: Image.Image, bbox: Sequence[float]) -> Image.Image:
    x0, y0, x1, y1 = bbox
    corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    ImageDraw.Draw(image).rectangle(corners, outline='#ffffff', width=2)
    return image


def _draw_bars(
    canvas: ImageDraw.ImageDraw, group: Bars, corner: tuple[int, int], own: str
) -> int:
    """Draw a group; returns where the next begins."""
    font, (left, top) = _font(FONT_SIZE), corner
    low, high = group.span
    width = LABEL + BAR + NUMBER
    title = _fit(group.title, '', font, width)
    canvas.text((left, top + ROW / 2), title, font=font, anchor='lm', fill='#6a6a66')
    for name, value in group.rows:
        top += ROW
        middle, start = top + ROW / 2, left + LABEL
        text = _fit(name, '', font, LABEL - 8)
        canvas.text((left, middle), text, font=font, anchor='lm', fill=INK)
        box = (start, middle - 7, start + BAR, middle + 7)
        canvas.rectangle(box, fill=PALE)
        share = min(max((value - low) / max(high - low, 1e-9), 0), 1)
        color = class_color(own) if name == own else '#5f7f9f'
        if share * BAR >= 1:
            canvas.rectangle((*box[:2], start + share * BAR, box[3]), fill=color)
        number = (left + width, middle)
        canvas.text(number, f'{value:.3f}', font=font, anchor='rm', fill=INK)
    return top + 2 * ROW
