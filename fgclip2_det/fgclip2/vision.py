"""Vision tower: patches of any grid in, tokens and a global embedding out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.config import VisionConfig
from fgclip2_det.fgclip2.layers import AttentionPoolingHead, Encoder, Linear


@lru_cache(maxsize=512)
def _resampling_matrix(source: int, target: int) -> Tensor:
    """(target, source) weights of 1-D antialiased bilinear resampling.

    2-D resampling is separable, so a grid needs two of these and no cache of
    values that a training step would make stale; plain matmuls also export.
    """
    eye = torch.eye(source, device='cpu', dtype=torch.float32)[None, None]
    size = (target, source)
    with torch.inference_mode(False), torch.no_grad():
        weights = F.interpolate(
            eye, size, mode='bilinear', align_corners=False, antialias=True
        )
    return weights[0, 0]


class VisionEmbeddings(nn.Module):
    """Linear patch embedding plus the position table resized to each grid."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        dims = config.num_channels * config.patch_size**2
        self.patch_embedding = Linear(dims, config.hidden_size)
        self.position_embedding = nn.Embedding(config.num_patches, config.hidden_size)

    def positions(self, h: int, w: int) -> Tensor:
        """Position embeddings of an (h, w) grid, (h * w, D), computed in fp32."""
        table = self.position_embedding.weight
        side = round(len(table) ** 0.5)
        rows, columns = (
            _resampling_matrix(side, n).to(table.device, torch.float32) for n in (h, w)
        )
        grid = table.float().view(side, side, -1)
        with torch.autocast(table.device.type, enabled=False):
            grid = torch.einsum('hi,ijd->hjd', rows, grid)
            grid = torch.einsum('wj,hjd->hwd', columns, grid)
        return grid.flatten(0, 1).to(table.dtype)

    def forward(self, pixel_values: Tensor, grid_sizes: Sequence[Sequence[int]]):
        """(B, N, 768) patches with grids (h, w) -> (B, N, D); padding stays 0."""
        x = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype))
        grids = [tuple(int(n) for n in grid) for grid in grid_sizes]
        if len(set(grids)) == 1:
            h, w = grids[0]
            return x + F.pad(self.positions(h, w), (0, 0, 0, x.shape[1] - h * w))
        tables = {(h, w): self.positions(h, w) for h, w in set(grids)}
        positions = [
            F.pad(tables[grid], (0, 0, 0, x.shape[1] - grid[0] * grid[1]))
            for grid in grids
        ]
        return x + torch.stack(positions)


class VisionTower(nn.Module):
    """SigLIP 2 NaFlex vision transformer with its MAP head (spec A.2).

    Args:
        config: sizes.

    Example:
        >>> tower = VisionTower(VisionConfig(64, 128, 1, 4))
        >>> tower(torch.zeros(1, 6, 768), [(2, 3)])[0].shape
        torch.Size([1, 6, 64])
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = Encoder(config)
        dims, eps = config.hidden_size, config.layer_norm_eps
        self.post_layernorm = nn.LayerNorm(dims, eps=eps)
        self.head = AttentionPoolingHead(
            dims, config.intermediate_size, config.num_attention_heads, eps
        )

    def forward(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None = None,
        out_indices: Sequence[int] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode patches.

        Args:
            pixel_values: (B, N, 768), order row, column, channel in a patch.
            grid_sizes: B pairs (h, w) with h * w <= N.
            mask: (B, 1, 1, N) bool, True = real patch; None when all are.
            out_indices: blocks whose outputs are wanted too.

        Returns:
            Last hidden state (B, N, D) after ``post_layernorm``, and the
            outputs of ``out_indices`` (before any norm).
        """
        x = self.embeddings(pixel_values, grid_sizes)
        x, outs = self.encoder(x, mask, out_indices)
        return self.post_layernorm(x), outs
