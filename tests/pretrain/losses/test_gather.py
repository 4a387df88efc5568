"""Without a process group every collective is an identity.

What they do between two processes is in ``test_two_processes.py``.
"""

import pytest
import torch

from pretrain.losses import all_gather_rows, global_sum, rank_share, row_layout
from pretrain.losses.gather import RowLayout

CPU = torch.device('cpu')


def test_one_process_is_an_identity():
    x = torch.randn(3, 2, requires_grad=True)
    layout = row_layout(3, CPU)
    assert (layout.counts, layout.rank, layout.offset, layout.total) == ((3,), 0, 0, 3)
    assert all_gather_rows(x) is x
    assert all_gather_rows(x, layout) is x
    assert torch.equal(global_sum(x), x)
    assert not global_sum(x).requires_grad


def test_layout_of_a_middle_rank():
    """Ranks with 4, 0, 2 and 3 rows: those of rank 2 come after 4 others."""
    layout = RowLayout((4, 0, 2, 3), 2)
    assert (layout.offset, layout.total) == (4, 9)
    assert layout.own_rows(CPU).tolist() == [4, 5]


@pytest.mark.parametrize(
    ('size', 'own', 'counts'),
    [
        (8, [(0, 2)], [(2, 0, 2, 2), (2, 0, 0, 1)]),
        (11, [(0, 2)], [(2, 0, 2, 2), (2, 0, 0, 1)]),
        (1, [(0, 1), (1, 2)], [(1, 0, 1, 1), (1, 0, 1, 1), (1, 0, 0, 1), (1, 0, 0, 0)]),
        (16, [(0, 2)], [(4, 0, 2, 3)]),
    ],
)
def test_blocks_of_a_middle_rank(size, own, counts):
    """A quarter of the size of every rank, until the last one has no more."""
    blocks = RowLayout((4, 0, 2, 3), 2).blocks(size)
    assert [block.layout.counts for block in blocks] == counts
    rows = [(block.own.start, block.own.stop) for block in blocks]
    assert [r for r in rows if r[0] < r[1]] == own
    assert not RowLayout((0, 0), 1).blocks(3)


def test_share_by_hand():
    """6 over 4 items; 0 items give 0, with a gradient of 1."""
    total = torch.tensor(6.0, requires_grad=True)
    torch.testing.assert_close(rank_share(total, 4), torch.tensor(1.5))
    torch.testing.assert_close(rank_share(total, torch.tensor(4)), torch.tensor(1.5))
    none = rank_share(total * 0, 0)
    none.backward()
    assert none == 0
    assert total.grad == 0


def test_layout_of_other_rows():
    with pytest.raises(ValueError, match='3 rows on rank 0, got 2; make it with'):
        all_gather_rows(torch.zeros(2, 2), row_layout(3, CPU))
