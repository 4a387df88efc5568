"""Ids of boxes over the frames of a video, by ByteTrack."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgclip2_det.apis.detections import Detections


class BoxTracker:
    """ByteTrack of the package ``trackers``, one for each name: an id has one name.

    The package is by the authors of supervision, whose own ``ByteTrack`` it replaced.

    Args:
        fps: frames per second that are detected.
        score_thr: lowest score that starts an id.

    Raises:
        ImportError: without ``trackers``.

    Reference: ByteTrack (arXiv:2110.06864).
    """

    def __init__(self, fps: float, score_thr: float = 0.3) -> None:
        try:
            from trackers import (  # pyright: ignore[reportMissingImports]
                ByteTrackTracker,
            )
        except ImportError as error:
            raise ImportError(
                'ids over frames need the package trackers, which is not installed: '
                'pip install trackers supervision'
            ) from error
        self._kind, self._fps, self._score_thr = ByteTrackTracker, fps, score_thr
        self._trackers: dict[int, Any] = {}
        self._ids: dict[tuple[int, int], int] = {}

    def __call__(self, found: Detections, time: float) -> list[int | None]:
        """Ids of a frame's boxes, from 1; None of a box that no other frame has yet.

        Args:
            found: of the frame.
            time: of it in seconds, larger than that of the frame before.
        """
        ids: list[int | None] = [None] * len(found)
        labels = found.labels.numpy()
        for label in {*labels.tolist(), *self._trackers}:
            rows = np.flatnonzero(labels == label)
            boxes: Any = found.to_supervision()[rows]
            boxes.data = {'row': rows}
            if label not in self._trackers:
                self._trackers[label] = self._kind(
                    frame_rate=self._fps,
                    track_activation_threshold=self._score_thr,
                    high_conf_det_threshold=self._score_thr,
                    minimum_consecutive_frames=1,
                )
            tracked = self._trackers[label].update(boxes, timestamp=time)
            if not len(tracked):
                continue
            for row, own in zip(
                tracked.data['row'].tolist(), tracked.tracker_id.tolist(), strict=True
            ):
                if own >= 0:
                    key = label, own
                    ids[row] = self._ids.setdefault(key, len(self._ids) + 1)
        return ids
