"""Access to the model, the encoder and the averaged weights of a Runner."""

from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel

from fgclip2_det.fgclip2 import DualEncoder
from pretrain.model import FGCLIP2Alignment
from pretrain.sharding import gathered_encoder


def model_of(runner: Runner) -> FGCLIP2Alignment:
    """A runner's model without its wrapper."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def encoder_of(runner: Runner) -> DualEncoder:
    """The encoder in a runner's model, wrapped or not."""
    return model_of(runner).encoder


def trained_encoder(runner: Runner) -> DualEncoder | None:
    """The result of a run: the average kept by an EMAHook, else the weights themselves.

    All processes must call it; with sharded weights, only the first one gets the
    encoder and the others None.
    """
    if isinstance(runner.model, FullyShardedDataParallel):
        return gathered_encoder(runner.model)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module.encoder
    return encoder_of(runner)
