"""Texts that regions are read with: a true one and false ones that look alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.data.collate import ABSENT, AlignmentBatch
from pretrain.losses.gather import all_gather_rows, row_layout


@dataclass(frozen=True)
class RegionTexts:
    """Distinct region texts of all processes, in an order that does not depend on which
    process holds which.

    Attributes:
        ids: (T, L) int64.
        keys: (T,) int64, rising.
        true: (K, T) bool: texts that are right for this process's regions, its phrase,
            its expressions and its hard positive.
        own: (K, T) bool: hard negatives that were made for the region.
    """

    ids: Tensor
    keys: Tensor
    true: Tensor
    own: Tensor

    @classmethod
    def of(cls, batch: AlignmentBatch) -> RegionTexts:
        """Those of a batch; every process must call it."""
        layout = row_layout(len(batch.box_keys), batch.box_keys.device)
        keys, place = all_gather_rows(batch.box_keys, layout).unique(
            return_inverse=True
        )
        every = all_gather_rows(batch.box_ids, layout)
        ids = every.new_zeros(len(keys), every.shape[1])
        ids[place] = every
        own_place = place[layout.own_rows(place.device)]  # of this process's texts
        num_regions = len(batch.phrase_index)
        true = torch.zeros(num_regions, len(keys), dtype=torch.bool, device=ids.device)
        own = true.clone()
        rows = torch.arange(num_regions, device=ids.device)
        true[rows, own_place[batch.phrase_index]] = True
        if batch.true_keys is not None and len(keys):
            _mark_keys(true, keys, batch.true_keys)
        for column in range(batch.hard_index.shape[1]):
            index = batch.hard_index[:, column]
            there = index != ABSENT
            chosen = batch.hard_region[there], own_place[index[there]]
            (true if column == 0 else own)[chosen] = True
        return cls(ids, keys, true, own & ~true)


def _mark_keys(marks: Tensor, keys: Tensor, wanted: Tensor) -> None:
    """Mark the columns of each row's keys (K, n) that are among ``keys``, rising."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    rows, columns = (keys[place] == wanted).nonzero(as_tuple=True)
    marks[rows, place[rows, columns]] = True


@torch.no_grad()
def draw_candidates(
    cosines: Tensor,
    texts: RegionTexts,
    num_negatives: int,
    temperature: float,
    own_share: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """A true text and M false ones for each region.

    The true one is any of the region's with the same chance. A false one is drawn, with
    probability ``own_share``, among the hard negatives that were made for the region,
    else among all texts that are not true for it; with P(j) = exp(cos_j / t) / sum in
    either case, as R2D2 draws its negatives from the similarities. A text may be drawn
    twice. Draws take one number each from a generator of ``seed``, the same on every
    process, in the order of all regions: one process and two draw the same.

    Args:
        cosines: (K, T) of this process's regions with the texts of all processes.
        texts: of the batch.
        num_negatives: M.
        temperature: t > 0; higher draws easier texts.
        own_share: in [0, 1]; a region without hard negatives has none of its own.
        seed: another at every step.

    Returns:
        (K, 1 + M) int64 columns, the true text first; and (K, 1 + M) bool, False where
        there was nothing to draw.

    Reference: R2D2 (arXiv:2205.03860), section 4.1, fine-grained ranking.
    """
    layout = row_layout(len(cosines), cosines.device)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(layout.total, 2 * num_negatives + 1, generator=generator)
    numbers = numbers[layout.own_rows(torch.device('cpu'))].to(cosines.device)
    chances = (cosines.double() / temperature).softmax(1) if cosines.numel() else (
        cosines.double()
    )  # fmt: skip
    first, has_true = _pick(texts.true.double(), numbers[:, :1])
    from_own, has_own = _pick(chances * texts.own, numbers[:, 1 : 1 + num_negatives])
    others, has_others = _pick(chances * ~texts.true, numbers[:, 1 : 1 + num_negatives])
    takes_own = (numbers[:, 1 + num_negatives :] < own_share) & has_own
    columns = torch.cat([first, torch.where(takes_own, from_own, others)], 1)
    valid = torch.cat([has_true, takes_own | has_others], 1)
    return columns, valid


def _pick(chances: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (K, n) of chances (K, T) at shares (K, n) of their cumulative sum, and
    (K, n) bool, False in a row without chances."""
    if not chances.numel():
        nothing = numbers.new_zeros(numbers.shape, dtype=torch.long)
        return nothing, nothing.bool()
    sums = chances.cumsum(1)
    total = sums[:, -1:]
    columns = torch.searchsorted(sums, numbers.double() * total, right=True)
    last = chances.shape[1] - 1 - (chances > 0).flip(1).int().argmax(1, keepdim=True)
    return columns.minimum(last), (total > 0).expand(numbers.shape)
