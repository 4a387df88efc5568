"""Drawing of boxes with labels, and contact sheets of several images."""

import colorsys
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from fgclip2_det.fgclip2.image import upright

FONT = (
    Path(__file__).resolve().parents[1]
    / 'assets'
    / 'fonts'
    / 'NotoSansCJKsc-Regular-subset.otf'
)
Color = tuple[int, int, int]
Rect = tuple[float, float, float, float]


def draw_detections(
    image: Image.Image | np.ndarray,
    bboxes: ArrayLike,
    texts: Sequence[str],
    scores: ArrayLike | None = None,
    *,
    score_thr: float = 0.0,
    max_boxes: int = 100,
    min_size: int = 0,
    title: str = '',
) -> Image.Image:
    """Draw boxes in one colour per class name, each with a label 'name score'.

    Line width and font size scale with the image. Labels stay inside the image and
    avoid each other; a character that the font lacks is drawn as an empty box.

    Args:
        image: PIL image, or (h, w, 3) uint8 RGB. The image is made upright and 8-bit,
            as everywhere in this package.
        bboxes: (N, 4) xyxy in pixels of the upright ``image``, clipped to it. An array,
            a list or a tensor. N may be 0.
        texts: N names; any language of the font (English, Chinese, Japanese kana).
        scores: (N,) or None for boxes without a score (ground truth).
        score_thr: boxes that score lower are left out.
        max_boxes: number of boxes to draw, the best first.
        min_size: length in pixels to which the longer side of a smaller image is
            enlarged.
        title: text in the upper left corner of the image.

    Returns:
        RGB image, (h, w) as given unless ``min_size`` enlarged it.

    Raises:
        ValueError: if counts differ, a box is not finite or the image is not RGB.

    Example:
        >>> image = draw_detections(np.zeros((96, 160, 3), np.uint8),
        ...                         [[10, 10, 80, 60]], ['黑猫'], [0.9])
        >>> image.size
        (160, 96)
    """
    image = _to_pil(image)
    bboxes, scores = _check(bboxes, texts, scores)
    zoom = max(1.0, min_size / max(image.size))
    if zoom > 1:
        size = [round(side * zoom) for side in image.size]
        image = image.resize(size, Image.Resampling.LANCZOS)
    bboxes = (bboxes * zoom).clip(0, np.tile(image.size, 2))
    ranks = np.ones(len(texts)) if scores is None else scores
    kept = np.argsort(-ranks, kind='stable')
    kept = kept[ranks[kept] >= score_thr][:max_boxes]

    canvas = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 280))
    order: list[int] = kept.tolist()
    for i in order[::-1]:  # the best box is drawn last, on top
        canvas.rectangle(_corners(bboxes[i]), outline=class_color(texts[i]), width=line)
    font = _font(max(12, round(max(image.size) / 40)))
    plates = []
    if title:
        plates.append(_draw_title(canvas, title, font, image.size))
    for i in order:  # the label of the best box is placed first
        score = None if scores is None else float(scores[i])
        plates.append(_draw_plate(canvas, bboxes[i], texts[i], score, font, plates))
    return image


