"""Vision tower of CLIP on grids of patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip1.config import FGCLIP1VisionConfig
from fgclip2_det.fgclip2.layers import QUICK_GELU, Encoder, EncoderLayer


class CLIPVisionEmbeddings(nn.Module):
    """Patch embedding, class token, and the position table of a square grid."""

    def __init__(self, config: FGCLIP1VisionConfig) -> None:
        super().__init__()
        dims, size = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.empty(dims))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, dims, size, size, bias=False
        )
        self.position_embedding = nn.Embedding(config.grid_side**2 + 1, dims)

    def positions(self, h: int, w: int) -> Tensor:
        """Position embeddings (h * w, D) of a grid.

        Grids other than the table's get it by bicubic interpolation, in fp32. The model
        was trained on one grid alone, so features of others are an extrapolation.
        """
        table = self.position_embedding.weight[1:]
        side = round(len(table) ** 0.5)
        if (h, w) == (side, side):
            return table
        grid = table.float().T.unflatten(1, (side, side))[None]  # (1, D, side, side)
        with torch.autocast(table.device.type, enabled=False):
            grid = F.interpolate(grid, (h, w), mode='bicubic', align_corners=False)
        return grid[0].flatten(1).T.to(table.dtype)

    def forward(
        self, pixel_values: Tensor, grid_sizes: Sequence[Sequence[int]]
    ) -> Tensor:
        """(B, N, 3 * patch * patch) patches with grids (h, w) -> (B, N + 1, D), the
        class token last; padding has no positions."""
        weight = self.patch_embedding.weight  # (D, 3, patch, patch)
        x = pixel_values.to(weight.dtype)
        x = F.linear(x, weight.permute(0, 2, 3, 1).flatten(1))  # row, column, channel
        grids = [(int(h), int(w)) for h, w in grid_sizes]
        tables = {
            (h, w): F.pad(self.positions(h, w), (0, 0, 0, x.shape[1] - h * w))
            for h, w in set(grids)
        }
        places = torch.stack([tables[grid] for grid in grids])
        first = self.class_embedding + self.position_embedding.weight[0]
        return torch.cat([x + places, first.expand(len(x), 1, -1)], 1)


class CLIPVisionTower(nn.Module):
    """CLIP's vision transformer; the class token stands last, not first, so that the
    last block can be computed for it alone.

    Args:
        config: sizes.

    Example:
        >>> tower = CLIPVisionTower(FGCLIP1VisionConfig(64, 128, 1, 4, 224, 16))
        >>> tower(torch.zeros(1, 6, 768), [(2, 3)])[0].shape
        torch.Size([1, 6, 64])
    """

    window_size = 0  # global attention, as VisionTower has it by default

    def __init__(self, config: FGCLIP1VisionConfig) -> None:
        super().__init__()
        dims, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(dims, eps=eps)  # spelled as in the checkpoint
        self.encoder = Encoder(config, QUICK_GELU)
        self.post_layernorm = nn.LayerNorm(dims, eps=eps)

    def embed(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Input of the first block (B, N + 1, D), and the mask with the class token."""
        x = self.pre_layrnorm(self.embeddings(pixel_values, grid_sizes))
        return x, None if mask is None else F.pad(mask, (0, 1), value=True)

    def before_last(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None = None,
        out_indices: Sequence[int] = (),
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Input of the last block (B, N + 1, D), its mask, and the patches' part of the
        outputs of ``out_indices``; see :meth:`forward`."""
        x, mask = self.embed(pixel_values, grid_sizes, mask)
        x, outs = self.encoder(x, mask, out_indices, stop=-1)
        return x, mask, [out[:, :-1] for out in outs]

    @property
    def last(self) -> EncoderLayer:
        """The last block."""
        return cast(EncoderLayer, self.encoder.layers[-1])

    def pool(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N + 1, D) input of the last block -> (B, D), of the class token."""
        x = self.last(x, mask, only_last=True)
        return self.post_layernorm(x[:, -1])

    def dense(self, x: Tensor) -> Tensor:
        """(B, N + 1, D) input of the last block -> (B, N, D), of the patches: the block
        without its attention, as FG-CLIP 1 trains region features."""
        x = self.last.without_attention(x[:, :-1])
        return self.post_layernorm(x)

    def forward(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None = None,
        out_indices: Sequence[int] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode patches.

        Args:
            pixel_values: (B, N, 3 * patch * patch), order row, column, channel.
            grid_sizes: B pairs (h, w) with h * w <= N.
            mask: (B, 1, 1, N) bool, True = real patch; None when all are.
            out_indices: blocks whose outputs are also returned.

        Returns:
            Last hidden state of the patches (B, N, D) after ``post_layernorm``, and the
            outputs of ``out_indices`` (before any norm).
        """
        x, mask = self.embed(pixel_values, grid_sizes, mask)
        x, outs = self.encoder(x, mask, out_indices)
        return self.post_layernorm(x[:, :-1]), [out[:, :-1] for out in outs]

    def hidden(
        self,
        pixel_values: Tensor,
        grid_sizes: Sequence[Sequence[int]],
        mask: Tensor | None,
        num_blocks: int,
    ) -> Tensor:
        """Patches (B, N, D) after the first ``num_blocks`` blocks, before any norm; the
        others do not run. Arguments as of :meth:`forward`."""
        x, mask = self.embed(pixel_values, grid_sizes, mask)
        x, _ = self.encoder(x, mask, stop=num_blocks)
        return x[:, :-1]
