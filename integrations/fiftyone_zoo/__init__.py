"""A remote zoo source of FiftyOne: ``manifest.json`` beside this file names the model.

    import fiftyone as fo
    import fiftyone.zoo as foz

    foz.register_zoo_model_source('https://github.com/OWNER/REPOSITORY')
    model = foz.load_zoo_model('fgclip2-det', names='cup|杯子; black cat',
                               detector='iSEE-Laboratory/llmdet_tiny',
                               encoder='qihoo360/fg-clip2-base', score_thr=0.4)
    dataset = fo.Dataset.from_images_dir('photos')
    dataset.apply_model(model, label_field='fgclip2')

Keywords are those of ``fgclip2_det.apis.named_detector.DetectorOptions``; those that
are not given come from the model's file in FiftyOne's zoo, then from the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fiftyone import Detection, Detections
from fiftyone.core.models import Model

from fgclip2_det.apis.named_detector import NamedDetector
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import read_json


class FGCLIP2Model(Model):
    """An image model of FiftyOne around a :class:`.NamedDetector`."""

    def __init__(self, detector: NamedDetector) -> None:
        self.detector = detector

    @property
    def media_type(self) -> str:
        """'image'."""
        return 'image'

    @property
    def ragged_batches(self) -> bool:
        """True: images of any sizes, one at a time."""
        return True

    @property
    def transforms(self) -> None:
        """None: the detector has its own."""
        return None

    @property
    def preprocess(self) -> bool:
        """False, for the same reason."""
        return False

    @preprocess.setter
    def preprocess(self, value: bool) -> None:
        """Nothing to switch."""

    def predict(self, arg: np.ndarray) -> Detections:
        """Detect in an (h, w, 3) uint8 RGB image; boxes are x, y, w, h in [0, 1]."""
        found = self.detector(arg)
        height, width = arg.shape[:2]
        corners = found.bboxes.double() / found.bboxes.new_tensor([width, height] * 2)
        corners.clamp_(0, 1)
        corners[:, 2:] -= corners[:, :2]
        return Detections(
            detections=[
                Detection(label=name, bounding_box=box, confidence=score)
                for name, box, score in zip(
                    found.names, corners.tolist(), found.scores.tolist(), strict=True
                )
            ]
        )


def download_model(model_name: str, model_path: str) -> None:
    """Write the model's file, of options that hold for every ``load_zoo_model``.

    Weights are not copied: options name them.
    """
    write_atomic(Path(model_path), b'{}\n')


def load_model(model_name: str, model_path: str, **options: Any) -> FGCLIP2Model:
    """The model, with keywords of ``load_zoo_model`` before options of the file."""
    own = read_json(model_path, 'delete it and load the model again')
    return FGCLIP2Model(NamedDetector({**own, **options}))
