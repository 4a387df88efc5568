"""One optimizer: Muon for the blocks' matrices, AdamW for all other parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from pretrain.muon import CPUMuon

_NEW_HEADS = ('dense_feature_head', 'boxtext_head', 'longtext_head')
MATRICES = re.compile(
    r'(encoder\.layers\.|_joint\.layers\.|dense_feature_head\.|vision_model\.head\.)'
    r'.*weight$'
)


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.Optimizer):
    """Muon and AdamW side by side, on groups marked ``muon=True`` or not.

    One optimizer, one state: schedulers, clipping, checkpoints and resuming see
    nothing unusual. Muon's step is scaled to AdamW's RMS, so one learning rate can
    serve both. Muon is torch's, on a CPU :class:`.CPUMuon`.

    Args:
        params: groups; the mark is per group.
        lr: of groups that name none, AdamW's or Muon's.
        betas: of AdamW.
        eps: of AdamW.
        weight_decay: decoupled, of both.
        momentum: of Muon.

    Reference: arXiv:2502.16982, equation 4 (Muon at AdamW's scale).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
    ) -> None:
        self.options: dict[str, Any] = dict(
            betas=tuple(betas), eps=eps, momentum=momentum
        )
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, muon=False))
        self._share()

    def _share(self) -> None:
        """Both optimizers work on this one's groups and state."""
        betas, eps = self.options['betas'], self.options['eps']
        muon = [group for group in self.param_groups if group['muon']]
        adamw = [group for group in self.param_groups if not group['muon']]
        self.parts = []
        if muon:
            self.parts.append(_muon(muon, self.options['momentum']))
        if adamw:
            self.parts.append(torch.optim.AdamW(adamw, betas=betas, eps=eps))
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure=None):
        """One update of all groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict) -> None:
        """As saved by ``state_dict``."""
        super().load_state_dict(state_dict)
        self._share()


def _muon(groups: list[dict], momentum: float) -> torch.optim.Optimizer:
    if all(p.device.type == 'cpu' for group in groups for p in group['params']):
        return CPUMuon(groups, momentum=momentum)
    if not hasattr(torch.optim, 'Muon'):
        raise ValueError(
            f'MuonAdamW needs torch.optim.Muon (PyTorch 2.9) on a GPU, this is '
            f'{torch.__version__}; take AdamW'
        )
    return torch.optim.Muon(groups, momentum=momentum, adjust_lr_fn='match_rms_adamw')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AlignmentOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Parameter groups of the released training code, merged into a few groups.

    Everything decays except LayerNorm weights and what has 'bias' in its name
    (so position tables and ``logit_scale`` do, ``logit_bias`` does not; spec D.2).

    ``paramwise_cfg`` may hold

    * ``new_head_lr_mult``: for the dense, box and long heads (the released
      ``text_model_lr``);
    * ``muon``: mark the matrices of blocks and pooling heads for
      :class:`MuonAdamW`;
    * ``muon_lr_mult``: their learning rate over the others';
    * ``bias_lr_mult``: of everything with 'bias' in its name (R2D2's script: 2).

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='AlignmentOptimWrapperConstructor',
        ...     optimizer=dict(type='AdamW', lr=1e-6, betas=(0.9, 0.98)))
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Optimizer and its wrapper."""
        cfg = dict(self.paramwise_cfg or {})
        muon = cfg.pop('muon', False)
        mults = {name: cfg.pop(name, 1.0) for name in
                 ('new_head_lr_mult', 'muon_lr_mult', 'bias_lr_mult')}  # fmt: skip
        if cfg:
            raise ValueError(f'paramwise_cfg: unknown {sorted(cfg)}')
        optimizer = dict(self.optimizer_cfg)
        norms = {
            f'{name}.weight'
            for name, module in model.named_modules()
            if isinstance(module, nn.LayerNorm)
        }
        groups: dict[tuple, list] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            decays = name not in norms and 'bias' not in name
            is_muon = muon and parameter.ndim == 2 and bool(MATRICES.search(name))
            new = any(part in name for part in _NEW_HEADS)
            bias = 'bias' in name and mults['bias_lr_mult'] != 1
            groups.setdefault((decays, is_muon, new, bias), []).append(parameter)
        optimizer['params'] = [
            _group(parameters, marks, optimizer, mults, muon)
            for marks, parameters in groups.items()
        ]
        built = OPTIMIZERS.build(optimizer)
        if muon and not isinstance(built, MuonAdamW):
            raise ValueError(
                f'paramwise_cfg: muon=True needs optimizer type MuonAdamW, got '
                f'{type(built).__name__}'
            )
        wrapper = dict(self.optim_wrapper_cfg)
        wrapper.setdefault('type', 'OptimWrapper')
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=built))


def _group(
    parameters: list,
    marks: tuple[bool, bool, bool, bool],
    optimizer: dict,
    mults: dict,
    muon: bool,
) -> dict:
    decays, is_muon, new, bias = marks
    lr = optimizer['lr']
    lr *= mults['new_head_lr_mult'] if new else 1.0
    lr *= mults['muon_lr_mult'] if is_muon else 1.0
    lr *= mults['bias_lr_mult'] if bias else 1.0
    group: dict[str, Any] = dict(params=parameters, lr=lr)
    if not decays:
        group['weight_decay'] = 0.0
    return group | (dict(muon=is_muon) if muon else {})
