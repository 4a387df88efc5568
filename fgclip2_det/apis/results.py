"""What the inferencer returns of one image and of several."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmdet.structures import DetDataSample
from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.models.image_memory import ImageMemory


@dataclass
class Outcome:
    """What became of one input image.

    Attributes:
        given: as it was passed.
        image: upright RGB; None if it could not be read.
        detections: of it; None if it could not be read.
        error: why it could not; '' if it could.
    """

    given: InputImage
    image: Image.Image | None = None
    detections: Detections | None = None
    error: str = ''


@dataclass
class Loaded:
    """A loaded image on its way into the model.

    Attributes:
        outcome: with the image, and its detections later.
        data: as the test pipeline gives it.
        memory: of the image, for other names; None keeps nothing.
    """

    outcome: Outcome
    data: dict[str, Any]
    memory: ImageMemory | None = field(repr=False, default=None)


class Results(list[Detections]):
    """Detections of the images that could be read, in their order.

    Attributes:
        unread: name -> reason of the images that could not.
        visualization: (h, w, 3) uint8 RGB arrays with ``return_vis``, one per entry.
        data_samples: MMDetection's structures with ``return_datasamples``.
        files: what was written under ``out_dir``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unread: dict[str, str] = {}
        self.visualization: list[np.ndarray] = []
        self.data_samples: list[DetDataSample] = []
        self.files: list[str] = []


def report_unread(results: Results) -> None:
    """One warning about the images that could not be read.

    Raises:
        ValueError: if none could.
    """
    unread = results.unread
    if not unread:
        return
    count, reason = len(unread), next(iter(unread.values()))
    if not results:
        raise ValueError(
            reason if count == 1 else f'none of {count} images can be read: {reason}'
        )
    others = ', '.join(list(unread)[1:6])
    warnings.warn(
        f'{count} of {count + len(results)} images cannot be read: {reason}'
        f'{f"; also {others}" if others else ""}; the others were processed',
        stacklevel=3,
    )
