"""What was detected, a JSON line per image: written as images are done, read again
after a kill."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.json_writing import dumps
from fgclip2_det.io.text import parse_json
from fgclip2_det.prepare.near_duplicates import hash_of

NAME = 'detections.jsonl'
INTERVAL = 1.0  # seconds between two flushes to the disk
BOX_DIGITS, SCORE_DIGITS = 2, 4  # of a pixel, of a score
MIN_SIDE = 1.0  # pixels; data sets drop smaller boxes


@dataclass
class ImageLine:
    """Detections of one image, best first; or why it could not be read.

    Attributes:
        image: path below the folder, with '/'.
        num_bytes: of the file, by which a changed one is known.
        modified: when the file was changed, in nanoseconds.
        digest: SHA-256 of the file, where another time is not another image.
        width, height: of the upright image in pixels.
        hash: difference hash as 16 hexadecimal digits; '' for an image of one colour.
        bboxes: n boxes, xyxy in pixels.
        labels: n indices of classes.
        scores: n of them.
        error: why the image could not be read; '' if it could.
    """

    image: str
    num_bytes: int
    width: int = 0
    height: int = 0
    hash: str = ''
    bboxes: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()
    scores: Sequence[float] = ()
    error: str = ''
    modified: int = 0
    digest: str = ''

    @classmethod
    def of(
        cls, name: str, num_bytes: int, image: Image.Image, found: Detections
    ) -> ImageLine:
        """Detections cut to their image; boxes that are left with less than a pixel
        are dropped."""
        size = np.tile(image.size, 2)
        boxes = found.bboxes.double().numpy().reshape(-1, 4).clip(0, size)
        boxes = boxes.round(BOX_DIGITS)
        kept = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(1))
        scores = found.scores.double().numpy().round(SCORE_DIGITS)
        bits = hash_of(image)
        digits = '' if bits is None else np.packbits(bits).tobytes().hex()
        return cls(
            name, num_bytes, *image.size, digits, boxes[kept].tolist(),
            found.labels.numpy()[kept].tolist(), scores[kept].tolist(),
        )  # fmt: skip


class LineFile:
    """The file of :class:`ImageLine`, appended to.

    Args:
        path: of the file.

    Attributes:
        lines: what it holds, in its order. A last line that is torn, and whatever
            follows a line that is none, is cut off when the file is opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = path.read_bytes() if path.is_file() else b''
        self.lines, end = _parse(data)
        self._file = path.open('ab')
        self._file.truncate(end)
        self._flushed = time.monotonic()

    def add(self, line: ImageLine) -> None:
        """Append a line.

        Raises:
            OSError: as where no space is left.
        """
        self._file.write(f'{dumps(asdict(line))}\n'.encode())
        self._file.flush()
        self.lines.append(line)
        if time.monotonic() - self._flushed > INTERVAL:
            os.fsync(self._file.fileno())
            self._flushed = time.monotonic()

    def replace(self, lines: Iterable[ImageLine]) -> None:
        """Have these lines in this order, if the file has others."""
        lines = list(lines)
        if [id(each) for each in lines] == [id(each) for each in self.lines]:
            return
        self._file.close()
        text = ''.join(f'{dumps(asdict(line))}\n' for line in lines)
        write_atomic(self.path, text.encode())
        self._file = self.path.open('ab')
        self.lines = lines

    def close(self) -> None:
        """Flush to the disk and close."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def read_lines(path: Path) -> list[ImageLine]:
    """The whole lines of a file; none where there is no file."""
    return _parse(path.read_bytes())[0] if path.is_file() else []


def _parse(data: bytes) -> tuple[list[ImageLine], int]:
    """Lines and the offset at which the last whole one ends."""
    lines, end = [], 0
    for text in data.splitlines(keepends=True):
        line = _line(text) if text.endswith(b'\n') else None
        if line is None:
            break
        lines.append(line)
        end += len(text)
    return lines, end


def _line(text: bytes) -> ImageLine | None:
    try:
        values: Any = parse_json(text)
        line = ImageLine(**values)
    except (ValueError, TypeError):
        return None
    return line if len(line.bboxes) == len(line.labels) == len(line.scores) else None
