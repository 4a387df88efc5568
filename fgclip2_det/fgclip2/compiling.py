"""The vision tower under ``torch.compile``, for inference."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

from torch import nn

from fgclip2_det.fgclip2.low_precision import is_int8


def compile_tower(model: nn.Module, **options: Any) -> None:
    """Compile the blocks of a vision tower in place; parameters keep their names.

    Blocks are alike and share their programs: one for a batch without padding, one for
    a batch with it. The number of patches is a variable of them, so that another grid
    compiles nothing anew. On CPUs matrix products and attention take nearly all of the
    time, and PyTorch's compiler calls slower ones than the package does: compiled
    blocks are slower there, see ``docs/speed.md``.

    Args:
        model: with ``vision_model``.
        options: of ``torch.compile``; ``dynamic=True`` unless it is given.

    Raises:
        ValueError: for a model without a vision tower or one in int8, and where there
            is no C++ compiler for the default backend on a CPU.
    """
    tower = getattr(model, 'vision_model', None)
    if tower is None:
        raise ValueError(
            "expected an encoder with towers='vision' or 'both', got one without a "
            'vision tower'
        )
    if is_int8(model):
        raise ValueError(
            'the model is in int8, which is slower compiled; compile the float model, '
            'or leave it as it is'
        )
    inductor = options.get('backend', 'inductor') == 'inductor'
    on_cpu = next(tower.parameters()).device.type == 'cpu'
    if inductor and on_cpu and not _has_cxx():
        raise ValueError(
            'torch.compile needs a C++ compiler on a CPU, and there is none: install '
            'g++ or clang, or set CXX to one'
        )
    for block in tower.encoder.layers:
        block.compile(**{'dynamic': True, **options})


def _has_cxx() -> bool:
    """Whether the compiler is there that PyTorch would call."""
    usual = {'win32': 'cl', 'darwin': 'clang++'}.get(sys.platform, 'g++')
    return shutil.which(os.environ.get('CXX', usual)) is not None
