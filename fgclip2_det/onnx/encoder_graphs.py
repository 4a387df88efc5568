"""The encoder as modules that ``torch.export`` can trace for every grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.layers import AttentionPoolingHead
from fgclip2_det.fgclip2.preprocess import patchify
from fgclip2_det.fgclip2.text import MODES
from fgclip2_det.fgclip2.vision import VisionTower
from fgclip2_det.onnx.ops import roi_align


def resampling_weights(size: int, source: int) -> Tensor:
    """(size, source) weights of 1-D antialiased bilinear resampling, for a size that is
    known when the graph runs.

    The triangle filter of ``F.interpolate(antialias=True)``, each row divided by its
    sum: only an enlarged table's first and last cells lose a part of it.
    """
    scale = source / torch.scalar_tensor(size, dtype=torch.float32)
    support = scale.clamp(min=1)
    centers = (torch.arange(size, dtype=torch.float32) + 0.5) * scale
    cells = torch.arange(source, dtype=torch.float32) + 0.5
    weights = (1 - (cells - centers[:, None]).abs() / support).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


class ExportedTower(nn.Module):
    """Images of one grid -> tokens, as ``VisionTower`` gives them.

    Args:
        tower: its weights are shared; without windows.
        patch_size: pixels per patch side.
    """

    def __init__(self, tower: VisionTower, patch_size: int) -> None:
        super().__init__()
        self.tower, self.patch_size = tower, patch_size

    def positions(self, h: int, w: int) -> Tensor:
        """(h * w, D) position embeddings of a grid; see ``VisionEmbeddings``."""
        table = self.tower.embeddings.position_embedding.weight
        side = round(len(table) ** 0.5)
        grid = table.view(side, side, -1)
        grid = torch.einsum('hi,ijd->hjd', resampling_weights(h, side), grid)
        grid = torch.einsum('wj,hjd->hwd', resampling_weights(w, side), grid)
        return grid.flatten(0, 1)

    def forward(
        self, images: Tensor, out_indices: tuple[int, ...] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) RGB in -1 to 1 -> (B, N, D), and outputs of blocks."""
        size = self.patch_size
        h, w = images.shape[2] // size, images.shape[3] // size
        x = self.tower.embeddings.patch_embedding(patchify(images, size))
        x, outs = self.tower.encoder(x + self.positions(h, w), None, out_indices)
        return self.tower.post_layernorm(x), outs


def to_map(tokens: Tensor, images: Tensor, patch_size: int) -> Tensor:
    """(B, N, D) tokens of (B, 3, H, W) images -> (B, D, h, w)."""
    h, w = images.shape[2] // patch_size, images.shape[3] // patch_size
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], h, w)


class ExportedVision(nn.Module):
    """Image embedding and dense map, neither normalised.

    Args:
        encoder: with a vision tower.
    """

    def __init__(self, encoder: FGCLIP2) -> None:
        super().__init__()
        self.patch_size = encoder.config.vision.patch_size
        self.tower = ExportedTower(encoder.vision_model, self.patch_size)
        self.dense_feature_head: AttentionPoolingHead = encoder.dense_feature_head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, D) and (B, D, h, w)."""
        tokens, _ = self.tower(images)
        dense = self.dense_feature_head.dense(tokens)
        pooled = self.tower.tower.head.pool(tokens)
        return pooled, to_map(dense, images, self.patch_size)


class ExportedRegions(nn.Module):
    """Region features of a dense map, not normalised (spec A.5)."""

    def forward(self, dense: Tensor, boxes: Tensor, image_indices: Tensor) -> Tensor:
        """Pool regions.

        Args:
            dense: (B, D, h, w).
            boxes: (K, 4) xyxy in cells of the map.
            image_indices: (K,) int64.

        Returns:
            (K, D).
        """
        return roi_align(dense, boxes, image_indices, 1, 1.0, 0)[:, :, 0, 0]


class ExportedText(nn.Module):
    """Text embeddings of all modes, not normalised; one copy of the tower serves them.

    Args:
        encoder: with a text tower.
    """

    positions: Tensor
    head_weights: Tensor
    head_biases: Tensor

    def __init__(self, encoder: FGCLIP2) -> None:
        super().__init__()
        tower = encoder.text_model
        table, keep = tower.embeddings, tower.embeddings.keep_len
        self.token_embedding = table.token_embedding
        self.encoder, self.final_layer_norm = tower.encoder, tower.final_layer_norm
        long = torch.cat([
            table.position_embedding_ori.weight[:keep],
            table.position_embedding_res.weight[keep:],
        ])  # fmt: skip
        short = table.position_embedding.weight
        self.num_short = len(short)
        self.register_buffer('positions', torch.cat([short, long]).detach())
        heads = dict(short=tower.head, box=encoder.boxtext_head,
                     long=encoder.longtext_head)  # fmt: skip
        weights = [heads[mode].weight.detach() for mode in MODES]
        biases = [heads[mode].bias.detach() for mode in MODES]
        self.register_buffer('head_weights', torch.stack(weights))
        self.register_buffer('head_biases', torch.stack(biases))

    def forward(self, ids: Tensor, mode: Tensor) -> Tensor:
        """(T, L) int64 ids and the index of their mode in ``MODES``, () int64 ->
        (T, D)."""
        start = (mode == MODES.index('long')) * self.num_short
        rows = torch.arange(ids.shape[1]) + start
        x = self.token_embedding(ids) + self.positions[rows]
        x, _ = self.encoder(x, only_last=True)
        x = self.final_layer_norm(x[:, -1])
        return F.linear(x, self.head_weights[mode], self.head_biases[mode])
