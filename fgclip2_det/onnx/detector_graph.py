"""The two-stage detector as a module that ``torch.export`` can trace.

It calls the detector's own layers; what MMDetection computes image by image, with
shapes that depend on values, has fixed shapes here: missing proposals are boxes without
area and with scores of 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.models.open_softmax import open_softmax
from fgclip2_det.onnx.backbone_graphs import exported_backbone
from fgclip2_det.onnx.fusion_graph import ExportedFusion
from fgclip2_det.onnx.ops import kept_by_nms, roi_align

MISSING = -1.0  # score of no proposal, below every probability


class ExportedDetector(nn.Module):
    """Images and embedded names -> boxes and scores, of B images of one grid.

    Args:
        detector: an ``OpenVocabTwoStageDetector`` whose vocabulary is set; its layers
            are shared.
        nms: class-wise NMS inside, by the detector's ``test_cfg``.

    Reference: CLIPSelf (arXiv:2310.01403), F-ViT.
    """

    def __init__(self, detector: Any, nms: bool = False) -> None:
        super().__init__()
        self.backbone = exported_backbone(detector.backbone)
        self.neck = detector.neck
        self.proposals = ExportedProposals(detector.rpn_head)
        self.regions = ExportedRoIs(detector.roi_head)
        trained = None
        if detector.roi_head.fusion.needs_trained and detector.trained_classes:
            trained = detector.trained_embeds().float()
        self.scores = ExportedScores(detector.roi_head, trained)
        self.nms = dict(detector.roi_head.test_cfg) if nms else None

    def forward(
        self,
        images: Tensor,
        names: Tensor,
        is_base: Tensor,
        competitors: Tensor,
        apart: Tensor,
        shift: Tensor,
    ) -> tuple[Tensor, ...]:
        """Detect.

        Args:
            images: (B, 3, H, W), RGB in -1 to 1, H and W multiples of the patch size.
            names: (C, D), L2-normalised.
            is_base: (C,) bool, names that the training had boxes of.
            competitors: (S, D), L2-normalised; S may be 0.
            apart: (C, C + S) bool, what does not compete with a name.
            shift: (C,) of the scores on the logit scale.

        Returns:
            Boxes (B, P, 4) xyxy in the input's pixels, and scores (B, P, C). With NMS
            boxes (B, K, 4), scores (B, K), descending, and labels (B, K); rows without
            a detection have the score 0 and the label -1.
        """
        features, dense = self.backbone(images)
        levels = self.neck((features,))
        height, width = images.shape[2], images.shape[3]
        proposals, found = self.proposals(levels, height, width)
        boxes, *embeds = self.regions(levels, dense, proposals, height, width)
        scores = self.scores(*embeds, names, is_base, competitors, apart, shift)
        count, num_names = proposals.shape[1], names.shape[0]
        boxes = boxes.reshape(-1, count, 4)
        scores = scores.reshape(-1, count, num_names) * found[..., None]
        return (boxes, scores) if self.nms is None else self.best(boxes, scores)

    def best(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The detections that class-wise NMS leaves, the best first."""
        assert self.nms is not None
        num, threshold = self.nms['max_per_img'], self.nms['nms']['iou_threshold']
        by_class = scores.transpose(1, 2)  # (B, C, P)
        kept = kept_by_nms(boxes, by_class, threshold, self.nms['score_thr'], num)
        count = boxes.shape[1]
        values = (by_class * kept).reshape(boxes.shape[0], -1)
        best, index = F.pad(values, (0, num)).topk(num, dim=1)
        none = best <= 0
        rows = (index % count)[..., None].expand(-1, -1, 4)
        own = boxes.gather(1, rows) * (~none)[..., None]
        return own, best, torch.where(none, -1, index // count)


class ExportedProposals(nn.Module):
    """Proposals of MMDetection's ``RPNHead``, with its layers and ``test_cfg``."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head, self.cfg = head, dict(head.test_cfg)
        self.strides = head.prior_generator.strides
        for level, base in enumerate(head.prior_generator.base_anchors):
            self.register_buffer(f'base_{level}', base.float().clone())

    def forward(
        self, levels: tuple[Tensor, ...], height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """Pyramid levels -> boxes (B, P, 4) in pixels, and (B, P), 0 for a missing one
        and 1 for others."""
        each = [self._level(i, x) for i, x in enumerate(levels)]
        scores, deltas, anchors = (torch.cat(x, 1) for x in zip(*each, strict=True))
        boxes = decode(self.head.bbox_coder, anchors, deltas, height, width)
        sides = boxes[..., 2:] - boxes[..., :2]
        sized = (sides > self.cfg.get('min_bbox_size', -1)).all(-1)
        scores = torch.where(sized, scores, MISSING)
        num = self.cfg['max_per_img']
        level = torch.cat(
            [torch.full_like(own[0][0], i) for i, own in enumerate(each)]
        )  # (N,)
        index = torch.arange(len(levels), dtype=level.dtype)
        by_level = torch.where(
            level == index[:, None], scores[:, None], MISSING
        )  # (B, levels, N)
        kept = kept_by_nms(boxes, by_level, self.cfg['nms']['iou_threshold'], 0.0, num)
        scores = torch.where(kept.any(1), scores, MISSING)
        scores = F.pad(scores, (0, num), value=MISSING)
        best, rows = scores.topk(num, dim=1)
        boxes = F.pad(boxes, (0, 0, 0, num))
        boxes = boxes.gather(1, rows[..., None].expand(-1, -1, 4))
        found = (best > 0).to(boxes)
        return boxes * found[..., None], found

    def _level(self, level: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best ``nms_pre`` scores (B, n), deltas and anchors (B, n, 4)."""
        logits, deltas = self.head.forward_single(x)
        batch, width = logits.shape[0], logits.shape[3]
        logits = logits.permute(0, 2, 3, 1)
        if self.head.use_sigmoid_cls:
            scores = logits.reshape(batch, -1).sigmoid()
        else:
            scores = logits.reshape(batch, -1, 2).softmax(-1)[..., 0]
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        num = self.cfg['nms_pre']
        scores, rows = F.pad(scores, (0, num), value=MISSING).topk(num, dim=1)
        rows = rows.clamp(max=deltas.shape[1] - 1)
        deltas = deltas.gather(1, rows[..., None].expand(-1, -1, 4))
        return scores, deltas, self._anchors(level, rows, width)

    def _anchors(self, level: int, rows: Tensor, width: int) -> Tensor:
        """(B, n, 4) anchors of (B, n) rows; those of a cell follow each other, and
        cells follow each other row by row."""
        base = self.get_buffer(f'base_{level}')
        cells = rows // len(base)
        stride_w, stride_h = self.strides[level]
        columns = torch.full((1,), width, dtype=cells.dtype)
        x, y = cells % columns * stride_w, cells // columns * stride_h
        return base[rows % len(base)] + torch.stack([x, y, x, y], -1)


class ExportedRoIs(nn.Module):
    """Regions of ``OpenVocabRoIHead.encode_regions``, with its layers."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.extractor = head.bbox_roi_extractor
        self.bbox_head, self.patch_size = head.bbox_head, head.patch_size

    def forward(
        self,
        levels: tuple[Tensor, ...],
        dense: Tensor,
        proposals: Tensor,
        height: int,
        width: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded boxes (B * P, 4), and of them the box head's and the dense map's
        embeddings (B * P, D), L2-normalised."""
        batch, count = proposals.shape[0], proposals.shape[1]
        images = torch.arange(batch)[:, None].expand(batch, count).reshape(-1)
        boxes = proposals.reshape(-1, 4)
        with self.bbox_head.fc_cls.stop_at_embeds():
            embeds, deltas = self.bbox_head(self._pool(levels, boxes, images))
        boxes = decode(self.bbox_head.bbox_coder, boxes, deltas, height, width)
        pooled = roi_align(dense, boxes, images, 1, 1 / self.patch_size, 0)[:, :, 0, 0]
        return boxes, embeds, F.normalize(pooled, dim=-1)

    def _pool(
        self, levels: tuple[Tensor, ...], boxes: Tensor, images: Tensor
    ) -> Tensor:
        """(K, D, k, k), each box from the level of its size."""
        layers = self.extractor.roi_layers
        size = layers[0].output_size[0]
        args = [(size, x.spatial_scale, max(x.sampling_ratio, 0)) for x in layers]
        if len(layers) == 1:
            return roi_align(levels[0], boxes, images, *args[0])
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
        scale = (sides[:, 0] * sides[:, 1]).sqrt() / self.extractor.finest_scale
        level = (scale + 1e-6).log2().floor().clamp(0, len(layers) - 1)
        pooled = levels[0].new_zeros(boxes.shape[0], levels[0].shape[1], size, size)
        for i in range(len(layers)):
            rows = (level == i).nonzero()[:, 0]
            own = roi_align(levels[i], boxes[rows], images[rows], *args[i])
            pooled = pooled.index_put((rows,), own)
        return pooled


class ExportedScores(nn.Module):
    """Scores of ``OpenVocabRoIHead.score_regions``, names and competitors given.

    Args:
        head: the RoI head.
        trained: of :class:`.ExportedFusion`.
    """

    background: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, head: Any, trained: Tensor | None = None) -> None:
        super().__init__()
        classifier = head.bbox_head.fc_cls
        self.adapter = classifier.adapter
        self.use_sigmoid = head.bbox_head.loss_cls.use_sigmoid
        self.fusion = ExportedFusion(head.fusion, trained)
        if classifier.background is None:
            background = F.normalize(classifier.background_embed.float(), dim=-1)
        else:
            background = self.adapter(classifier.text_embeds[-1:].float())
        self.register_buffer('background', background.detach().clone())
        self.register_buffer('scale', classifier.logit_scale.detach().exp())
        self.register_buffer('bias', classifier.logit_bias.detach().clone())

    def forward(
        self,
        det_embeds: Tensor,
        dense_embeds: Tensor,
        names: Tensor,
        is_base: Tensor,
        competitors: Tensor,
        apart: Tensor,
        shift: Tensor,
    ) -> Tensor:
        """(K, C) scores of (K, D) and (K, D) embeddings; see :class:`ExportedDetector`
        for the others."""
        texts = torch.cat([names, competitors])
        num_names = names.shape[0]
        columns = torch.cat([self.adapter(texts), self.background])
        logits = det_embeds @ columns.T * self.scale + self.bias
        det = logits[:, :num_names]
        if self.use_sigmoid:
            det_scores = det.sigmoid()
        else:
            det_scores = open_softmax(det, logits[:, num_names:], apart)
        cosines = dense_embeds @ texts.T
        scores = self.fusion(
            det_scores, cosines[:, :num_names], cosines[:, num_names:], names, is_base,
            apart,
        )  # fmt: skip
        return calibrated(scores, shift)


def calibrated(scores: Tensor, shift: Tensor) -> Tensor:
    """``ScoreCalibration`` with the shift (C,) of each name; 0 leaves a score."""
    odds = scores * shift.exp()
    return odds / (1 - scores + odds)


def decode(
    coder: Any, boxes: Tensor, deltas: Tensor, height: int, width: int
) -> Tensor:
    """Boxes (..., 4) of ``DeltaXYWHBBoxCoder``, clipped to the image.

    Reference: R-CNN (arXiv:1311.2524), appendix C.
    """
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    limit = abs(math.log(16 / 1000))
    center = (boxes[..., :2] + boxes[..., 2:]) * 0.5
    sides = boxes[..., 2:] - boxes[..., :2]
    center = center + sides * deltas[..., :2]
    half = sides * deltas[..., 2:].clamp(-limit, limit).exp() * 0.5
    low, high = center - half, center + half
    x1, y1, x2, y2 = torch.cat([low, high], -1).unbind(-1)
    x1, x2 = (x.clamp(0, width) for x in (x1, x2))
    y1, y2 = (y.clamp(0, height) for y in (y1, y2))
    return torch.stack([x1, y1, x2, y2], -1)
