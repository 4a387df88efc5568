"""Vision tower: tokens and a global embedding from patches of any grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.config import VisionConfig
from fgclip2_det.fgclip2.layers import AttentionPoolingHead, Encoder, Linear
from fgclip2_det.fgclip2.windows import cut_windows


@lru_cache(maxsize=512)
def _resampling_matrix(source: int, target: int) -> Tensor:
    """(target, source) weights of 1-D antialiased bilinear resampling.

    2-D resampling is separable, so a grid needs two of these matrices. Unlike resized
    position embeddings, they can be cached while the table is trained; plain matrix
    products can also be exported.
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

    def forward(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        windows: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """(B, N, 768) patches with grids (h, w) -> (B, N, D); padding stays 0."""
        x = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype))
        grids = [tuple(int(n) for n in grid) for grid in grid_sizes]
        windows = windows or [(0, 0, *grid) for grid in grids]
        places = [(*grid, *map(int, w)) for grid, w in zip(grids, windows, strict=True)]
        tables = {size: self.positions(*size) for size in {p[4:] for p in places}}
        parts = {place: _part(tables[place[4:]], *place) for place in set(places)}
        num_patches = x.shape[1]
        parts = {
            place: F.pad(part, (0, 0, 0, num_patches - len(part)))
            for place, part in parts.items()
        }
        if len(parts) == 1:
            return x + parts[places[0]]
        return x + torch.stack([parts[place] for place in places])


def _part(table: Tensor, h: int, w: int, top: int, left: int, rows: int, columns: int):
    """The (h * w, D) part of a (rows * columns, D) table that starts at (top, left)."""
    if (h, w) == (rows, columns):
        return table
    grid = table.unflatten(0, (rows, columns))
    return grid[top : top + h, left : left + w].flatten(0, 1)


class VisionTower(nn.Module):
    """SigLIP 2 NaFlex vision transformer with its MAP head (spec A.2).

    Args:
        config: sizes.

    Attributes:
        window_size: 0, or the side in patches of the windows that blocks other than
            ``encoder.global_blocks`` attend in. The dense head sees the whole grid.

    Example:
        >>> tower = VisionTower(VisionConfig(64, 128, 1, 4))
        >>> tower(torch.zeros(1, 6, 768), [(2, 3)])[0].shape
        torch.Size([1, 6, 64])
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = Encoder(config)
        self.window_size = 0
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
        windows: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode patches.

        Args:
            pixel_values: (B, N, 768), order row, column, channel in a patch.
            grid_sizes: B pairs (h, w) with h * w <= N.
            mask: (B, 1, 1, N) bool, True = real patch; None when all are.
            out_indices: blocks whose outputs are also returned.
            windows: B tuples (top, left, H, W), see ``ImageBatch.windows``.

        Returns:
            Last hidden state (B, N, D) after ``post_layernorm``, and the
            outputs of ``out_indices`` (before any norm).
        """
        x, outs = self._run(pixel_values, grid_sizes, mask, out_indices, windows)
        return self.post_layernorm(x), outs

    def hidden(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None,
        windows: Sequence[Sequence[int]] | None,
        num_blocks: int,
    ) -> Tensor:
        """(B, N, D) after the first ``num_blocks`` blocks, before any norm; the others
        do not run. Arguments as of :meth:`forward`."""
        x, _ = self._run(pixel_values, grid_sizes, mask, (), windows, num_blocks)
        return x

    def _run(
        self, pixel_values, grid_sizes, mask, out_indices, windows, stop=None
    ) -> tuple[Tensor, list[Tensor]]:
        x = self.embeddings(pixel_values, grid_sizes, windows)
        cut = None
        if self.window_size:
            cut = cut_windows(grid_sizes, self.window_size, x.shape[1], x.device)
        return self.encoder(x, mask, out_indices, windows=cut, stop=stop)
