"""RoIAlign as a product with a sparse matrix.

A bin's value is a weighted sum of map cells, and the weights of a cell are a
product of one number per axis: ``out = Wy F Wx^T``. Averaging the sampling
points first leaves (cells under the bin) entries in a row instead of four per
sampling point, so this is faster than the compiled op, which walks the points.
"""

import torch
from torch import Tensor

from fgclip2_det.compat.ops.backends import compute_dtype, torchvision_ops
from fgclip2_det.compat.ops.roi_layout import RoILayout, axis_weights, neighbours


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool every RoI to a fixed grid of bins.

    Args:
        input: (B, C, H, W).
        rois: (K, 5): batch index, then xyxy in pixels of the image.
        output: (K, C, aligned_height, aligned_width), filled.
        argmax_y: like ``output``, filled with the winning point's row in max
            mode; anything in average mode. ``argmax_x`` likewise.
        spatial_scale: map cells per image pixel.
        sampling_ratio: points per bin and axis; 0 takes one per map cell.
        pool_mode: 0 max, 1 average.
        aligned: True shifts by half a cell; False also widens RoIs to one cell.

    Raises:
        ValueError: if RoIs are not finite, have x1 > x2 or y1 > y2, or a batch index
            out of range.

    Reference: Mask R-CNN (arXiv:1703.06870), section 3.
    """
    shape = (aligned_height, aligned_width)
    if pool_mode == 1 and _use_torchvision(input):
        dtype, settings = compute_dtype(input), (spatial_scale, *shape, sampling_ratio)
        ops = torchvision_ops()
        assert ops is not None
        pool = ops.roi_align
        output.copy_(pool(input.to(dtype), rois.to(dtype), *settings, aligned))
        return
    layout = RoILayout(rois, input, shape, spatial_scale, sampling_ratio, aligned)
    cells = input.permute(0, 2, 3, 1).reshape(-1, input.shape[1]).to(layout.dtype)
    if pool_mode == 0:
        _max_forward(layout, cells, output, argmax_y, argmax_x)
        return
    for chunk, rows, columns, weights in layout.averages():
        size = (len(chunk) * shape[0] * shape[1], len(cells))
        bins = _sparse_mm(rows, columns, weights, size, cells)
        bins = bins.view(len(chunk), *shape, -1).permute(0, 3, 1, 2)
        output[chunk] = bins.to(output.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of ``roi_align_forward`` to ``grad_input`` (B, C, H, W)."""
    shape, num_channels = (aligned_height, aligned_width), grad_input.shape[1]
    if pool_mode == 0:
        _max_backward(grad_output, rois, argmax_y, argmax_x, grad_input)
        return
    if _use_torchvision(grad_input):
        dtype, settings = compute_dtype(grad_input), (spatial_scale, *shape)
        settings = (*settings, *grad_input.shape, sampling_ratio, aligned)
        ops = torchvision_ops()
        assert ops is not None
        pool = ops._roi_align_backward
        grad_input += pool(grad_output.to(dtype), rois.to(dtype), *settings)
        return
    layout = RoILayout(rois, grad_input, shape, spatial_scale, sampling_ratio, aligned)
    num_cells = grad_input.numel() // max(num_channels, 1)
    grad = grad_input.new_zeros((num_cells, num_channels), dtype=layout.dtype)
    for chunk, rows, columns, weights in layout.averages():
        bins = grad_output[chunk].permute(0, 2, 3, 1).reshape(-1, num_channels)
        size = (num_cells, len(bins))
        grad += _sparse_mm(columns, rows, weights, size, bins.to(layout.dtype))
    batch, _, height, width = grad_input.shape
    grad_input += grad.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _use_torchvision(tensor: Tensor) -> bool:
    """Whether to use torchvision's kernel: on a GPU; on a CPU it is slower."""
    return tensor.is_cuda and torchvision_ops() is not None


def _sparse_mm(
    rows: Tensor, columns: Tensor, weights: Tensor, size: tuple[int, int], dense: Tensor
) -> Tensor:
    matrix = torch.sparse_coo_tensor(
        torch.stack([rows, columns]), weights, size, check_invariants=False
    )
    with torch.autocast(dense.device.type, enabled=False):
        return torch.sparse.mm(matrix, dense)


def _max_forward(
    layout: RoILayout, cells: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor
) -> None:
    """RoIs with the same number of points per bin go together, 16 at a time."""
    output.fill_(-10000)  # of a bin without points, as in the compiled op
    argmax_y.fill_(-1)
    argmax_x.fill_(-1)
    (num_y, num_x), (height, width) = layout.shape, layout.map_size
    for grid_y, grid_x in layout.grids.unique(dim=0).tolist():
        same = (layout.grids == layout.grids.new_tensor([grid_y, grid_x])).all(1)
        for chunk in same.nonzero()[:, 0].split(16) if grid_y * grid_x else ():
            (y, _), (x, _) = layout.points(chunk, 0), layout.points(chunk, 1)
            entries = layout.entries(
                chunk, _point_weights(y, height), _point_weights(x, width)
            )
            size = (len(y) * len(x) // len(chunk), len(cells))
            values = _sparse_mm(*entries, size, cells)
            values = values.view(len(chunk), num_y, grid_y, num_x, grid_x, -1)
            values = values.permute(0, 5, 1, 3, 2, 4).flatten(4)  # (k, C, P, Q, points)
            best, point = values.max(-1)
            output[chunk] = best.to(output.dtype)
            y = y.view(len(chunk), 1, num_y, 1, grid_y).expand(*point.shape, -1)
            x = x.view(len(chunk), 1, 1, num_x, grid_x).expand(*point.shape, -1)
            y = y.gather(-1, (point // grid_x)[..., None])[..., 0]
            x = x.gather(-1, (point % grid_x)[..., None])[..., 0]
            argmax_y[chunk], argmax_x[chunk] = y.to(argmax_y), x.to(argmax_x)


def _point_weights(positions: Tensor, length: int) -> Tensor:
    """(S, length): every sampling point is a row of its own."""
    rows = torch.arange(len(positions), device=positions.device)
    return axis_weights(positions, rows, len(rows), length, torch.ones_like(rows))


def _max_backward(
    grad_output: Tensor, rois: Tensor, y: Tensor, x: Tensor, grad_input: Tensor
) -> None:
    """Each bin's gradient goes to the four cells around its winning point."""
    _, num_channels, height, width = grad_input.shape
    dtype = compute_dtype(grad_input)
    y, x = y.to(dtype), x.to(dtype)
    inside = (y > -1) & (y <= height) & (x >= -1) & (x <= width)  # -1: no point
    planes = rois[:, 0].long()[:, None] * num_channels
    planes = planes + torch.arange(num_channels, device=rois.device)
    planes = planes[:, :, None, None] * height
    grad = torch.zeros(grad_input.numel(), dtype=dtype, device=rois.device)
    y_low, y_high, y_part = neighbours(y, height)
    x_low, x_high, x_part = neighbours(x, width)
    for row, weight_y in ((y_low, 1 - y_part), (y_high, y_part)):
        for column, weight_x in ((x_low, 1 - x_part), (x_high, x_part)):
            values = grad_output * (weight_y * weight_x * inside)
            cells = (planes + row) * width + column
            grad.scatter_add_(0, cells.flatten(), values.flatten().to(dtype))
    grad_input += grad.view_as(grad_input)
