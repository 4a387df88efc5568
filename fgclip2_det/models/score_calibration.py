"""Calibration of final scores, so that one threshold serves all names."""

from __future__ import annotations

import torch
from torch import Tensor

from fgclip2_det.models.fusion.score_fusion import check_finite


class ScoreCalibration:
    """Moves scores on the logit scale: sigmoid(logit(s) + shift).

    The order of a name's boxes stays as it is, and with it every AP. Names that were
    trained have higher scores than others at equal precision, so each kind has its own
    shift; one threshold then means about the same for both.

    Args:
        base: shift of names that the detector was trained on.
        novel: of other names.

    Raises:
        ValueError: a shift that is no finite number.

    Reference: Platt scaling with slope 1; calibrated stacking (Chao et al.,
    arXiv:1605.04253) lowers the scores of trained classes likewise.
    """

    def __init__(self, base: float = 0.0, novel: float = 0.0) -> None:
        self.base = check_finite('base', base)
        self.novel = check_finite('novel', novel)

    def __call__(self, scores: Tensor, is_base: Tensor) -> Tensor:
        """Calibrated scores.

        Args:
            scores: (n, C) in [0, 1].
            is_base: (C,) bool.
        """
        shift = torch.where(is_base, self.base, self.novel).to(scores)
        # s e^b / (1 - s + s e^b): no logit of 0 or 1
        odds = scores * shift.exp()
        return odds / (1 - scores + odds)
