"""Multi-scale deformable attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.compat.ops.backends import compute_dtype


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int = 64,
) -> Tensor:
    """Weighted sum of values sampled at a few points of every level.

    Args:
        value: (B, S, M, D), M heads; S = cells of all levels together.
        value_spatial_shapes: (L, 2) as (h, w).
        value_level_start_index: (L,) first of a level's cells in S.
        sampling_locations: (B, N, M, L, P, 2) as (x, y), 0 to 1 over the map;
            outside it is zeros.
        attention_weights: (B, N, M, L, P).
        im2col_step: memory setting of the compiled op, unused.

    Returns:
        (B, N, M * D), in the type of ``value``.

    Reference: Deformable DETR (arXiv:2010.04159), equation 3.
    """
    batch, _, heads, dims = value.shape
    dtype = compute_dtype(value)
    output = value.new_zeros((), dtype=dtype)
    weights = attention_weights.to(dtype).transpose(1, 2).flatten(0, 1)
    grids = sampling_locations.to(dtype).transpose(1, 2).flatten(0, 1) * 2 - 1
    starts = value_level_start_index.tolist()
    for level, (height, width) in enumerate(value_spatial_shapes.tolist()):
        cells = value[:, starts[level] : starts[level] + height * width].to(dtype)
        maps = cells.permute(0, 2, 3, 1).reshape(batch * heads, dims, height, width)
        sampled = F.grid_sample(maps, grids[:, :, level], align_corners=False)
        output = output + (sampled * weights[:, None, :, level]).sum(-1)  # (B*M, D, N)
    output = output.view(batch, heads * dims, -1).transpose(1, 2)
    return output.to(value.dtype).contiguous()


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int = 64,
) -> None:
    """Fill the three gradients of ``ms_deform_attn_forward``.

    ``grad_output`` is (B, N, M * D); the others have their input's shape.
    """
    with torch.enable_grad():
        leaves = [
            tensor.detach().requires_grad_()
            for tensor in (value, sampling_locations, attention_weights)
        ]
        values, locations, weights = leaves
        output = ms_deform_attn_forward(
            values, value_spatial_shapes, value_level_start_index, locations, weights
        )
        grads = torch.autograd.grad(output, leaves, grad_output.view_as(output))
    for target, grad in zip(
        (grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True
    ):
        target.copy_(grad)
