"""Contact sheets: crops of a class's boxes, with their scores and bands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fgclip2_det.apis.annotating.bands import ACCEPT, REVIEW, Band
from fgclip2_det.apis.annotating.content import Labels, Row, in_band
from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.io.atomic import open_atomic
from fgclip2_det.visualization.draw import _fit, _font

SIDE = 104  # pixels of a crop
COLUMNS, MAX_ROWS = 8, 4  # of a band
CAPTION, GAP, FONT = 20, 6, 14
AROUND = 0.15  # of a box's longer side, shown around it
PAPER, INK = '#f4f4f2', '#202124'
MAX_CROPS = 2000  # kept in memory while images are detected
Key = tuple[str, tuple[float, ...]]


class Crops:
    """Crops of boxes, taken while their image is in memory and read again otherwise.

    Args:
        folder: of the images.
        review: C lowest scores of boxes that may be shown.
    """

    def __init__(self, folder: Path, review: Sequence[float]) -> None:
        self.folder, self.review = folder, review
        self._known: dict[Key, Image.Image] = {}

    def add(self, line: ImageLine, image: Image.Image) -> None:
        """Take the crops of an image, as long as there is room."""
        for box, label, score in zip(
            line.bboxes, line.labels, line.scores, strict=True
        ):
            if score >= self.review[label] and len(self._known) < MAX_CROPS:
                self._known[line.image, tuple(box)] = crop(image, box)

    def read(self, rows: Iterable[Row]) -> None:
        """Read images of rows whose crops are missing, several at once."""
        missing: dict[str, list[Row]] = {}
        for row in rows:
            if (row.image, tuple(row.bbox)) not in self._known:
                missing.setdefault(row.image, []).append(row)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(self._crops, missing.values()):
                self._known.update(found)

    def _crops(self, rows: Sequence[Row]) -> dict[Key, Image.Image]:
        image = load_image(self.folder / rows[0].image)
        return {(row.image, tuple(row.bbox)): crop(image, row.bbox) for row in rows}

    def of(self, row: Row) -> Image.Image:
        """The crop of a row."""
        return self._known[row.image, tuple(row.bbox)]


def crop(image: Image.Image, bbox: Sequence[float]) -> Image.Image:
    """(SIDE, SIDE) RGB with the box, what is around it, and its outline."""
    x1, y1, x2, y2 = bbox
    half = max(x2 - x1, y2 - y1) * (0.5 + AROUND)
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = middle[0] - half, middle[1] - half
    zoom = SIDE / (2 * half)
    shown = (max(left, 0), max(top, 0), min(left + 2 * half, image.width),
             min(top + 2 * half, image.height))  # fmt: skip
    size = [max(1, round((shown[i + 2] - shown[i]) * zoom)) for i in (0, 1)]
    part = image.resize(
        (size[0], size[1]), Image.Resampling.BILINEAR, shown, reducing_gap=2.0
    )
    square = Image.new('RGB', (SIDE, SIDE), '#c8c8c4')
    square.paste(
        part, (round((shown[0] - left) * zoom), round((shown[1] - top) * zoom))
    )
    corners = [(x1 - left) * zoom, (y1 - top) * zoom, (x2 - left) * zoom - 1,
               (y2 - top) * zoom - 1]  # fmt: skip
    ImageDraw.Draw(square).rectangle(corners, outline='#ffffff')
    return square


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """At most ``count`` rows, best first, evenly spaced in their order by score."""
    ranked = sorted(rows, key=lambda row: (-(row.score or 0.0), row.id))
    if len(ranked) <= count:
        return ranked
    places = np.linspace(0, len(ranked) - 1, count).round().astype(int)
    return [ranked[place] for place in places]


def write_sheets(out: Path, labels: Labels, crops: Crops) -> list[Path]:
    """A sheet per class that has boxes, in ``sheets``; those of earlier runs go.

    Returns:
        Their paths, in the order of the labels.
    """
    by_label: dict[int, list[Row]] = {}
    for row in labels.rows():
        by_label.setdefault(row.label, []).append(row)
    chosen: dict[int, dict[str, list[Row]]] = {
        label: {
            band: spread(in_band(rows, band), COLUMNS * MAX_ROWS)
            for band in (ACCEPT, REVIEW)
        }
        for label, rows in sorted(by_label.items())
    }
    crops.read(
        row for bands in chosen.values() for rows in bands.values() for row in rows
    )
    folder = out / 'sheets'
    paths = {label: folder / _file_name(label, labels) for label in chosen}
    for old in folder.glob('*.jpg'):
        if old not in paths.values():
            old.unlink()

    def draw(label: int) -> None:
        counts = {
            band: len(in_band(by_label[label], band)) for band in (ACCEPT, REVIEW)
        }
        sheet = draw_sheet(labels, label, chosen[label], counts, crops)
        with open_atomic(paths[label]) as file:
            sheet.save(file, format='JPEG', quality=90)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(draw, chosen))
    return list(paths.values())


def _file_name(label: int, labels: Labels) -> str:
    name = labels.ontology.names[label]
    safe = ''.join(c if c.isalnum() or c in '-_' else '_' for c in name)[:40]
    return f'{label:03d}-{safe}.jpg'


def draw_sheet(
    labels: Labels,
    label: int,
    chosen: Mapping[str, Sequence[Row]],
    counts: Mapping[str, int],
    crops: Crops,
) -> Image.Image:
    """The sheet of one class: its prompts, then both bands."""
    each, band = labels.ontology.classes[label], labels.bands[label]
    rows = sum(-(-len(own) // COLUMNS) for own in chosen.values())
    width = COLUMNS * (SIDE + GAP) + GAP
    height = 4 * (FONT + 2 * GAP) + GAP
    sheet = Image.new('RGB', (width, height + rows * (SIDE + CAPTION + GAP)), PAPER)
    canvas, top = ImageDraw.Draw(sheet), GAP
    for text, size in ((each.name, FONT + 4), (', '.join(each.texts), FONT)):
        line = _fit(text, '', _font(size), width - 2 * GAP)
        canvas.text((GAP, top), line, font=_font(size), fill=INK)
        top += FONT + 2 * GAP
    for name in (ACCEPT, REVIEW):
        own = chosen[name]
        title = _title(name, band, counts[name], len(own))
        canvas.text((GAP, top), title, font=_font(FONT), fill='#6a6a66')
        top += FONT + 2 * GAP
        for place, row in enumerate(own):
            line, column = divmod(place, COLUMNS)
            left = GAP + column * (SIDE + GAP)
            y = top + line * (SIDE + CAPTION + GAP)
            sheet.paste(crops.of(row), (left, y))
            text = _fit(row.image, f'{row.score:.2f}', _font(FONT - 2), SIDE)
            canvas.text((left, y + SIDE + 2), text, font=_font(FONT - 2), fill=INK)
        top += -(-len(own) // COLUMNS) * (SIDE + CAPTION + GAP)
    return sheet


def _title(name: str, band: Band, count: int, shown: int) -> str:
    limit = 'no score' if band.accept is None else f'{band.accept:.2f} or more'
    if name == REVIEW:
        below = '' if band.accept is None else f' to {band.accept:.2f}'
        limit = f'{band.review:.2f}{below or " or more"}'
    part = f', {shown} of them from best to worst' if shown < count else ''
    return f'{name} ({limit}): {count} box{"es" * (count != 1)}{part}'
