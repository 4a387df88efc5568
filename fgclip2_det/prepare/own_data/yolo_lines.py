"""Lines of YOLO's label files: boxes, polygons, turned boxes, and boxes of poses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.prepare.yolo import class_number

from .findings import Findings
from .records import OwnBox, OwnImage
from .shapes import around


@dataclass(frozen=True)
class LineForm:
    """What lines hold.

    Attributes:
        names: of the classes.
        first: number of the first of them, 0 or 1.
        keypoints: numbers of keypoints behind each box, as in a set of poses; None:
            there are none.
    """

    names: list[str]
    first: int = 0
    keypoints: int | None = None


def first_number(labels: Iterable[Path], count: int) -> int:
    """0, or 1 where classes are 1 to ``count``: PyLabel writes COCO's category ids.

    One box of the last number alone may be a slip, unless each number has its boxes.
    """
    numbers: Counter[int] = Counter()
    for path in labels:
        try:
            rows = [line.split() for line in read_text(path).splitlines()]
        except InputError:
            continue  # counted where its boxes are read
        for row in filter(None, rows):
            with suppress(ValueError):  # the same
                numbers[class_number(row[0])] += 1
    if not numbers or min(numbers) != 1 or max(numbers) != count:
        return 0
    return int(len(numbers) == count or numbers[count] > 1)


def read_labels(
    path: Path,
    size: tuple[int, int],
    form: LineForm,
    image: OwnImage,
    findings: Findings,
) -> None:
    """Add the boxes of a label file to its image.

    Args:
        path: of the file.
        size: (width, height) of the image in pixels.
        form: of its lines.
        image: gets the boxes.
        findings: lines that are no boxes are counted there.
    """
    try:
        lines = read_text(path).splitlines()
    except InputError as error:
        findings.add('unreadable', str(error))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f'{path}: line {number}'
            try:
                box = _to_box(where, line.split(), size, form, findings)
            except InputError as error:
                findings.add('bad_entry', str(error))
            else:
                image.boxes.append(box)


def _to_box(
    where: str,
    words: list[str],
    size: tuple[int, int],
    form: LineForm,
    findings: Findings,
) -> OwnBox:
    """A box of ``class cx cy w h``, perhaps with a score or keypoints, or of
    corners."""
    names, first = form.names, form.first
    try:
        label, *shares = [class_number(words[0]), *map(float, words[1:])]
    except ValueError as error:
        raise InputError(f'{where} has no number where one belongs ({error})') from None
    if not all(map(math.isfinite, shares)):
        raise InputError(f'{where} has a number that is not finite')
    label -= first
    if not 0 <= label < len(names):
        last = first + len(names) - 1
        raise InputError(f'{where}: class {label + first} is not in {first} to {last}')
    points = [share * size[i % 2] for i, share in enumerate(shares)]
    if form.keypoints is not None:
        if len(shares) != 4 + form.keypoints:
            raise InputError(
                f'{where} has {len(words)} numbers; class, cx, cy, w, h and '
                f'{form.keypoints} of keypoints are expected'
            )
        findings.add('shape', where)
    if form.keypoints is not None or len(shares) in (4, 5):
        if form.keypoints is None and len(shares) == 5:
            findings.add('score', where)
        cx, cy, w, h = points[:4]
        return OwnBox(names[label], [cx - w / 2, cy - h / 2, w, h])
    if len(shares) < 6 or len(shares) % 2:
        raise InputError(
            f'{where} has {len(words)} numbers; class, cx, cy, w, h are expected, or '
            'class and corners'
        )
    box = OwnBox(names[label], around(points))
    if len(shares) == 8 and _is_rectangle(points):
        if not _is_upright(points):
            findings.add('turned_box', where)
        return box
    findings.add('polygon', where)
    box.extra['segmentation'] = [points]
    return box


def _sides(points: list[float]) -> Iterator[tuple[float, float]]:
    for i in range(0, 8, 2):
        j = (i + 2) % 8
        yield points[j] - points[i], points[j + 1] - points[i + 1]


def _is_rectangle(points: list[float]) -> bool:
    """Whether four corners are of a rectangle, to a pixel, as YOLO-OBB has them."""
    (ax, ay), (bx, by), (cx, cy), _ = _sides(points)
    area = math.hypot(ax, ay) * math.hypot(bx, by)
    return abs(ax + cx) + abs(ay + cy) < 1 and abs(ax * bx + ay * by) < 0.02 * area + 1


def _is_upright(points: list[float]) -> bool:
    return all(min(abs(dx), abs(dy)) < 0.5 for dx, dy in _sides(points))
