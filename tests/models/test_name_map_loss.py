"""Names of a training step, and labels as their rows."""

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.models.losses.name_map_loss import (
    BACKGROUND,
    IGNORED,
    choose_names,
    name_map_loss,
    rows_of_names,
)


def test_hand_computation():
    """One cell a pixel: softplus(-2) for the right name, softplus(1) for the wrong one,
    softplus(2) and softplus(1) on the background; the last pixel counts for nothing."""
    logits = torch.tensor([[[[2.0, 2.0, 9.0]], [[1.0, 1.0, 9.0]]]])
    labels = torch.tensor([[[0, BACKGROUND, IGNORED]]])
    total, count = name_map_loss(logits, labels, 1)
    expected = 0.1269280 + 1.3132617 + 2.1269280 + 1.3132617
    assert float(total) == pytest.approx(expected, abs=1e-5) and int(count) == 4


def test_nothing_counts():
    labels = torch.full((1, 2, 2), IGNORED)
    total, count = name_map_loss(torch.randn(1, 3, 1, 1), labels, 2)
    assert float(total) == 0 and int(count) == 0


def test_present_names_are_always_chosen():
    random = torch.Generator().manual_seed(0)
    labels = torch.tensor([[7, 3, BACKGROUND], [7, IGNORED, 3]])
    for count in (None, 1, 2, 4, 99):
        names = choose_names(labels, range(1, 9), count, random)
        assert {3, 7} <= set(names.tolist()) <= set(range(1, 9))
        assert names.tolist() == sorted(set(names.tolist()))
        assert len(names) == (8 if count in (None, 99) else max(2, count))
    drawn = {tuple(choose_names(labels, range(1, 9), 4, random).tolist())
             for _ in range(20)}  # fmt: skip
    assert len(drawn) > 3


def test_a_label_that_is_no_candidate():
    with pytest.raises(ValueError, match='class 5, which is not one of the 2 base'):
        choose_names(torch.tensor([1, 5]), [1, 2], None)


def test_rows():
    labels = torch.tensor([[7, BACKGROUND], [3, IGNORED]])
    rows = rows_of_names(labels, torch.tensor([1, 3, 7]))
    assert rows.tolist() == [[2, BACKGROUND], [1, IGNORED]]
