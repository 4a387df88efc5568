"""Simple feature pyramid on the last map of a plain vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of (B, C, h, w)."""

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class FGCLIP2SimpleFPN(BaseModule):
    """Pyramid levels of stride 4 to 64 from the last map of ``FGCLIP2ViT``.

    Args:
        in_channels: D of the backbone.
        out_channels: of every level.
        scales: resolution of each level relative to the map at stride 16: a
            power of two up to 4 (transposed convolutions) or below 1 (pooling).
        num_outs: total number of levels; further ones subsample the last.
        init_cfg: as in every ``BaseModule``.

    Example:
        >>> neck = FGCLIP2SimpleFPN(128, 64)
        >>> [x.shape[-1] for x in neck((torch.zeros(1, 128, 16, 16),))]
        [64, 32, 16, 8, 4]

    Reference: ViTDet (arXiv:2203.16527), section 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scales: Sequence[float] = (4, 2, 1, 0.5),
        num_outs: int = 5,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_outs < len(scales):
            raise ValueError(f'num_outs {num_outs} is below {len(scales)} scales')
        self.num_extra = num_outs - len(scales)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *_resample(in_channels, scale),
                nn.Conv2d(_width(in_channels, scale), out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                LayerNorm2d(out_channels),
            )
            for scale in scales
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of the backbone, the last one used -> ``num_outs`` levels, contiguous.

        ``LayerNorm2d`` leaves permuted strides, which compiled ops do not read.
        """
        outs = [level(inputs[-1]).contiguous() for level in self.levels]
        for _ in range(self.num_extra):
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def _width(channels: int, scale: float) -> int:
    return channels // int(max(scale, 1))


def _resample(channels: int, scale: float) -> list[nn.Module]:
    """Layers that resample a stride-16 map to ``scale`` times its resolution."""
    if scale == 4:
        return [
            nn.ConvTranspose2d(channels, channels // 2, 2, stride=2),
            LayerNorm2d(channels // 2),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 2, channels // 4, 2, stride=2),
        ]
    if scale == 2:
        return [nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)]
    if scale == 1:
        return []
    if scale == 0.5:
        return [nn.MaxPool2d(2, 2, ceil_mode=True)]
    raise ValueError(f'scales must be among 4, 2, 1 and 0.5, got {scale}')
