"""Window attention: partition of patch grids into square windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Assignment of the tokens of a batch to K windows of S = size ** 2 positions.

    Each window belongs to one image. The last windows of a row or column extend beyond
    the grid; positions there have no token and are masked.

    Args:
        index: (K, S) int64, the token at each position, counted over the whole batch.
        mask: (K, 1, 1, S) bool, True = there is a token; None if all positions have
            one.
        place: (B, N) int64, the position of each token, counted over all windows.
    """

    index: Tensor
    mask: Tensor | None
    place: Tensor

    def split(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (K, S, D); positions without a token have any token's values."""
        return _take(x, self.index)

    def join(self, x: Tensor) -> Tensor:
        """(K, S, D) -> (B, N, D); padding has any token's values."""
        return _take(x, self.place)


def _take(x: Tensor, index: Tensor) -> Tensor:
    rows = x.flatten(0, 1).index_select(0, index.flatten())
    return rows.unflatten(0, index.shape)


def cut_windows(
    grid_sizes: Sequence[Sequence[int]],
    size: int,
    num_patches: int,
    device: torch.device | str = 'cpu',
) -> Windows:
    """Windows of a batch, from the first row and column of every grid.

    Args:
        grid_sizes: B pairs (h, w); the tokens of an image are its first h * w, row
            by row.
        size: side of a window, in patches.
        num_patches: N, tokens of an image with padding.
        device: of the result.

    Example:
        >>> cut_windows([(2, 3)], 2, 6).index.tolist()  # the last two: any token
        [[0, 1, 3, 4], [2, 5, 5, 1]]

    Reference: ViTDet (arXiv:2203.16527), section 3.
    """
    tables = []
    for i, grid in enumerate(grid_sizes):
        h, w = map(int, grid)
        table = torch.full((-(-h // size) * size, -(-w // size) * size), -1)
        tokens = torch.arange(h * w) + i * num_patches
        table[:h, :w] = tokens.view(h, w)
        cut = table.unflatten(1, (-1, size)).unflatten(0, (-1, size)).transpose(1, 2)
        tables.append(cut.flatten(2).flatten(0, 1))
    index = torch.cat(tables)
    taken = index >= 0
    place = torch.zeros(len(tables) * num_patches, dtype=torch.long)
    place[index[taken]] = taken.flatten().nonzero()[:, 0]
    # different tokens for empty positions, so that gradients need not be added to one
    spread = torch.arange(index.numel()).view_as(index) % len(place)
    index = torch.where(taken, index, spread)
    mask = None if taken.all() else taken[:, None, None].to(device)
    place = place.view(len(tables), num_patches)
    return Windows(index.to(device), mask, place.to(device))


def evenly_spaced_blocks(num_blocks: int, count: int = 4) -> tuple[int, ...]:
    """``count`` evenly spaced blocks of 0 to ``num_blocks - 1``, including the last.

    Example:
        >>> evenly_spaced_blocks(12)
        (2, 5, 8, 11)
    """
    return tuple((i + 1) * num_blocks // count - 1 for i in range(count))
