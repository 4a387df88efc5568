"""FSDP strategy with unsharded checkpoints.

Checkpoints are the same as those of a single process, so a run can be resumed with or
without FSDP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import STRATEGIES
from torch import distributed as dist
from torch import nn
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel

from fgclip2_det.fgclip2.layers import EncoderLayer

_WRAPPERS = re.compile(r'_(fsdp|checkpoint)_wrapped_module\.')


def wrap_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Wrap policy for FSDP: every transformer block is one unit.

    Heads and embeddings stay in the root unit, because some are used through methods
    other than ``forward``, which FSDP does not hook.
    """
    return recurse or isinstance(module, EncoderLayer)


@STRATEGIES.register_module()
class FGCLIP2FSDPStrategy(FSDPStrategy):
    """MMEngine's FSDP with unsharded checkpoints, on GPUs and on CPUs.

    Differences from ``FSDPStrategy``:

    * The optimizer state is saved in the format of a single process. PyTorch's own
      function keys it by name, and mixes up AdamW's moments on a CPU.
    * Gradients are clipped by the norm over all shards, not over the local one.
    * bfloat16 has no loss scaling, which would fail in a process whose shard is frozen.
    * It also runs on CPUs, with the gloo backend.

    Args:
        state_dict_cfg: 'full', or a dict with ``state_dict_type='FULL_STATE_DICT'``.
        kwargs: of ``FSDPStrategy``. ``model_wrapper`` needs ``use_orig_params=True``.

    Raises:
        ValueError: for another ``state_dict_cfg`` or ``model_wrapper``; when the model
            is built, if ``torch.distributed`` is not initialised.

    Example:
        >>> strategy = dict(
        ...     type='FGCLIP2FSDPStrategy',
        ...     model_wrapper=dict(
        ...         type='MMFullyShardedDataParallel', use_orig_params=True,
        ...         auto_wrap_policy='fgclip2_det.engine.strategies.wrap_blocks'))
    """

    def __init__(
        self,
        *,
        model_wrapper: dict | None = None,
        state_dict_cfg: str | dict = 'full',
        **kwargs,
    ) -> None:
        super().__init__(
            model_wrapper=model_wrapper, state_dict_cfg=state_dict_cfg, **kwargs
        )
        if not self._is_full_state_dict():
            raise ValueError(
                f"state_dict_cfg must be 'full', got {state_dict_cfg!r}: checkpoints "
                'are unsharded'
            )
        if not (model_wrapper or {}).get('use_orig_params'):
            raise ValueError(
                'model_wrapper must have use_orig_params=True, got '
                f'{model_wrapper!r}: frozen and trained weights share a shard'
            )

    def _init_state_dict_cfg(self, state_dict_cfg: str | dict) -> None:
        super()._init_state_dict_cfg(state_dict_cfg)
        if not torch.cuda.is_available():  # offloading to the CPU would crash
            self.state_dict_config = FullStateDictConfig(rank0_only=True)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, and store its parameter shapes before it is sharded."""
        built = super().build_model(model)
        self._shapes = {name: p.shape for name, p in built.named_parameters()}
        return built

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        if not dist.is_initialized():
            raise ValueError(
                'FSDP needs torch.distributed, this is one process; start with '
                'torchrun --nproc-per-node N tools/train.py CONFIG --launcher pytorch'
            )
        if not torch.cuda.is_available():  # MMEngine would pass the index of a GPU
            options = dict(self.model_wrapper, device_id=torch.device('cpu'))
            if options.pop('sync_module_states', False):  # FSDP's needs a GPU
                for tensor in (*model.parameters(), *model.buffers()):
                    dist.broadcast(tensor.detach(), 0)
            self.model_wrapper = options
        return super()._wrap_model(model)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> OptimWrapper:
        """As in ``FSDPStrategy``, for one optimizer."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if not isinstance(wrapper, OptimWrapper):
            raise ValueError(f'FSDP needs one optimizer, got {type(wrapper).__name__}')
        if wrapper.clip_grad_kwargs and wrapper.clip_func is nn.utils.clip_grad_norm_:
            # the original method skips a process without gradients, and the others
            # would wait for it
            sharded = cast(FullyShardedDataParallel, model)
            wrapper._clip_grad = lambda: _clip(wrapper, sharded)
        low = isinstance(wrapper, AmpOptimWrapper)
        if low and wrapper.cast_dtype is torch.bfloat16:
            wrapper.loss_scaler = type(wrapper.loss_scaler)(enabled=False)
        return wrapper

    def optim_state_dict(self) -> dict:
        """State of the unsharded optimizer; tensors in the first process only."""
        state = self.optim_wrapper.state_dict()
        shapes = [self._shapes[name] for name in self._names()]
        state['state'] = gather_state(
            state['state'], shapes, self.model.process_group, self.model.compute_device
        )
        if not state.get('loss_scaler', True):
            del state['loss_scaler']  # empty if off, which an active scaler rejects
        return state

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load this process's shard of a saved optimizer state.

        Raises:
            ValueError: if the state is of another model's parameters.
        """
        params = self._params()
        shapes = {name: self._shapes[name] for name in self._names()}
        state = share_state(
            state_dict['state'], params, shapes, self.model.process_group
        )
        self.optim_wrapper.load_state_dict({**state_dict, 'state': state})

    def _params(self) -> list[nn.Parameter]:
        groups = self.optim_wrapper.optimizer.param_groups
        return [parameter for group in groups for parameter in group['params']]

    def _names(self) -> list[str]:
        """Names of the optimizer's parameters in its order, as before wrapping."""
        names = {
            id(parameter): _WRAPPERS.sub('', name)
            for name, parameter in self.model.named_parameters()
        }
        return [names[id(parameter)] for parameter in self._params()]


