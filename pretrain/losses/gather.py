"""Collectives of the losses. Each is the identity without a process group.

Each rank returns its share of a loss, scaled so that the *mean* over ranks is the
loss of one process on the concatenated batch; that is the mean which
``DistributedDataParallel`` takes of gradients. Every rank runs every collective in
the same order, forward and backward, also a rank without rows.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class RowLayout:
    """How many rows each rank holds, in rank order."""

    counts: tuple[int, ...]
    rank: int

    @property
    def total(self) -> int:
        """Rows of all ranks."""
        return sum(self.counts)

    @property
    def offset(self) -> int:
        """Where this rank's rows begin among all rows."""
        return sum(self.counts[: self.rank])

    def own_rows(self, device: torch.device) -> Tensor:
        """(n,) int64: this rank's rows as positions among all rows."""
        start = self.offset
        return torch.arange(start, start + self.counts[self.rank], device=device)

    def blocks(self, size: int) -> list['RowBlock']:
        """All rows in blocks of ``size`` or fewer, the next ones of every rank in
        each; with more ranks than that, one row of each."""
        step, blocks = max(1, size // len(self.counts)), []
        for start in range(0, max(self.counts), step):
            counts = [min(max(count - start, 0), step) for count in self.counts]
            own = slice(start, start + counts[self.rank])
            blocks.append(RowBlock(own, RowLayout(tuple(counts), self.rank)))
        return blocks


@dataclass(frozen=True)
class RowBlock:
    """Rows that the ranks exchange at a time, so that no rank holds all of them.

    Attributes:
        own: this rank's rows of the block, among all that it has.
        layout: how many rows of the block each rank has.
    """

    own: slice
    layout: RowLayout

    def gather(self, x: Tensor) -> Tensor:
        """(n, ...) of this rank -> the block's rows of all ranks, without gradient."""
        return _gather(x[self.own], self.layout)

    def reduce(self, x: Tensor) -> Tensor:
        """The block's rows, in every rank's form -> this rank's rows of their sum."""
        return _reduce(x, self.layout)


def world_size() -> int:
    """Number of processes of the default group; 1 without a group."""
    return dist.get_world_size() if _in_group() else 1


def row_layout(num_rows: int, device: torch.device) -> RowLayout:
    """Exchange row counts: one small all_gather, and a wait for it.

    Args:
        num_rows: rows that this rank holds, 0 or more.
        device: one that the process group can send from.
    """
    if not _in_group():
        return RowLayout((num_rows,), 0)
    counts = torch.empty(world_size(), dtype=torch.int64, device=device)
    own = torch.tensor([num_rows], dtype=torch.int64, device=device)
    _all_gather(counts, own)
    return RowLayout(tuple(counts.tolist()), dist.get_rank())


def all_gather_rows(x: Tensor, layout: RowLayout | None = None) -> Tensor:
    """Rows of all ranks in rank order; ranks may hold different numbers of rows.

    Differentiable: a rank's gradient is its slice of the sum over ranks, so that
    sum_r loss_r is differentiated, however many ranks used a row. Under enabled
    gradients the backward collective runs on every rank, also on one whose rows need
    no gradient (a rank without boxes, say), else the others would hang.

    Args:
        x: (n, ...); dtype and trailing shape agree on all ranks.
        layout: row counts when known, from :func:`row_layout`.

    Returns:
        (sum of n over ranks, ...), same dtype.

    Raises:
        ValueError: if ``layout`` is of another number of rows.
    """
    if layout is None:
        layout = row_layout(len(x), x.device)
    if len(x) != layout.counts[layout.rank]:
        raise ValueError(
            f'the layout says {layout.counts[layout.rank]} rows on rank '
            f'{layout.rank}, got {len(x)}; make it with row_layout({len(x)}, ...)'
        )
    if not _in_group() or layout.total == 0:
        return x
    if not x.is_floating_point():
        return _gather(x, layout)
    return _GatherRows.apply(join_backward(x), layout)


def join_backward(x: Tensor) -> Tensor:
    """``x``, or a leaf of its values where it has no gradient and others' may have.

    With it a function whose backward is a collective runs on every rank.
    """
    if _in_group() and torch.is_grad_enabled() and not x.requires_grad:
        return x.detach().requires_grad_()
    return x


@torch.no_grad()
def global_sum(x: Tensor) -> Tensor:
    """Elementwise sum over ranks, same shape, without gradient."""
    total = x.detach().clone()
    if _in_group():
        dist.all_reduce(total)
    return total


def rank_share(total: Tensor, count: Tensor | int) -> Tensor:
    """This rank's share of a mean over all ranks.

    share_r = W total_r / sum_q count_q, so (1/W) sum_r share_r = sum / count.

    Args:
        total: scalar, the sum over this rank's items, with gradient.
        count: how many items that were; 0 is fine, on one rank or on all.

    Returns:
        Scalar of ``total``'s dtype; exactly 0 when no rank has an item.
    """
    count = torch.as_tensor(count, dtype=total.dtype, device=total.device)
    return total * (world_size() / global_sum(count).clamp(min=1))


class _GatherRows(torch.autograd.Function):
    """Forward all_gather; backward one all_reduce, of which the own rows are kept."""

    @staticmethod
    def forward(ctx, x: Tensor, layout: RowLayout) -> Tensor:
        ctx.layout, ctx.dtype = layout, x.dtype
        return _gather(x, layout)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return _reduce(grad, ctx.layout).to(ctx.dtype), None


def _reduce(x: Tensor, layout: RowLayout) -> Tensor:
    """This rank's rows of the sum over ranks, in float32 or wider."""
    if not _in_group():
        return x
    wide = torch.promote_types(x.dtype, torch.float32)
    # an own copy: the reduction writes in place, and autograd may share `x`
    total = x.to(wide, copy=True, memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total.narrow(0, layout.offset, layout.counts[layout.rank])


def _gather(x: Tensor, layout: RowLayout) -> Tensor:
    """Pad to the longest rank, gather once, cut the padding off."""
    if not _in_group():
        return x
    longest, counts = max(layout.counts), layout.counts
    padded = x.new_zeros(longest, *x.shape[1:])
    padded[: len(x)] = x
    gathered = x.new_empty(len(counts) * longest, *x.shape[1:])
    _all_gather(gathered, padded)
    if min(counts) == longest:
        return gathered
    pieces = zip(gathered.split(longest), counts, strict=True)
    return torch.cat([piece[:count] for piece, count in pieces])


def _all_gather(gathered: Tensor, own: Tensor) -> None:
    """Ranks' equally many rows into one tensor; PyTorch 2.13 renamed the function."""
    name = 'all_gather_single'
    if not hasattr(dist, name):
        name = 'all_gather_into_tensor'
    getattr(dist, name)(gathered, own)


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()
