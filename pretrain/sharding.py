"""Weights that lie in shards over the processes (PyTorch's FSDP)."""

from __future__ import annotations

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.registry import STRATEGIES
from torch import nn
from torch.distributed.fsdp import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.layers import EncoderLayer

_ENCODER = 'encoder.'  # in FGCLIP2Alignment


@STRATEGIES.register_module()
class AlignmentFSDPStrategy(FSDPStrategy):
    """MMEngine's strategy, which resumes with PyTorch 2.1 and later, too.

    PyTorch changed the order of two arguments that MMEngine passes by position. And
    what an optimizer wrapper keeps beside the optimizer's state is saved here as well.

    Example:
        >>> strategy = dict(type='AlignmentFSDPStrategy', state_dict_cfg='full')
    """

    def optim_state_dict(self) -> dict:
        """State of the whole optimizer, in the first process."""
        whole = FullyShardedDataParallel.optim_state_dict(
            self.model, self.optim_wrapper.optimizer
        )
        return {**self.optim_wrapper.state_dict(), **whole}

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Give every process its shard of a saved optimizer."""
        shard = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict={
                key: state_dict[key] for key in ('state', 'param_groups')
            },
        )
        self.optim_wrapper.load_state_dict({**state_dict, **shard})


def wrap_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Policy for FSDP: every transformer block is gathered and freed by itself.

    Heads and embeddings belong to the whole model's unit, because some of them are
    used through other methods than ``forward``, where FSDP would not see them.
    """
    return recurse or isinstance(module, EncoderLayer)


def gathered_encoder(model: FullyShardedDataParallel) -> FGCLIP2 | None:
    """The encoder in one piece, on the CPU.

    All processes have to call it; the first one gets the encoder, the others None.
    """
    on_cpu = model.compute_device.type == 'cpu'  # nothing to copy, and FSDP crashes
    whole = FullStateDictConfig(offload_to_cpu=not on_cpu, rank0_only=True)
    with FullyShardedDataParallel.state_dict_type(
        model, StateDictType.FULL_STATE_DICT, whole
    ):
        state = model.state_dict()
    if not state:
        return None
    sharded = model.module.encoder
    with torch.device('meta'):
        encoder = FGCLIP2(sharded.config, sharded.tokenizer)
    weights = {
        name.removeprefix(_ENCODER): value
        for name, value in state.items()
        if name.startswith(_ENCODER)
    }
    encoder.load_state_dict(weights, assign=True)
    return encoder