def _clip(wrapper: OptimWrapper, model: FullyShardedDataParallel) -> None:
    norm = model.clip_grad_norm_(**wrapper.clip_grad_kwargs)
    wrapper.message_hub.update_scalar(f'train/{wrapper.grad_name}', float(norm))


def gather_state(
    state: Mapping[int, Mapping],
    shapes: Sequence[torch.Size],
    group: dist.ProcessGroup | None = None,
    device: torch.device | str = 'cpu',
) -> dict[int, dict]:
    """Gather the state of an optimizer from the shards of all processes; collective.

    Args:
        state: this process's ``optimizer.state_dict()['state']``. Tensors with one or
            more dimensions are shards (n,); other values are the same in all processes.
            A parameter whose shard is empty may be absent.
        shapes: shapes of the unsharded parameters, in the optimizer's order.
        group: processes that hold one copy of the model together; None: all.
        device: device for the communication in ``group``.

    Returns:
        The state with unsharded tensors on the CPU in the group's first process, empty
        in the others.

    Raises:
        ValueError: if a tensor does not have one value per weight.
    """
    described = {
        i: {key: _describe(value) for key, value in values.items()}
        for i, values in state.items()
    }
    everyone = _everyones(described, group)
    whole: dict[int, dict] = {}
    for i in sorted(set().union(*everyone)):
        known = next(each[i] for each in everyone if i in each)
        whole[i] = {}
        for key, (_, dtype, value) in known.items():
            if dtype is None:
                whole[i][key] = value
                continue
            lengths = [each[i][key][0] if i in each else 0 for each in everyone]
            own = state.get(i, {}).get(key, torch.empty(0, dtype=dtype))
            flat = _gather(own.flatten().to(device), lengths, shapes[i].numel(), group)
            if flat is None:
                raise ValueError(
                    f"the optimizer's {key!r} of a parameter of shape "
                    f'{tuple(shapes[i])} has {lengths} values in the processes; FSDP '
                    'needs an optimizer with one value per weight, such as AdamW'
                )
            whole[i][key] = flat.view(shapes[i]).cpu()
        if dist.get_rank(group):
            whole.clear()
    return whole


def share_state(
    state: Mapping[int, Mapping],
    params: Sequence[nn.Parameter],
    shapes: Mapping[str, torch.Size],
    group: dist.ProcessGroup | None = None,
) -> dict[int, dict]:
    """Extract this process's shard of an unsharded optimizer state; collective.

    Args:
        state: result of :func:`gather_state`, or the state of a plain optimizer.
        params: this process's shards (n,), in the optimizer's order.
        shapes: name -> unsharded shape, in that order.
        group: as in :func:`gather_state`.

    Raises:
        ValueError: if the state is of other parameters.
    """
    if not all(type(i) is int and i < len(params) for i in state):
        raise ValueError(
            f'the saved optimizer state does not have indices of {len(params)} '
            "parameters; it is of another model, or of MMEngine's FSDPStrategy: start "
            'from its weights with load_from'
        )
    names, counts = list(shapes), [parameter.numel() for parameter in params]
    before = _everyones(counts, group)[: dist.get_rank(group)]
    own: dict[int, dict] = {}
    for i, values in state.items():
        shape = shapes[names[i]]
        start = sum(each[i] for each in before) if counts[i] != shape.numel() else 0
        own[i] = {}
        for key, value in values.items():
            if _describe(value)[1] is None:
                own[i][key] = value
            elif value.shape == shape:
                piece = value.flatten()[start : start + counts[i]].clone()
                own[i][key] = piece.view(params[i].shape)
            else:
                raise ValueError(
                    f"the saved optimizer's {key!r} of {names[i]} is "
                    f'{tuple(value.shape)}, the parameter {tuple(shape)}; resume with '
                    'the config that it was saved with'
                )
    return {i: values for i, values in own.items() if counts[i]}


def _describe(value: Any) -> tuple[int, torch.dtype | None, Any]:
    """(length, dtype, None) of a shard, (0, None, value) of a value all share."""
    if isinstance(value, torch.Tensor) and value.dim():
        return value.numel(), value.dtype, None
    return 0, None, value.cpu() if isinstance(value, torch.Tensor) else value


def _everyones(value: Any, group: dist.ProcessGroup | None) -> list:
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, value, group)
    return gathered


def _gather(
    own: torch.Tensor,
    lengths: Sequence[int],
    total: int,
    group: dist.ProcessGroup | None,
) -> torch.Tensor | None:
    """(total,) concatenated shards of all processes; None if the sizes do not fit."""
    padded = own.new_zeros(max(lengths))
    padded[: len(own)] = own
    pieces = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(pieces, padded, group)
    pieces = [piece[:n] for piece, n in zip(pieces, lengths, strict=True)]
    if lengths[0] == total:  # NO_SHARD: each process has all of it
        pieces = pieces[:1]
    flat = torch.cat(pieces)
    return flat if len(flat) == total else None
