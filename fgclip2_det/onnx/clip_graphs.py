"""FG-CLIP 1 and CLIP as modules that ``torch.export`` can trace for every grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip1.vision import CLIPVisionTower
from fgclip2_det.fgclip2.text import MODES
from fgclip2_det.onnx.cubic import cubic_weights
from fgclip2_det.onnx.encoder_graphs import to_map


class ExportedCLIPTower(nn.Module):
    """Images of one grid -> what goes into the last block, as ``CLIPVisionTower``.

    Args:
        tower: its weights are shared.
    """

    def __init__(self, tower: CLIPVisionTower) -> None:
        super().__init__()
        self.tower = tower

    def positions(self, h: int, w: int) -> Tensor:
        """(h * w, D) position embeddings of a grid; see ``CLIPVisionEmbeddings``."""
        table = self.tower.embeddings.position_embedding.weight[1:]
        side = round(len(table) ** 0.5)
        grid = table.reshape(side, side, -1)
        grid = torch.einsum('hi,ijd->hjd', cubic_weights(h, side), grid)
        grid = torch.einsum('wj,hjd->hwd', cubic_weights(w, side), grid)
        return grid.flatten(0, 1)

    def forward(
        self, images: Tensor, out_indices: tuple[int, ...] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W) by CLIP's mean and deviation -> (B, N + 1, D), the class token
        last, and the patches' part of outputs of blocks."""
        table = self.tower.embeddings
        x = table.patch_embedding(images)  # (B, D, h, w)
        places = self.positions(x.shape[2], x.shape[3])
        first = table.class_embedding + table.position_embedding.weight[0]
        x = x.flatten(2).transpose(1, 2) + places
        x = torch.cat([x, first.expand(x.shape[0], 1, -1)], 1)
        x = self.tower.pre_layrnorm(x)
        x, outs = self.tower.encoder(x, None, out_indices, stop=-1)
        return x, [out[:, :-1] for out in outs]


class ExportedCLIPVision(nn.Module):
    """Image embedding and dense map, neither normalised.

    Args:
        encoder: with a vision tower.
    """

    def __init__(self, encoder: FGCLIP1) -> None:
        super().__init__()
        self.patch_size = encoder.config.vision.patch_size
        self.tower = ExportedCLIPTower(encoder.vision_model)
        self.visual_projection = encoder.visual_projection

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> (B, D) and (B, D, h, w)."""
        x, _ = self.tower(images)
        pooled = self.visual_projection(self.tower.tower.pool(x))
        dense = self.visual_projection(self.tower.tower.dense(x))
        return pooled, to_map(dense, images, self.patch_size)


class ExportedCLIPText(nn.Module):
    """Text embeddings of all modes, not normalised, read at the first EOS.

    No token looks ahead, so ids may be cut after the last EOS of a batch.

    Args:
        encoder: with a text tower.
    """

    positions: Tensor
    projections: Tensor

    def __init__(self, encoder: FGCLIP1) -> None:
        super().__init__()
        tower = encoder.text_model
        table, keep = tower.embeddings, tower.embeddings.keep_len
        self.token_embedding = table.token_embedding
        self.eos = table.token_embedding.num_embeddings - 1
        self.encoder, self.final_layer_norm = tower.encoder, tower.final_layer_norm
        long = torch.cat([
            table.position_embedding_ori.weight[:keep],
            table.position_embedding_res.weight[keep:],
        ])  # fmt: skip
        short = table.position_embedding.weight
        self.num_short = len(short)
        self.register_buffer('positions', torch.cat([short, long]).detach())
        both = encoder.text_projection.weight, encoder.text_filip_projection.weight
        self.register_buffer('projections', torch.stack(both).detach())

    def forward(self, ids: Tensor, mode: Tensor) -> Tensor:
        """(T, L) int64 ids and the index of their mode in ``MODES``, () int64 ->
        (T, D)."""
        is_long = mode == MODES.index('long')
        places = torch.arange(ids.shape[1])
        x = self.token_embedding(ids)
        x = x + self.positions[places + is_long * self.num_short]
        causal = places[:, None] >= places
        x, _ = self.encoder(x, causal[None, None])
        ends = (ids == self.eos).int().argmax(1)  # (T,), of the first
        rows = ends[:, None, None].expand(-1, 1, x.shape[2])
        x = self.final_layer_norm(x.gather(1, rows)[:, 0])
        return F.linear(x, self.projections[is_long.long()])
