"""Results of many images in a folder: drawn images and one JSON file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from fgclip2_det.apis.output_files import OutputFiles, save_image
from fgclip2_det.apis.results import Outcome
from fgclip2_det.io import IncompleteError, InputError
from fgclip2_det.io.atomic import write_atomic

INTERVAL = 5.0  # seconds between two states of the file


class DetectionReport:
    """Images with boxes, and ``detections.json``, complete at any moment.

    The file has the classes, a row per image (``image``, ``picture``, ``width``,
    ``height``, ``detections`` of name, score and xyxy box, without a prompt also
    ``candidates`` of name and score) and the reasons of those that could not be read;
    ``complete`` is false until all are done. It is replaced as a whole, every few
    seconds; earlier results stay until the first image is done.

    Args:
        folder: where both go; made when missing.
        count: number of images to come.
        score_thr: of the detections, noted in the file.
    """

    def __init__(self, folder: str | os.PathLike, count: int, score_thr: float) -> None:
        self.path = Path(folder) / 'detections.json'
        self.count, self.score_thr = count, score_thr
        self.classes: tuple[str, ...] = ()
        self.images: list[dict[str, Any]] = []
        self.unread: dict[str, str] = {}
        self._files = OutputFiles(folder, True, False)
        self._saved = time.monotonic()

    def add(self, outcome: Outcome) -> Path | None:
        """Draw an image and note its detections.

        Returns:
            The drawn image; None if the image could not be read.

        Raises:
            OSError: if the folder cannot be written.
        """
        found, image, source = outcome.detections, outcome.image, outcome.given
        if found is None or image is None:
            self.unread[source.name] = outcome.error
            return None
        target = self.path.parent / f'{self._files.free_name(source.stem)}.png'
        save_image(target, found.plot(image))
        self.classes = found.classes
        rows = zip(
            found.names, found.scores.tolist(), found.bboxes.tolist(), strict=True
        )
        detections: list[dict[str, Any]] = [
            dict(name=n, score=s, bbox=b) for n, s, b in rows
        ]
        for row, own in zip(detections, found.candidates or (), strict=False):
            row['candidates'] = [dict(name=n, score=s) for n, s in own]
        width, height = image.size
        self.images.append(
            dict(
                image=source.name, picture=str(target), width=width, height=height,
                detections=detections,
            )
        )  # fmt: skip
        if time.monotonic() - self._saved > INTERVAL:
            self._save(False)
        return target

    def finish(self) -> None:
        """Write the complete file, unless no image could be read."""
        if self.images:
            self._save(len(self.images) + len(self.unread) == self.count)

    def stop(self) -> str:
        """Write what there is; a sentence about it."""
        done = len(self.images)
        if not done:
            return f'none of {self.count} images was done'
        try:
            self._save(False)
        except OSError as error:
            return f'{done} of {self.count} images are drawn, {self.path}: {error}'
        return f'{done} of {self.count} images are done, see {self.path}'

    def check_unread(self) -> None:
        """Raise ``IncompleteError`` that counts and names the images without results,
        ``InputError`` if there is no other."""
        if not self.unread:
            return
        count, reasons = len(self.unread), list(self.unread.values())
        more = f'; and {count - 5} more' if count > 5 else ''
        kind = IncompleteError if self.images else InputError
        raise kind(
            f'{count} of {self.count} images cannot be read: {"; ".join(reasons[:5])}'
            f'{more}'
        )

    def _save(self, complete: bool) -> None:
        content = dict(
            complete=complete, classes=list(self.classes), score_thr=self.score_thr,
            images=self.images, unread=self.unread,
        )  # fmt: skip
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_atomic(self.path, f'{text}\n'.encode())
        self._saved = time.monotonic()
