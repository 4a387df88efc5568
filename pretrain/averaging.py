"""Exponential moving average of the weights, for MMEngine's EMAHook."""

from __future__ import annotations

from typing import cast

import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AlignmentEMA(ExponentialMovingAverage):
    """MMEngine's EMA for a model whose CMR threshold has a length that the data sets.

    The threshold is a buffer, so it is copied and not averaged.

    Example:
        >>> custom_hooks = [dict(type='EMAHook', ema_type='AlignmentEMA')]
    """

    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the weights of ``model``."""
        if self.module.cmr_threshold.shape != model.cmr_threshold.shape:
            threshold = cast(Tensor, model.cmr_threshold)
            self.module.cmr_threshold = torch.zeros_like(threshold)
        super().update_parameters(model)
