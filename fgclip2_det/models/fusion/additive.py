"""Weighted sums of scores, of probabilities from several sources, and of logits."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import Tensor

from fgclip2_det.models.fusion.score_fusion import (
    ScoreFusion,
    check_finite,
    check_weight,
)


@MODELS.register_module()
class OpenVocabArithmeticFusion(ScoreFusion):
    """(1 - a) d + a w, where a is the weight of the class.

    As the vocabulary grows, w decreases but d does not, so the best weight depends on
    the number of names.

    Args:
        alpha, beta, temperature: see :class:`ScoreFusion`.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.5,
        beta: float | None = None,
        temperature: float = 0.01,
    ) -> None:
        super().__init__(alpha, beta, temperature)

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        return (1 - weights) * det + weights * sim


@MODELS.register_module()
class OpenVocabLogitFusion(ScoreFusion):
    """sigmoid((1 - a) logit(d) + a (cos / temperature + bias)).

    There is no softmax over classes, so adding names does not change other scores.

    Args:
        alpha, beta, temperature: see :class:`ScoreFusion`. The temperature of the
            encoder's sigmoid loss is 1 / exp(logit_scale).
        bias: added to the logit; logit_bias in the encoder's sigmoid loss.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.5,
        beta: float | None = None,
        temperature: float = 0.01,
        bias: float = 0.0,
    ) -> None:
        super().__init__(alpha, beta, temperature)
        self.bias = check_finite('bias', bias)

    def similarity(
        self,
        cosines: Tensor,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """Logits of the names; competitors change nothing."""
        return cosines / self.temperature + self.bias

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        return ((1 - weights) * det.logit(eps=1e-6) + weights * sim).sigmoid()


@MODELS.register_module()
class OpenVocabDetRefinerFusion(ScoreFusion):
    """Weighted sum of detector score, box similarity and image similarity.

    det_weight d + image_weight sigmoid(cos(image) / T) + alpha sigmoid(cos(box) / T)

    Weights that sum to more than 1 are divided by their sum, which keeps the order:
    scores lie in [0, 1].

    Args:
        alpha: weight of the box's similarity.
        det_weight: weight of the detector's scores.
        image_weight: weight of the whole image's similarity to the names.
        temperature: T.

    :class:`PredictionRescorer` pools the whole image as one more box of the dense map.

    Reference: DetRefiner's published constants 0.8, 0.1, 0.1 and 0.03. It expects a
    detector without a score threshold.
    """

    @property
    def needs_image(self) -> bool:
        """Whether ``forward`` needs the whole image's cosines."""
        return self.image_weight > 0

    def __init__(
        self,
        alpha: float = 0.1,
        det_weight: float = 0.8,
        image_weight: float = 0.1,
        temperature: float = 0.03,
    ) -> None:
        super().__init__(alpha, None, temperature)
        for name, value in dict(
            det_weight=det_weight, image_weight=image_weight
        ).items():
            check_weight(name, value)
        self.det_weight, self.image_weight = det_weight, image_weight
        most = max(alpha) if isinstance(alpha, Sequence) else alpha
        self.total = max(1.0, det_weight + image_weight + most)

    def forward(
        self,
        det_scores: Tensor,
        cosines: Tensor,
        is_base: Tensor | None = None,
        image_cosines: Tensor | None = None,
        *,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """As in :class:`ScoreFusion`; ``image_cosines`` (C,) of the whole image with
        the names is needed unless its weight is 0."""
        scores = super().forward(det_scores, cosines, is_base)
        if not self.image_weight:
            return scores
        if image_cosines is None or image_cosines.shape != cosines.shape[1:]:
            shape = None if image_cosines is None else tuple(image_cosines.shape)
            raise ValueError(
                f'image_cosines must be ({cosines.shape[1]},), got {shape}; set '
                'image_weight=0 to omit them'
            )
        return self.with_image(scores, image_cosines.float())

    def with_image(self, scores: Tensor, image_cosines: Tensor) -> Tensor:
        """(n, C) scores with the similarity of the image, whose cosines are (C,)."""
        image = (image_cosines / self.temperature).sigmoid()
        scores = scores + self.image_weight / self.total * image
        return scores.clamp(max=1)  # by less than 1e-6: rounding

    def similarity(
        self,
        cosines: Tensor,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """Probability of each name on its own; competitors change nothing."""
        return (cosines / self.temperature).sigmoid()

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        return (self.det_weight * det + weights * sim) / self.total
