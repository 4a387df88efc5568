"""The inferencer as a detection model of SAHI, for its own slicing and tools.

Needs sahi (``pip install sahi``); tried with 0.12.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sahi.models.base import (  # pyright: ignore[reportMissingImports]
    DetectionModel,
)
from sahi.prediction import ObjectPrediction  # pyright: ignore[reportMissingImports]

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inferencer import OpenVocabInferencer


class SahiDetectionModel(DetectionModel):
    """An :class:`.OpenVocabInferencer` with its current names.

    SAHI passes (h, w, 3) uint8 RGB slices; names are encoded once, before.

    Args:
        inferencer: with names set, or a default.
        confidence_threshold: boxes that score lower are left out.
        options: of ``sahi.models.base.DetectionModel``.

    Example:
        >>> inferencer = OpenVocabInferencer()
        >>> _ = inferencer.set_vocabulary('red circle; 蓝色正方形')
        >>> model = SahiDetectionModel(inferencer)
        >>> sahi.predict.get_sliced_prediction('large.png', model, 640, 640)
    """

    def __init__(
        self,
        inferencer: OpenVocabInferencer,
        confidence_threshold: float = 0.3,
        **options: Any,
    ) -> None:
        super().__init__(
            model=inferencer,
            device=str(inferencer.device),
            confidence_threshold=confidence_threshold,
            **options,
        )

    def set_model(self, model: OpenVocabInferencer, **kwargs: Any) -> None:
        """Use an inferencer."""
        self.model = model

    def perform_inference(self, image: np.ndarray) -> None:
        """Detect in one slice.

        Args:
            image: (h, w, 3) uint8 RGB.
        """
        self._original_predictions = self.model(
            image, score_thr=self.confidence_threshold, channel_order='rgb'
        )

    @property
    def category_names(self) -> list[str]:
        """The inferencer's names, in label order."""
        vocabulary = self.model.vocabulary
        return [] if vocabulary is None else list(vocabulary.names)

    @property
    def num_categories(self) -> int:
        """Number of names."""
        return len(self.category_names)

    @property
    def has_mask(self) -> bool:
        """False: boxes alone."""
        return False

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: Any = ((0, 0),),
        full_shape_list: Any = None,
    ) -> None:
        """SAHI's predictions of the slices; shifts are (x, y), shapes (h, w)."""
        shifts = _one_each(shift_amount_list)
        shapes = [None] if full_shape_list is None else _one_each(full_shape_list)
        self._object_prediction_list_per_image = [
            _predictions(found, shift, shape)
            for found, shift, shape in zip(
                self._original_predictions, shifts, shapes, strict=True
            )
        ]


def _one_each(values: Any) -> list[list[int]]:
    """A list of pairs, from one pair or several."""
    values = [values] if np.ndim(values) == 1 else values
    return [[int(value) for value in pair] for pair in values]


def _predictions(
    found: Detections, shift: Sequence[int], shape: Sequence[int] | None
) -> list[ObjectPrediction]:
    return [
        ObjectPrediction(
            bbox=bbox,
            category_id=label,
            category_name=name,
            score=score,
            shift_amount=list(shift),
            full_shape=None if shape is None else list(shape),
        )
        for bbox, label, name, score in zip(
            found.bboxes.tolist(),
            found.labels.tolist(),
            found.names,
            found.scores.tolist(),
            strict=True,
        )
    ]