def contact_sheet(
    images: Sequence[Image.Image], columns: int = 2, *, gap: int = 8
) -> Image.Image:
    """Images in rows of equal cells, each centred in its cell.

    Args:
        images: one or more PIL images of any sizes.
        columns: number of images in a row.
        gap: pixels between cells and around them.

    Returns:
        RGB image on a light background.

    Raises:
        ValueError: if there is no image or no column.
    """
    if not images or columns < 1:
        raise ValueError(
            'a contact sheet needs one or more images and columns, got '
            f'{len(images)} images in {columns} columns'
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    cell_w = max(image.width for image in images) + gap
    cell_h = max(image.height for image in images) + gap
    sheet = Image.new('RGB', (columns * cell_w + gap, rows * cell_h + gap), '#f4f4f2')
    for image, (row, column) in zip(
        images, product(range(rows), range(columns)), strict=False
    ):
        left = gap + column * cell_w + (cell_w - gap - image.width) // 2
        top = gap + row * cell_h + (cell_h - gap - image.height) // 2
        sheet.paste(image, (left, top))
    return sheet


def class_color(text: str) -> Color:
    """The (r, g, b) colour of a class name: the same in every run and image."""
    digest = hashlib.sha1(text.encode()).digest()
    hue = int.from_bytes(digest[:4], 'big') / 2**32
    saturation, value = 0.6 + digest[4] / 255 * 0.35, 0.8 + digest[5] / 255 * 0.2
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _to_pil(image: Image.Image | np.ndarray) -> Image.Image:
    """An RGB copy to draw on."""
    if isinstance(image, Image.Image):
        return upright(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            'image must be a PIL image or (h, w, 3) uint8 RGB, got '
            f'{image.shape} {image.dtype}'
        )
    return Image.fromarray(image)


def _check(
    bboxes: ArrayLike, texts: Sequence[str], scores: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert to float64 (N, 4) boxes and (N,) scores, and check them."""
    bboxes = _to_numpy(bboxes).reshape(-1, 4)
    scores = None if scores is None else _to_numpy(scores).reshape(-1)
    counts = [len(bboxes), len(texts), len(bboxes if scores is None else scores)]
    if len(set(counts)) > 1:
        raise ValueError(
            'one text and one score per box, got {} boxes, {} texts, {} scores'.format(
                *counts
            )
        )
    if not np.isfinite(bboxes).all():
        raise ValueError(
            f'box {int(np.where(~np.isfinite(bboxes).all(1))[0][0])} is not finite; '
            'drop such boxes before drawing'
        )
    return bboxes, scores


def _to_numpy(values: Any) -> np.ndarray:
    if hasattr(values, 'detach'):  # a tensor, on any device
        values = values.detach().cpu()
    return np.asarray(values, dtype=np.float64)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _corners(bbox: np.ndarray) -> Rect:
    """Corners for Pillow, which requires x0 <= x1 and includes both."""
    x0, y0, x1, y1 = bbox
    return min(x0, x1), min(y0, y1), max(x0, x1 - 1), max(y0, y1 - 1)


def _fit(text: str, ending: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Text on one line with its ending, shortened with '…' to ``width`` pixels."""
    text = ''.join(c for c in ' '.join(text.split()) if c.isprintable())
    full = f'{text} {ending}'.strip()
    while font.getlength(full) > width and text:
        text = text[:-1]
        full = f'{text}… {ending}'.strip()
    return full


def _draw_plate(
    canvas: ImageDraw.ImageDraw,
    bbox: np.ndarray,
    text: str,
    score: float | None,
    font: ImageFont.FreeTypeFont,
    taken: list[Rect],
) -> Rect:
    """Draw a label at the best free position; returns its rectangle."""
    pad = font.size / 4
    width, height = canvas.im.size
    ending = '' if score is None else f'{score:.2f}'
    label = _fit(text, ending, font, width - 2 * pad)
    plate_w, plate_h = font.getlength(label) + 2 * pad, font.size * 1.35
    plate = _place(_corners(bbox), (plate_w, plate_h), (width, height), taken)
    color = class_color(text)
    canvas.rectangle(plate, fill=color)
    bright = np.dot(color, (0.299, 0.587, 0.114)) > 140
    x, y = plate[0] + pad, (plate[1] + plate[3]) / 2
    canvas.text((x, y), label, font=font, anchor='lm', fill=0 if bright else '#fff')
    return plate


def _draw_title(
    canvas: ImageDraw.ImageDraw,
    title: str,
    font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> Rect:
    """Draw a title on a dark plate in the upper left corner; returns its rectangle."""
    pad = font.size / 4
    title = _fit(title, '', font, size[0] - 2 * pad)
    plate = (0, 0, font.getlength(title) + 2 * pad, font.size * 1.35)
    canvas.rectangle(plate, fill='#202124')
    canvas.text((pad, plate[3] / 2), title, font=font, anchor='lm', fill='#fff')
    return plate


def _place(
    box: Rect, plate: tuple[float, float], size: tuple[int, int], taken: list[Rect]
) -> Rect:
    """Position of a label with the least overlap: above the box if that is free, else
    inside its top edge, below it, or along its sides."""
    (x0, y0, x1, y1), (plate_w, plate_h) = box, plate
    tops = [y0 - plate_h, y0, y1, y1 - plate_h]
    tops += [y0 + step * plate_h for step in (1, 2, -2, 3, -3)]
    best, least = (0.0, 0.0, plate_w, plate_h), float('inf')
    for top, left in product(tops, (x0, x1 - plate_w, x1)):
        left = min(max(left, 0), size[0] - plate_w)
        top = min(max(top, 0), max(size[1] - plate_h, 0))
        spot = (left, top, left + plate_w, top + plate_h)
        covered = sum(_overlap(spot, other) for other in taken)
        if covered < least:
            best, least = spot, covered
        if not covered:
            break
    return best


def _overlap(a: Rect, b: Rect) -> float:
    """Area of the intersection of two xyxy rectangles, in pixels."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
