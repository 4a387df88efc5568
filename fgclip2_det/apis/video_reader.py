"""Frames of a video file or a camera, upright, with their times."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
from PIL import Image

DEFAULT_FPS = 30.0  # of a source that does not say


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        index: in the source, from 0.
        time: seconds since its first frame, as the container says (variable frame
            rates included); of a camera, when it came.
        image: upright RGB.
    """

    index: int
    time: float
    image: Image.Image


class VideoReader:
    """A source of frames, read once.

    The rotation that a phone notes in a video's metadata is applied by OpenCV
    (``CAP_PROP_ORIENTATION_AUTO``). Frames that are skipped are not converted.

    Args:
        source: a file, or the number of a camera.
        every: every how many frames one is given.

    Attributes:
        name: the file, or 'camera 0'.
        size: (w, h) of the first frame in pixels, upright.
        fps: frames per second of the source, on average.
        num_frames: frames of the file by its header; 0 where it does not say.
        num_read: frames read so far, skipped ones included.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be opened, has no frame, or there is no such camera.
    """

    def __init__(self, source: str | os.PathLike | int, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f'every must be 1 or more frames, got {every}')
        self.every, self.num_read = every, 0
        self.is_camera = isinstance(source, int)
        self.name = f'camera {source}' if isinstance(source, int) else os.fspath(source)
        self._capture = self._open(source)
        # upright is OpenCV's default where the backend knows rotations at all
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self._first = self._next()
        if self._first is None:
            self.close()
            raise ValueError(
                f'{self.name} has no frame that can be read; check that it plays'
                + ('' if self.is_camera else ', or convert it (ffmpeg -i IN out.mp4)')
            )
        self.size = self._first.image.size
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1000 else DEFAULT_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_frames = 0 if self.is_camera else max(0, int(count))

    @property
    def stem(self) -> str:
        """A name for files."""
        return self.name.replace(' ', '') if self.is_camera else Path(self.name).stem

    def __iter__(self) -> Iterator[Frame]:
        while self._first is not None:
            frame, self._first = self._first, None
            yield frame
            self._first = self._next()

    def __len__(self) -> int:
        """Frames to come by the header, 0 where it does not say."""
        return -(-self.num_frames // self.every)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file or the camera go."""
        self._capture.release()

    def _open(self, source: str | os.PathLike | int) -> cv2.VideoCapture:
        if isinstance(source, int):
            with _quiet():
                capture = cv2.VideoCapture(source)
            if not capture.isOpened():
                raise ValueError(
                    f'camera {source} cannot be opened; check that it is connected and '
                    'not in use, 0 is the first'
                )
            self._start = time.monotonic()
            return capture
        if '://' in self.name:
            raise ValueError(
                f'{self.name} is a stream of the network, expected a file or a '
                'camera; save a part of it and give that'
            )
        if not Path(source).is_file():
            raise FileNotFoundError(f'there is no video {self.name}')
        with _quiet():
            # FFmpeg takes what is before a colon for a protocol, unless it has a slash
            capture = cv2.VideoCapture(os.path.abspath(self.name), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ValueError(
                f'{self.name} cannot be read as a video; check that it plays and is '
                'complete, or convert it (ffmpeg -i IN out.mp4)'
            )
        return capture

    def _next(self) -> Frame | None:
        """The next frame that is not skipped; None at the end."""
        while self._capture.grab():
            index, now = self.num_read, self._now(self.num_read)
            self.num_read += 1
            if index % self.every:
                continue
            read, pixels = self._capture.retrieve()
            if read and pixels is not None:
                rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                return Frame(index, now, Image.fromarray(rgb))
        return None

    def _now(self, index: int) -> float:
        """Seconds of the frame that was just grabbed."""
        if self.is_camera:
            now = time.monotonic()
            if index == 0:
                self._start = now
            return now - self._start
        now = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if index == 0:
            self._start = now
        return now - self._start


@contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's own warnings, which our sentences replace."""
    level = cv2.setLogLevel(0)
    try:
        yield
    finally:
        cv2.setLogLevel(level)
