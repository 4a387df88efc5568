"""A learning rate that goes up and down in triangles."""

from __future__ import annotations

from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class TriangularLR(_ParamScheduler):
    """Each group's own rate times a factor that goes up and down, for ever.

    factor = low + (1 - low) (1 - |(t / up mod 2) - 1|)

    MMEngine has no such scheduler, and its LinearLR does not go up again. PyTorch's
    CyclicLR, which R2D2's matching script takes, gives all groups the same rate: there
    the double rate of biases is lost.

    Args:
        optimizer: its groups' rates are the highest ones.
        low: the lowest factor; 0.05 in R2D2's script.
        step_size_up: steps from the lowest to the highest, and down again.
        by_epoch: False counts iterations.
        **options: ``begin``, ``end``, ``last_step``, ``verbose`` of MMEngine's
            schedulers.

    Example:
        >>> param_scheduler = [dict(type='TriangularLR', step_size_up=3125)]

    Reference: cyclical learning rates (arXiv:1506.01186), section 3.1.
    """

    def __init__(
        self,
        optimizer: Any,
        low: float = 0.05,
        step_size_up: int = 3125,
        by_epoch: bool = False,
        **options: Any,
    ) -> None:
        if not 0 <= low <= 1:
            raise ValueError(f'low must lie in [0, 1], got {low!r}')
        if step_size_up < 1:
            raise ValueError(f'step_size_up must be 1 or more, got {step_size_up!r}')
        self.low, self.step_size_up = low, step_size_up
        super().__init__(optimizer, 'lr', by_epoch=by_epoch, **options)

    def _get_value(self) -> list[float]:
        """Rates of this step, whatever they were before."""
        cycles = self.last_step / self.step_size_up
        height = 1 - abs(cycles % 2 - 1)
        factor = self.low + (1 - self.low) * height
        return [value * factor for value in self.base_values]
