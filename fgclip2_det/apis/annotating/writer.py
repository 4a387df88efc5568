"""Lines written by a thread, while the next images are detected."""

from __future__ import annotations

import queue
import threading

from fgclip2_det.apis.annotating.folder import ImageFolder
from fgclip2_det.apis.annotating.lines import ImageLine, LineFile
from fgclip2_det.apis.annotating.sheets import Crops
from fgclip2_det.apis.results import Outcome


class LineWriter:
    """Hashes, crops and lines of images, one after the other, in a thread.

    Args:
        file: gets a line per image.
        images: the folder they are in.
        crops: gets the crops of their boxes.
        waiting: images that may wait; more make :meth:`put` wait.
    """

    def __init__(
        self, file: LineFile, images: ImageFolder, crops: Crops, waiting: int
    ) -> None:
        self.file, self.images, self.crops = file, images, crops
        self._queue: queue.Queue[Outcome | None] = queue.Queue(waiting)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name='line-writer')
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Hand over an image.

        Raises:
            OSError: an earlier one could not be written.
        """
        if self._error is not None:
            raise self._error
        self._queue.put(outcome)

    def close(self) -> None:
        """Wait until everything is written."""
        self._queue.put(None)
        self._thread.join()

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (outcome := self._queue.get()) is not None:
            if self._error is not None:
                continue  # goes on taking, so that nobody waits for it
            try:
                self._write(outcome)
            except Exception as error:  # raised again where the images come from
                self._error = error

    def _write(self, outcome: Outcome) -> None:
        name, image = outcome.given.name, outcome.image
        num_bytes, modified = self.images.state(name)
        if image is None or outcome.detections is None:
            line = ImageLine(name, num_bytes, error=outcome.error, modified=modified)
            self.file.add(line)
            return
        line = ImageLine.of(name, num_bytes, image, outcome.detections)
        line.modified, line.digest = modified, self.images.digest(name)
        self.crops.add(line, image)
        self.file.add(line)
