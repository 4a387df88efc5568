"""A video file of drawn frames, at the pace of the source."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CODECS = ('.mp4', 'mp4v'), ('.avi', 'MJPG')  # the first that OpenCV can write


class VideoWriter:
    """Writes frames with OpenCV; each is shown until the time of the next.

    A video file of OpenCV has one frame rate: where the source's varies, frames are
    repeated or left out, so that everything happens when it did, give or take a frame.

    Args:
        folder: of the file; made when missing.
        stem: name of the file without ending.
        size: (w, h) in pixels; odd ones lose a row or column, as codecs need it.
        fps: frames per second.

    Attributes:
        path: the file, with the ending of the codec.
        num_frames: frames written, repeated ones included.

    Raises:
        ValueError: if no codec opens.
    """

    def __init__(
        self, folder: str | os.PathLike, stem: str, size: tuple[int, int], fps: float
    ) -> None:
        self.size = max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)
        self.fps, self.num_frames = fps, 0
        self._shown: np.ndarray | None = None
        Path(folder).mkdir(parents=True, exist_ok=True)
        for ending, code in CODECS:
            self.path = Path(folder) / f'{stem}{ending}'
            fourcc = cv2.VideoWriter.fourcc(*code)
            # a relative name with a colon would be a protocol of FFmpeg
            name = os.path.abspath(self.path)
            self._file = cv2.VideoWriter(name, fourcc, fps, self.size)
            if self._file.isOpened():
                return
        raise ValueError(
            f'{self.path.parent} gets no video: OpenCV opens none of '
            f'{", ".join(code for _, code in CODECS)} there; check that the folder '
            'can be written, or install opencv-python-headless with its codecs'
        )

    def add(self, image: Image.Image, time: float) -> None:
        """Show a frame from ``time`` on.

        Args:
            image: RGB; one of another size is fitted into the video's, on black.
            time: seconds since the first frame.
        """
        pixels = np.ascontiguousarray(self._fit(image)[..., ::-1])
        place = round(time * self.fps)
        while self._shown is not None and self.num_frames < place:
            self._write(self._shown)
        if self.num_frames <= place + 1:
            self._write(pixels)
        self._shown = pixels

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: if it has fewer frames than were written, as on a full disk.
        """
        self._file.release()
        if not self.num_frames:
            self.path.unlink(missing_ok=True)
            return
        capture = cv2.VideoCapture(os.path.abspath(self.path), cv2.CAP_FFMPEG)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        if count < self.num_frames:
            raise OSError(
                f'{self.path} has {max(count, 0)} of {self.num_frames} frames; is the '
                'disk full?'
            )

    def _write(self, pixels: np.ndarray) -> None:
        self._file.write(pixels)
        self.num_frames += 1

    def _fit(self, image: Image.Image) -> np.ndarray:
        width, height = self.size
        if (image.width // 2 * 2, image.height // 2 * 2) == self.size:
            return np.asarray(image)[:height, :width]
        zoom = min(width / image.width, height / image.height)
        inner = max(1, round(image.width * zoom)), max(1, round(image.height * zoom))
        canvas = Image.new('RGB', self.size)
        canvas.paste(
            image.resize(inner), ((width - inner[0]) // 2, (height - inner[1]) // 2)
        )
        return np.asarray(canvas)
