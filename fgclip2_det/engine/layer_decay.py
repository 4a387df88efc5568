"""Layer-wise learning rate decay for ``FGCLIP2ViT``."""

from __future__ import annotations

import re

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from fgclip2_det.models import FGCLIP2ViT

_FIRST = re.compile(r'vision_model\.(embeddings|pre_layrnorm)')  # sic, of FG-CLIP 1
_BLOCK = re.compile(r'vision_model\.encoder\.layers\.(\d+)\.')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class FGCLIP2LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Layer-wise learning rate decay in an ``FGCLIP2ViT``; full rate elsewhere.

    With L blocks and decay rate d, block i (from 0) has the learning rate
    lr * d ** (L - i), the embeddings lr * d ** (L + 1), and the layers after the blocks
    (final norm, dense head) lr. Norms, biases, position embeddings and the classifier's
    ``logit_scale`` and ``logit_bias`` have no weight decay.

    Keys of ``paramwise_cfg``:

    * ``decay_rate``: d, in (0, 1];
    * ``backbone_lr_mult``: a further factor on the whole encoder, 1 by default.

    Raises:
        ValueError: for another key, a decay rate out of range, or if
            ``model.backbone`` is not an ``FGCLIP2ViT``.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='FGCLIP2LayerDecayOptimWrapperConstructor',
        ...     optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.1),
        ...     paramwise_cfg=dict(decay_rate=0.7))

    Reference: BEiT (arXiv:2106.08254), appendix; ViTDet (arXiv:2203.16527), 0.7 for
    ViT-B, 0.8 for ViT-L.
    """

    def __call__(self, model: nn.Module) -> object:
        """Build the optimizer and its wrapper."""
        cfg = dict(self.paramwise_cfg or {})
        rate = cfg.pop('decay_rate', 1.0)
        encoder_mult = cfg.pop('backbone_lr_mult', 1.0)
        if cfg or not 0 < rate <= 1:
            raise ValueError(
                'paramwise_cfg takes decay_rate in (0, 1] and backbone_lr_mult, got '
                f'{self.paramwise_cfg}'
            )
        model = getattr(model, 'module', model)
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, FGCLIP2ViT):
            raise ValueError(
                'layer-wise decay needs an FGCLIP2ViT as model.backbone, got '
                f'{type(backbone).__name__}'
            )
        optimizer = dict(self.optimizer_cfg)
        groups: dict[tuple[float, bool], list] = {}
        norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
        normed = {
            parameter
            for module in model.modules()
            if isinstance(module, norms)
            for parameter in module.parameters(recurse=False)
        }
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            mult = 1.0
            if name.startswith('backbone.'):
                mult = encoder_mult * rate ** _depth(name, backbone.num_layers)
            decays = not (
                parameter in normed
                or name.endswith(('bias', 'logit_scale'))
                or 'position_embedding' in name
            )
            groups.setdefault((mult, decays), []).append(parameter)
        optimizer['params'] = [
            dict(params=parameters, lr=optimizer['lr'] * mult)
            | ({} if decays else dict(weight_decay=0.0))
            for (mult, decays), parameters in groups.items()
        ]
        mults = sorted({mult for mult, _ in groups})
        MMLogger.get_current_instance().info(
            f'{len(groups)} groups, learning rates {optimizer["lr"] * mults[0]:.3g} to '
            f'{optimizer["lr"] * mults[-1]:.3g}'
        )
        wrapper = dict(self.optim_wrapper_cfg)
        wrapper.setdefault('type', 'OptimWrapper')
        built = OPTIMIZERS.build(optimizer)
        return OPTIM_WRAPPERS.build(wrapper, default_args=dict(optimizer=built))


def _depth(name: str, num_layers: int) -> int:
    """Number of layers between a parameter and the end of the encoder."""
    block = _BLOCK.search(name)
    if block:
        return num_layers - int(block[1])
    return num_layers + 1 if _FIRST.search(name) else 0
