"""Ranks, rates and the derangement, without any model."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.zeroshot.metrics import (
    derangement,
    hard_negative_ranks,
    label_ranks,
    match_ranks,
    recall_at,
)


def unit(rows: int, dims: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dims, generator=generator), dim=-1)


def test_match_ranks_by_hand():
    """Cosines of (1, 0), (0, 1), (.6, .8) with (1, 0), (.8, .6), (0, 1):
    1 .8 0 / 0 .6 1 / .6 .96 .8. Query 0 matches entry 1 (beaten by 1), query 1
    entry 2 (best), query 2 entries 0 and 2, whose better one (.8) .96 beats."""
    queries = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    gallery = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1]])
    query_of, match_of = torch.tensor([[2, 0, 1, 2], [2, 1, 2, 0]])
    ranks = match_ranks(queries, gallery, query_of, match_of)
    assert ranks.tolist() == [2, 1, 2]
    assert recall_at(ranks) == pytest.approx(100 / 3)
    assert recall_at(ranks, 2) == 100


def test_a_tie_and_a_nan_count_against_the_model():
    """Equal vectors: each of the 3 rivals is as good, so the rank is the last, 4."""
    same = torch.ones(2, 4) / 2
    gallery = torch.ones(4, 4) / 2
    assert label_ranks(same, gallery, torch.tensor([0, 3])).tolist() == [4, 4]
    index = torch.tensor([[0, 1, 2], [3, 2, -1]])
    assert hard_negative_ranks(same, gallery, index).tolist() == [3, 2]
    nan = torch.full((2, 4), torch.nan)
    assert label_ranks(nan, gallery, torch.tensor([0, 3])).tolist() == [4, 4]
    assert hard_negative_ranks(nan, gallery, index).tolist() == [3, 2]
    # one rival is not a number
    gallery = torch.eye(4).index_fill(0, torch.tensor([2]), torch.nan)
    assert label_ranks(torch.eye(4)[:1], gallery, torch.tensor([0])).tolist() == [2]


@pytest.mark.parametrize('block_elements', [1, 50, 1 << 20])
def test_match_ranks_equal_a_loop_whatever_the_block(block_elements):
    queries, gallery = unit(30, 8), unit(20, 8, seed=1)
    generator = torch.Generator().manual_seed(2)
    matches = torch.rand(30, 20, generator=generator) < 0.1
    matches[torch.arange(30), torch.arange(30) % 20] = True
    ranks = match_ranks(queries, gallery, *matches.nonzero().T, block_elements)
    for query, row, rank in zip(queries, matches, ranks, strict=True):
        scores = gallery @ query
        best = max(s for s, match in zip(scores, row, strict=True) if match)
        higher = [s for s, m in zip(scores, row, strict=True) if not m and s >= best]
        assert rank == 1 + len(higher)


def test_hard_negative_ranks_by_hand():
    """Region (1, 0): its text has .6; negatives 1, .8 and 0, of which the second
    region lacks the first two. So ranks 3 and 1, in blocks of one, too."""
    texts = torch.tensor([[0.6, 0.8], [1, 0], [0.8, 0.6], [0, 1]])
    regions = torch.tensor([[1.0, 0], [1, 0]])
    index = torch.tensor([[0, 1, 2, 3], [0, -1, -1, 3]])
    for block_elements in (1, 1 << 20):
        ranks = hard_negative_ranks(regions, texts, index, block_elements)
        assert ranks.tolist() == [3, 1]


def test_oracle_is_perfect_and_noise_is_chance():
    """Noise: 1 / 80 and 1 / 11 of 4000, within four standard deviations (.18, .45)."""
    classes, labels = unit(80), torch.arange(4000) % 80
    assert recall_at(label_ranks(classes[labels], classes, labels)) == 100
    noise = unit(4000, seed=1)
    assert recall_at(label_ranks(noise, classes, labels)) == pytest.approx(
        1.25, abs=0.7
    )
    rows = torch.rand(4000, 80, generator=torch.Generator().manual_seed(2)).argsort(1)
    index = rows[:, :11]
    assert recall_at(hard_negative_ranks(classes[index[:, 0]], classes, index)) == 100
    actual = recall_at(hard_negative_ranks(noise, classes, index))
    assert actual == pytest.approx(100 / 11, abs=1.8)


def test_bfloat16_embeddings_are_compared_in_float32():
    """Both texts round to the region's direction in bf16 products; not in fp32."""
    region = torch.tensor([[1.0, 0.0078125]], dtype=torch.bfloat16)
    texts = torch.tensor([[1.0, 0.00390625], [1.0, 0.0]], dtype=torch.bfloat16)
    assert label_ranks(region, texts, torch.tensor([0])).tolist() == [1]


def test_no_query_has_no_rank():
    none, index = torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)
    assert len(match_ranks(none, unit(3, 8), index, index)) == 0
    assert len(hard_negative_ranks(none, unit(3, 8), torch.zeros(0, 11).long())) == 0
    with pytest.raises(ValueError, match='recall without ranks'):
        recall_at(index)


@pytest.mark.parametrize('n', [2, 3, 80])
def test_derangement_moves_every_element(n):
    for seed in range(20):
        moved = derangement(n, seed)
        assert sorted(moved.tolist()) == list(range(n))
        assert (moved != torch.arange(n)).all()
        assert torch.equal(moved, derangement(n, seed))
    if n == 80:
        assert not torch.equal(derangement(n, 0), derangement(n, 1))


def test_errors():
    x, zero = unit(3, 8), torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match='query 1 has no match'):
        match_ranks(x, x, zero, zero)
    with pytest.raises(ValueError, match=r'match_of must lie in \[0, 3\)'):
        label_ranks(x, x, torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match=r'labels must be \(regions,\) = \(3,\)'):
        label_ranks(x, x, zero)
    with pytest.raises(ValueError, match='the same D'):
        label_ranks(x, unit(3, 4), torch.arange(3))
    with pytest.raises(ValueError, match='with 3 rows'):
        hard_negative_ranks(x, x, torch.zeros(2, 3).long())
    for row in ([-1, 0], [0, -1]):
        with pytest.raises(ValueError, match='region 2 needs a true text and at least'):
            hard_negative_ranks(x, x, torch.tensor([[0, 1], [1, 2], row]))
    with pytest.raises(ValueError, match='at least 2 elements, got 1'):
        derangement(1, 0)
