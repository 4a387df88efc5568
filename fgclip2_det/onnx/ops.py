"""RoIAlign and NMS as single nodes of an exported graph.

Both loop over data, which a traced graph cannot. ``torch.export`` keeps them as the ops
``fgclip2_det::roi_align`` and ``fgclip2_det::kept_by_nms``, which importing this module
registers; an ONNX graph has its own operators for them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fgclip2_det.compat.ops.nms import nms
from fgclip2_det.compat.ops.roi_align import roi_align_forward


@torch.library.custom_op('fgclip2_det::roi_align', mutates_args=())
def roi_align(
    features: Tensor,
    boxes: Tensor,
    images: Tensor,
    size: int,
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """Average RoIAlign (``aligned=True``).

    Args:
        features: (B, D, h, w), float32.
        boxes: (K, 4) xyxy in pixels of the image.
        images: (K,) int64, the image of each box.
        size: k, for k x k outputs.
        spatial_scale: cells of the map per pixel.
        sampling_ratio: points per bin and axis; 0 = one per cell.

    Returns:
        (K, D, k, k).

    Reference: Mask R-CNN (arXiv:1703.06870), section 3; ONNX's ``RoiAlign`` of opset 16
    with ``half_pixel`` coordinates is the same operator.
    """
    output = features.new_zeros(len(boxes), features.shape[1], size, size)
    if len(boxes):
        rois = torch.cat([images[:, None].to(boxes), boxes], 1)
        unused = features.new_zeros(0)
        roi_align_forward(
            features, rois, output, unused, unused, size, size, spatial_scale,
            sampling_ratio, 1, True,
        )  # fmt: skip
    return output


@roi_align.register_fake
def _(features, boxes, images, size, spatial_scale, sampling_ratio):
    return features.new_empty(boxes.shape[0], features.shape[1], size, size)


@torch.library.custom_op('fgclip2_det::kept_by_nms', mutates_args=())
def kept_by_nms(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_per_class: int,
) -> Tensor:
    """Greedy NMS within each class of each image.

    Args:
        boxes: (B, N, 4) xyxy, shared by the classes.
        scores: (B, C, N).
        iou_threshold: a box goes if its IoU with a better kept one is larger.
        score_threshold: candidates must score higher.
        max_per_class: best boxes that are kept of a class.

    Returns:
        (B, C, N) bool, True where a box is kept for a class.
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for image, own in enumerate(boxes):
        for label, values in enumerate(scores[image]):
            rows = (values > score_threshold).nonzero()[:, 0]
            if len(rows):
                best = nms(own[rows], values[rows], iou_threshold, 0)
                kept[image, label, rows[best[:max_per_class]]] = True
    return kept


@kept_by_nms.register_fake
def _(boxes, scores, iou_threshold, score_threshold, max_per_class):
    return torch.empty_like(scores, dtype=torch.bool)


def translations() -> dict[Callable, Callable]:
    """Op -> the ONNX nodes that stand for it, for ``torch.onnx.export``."""
    from onnxscript import opset18 as op  # pyright: ignore[reportMissingImports]

    def onnx_roi_align(features, boxes, images, size, spatial_scale, sampling_ratio):
        return op.RoiAlign(
            features,
            boxes,
            images,
            coordinate_transformation_mode='half_pixel',
            mode='avg',
            output_height=size,
            output_width=size,
            sampling_ratio=sampling_ratio,
            spatial_scale=spatial_scale,
        )

    def onnx_kept_by_nms(boxes, scores, iou_threshold, score_threshold, max_per_class):
        chosen = op.NonMaxSuppression(
            boxes,
            scores,
            op.Constant(value_ints=[max_per_class]),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[score_threshold]),
        )  # (M, 3): image, class, box
        shape = op.Shape(scores)
        none = op.ConstantOfShape(shape)  # zeros, float32
        count = op.Shape(chosen, start=0, end=1)
        ones = op.Expand(op.Constant(value_floats=[1.0]), count)
        return op.Cast(op.ScatterND(none, chosen, ones), to=9)  # bool

    ops = torch.ops.fgclip2_det
    return {
        ops.roi_align.default: onnx_roi_align,
        ops.kept_by_nms.default: onnx_kept_by_nms,
    }
