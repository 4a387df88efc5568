"""Sharded training with PyTorch's FSDP."""

from __future__ import annotations

from typing import cast

import torch
from mmengine.registry import STRATEGIES
from torch.distributed.fsdp import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)

from fgclip2_det.engine.strategies import FGCLIP2FSDPStrategy, wrap_blocks
from fgclip2_det.fgclip2 import DualEncoder

__all__ = ['AlignmentFSDPStrategy', 'gathered_encoder', 'wrap_blocks']
_ENCODER = 'encoder.'  # in FGCLIP2Alignment


@STRATEGIES.register_module()
class AlignmentFSDPStrategy(FGCLIP2FSDPStrategy):
    """The detectors' FSDP strategy, under the name that alignment configs use.

    Example:
        >>> strategy = dict(type='AlignmentFSDPStrategy', state_dict_cfg='full')
    """


def gathered_encoder(model: FullyShardedDataParallel) -> DualEncoder | None:
    """The encoder in one piece, on the CPU.

    All processes have to call it; the first one gets the encoder, the others None.
    """
    assert model.compute_device is not None
    on_cpu = model.compute_device.type == 'cpu'  # nothing to copy, and FSDP crashes
    whole = FullStateDictConfig(offload_to_cpu=not on_cpu, rank0_only=True)
    with FullyShardedDataParallel.state_dict_type(
        model, StateDictType.FULL_STATE_DICT, whole
    ):
        state = model.state_dict()
    if not state:
        return None
    sharded = cast(DualEncoder, model.module.encoder)
    with torch.device('meta'):
        encoder = type(sharded)(sharded.config, sharded.tokenizer, 'both')
    weights = {
        name.removeprefix(_ENCODER): value
        for name, value in state.items()
        if name.startswith(_ENCODER)
    }
    encoder.load_state_dict(weights, assign=True)
    return encoder
