"""Sampling points of RoIAlign, and the resulting weight of each map cell."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fgclip2_det.compat.ops.backends import compute_dtype

MAX_ENTRIES = 2**20  # of the sparse matrix at a time: about 100 MB with its indices


class RoILayout:
    """Where the sampling points of every RoI lie on the map.

    ``starts``, ``sizes`` and ``grids`` are (K, 2) as (y, x): first edge and
    extent in cells, and the number of points per bin.
    """

    def __init__(
        self,
        rois: Tensor,
        features: Tensor,
        shape: tuple[int, int],
        spatial_scale: float,
        sampling_ratio: int,
        aligned: bool,
    ) -> None:
        self.shape, self.map_size = shape, features.shape[2:]
        self.dtype = compute_dtype(features)
        rois = rois.detach().to(self.dtype)
        self.images = rois[:, 0].long()
        corners = rois[:, [2, 1, 4, 3]] * spatial_scale - (0.5 if aligned else 0.0)
        self.starts, ends = corners[:, :2], corners[:, 2:]
        self.sizes = ends - self.starts
        self._check(rois, len(features), aligned)
        if not aligned:
            self.sizes = self.sizes.clamp(min=1)
        self.bins = self.sizes / self.sizes.new_tensor(shape)
        if sampling_ratio > 0:
            self.grids = torch.full_like(self.bins, sampling_ratio, dtype=torch.long)
        else:
            self.grids = self.bins.float().ceil().long()

    def _check(self, rois: Tensor, num_images: int, aligned: bool) -> None:
        if not rois.isfinite().all():
            raise ValueError('RoIs contain NaN or infinity; drop them before pooling')
        if aligned and (self.sizes < 0).any():
            raise ValueError('RoIs must have x1 <= x2 and y1 <= y2; sort the corners')
        if ((self.images < 0) | (self.images >= num_images)).any():
            raise ValueError(
                f'RoIs name images {self.images.min().item()} to '
                f'{self.images.max().item()}, but the batch holds {num_images}; '
                f'the first column is the batch index'
            )

    def averages(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Chunks of (RoI indices, bin, cell, weight): the sparse matrix's entries."""
        for chunk in self._chunks():
            axes = []
            for axis in (0, 1):
                positions, rows = self.points(chunk, axis)
                count = self.grids[chunk, axis].repeat_interleave(
                    self.grids[chunk, axis] * self.shape[axis]
                )
                num_rows = len(chunk) * self.shape[axis]
                axes.append(
                    axis_weights(positions, rows, num_rows, self.map_size[axis], count)
                )
            yield chunk, *self.entries(chunk, *axes)

    def _chunks(self) -> Iterator[Tensor]:
        """RoIs in runs of at most ``MAX_ENTRIES`` entries (or one RoI)."""
        limits = self.sizes.new_tensor(self.map_size)
        bins = self.sizes.new_tensor(self.shape)
        sizes = (self.sizes.minimum(limits) + 2 * bins).prod(1)
        sizes = sizes.maximum((self.grids * bins).sum(1))
        runs = (sizes.clamp(min=MAX_ENTRIES / 512).cumsum(0) / MAX_ENTRIES).long()
        counts = runs.unique_consecutive(return_counts=True)[1].tolist()
        yield from torch.arange(len(runs), device=runs.device).split(counts)

    def points(self, chunk: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """(S,) positions in cells along an axis, and the (RoI, bin) row of each."""
        grids, num_bins = self.grids[chunk, axis], self.shape[axis]
        rows = torch.arange(len(chunk) * num_bins, device=grids.device)
        rows = rows.repeat_interleave(grids.repeat_interleave(num_bins))
        rois = rows // num_bins
        firsts = (grids * num_bins).cumsum(0) - grids * num_bins
        points = torch.arange(len(rows), device=grids.device) - firsts[rois]
        points = (points % grids[rois]).to(self.dtype)
        start, step = self.starts[chunk, axis][rois], self.bins[chunk, axis][rois]
        positions = start + (rows % num_bins) * step
        return positions + (points + 0.5) * step / grids[rois], rows

    def entries(
        self, chunk: Tensor, weights_y: Tensor, weights_x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outer products of (k * P, H) and (k * Q, W), zeros left out.

        Returns:
            (E,) bin of the (k, P, Q) grid, (E,) cell of the (B, H, W) map, weight.
        """
        num_rois, (height, width) = len(chunk), self.map_size
        count_y, first_y, cell_y, weight_y = _compress(weights_y)
        count_x, first_x, cell_x, weight_x = _compress(weights_x)
        rows_y = count_y.view(num_rois, -1, 1)
        rows_x = count_x.view(num_rois, 1, -1)
        counts = (rows_y * rows_x).flatten()
        bins = torch.arange(len(counts), device=counts.device)
        bins = bins.repeat_interleave(counts)
        grid = (num_rois, rows_y.shape[1], rows_x.shape[2])
        table = torch.stack([
            first_y.view(rows_y.shape).expand(grid).flatten(),
            first_x.view(rows_x.shape).expand(grid).flatten(),
            rows_x.expand(grid).flatten(),
            counts.cumsum(0) - counts,
            (self.images[chunk] * height).view(-1, 1, 1).expand(grid).flatten(),
        ])  # fmt: skip
        start_y, start_x, num_x, start, row = table[:, bins]
        entry = torch.arange(len(bins), device=bins.device) - start
        at_y, at_x = start_y + entry // num_x, start_x + entry % num_x
        cells = (row + cell_y[at_y]) * width + cell_x[at_x]
        return bins, cells, weight_y[at_y] * weight_x[at_x]


def axis_weights(
    positions: Tensor, rows: Tensor, num_rows: int, length: int, count: Tensor
) -> Tensor:
    """(num_rows, length): bilinear weights of the cells, averaged over points.

    Points more than one cell outside count as zeros, the others are clamped.
    """
    weights = ((positions >= -1) & (positions <= length)) / count.to(positions)
    low, high, fraction = neighbours(positions, length)
    flat = positions.new_zeros(num_rows * length)
    flat.scatter_add_(0, rows * length + low, weights * (1 - fraction))
    flat.scatter_add_(0, rows * length + high, weights * fraction)
    return flat.view(num_rows, length)


def neighbours(positions: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells below and above each position, and how far it is on the way up."""
    positions = positions.clamp(0, length - 1)
    low = positions.long()
    return low, (low + 1).clamp(max=length - 1), positions - low


def _compress(weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compressed rows: entries per row, first entry, column and value of each."""
    filled = weights != 0
    count = filled.sum(1)
    return count, count.cumsum(0) - count, filled.nonzero()[:, 1], weights[filled]
