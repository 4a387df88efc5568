"""SAHI's own slicing, merging and command line around any system.

As a model type of SAHI, in Python::

    import sahi_model_type
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    sahi_model_type.register()
    model = AutoDetectionModel.from_pretrained(
        'fgclip2', model_path='epoch_3.pth', names='red circle; 蓝色正方形')
    get_sliced_prediction('large.png', model, 256, 256)

and on SAHI's command line, with names from the environment::

    export FGCLIP2_NAMES="red circle; 蓝色正方形"
    python integrations/sahi_model_type.py predict --source large.png \\
        --slice_height 256 --slice_width 256
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import sahi.auto_model
from PIL import Image
from sahi.models.base import DetectionModel

from fgclip2_det.apis.named_detector import NamedDetector
from fgclip2_det.apis.sahi_model import SahiDetectionModel

NAME = 'fgclip2'


class FGCLIP2DetectionModel(SahiDetectionModel):
    """A model of SAHI with its classes.

    Args:
        model_path: checkpoint, ``weights`` of ``DetectorOptions``.
        config_path: what finds boxes, ``detector`` of ``DetectorOptions``.
        confidence_threshold: lowest score.
        device: None for a CUDA device if there is one.
        options: others of ``DetectorOptions`` (``names``, ``encoder``), and those of
            ``sahi.models.base.DetectionModel``.
    """

    def __init__(
        self,
        model_path: str | None = None,
        config_path: str | None = None,
        confidence_threshold: float = 0.3,
        device: str | None = None,
        **options: Any,
    ) -> None:
        self.given = {'weights': model_path, 'detector': config_path, 'device': device}
        for name in ('names', 'encoder', 'fusion', 'chunk_size', 'dtype'):
            self.given[name] = options.pop(name, None)
        DetectionModel.__init__(
            self, model_path, config_path=config_path, device=device,
            confidence_threshold=confidence_threshold, **options,
        )  # fmt: skip

    def load_model(self) -> None:
        """Build the system; SAHI calls it, at once or later."""
        self.detector = NamedDetector(self.given)
        self.set_model(self.detector.inferencer)

    def perform_inference(self, image: np.ndarray) -> None:
        """Detect in one slice, (h, w, 3) uint8 RGB."""
        found = self.detector(
            Image.fromarray(image), score_thr=self.confidence_threshold
        )
        self._original_predictions = [found]

    @property
    def category_names(self) -> list[str]:
        """Class names, in label order."""
        return self.detector.classes


def register() -> None:
    """Make 'fgclip2' a ``model_type`` of SAHI, which imports types by their names."""
    sys.modules[f'sahi.models.{NAME}'] = sys.modules[__name__]
    types = sahi.auto_model.MODEL_TYPE_TO_MODEL_CLASS_NAME
    types[NAME] = FGCLIP2DetectionModel.__name__


if __name__ == '__main__':
    from sahi.cli import app

    register()
    if sys.argv[1:2] == ['predict'] and '--model_type' not in sys.argv:
        sys.argv += ['--model_type', NAME]
    app()
