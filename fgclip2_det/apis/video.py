"""Detection in videos and cameras: frames, and the files of their results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inputs import check_batch_size, check_score_thr
from fgclip2_det.apis.output_files import keep_inputs
from fgclip2_det.apis.slicing import Slices
from fgclip2_det.apis.tracking import BoxTracker
from fgclip2_det.apis.video_reader import Frame, VideoReader
from fgclip2_det.apis.video_writer import CODECS, VideoWriter
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.models.detectors.open_vocab_mixin import Names
from fgclip2_det.visualization import draw_detections


@dataclass(frozen=True)
class FrameDetections:
    """What was found in one frame.

    Attributes:
        frame: with its index, time and image.
        detections: of it.
        track_ids: of its boxes over frames, see :class:`.BoxTracker`; None if boxes are
            not tracked.
    """

    frame: Frame
    detections: Detections
    track_ids: list[int | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A line of the JSON Lines file: ``frame``, ``time`` in seconds, ``width``,
        ``height`` and ``detections`` of name, score, xyxy box and, if tracked,
        ``track``."""
        found = self.detections
        rows = [
            dict(name=name, score=score, bbox=bbox)
            for name, score, bbox in zip(
                found.names, found.scores.tolist(), found.bboxes.tolist(), strict=True
            )
        ]
        if self.track_ids is not None:
            rows = [
                {**row, 'track': own}
                for row, own in zip(rows, self.track_ids, strict=True)
            ]
        width, height = self.frame.image.size
        return dict(
            frame=self.frame.index, time=round(self.frame.time, 6), width=width,
            height=height, detections=rows,
        )  # fmt: skip

    def plot(self) -> Image.Image:
        """The frame with boxes, names, scores and ids ('#3')."""
        ids = self.track_ids or [None] * len(self.detections)
        texts = [
            name if own is None else f'{name} #{own}'
            for name, own in zip(self.detections.names, ids, strict=True)
        ]
        found = self.detections
        return draw_detections(self.frame.image, found.bboxes, texts, found.scores)


@dataclass
class VideoResults:
    """Summary of a video, also written as JSON.

    Attributes:
        source: the file or camera.
        complete: False after an interruption or an error.
        classes: the names.
        score_thr: of the detections.
        every: every how many frames one was detected.
        width, height: of the first frame in pixels, upright.
        fps: frames per second of the source, on average.
        source_frames: frames of the source by its header; 0 where it does not say.
        read: frames read, skipped ones included.
        frames: frames detected.
        boxes: number of boxes in them.
        video, lines, summary: written files; '' for none.
    """

    source: str
    complete: bool
    classes: tuple[str, ...]
    score_thr: float
    every: int
    width: int
    height: int
    fps: float
    source_frames: int
    read: int = 0
    frames: int = 0
    boxes: int = 0
    video: str = ''
    lines: str = ''
    summary: str = ''


