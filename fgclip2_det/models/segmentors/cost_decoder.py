"""Upsampling of a cost volume, guided by maps of earlier blocks of the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GuidanceMap(nn.Sequential):
    """A map of the encoder, enlarged and projected.

    Args:
        in_channels: D of the encoder's block.
        mid_channels: after enlarging.
        out_channels: G.
        scale: by how much the sides grow.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, scale: int
    ) -> None:
        super().__init__(
            nn.ConvTranspose2d(in_channels, mid_channels, scale, scale),
            nn.Conv2d(mid_channels, out_channels, 3, padding=1),
            nn.ReLU(),
        )


class UpStage(nn.Module):
    """Twice the size: enlarge, add the guidance as channels, two convolutions.

    Args:
        in_channels: of the volume.
        guidance_channels: G of the guidance map; fewer than ``in_channels``.
        out_channels: of the result.
    """

    def __init__(
        self, in_channels: int, guidance_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        kept = in_channels - guidance_channels
        if kept < 1:
            raise ValueError(
                f'{guidance_channels} channels of guidance leave none of the '
                f'{in_channels} of the volume; give fewer'
            )
        self.up = nn.ConvTranspose2d(in_channels, kept, 2, 2)
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            groups = max(1, out_channels // 16)
            layers += [
                nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
                nn.GroupNorm(groups, out_channels),
                nn.ReLU(),
            ]
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """(B, T, C, h, w) and (B, G, 2h, 2w) -> (B, T, C', 2h, 2w)."""
        num_names = x.shape[1]
        y = self.up(x.flatten(0, 1))
        guidance = guidance.repeat_interleave(num_names, 0)  # of each name's map
        y = self.convs(torch.cat([y, guidance], 1))
        return y.unflatten(0, (-1, num_names))


class CostDecoder(nn.Module):
    """From a volume at the encoder's grid to logits at four times its sides.

    Args:
        in_channels: C of the volume.
        map_channels: D of the encoder's maps.
        guidance_channels: of the enlarged maps, one number a stage.
        guidance_proj_channels: G of each stage.
        channels: of each stage's result.

    Reference: Cat-Seg (arXiv:2303.11797), section 3.4.
    """

    def __init__(
        self,
        in_channels: int,
        map_channels: int,
        guidance_channels: Sequence[int],
        guidance_proj_channels: Sequence[int],
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        lists = guidance_channels, guidance_proj_channels, channels
        if len({len(each) for each in lists}) > 1 or not channels:
            raise ValueError(
                'guidance_channels, guidance_proj_channels and decoder_channels need '
                f'one number a stage, got {[list(each) for each in lists]}'
            )
        stages, maps, before = [], [], in_channels
        for i, (wide, narrow, own) in enumerate(zip(*lists, strict=True)):
            maps.append(GuidanceMap(map_channels, wide, narrow, 2 ** (i + 1)))
            stages.append(UpStage(before, narrow, own))
            before = own
        self.guidance, self.stages = nn.ModuleList(maps), nn.ModuleList(stages)
        self.head = nn.Conv2d(before, 1, 3, padding=1)

    @property
    def scale(self) -> int:
        """By how much the sides grow."""
        return 2 ** len(self.stages)

    def guide(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(B, D, h, w) maps, the last stage's first -> guidance of each stage."""
        pairs = zip(self.guidance, reversed(list(maps)), strict=True)
        return [project(x) for project, x in pairs]

    def forward(self, x: Tensor, guidance: Sequence[Tensor]) -> Tensor:
        """(B, T, C, h, w) and the result of :meth:`guide` -> (B, T, 4h, 4w)."""
        for stage, own in zip(self.stages, guidance, strict=True):
            x = stage(x, own)
        return self.head(x.flatten(0, 1)).unflatten(0, x.shape[:2])[:, :, 0]
