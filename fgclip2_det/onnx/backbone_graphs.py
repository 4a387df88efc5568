"""Backbones of detectors as modules that ``torch.export`` can trace for every grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgclip2_det.fgclip1.preprocess import clip_normalize
from fgclip2_det.models.backbones import FGCLIP1ViT, FGCLIP2ViT
from fgclip2_det.onnx.clip_graphs import ExportedCLIPTower
from fgclip2_det.onnx.cubic import antialiased_cubic_weights
from fgclip2_det.onnx.encoder_graphs import ExportedTower, to_map


def exported_backbone(backbone: FGCLIP2ViT) -> nn.Module:
    """The module of a backbone of either version."""
    if isinstance(backbone, FGCLIP1ViT):
        return ExportedFGCLIP1ViT(backbone)
    return ExportedFGCLIP2ViT(backbone)


class ExportedFGCLIP2ViT(nn.Module):
    """Images of one grid -> map for the neck and dense map.

    Args:
        backbone: its layers are shared; without windows.
    """

    def __init__(self, backbone: FGCLIP2ViT) -> None:
        super().__init__()
        self.out_indices = tuple(backbone.out_indices)
        self.patch_size = backbone.patch_size
        self.tower = ExportedTower(backbone.vision_model, self.patch_size)
        self.dense_feature_head = backbone.dense_feature_head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) RGB in -1 to 1 -> (B, W, h, w) and (B, D, h, w)."""
        tokens, outs = self.tower(images, self.out_indices)
        dense = self.dense_feature_head.dense(tokens)
        last = outs[-1] if outs else tokens
        return to_map(last, images, self.patch_size), to_map(
            dense, images, self.patch_size
        )


class ExportedFGCLIP1ViT(nn.Module):
    """The same of FG-CLIP 1 or CLIP, with as many channels of dense maps as texts have.

    Patches of other than 16 pixels get the image resized, as in the backbone.

    Args:
        backbone: its layers are shared.
    """

    def __init__(self, backbone: FGCLIP1ViT) -> None:
        super().__init__()
        self.out_indices = tuple(backbone.out_indices)
        self.patch_size = backbone.patch_size
        self.needs_last = not self.out_indices or (
            backbone.num_layers - 1 in self.out_indices
        )
        self.tower = ExportedCLIPTower(backbone.vision_model)
        self.own_patch_size = backbone.vision_config.patch_size
        self.visual_projection = backbone.visual_projection

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`ExportedFGCLIP2ViT`."""
        pixels = clip_normalize((self.resized(images) + 1) / 2)
        x, outs = self.tower(pixels, self.out_indices)
        tower = self.tower.tower
        dense = self.visual_projection(tower.dense(x))
        if self.needs_last:
            tokens = tower.last(x, None)[:, :-1]
            outs.append(tokens if self.out_indices else tower.post_layernorm(tokens))
        return to_map(outs[-1], images, self.patch_size), to_map(
            dense, images, self.patch_size
        )

    def resized(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same cells with the encoder's own patches."""
        own, size = self.own_patch_size, self.patch_size
        if own == size:
            return images
        rows = antialiased_cubic_weights(images.shape[2] // size, own, size)
        columns = antialiased_cubic_weights(images.shape[3] // size, own, size)
        return torch.einsum('yh,bchw,xw->bcyx', rows, images, columns)