class VideoReport:
    """Output video, a JSON line per frame, and a summary; ``with`` closes all three.

    ``STEM-boxes.mp4`` (or ``.avi``), ``STEM-boxes.jsonl``, written as frames come, and
    ``STEM-boxes.json``, written at the end. If the block raises, what was done until
    then stays, and the summary has ``"complete": false``.

    Args:
        folder: of the files; '' writes none.
        reader: of the source.
        classes: the names.
        score_thr: of the detections.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        reader: VideoReader,
        classes: tuple[str, ...],
        score_thr: float,
    ) -> None:
        self._reader = reader
        self.results = VideoResults(
            reader.name, False, classes, score_thr, reader.every, *reader.size,
            reader.fps, reader.num_frames,
        )  # fmt: skip
        self._writer = self._lines = None
        if not os.fspath(folder):
            return
        if Path(folder).exists() and not Path(folder).is_dir():
            raise ValueError(f'{folder} is a file; name a folder for the results')
        stem, fps = f'{reader.stem}-boxes', reader.fps / reader.every
        if not reader.is_camera:
            targets = [Path(folder) / f'{stem}{ending}' for ending, _ in CODECS]
            keep_inputs(targets, [reader.name])
        self._writer = VideoWriter(folder, stem, reader.size, fps)
        lines = Path(folder) / f'{stem}.jsonl'
        self._lines = lines.open('w', encoding='utf-8')  # __exit__ closes it
        self.results.video, self.results.lines = str(self._writer.path), str(lines)
        self.results.summary = str(Path(folder) / f'{stem}.json')

    def __enter__(self) -> VideoReport:
        return self

    def add(self, each: FrameDetections) -> None:
        """Draw and note a frame.

        Raises:
            OSError: if its line cannot be written.
        """
        self.results.frames += 1
        self.results.boxes += len(each.detections)
        self.results.read = self._reader.num_read
        if self._lines is None or self._writer is None:
            return
        line = json.dumps(each.to_dict(), ensure_ascii=False, allow_nan=False)
        self._lines.write(f'{line}\n')
        self._lines.flush()
        self._writer.add(each.plot(), each.frame.time)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        results = self.results
        results.complete, results.read = kind is None, self._reader.num_read
        if self._lines is None or self._writer is None:
            return
        try:
            self._lines.close()
            self._writer.close()
        except OSError:
            results.complete = False
            if kind is None:
                raise
        finally:
            text = json.dumps(asdict(results), indent=1, ensure_ascii=False)
            write_atomic(results.summary, f'{text}\n'.encode())

    def sentence(self) -> str:
        """What is done, and where it is."""
        results, total = self.results, len(self._reader)
        count = f'{results.frames} of {total}' if total else f'{results.frames}'
        where = f', see {results.video} and {results.lines}' if results.video else ''
        return f'{count} frames are done{where}'

    def shortfall(self) -> str:
        """A sentence about frames that the header promised; '' if none is missing."""
        results = self.results
        if results.read + 1 >= results.source_frames:
            return ''
        return (
            f'{results.source} ends after {results.read} frames, its header says '
            f'{results.source_frames}; it may be damaged'
        )


class VideoMethods:
    """Methods of ``OpenVocabInferencer`` for videos and cameras."""

    def frames(
        self,
        source: str | os.PathLike | int | VideoReader,
        texts: Names | None = None,
        score_thr: float = 0.3,
        *,
        every: int = 1,
        track: bool = False,
        batch_size: int = 1,
        slices: Slices | Mapping | int | None = None,
    ) -> Iterator[FrameDetections]:
        """Detect objects in one frame of a video after the other, by the same names
        to the end, as in :meth:`~OpenVocabInferencer.stream`.

        Args:
            source: a video file, the number of a camera, or an open reader.
            texts: names; None for the current vocabulary.
            score_thr: detections with lower scores are left out.
            every: every how many frames one is detected.
            track: give boxes ids over frames, see :class:`.BoxTracker`.
            batch_size: frames per pass of the model; a camera waits for them.
            slices: as for images.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for a source that cannot be read, see :class:`.VideoReader`;
                names that cannot be used; a ``batch_size`` below 1.
            ImportError: to track without the package ``trackers``.
        """
        check_batch_size(batch_size)
        check_score_thr(score_thr)
        own = not isinstance(source, VideoReader)
        reader = VideoReader(source, every) if own else source
        inferencer: Any = self
        try:
            fps = reader.fps / reader.every
            tracker = BoxTracker(fps, score_thr) if track else None
            frames = iter(reader)
            inferencer._use(texts)
            keep_names = inferencer.system.hold()
            while batch := list(islice(frames, batch_size)):
                images = [frame.image for frame in batch]
                keep_names()
                outcomes = inferencer.stream(
                    images, None, score_thr, batch_size=batch_size, slices=slices
                )
                for frame, outcome in zip(batch, outcomes, strict=True):
                    found = outcome.detections
                    if found is None:
                        raise ValueError(
                            f'{reader.name}, frame {frame.index}: {outcome.error}'
                        )
                    ids = None if tracker is None else tracker(found, frame.time)
                    yield FrameDetections(frame, found, ids)
        finally:
            if own:
                reader.close()

    def video(
        self,
        source: str | os.PathLike | int,
        texts: Names | None = None,
        out: str | os.PathLike = '',
        score_thr: float = 0.3,
        *,
        every: int = 1,
        progress: bool | None = None,
        **options: Any,
    ) -> VideoResults:
        """Detect objects in a video and write what :class:`.VideoReport` describes.

        Args:
            source: as in :meth:`frames`.
            texts: as in :meth:`frames`.
            out: folder of the files; '' writes none.
            score_thr: as in :meth:`frames`.
            every: as in :meth:`frames`.
            progress: show a progress bar; None: on a terminal.
            options: of :meth:`frames`: ``track``, ``batch_size``, ``slices``.

        Raises:
            FileNotFoundError, ValueError, ImportError: as in :meth:`frames`.
            OSError: if the files cannot be written.
            KeyboardInterrupt: with what was done in the files.
        """
        check_batch_size(options.get('batch_size', 1))
        check_score_thr(score_thr)
        with VideoReader(source, every) as reader:
            report = self.start_video(reader, texts, out, score_thr)
            self.fill_video(report, reader, score_thr, progress, **options)
            return report.results

    def start_video(
        self,
        reader: VideoReader,
        texts: Names | None,
        out: str | os.PathLike,
        score_thr: float,
    ) -> VideoReport:
        """The names set, and the files opened."""
        inferencer: Any = self
        inferencer._use(texts)
        classes = tuple(inferencer.vocabulary.names)
        return VideoReport(out, reader, classes, score_thr)

    def fill_video(
        self,
        report: VideoReport,
        reader: VideoReader,
        score_thr: float,
        progress: bool | None = None,
        **options: Any,
    ) -> None:
        """All frames into the report, which is closed whatever happens."""
        from tqdm import tqdm

        disable = None if progress is None else not progress
        bar = tqdm(total=len(reader) or None, unit='frame', disable=disable)
        with report, bar:
            for each in self.frames(reader, None, score_thr, **options):
                report.add(each)
                bar.update()
