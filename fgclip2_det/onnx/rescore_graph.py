"""Re-scoring of given boxes as a module that ``torch.export`` can trace."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.models.fusion import ScoreFusion
from fgclip2_det.onnx.detector_graph import calibrated
from fgclip2_det.onnx.fusion_graph import ExportedFusion
from fgclip2_det.onnx.ops import roi_align


class ExportedRescoring(nn.Module):
    """Boxes, their scores and a dense map -> fused scores, by any fusion rule.

    For a detector that is in ONNX already: its (n, C) scores are those of
    :class:`.PredictionRescorer`'s mode 'joint', with the floor filled in.

    Args:
        fusion: a rule of :mod:`fgclip2_det.models.fusion`.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2.3 and appendix B.
    """

    def __init__(self, fusion: ScoreFusion) -> None:
        super().__init__()
        self.fusion = ExportedFusion(fusion)
        self.needs_image = bool(fusion.needs_image)

    def forward(
        self,
        boxes: Tensor,
        image_size: Tensor,
        dense: Tensor,
        det_scores: Tensor,
        names: Tensor,
        is_base: Tensor,
        competitors: Tensor,
        apart: Tensor,
        shift: Tensor,
    ) -> Tensor:
        """Fused scores (n, C).

        Args:
            boxes: (n, 4) xyxy in pixels; clipped to the image for pooling.
            image_size: (2,) float32, height and width in the same pixels.
            dense: (1, D, h, w) of the image.
            det_scores: (n, C) in [0, 1].
            names, is_base, competitors, apart, shift: see :class:`.ExportedDetector`.
        """
        limit = image_size.flip(0).repeat(2)
        inside = (boxes[:, 2:] >= 0).all(1) & (boxes[:, :2] <= limit[:2]).all(1)
        clipped = boxes.clamp(min=0).minimum(limit)
        regions = torch.where(inside[:, None], clipped, boxes)
        if self.needs_image:  # as one more box
            whole = torch.cat([torch.zeros_like(image_size), image_size.flip(0)])
            regions = torch.cat([regions, whole[None]])
        cells = dense.shape[3], dense.shape[2]
        grid = torch.stack([torch.full((), n, dtype=boxes.dtype) for n in cells])
        regions = regions * (grid.repeat(2) / limit)
        images = torch.zeros_like(regions[:, 0], dtype=torch.int64)
        pooled = roi_align(dense, regions, images, 1, 1.0, 0)[:, :, 0, 0]
        texts = torch.cat([names, competitors])
        cosines = F.normalize(pooled, dim=-1) @ texts.T
        image_cosines = None
        num_names = names.shape[0]
        if self.needs_image:
            image_cosines, cosines = cosines[-1, :num_names], cosines[:-1]
        scores = self.fusion(
            det_scores, cosines[:, :num_names], cosines[:, num_names:], names, is_base,
            apart, image_cosines,
        )  # fmt: skip
        return calibrated(scores, shift)
