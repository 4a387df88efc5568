"""What a process divides its sum of losses by."""

from __future__ import annotations

from mmdet.utils import reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor


def share_of_count(count: Tensor) -> Tensor:
    """max(n, 1) / W, where n is the sum of ``count`` over W processes; collective.

    A sum divided by it is, once gradients are averaged over processes, the mean over
    the items of all of them, also where all but one have none.

    Args:
        count: (...) float, this process's items.
    """
    return reduce_mean(count).clamp(min=1 / get_world_size())
