"""An auto-annotation function of CVAT.

    pip install cvat-cli
    cvat-cli task auto-annotate 42 --function-file integrations/cvat_function.py \\
        -p names=str:"cup|杯子; black cat" -p weights=str:epoch_3.pth \\
        --conf-threshold 0.4 --allow-unmatched-labels

Parameters are those of ``fgclip2_det.apis.named_detector.DetectorOptions``; those that
are not given come from the environment (``FGCLIP2_NAMES``). The labels of the task are
met by name. The same file serves ``cvat-cli function run-agent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cvat_sdk.auto_annotation as cvataa
import PIL.Image
from cvat_sdk import models

from fgclip2_det.apis.named_detector import NamedDetector
from fgclip2_det.fgclip2 import load_image


class DetectionFunction:
    """Rectangles with a score each, for the classes of a detector.

    Args:
        detector: the system and its classes.
    """

    def __init__(self, detector: NamedDetector) -> None:
        self.detector = detector
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[
                cvataa.label_spec(name, number, type='rectangle')
                for number, name in enumerate(detector.classes)
            ]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: PIL.Image.Image
    ) -> Sequence[models.LabeledShapeRequest]:
        """Detect in one frame.

        Args:
            context: its ``conf_threshold`` is the lowest score; None: the option's.
            image: the frame; boxes are in its pixels, within its borders.
        """
        image = load_image(image)  # upright, as CVAT counts its pixels
        found = self.detector(image, score_thr=context.conf_threshold)
        width, height = image.size
        corners = found.bboxes.double()
        corners[:, 0::2].clamp_(0, width)
        corners[:, 1::2].clamp_(0, height)
        return [
            cvataa.rectangle(label, box, score=min(score, 1.0))
            for label, box, score in zip(
                found.labels.tolist(),
                corners.tolist(),
                found.scores.tolist(),
                strict=True,
            )
            if box[0] < box[2] and box[1] < box[3]
        ]


def create(**parameters: Any) -> DetectionFunction:
    """What ``cvat-cli`` calls, with the values of ``-p``.

    Raises:
        FileNotFoundError, ValueError: in one sentence, for parameters that cannot be
            used.
    """
    return DetectionFunction(NamedDetector(parameters))
