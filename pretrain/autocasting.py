"""What the towers compute in while they train."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from mmengine.logging import print_log

from fgclip2_det.fgclip2.low_precision import has_bfloat16_units

AUTO = 'auto'


def check_autocast(value: bool | str) -> bool | str:
    """True, False or 'auto'; ValueError for something else."""
    if value is True or value is False or value == AUTO:
        return value
    raise ValueError(f"autocast must be True, False or 'auto', got {value!r}")


def tower_precision(
    autocast: bool | str, device: torch.device
) -> AbstractContextManager:
    """bfloat16 autocast or nothing.

    Args:
        autocast: True, False, or 'auto': True on a GPU and on a CPU that multiplies
            bfloat16, see :func:`.has_bfloat16_units`; the log says which.
        device: of the towers.
    """
    if autocast == AUTO:
        autocast = device.type != 'cpu' or _cpu_serves()
    return torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext()


@cache
def _cpu_serves() -> bool:
    served = has_bfloat16_units()
    kind = 'bfloat16' if served else 'float32, as this CPU does not multiply bfloat16'
    print_log(f"autocast='auto': the towers compute in {kind}", 'current')
    return served
