"""Pre-ranking and ranking against loops over all pairs."""

import numpy as np
import pytest
import torch

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder, ImageItem, evaluate_retrieval
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.caption_pairs import add_mean_recall
from fgclip2_det.zeroshot.metrics import TIE, match_ranks
from fgclip2_det.zeroshot.ranked_retrieval import best_candidates, ranked_ranks
from fgclip2_det.zeroshot.ranker_scores import RankerScorer
from fgclip2_det.zeroshot.report import Report
from fgclip2_det.zeroshot.suite import BENCHMARKS
from tests.ccmb_folders import TEXTS, write_set
from tests.random_rankers import slow_scores, vivid_ranker

OUTSIDE = -100.0  # the reference's score of what is no candidate


def random_problem(seed: int, ties: bool = False) -> tuple[torch.Tensor, ...]:
    """Unit vectors, and pairs that match: one for each query and a few more."""
    random = torch.Generator().manual_seed(seed)
    queries, gallery = (torch.randn(n, 5, generator=random) for n in (9, 13))
    if ties:
        queries, gallery = queries.sign(), gallery.sign()
    owns = {(q, q) for q in range(9)} | {(q, (3 * q + 1) % 13) for q in range(0, 9, 2)}
    pairs = torch.tensor(sorted(owns))[torch.randperm(len(owns), generator=random)]
    unit = torch.nn.functional.normalize
    return unit(queries), unit(gallery), pairs[:, 0], pairs[:, 1]


def slow_candidates(cosines, matches: set[int], k: int) -> list[int]:
    """The k best of a query; of equal ones those that do not match, then the first."""
    keys = [(-(c - TIE * (g in matches)), g) for g, c in enumerate(cosines)]
    return [g for _, g in sorted(keys)][:k]


def slow_rank(scores: dict[int, float], matches: set[int], size: int) -> int:
    """1 + those that do not match and score no less than the best match."""
    all_scores = [scores.get(g, OUTSIDE) for g in range(size)]
    best = max(all_scores[g] for g in matches)
    return 1 + sum(
        s >= best - TIE for g, s in enumerate(all_scores) if g not in matches
    )


@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('k', [1, 4, 13, 99])
def test_candidates_and_ranks_equal_loops(k, ties):
    for seed in range(5):
        queries, gallery, query_of, match_of = random_problem(seed, ties)
        owns = [set(match_of[query_of == q].tolist()) for q in range(len(queries))]
        for block in (1, 40, 1 << 20):
            rows, cosines = best_candidates(
                queries, gallery, query_of, match_of, k, block
            )
            assert rows.shape == cosines.shape == (9, min(k, 13))
            torch.testing.assert_close(cosines, (queries @ gallery.T).gather(1, rows))
            if not ties:
                expected = [
                    slow_candidates(row, own, k)
                    for row, own in zip(queries @ gallery.T, owns, strict=True)
                ]
                assert rows.tolist() == expected
        scores = torch.rand(rows.shape, generator=torch.Generator().manual_seed(seed))
        scores = scores.round(decimals=1) if ties else scores
        actual = ranked_ranks(rows, scores, query_of, match_of, 13)
        expected = [
            slow_rank(dict(zip(r, s, strict=True)), own, 13)
            for r, s, own in zip(rows.tolist(), scores.tolist(), owns, strict=True)
        ]
        assert actual.tolist() == expected


def test_a_tie_at_the_last_place_counts_against_the_match():
    """Four equal cosines, the match stands first: with k = 3 it is no candidate."""
    queries, gallery = torch.ones(1, 1), torch.ones(4, 1)
    zero = torch.zeros(1, dtype=torch.long)
    for k, expected in ((1, [1]), (3, [1, 2, 3]), (4, [1, 2, 3, 0]), (9, [1, 2, 3, 0])):
        rows, _ = best_candidates(queries, gallery, zero, zero, k)
        assert rows.tolist() == [expected]
        ranks = ranked_ranks(rows, torch.zeros(rows.shape), zero, zero, 4)
        assert ranks.tolist() == [4]
    with pytest.raises(ValueError, match='k must be at least 1, got 0'):
        best_candidates(queries, gallery, zero, zero, 0)


def test_equal_probabilities_leave_the_order_of_the_cosines():
    for seed in range(5):
        queries, gallery, query_of, match_of = random_problem(seed)
        rows, cosines = best_candidates(queries, gallery, query_of, match_of, 13)
        ranks = ranked_ranks(rows, 0.3 + cosines, query_of, match_of, 13)
        assert torch.equal(ranks, match_ranks(queries, gallery, query_of, match_of))


def test_mean_recall_by_hand():
    report = Report()
    for name, ranks in (('i2t', [1, 7]), ('t2i', [1, 2, 30, 3])):
        for k in (1, 5, 10):
            suffix = '' if k == 1 else f'@{k}'
            report.add(f'r/{name}{suffix}', torch.tensor(ranks), k)
    add_mean_recall(report, 'r', (1, 5, 10))
    expected = (50 + 50 + 100 + 25 + 75 + 75) / 6
    assert report.metrics['r/mean_recall'] == pytest.approx(expected)
    assert report.denominators['r/mean_recall'] == 6


# ------------------------------------------------------------------- a whole benchmark
@torch.no_grad()
def slow_recalls(encoder, ranker, items, k: int) -> dict[str, float]:
    """R@1, R@5 and R@10 with every pair scored by itself."""
    texts = list(dict.fromkeys(t.lower() for group in TEXTS.values() for t in group))
    images = torch.cat([
        encoder.encode_image(encoder.preprocess(item.path), normalize=True)
        for item in items
    ])  # fmt: skip
    embeds = [encoder.encode_text([t], mode='short', normalize=True) for t in texts]
    cosines = images @ torch.cat(embeds).T
    pairs = [(i, t) for i in range(len(items)) for t in range(len(texts))]
    found = slow_scores(encoder, ranker, items, texts, pairs).view_as(cosines)
    own = [{texts.index(t.lower()) for t in group} for group in TEXTS.values()]
    owners = [
        {i for i, group in enumerate(own) if t in group} for t in range(len(texts))
    ]
    queries = [texts.index(t.lower()) for group in TEXTS.values() for t in group]
    sides = (
        ('i2t', cosines, found, own, range(len(items))),
        ('t2i', cosines.T, found.T, owners, queries),
    )
    recalls = {}
    for name, cosine, probability, matches, asked in sides:
        ranks = []
        for q in asked:
            chosen = slow_candidates(cosine[q].tolist(), matches[q], k)
            scores = {g: float(probability[q, g] + cosine[q, g]) for g in chosen}
            ranks.append(slow_rank(scores, matches[q], cosine.shape[1]))
        for n in (1, 5, 10):
            suffix = '' if n == 1 else f'@{n}'
            recalls[f'{name}{suffix}'] = 100 * np.mean([rank <= n for rank in ranks])
    return recalls


@pytest.mark.parametrize('name', ['flickr30k-cna', 'iqr'])
def test_a_benchmark_equals_scoring_every_pair(tmp_path, name):
    write_set(tmp_path, name)
    benchmark = BENCHMARKS[name]
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(2))
    ranker = vivid_ranker(encoder.eval())
    embedder = Embedder(encoder, progress=False)
    files = benchmark.locate(tmp_path)
    plain = benchmark.read(files, ReadOptions()).run(embedder)
    assert not any(metric.startswith('retrieval_ranked') for metric in plain.metrics)
    differing = 0
    for k in (2, 4, None):
        embedder.pair_scorer = RankerScorer(ranker)
        report = benchmark.read(files, ReadOptions(ranker_k=k)).run(embedder)
        images = list(benchmark.locate(tmp_path)['images'].iterdir())
        items = [ImageItem(path) for path in sorted(images)]
        expected = slow_recalls(encoder, ranker, items, k or 99)
        for metric, recall in expected.items():
            actual = report.metrics[f'retrieval_ranked/short/{metric}']
            assert actual == pytest.approx(recall)
            differing += recall != report.metrics[f'retrieval/short/{metric}']
        mean = report.metrics['retrieval_ranked/short/mean_recall']
        assert mean == pytest.approx(np.mean(list(expected.values())))
        assert plain.metrics.items() < report.metrics.items()
        counts = report.counts
        assert counts['retrieval_ranked/short/candidates/i2t'] == min(k or 99, 8)
        assert counts['retrieval_ranked/short/candidates/t2i'] == min(k or 99, 7)
        assert counts['retrieval_ranked/short/scored_pairs'] <= 7 * 8
    assert differing


def test_a_file_of_ones_own(tmp_path):
    paths = write_set(tmp_path, 'icr')
    rows = zip(paths, TEXTS.values(), strict=True)
    lines = [f'{path.name}\t{text}' for path, texts in rows for text in texts]
    file = tmp_path / 'captions.tsv'
    file.write_text('\n'.join(lines), encoding='utf-8')
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(2))
    ranker = vivid_ranker(encoder.eval())
    where = file, paths[0].parent
    actual = evaluate_retrieval(encoder, *where, ranker=ranker, ranker_k=3)
    embedder = Embedder(encoder, progress=False)
    embedder.pair_scorer = RankerScorer(ranker)
    benchmark = BENCHMARKS['icr']
    task = benchmark.read(benchmark.locate(tmp_path), ReadOptions(ranker_k=3))
    assert actual['metrics'] == task.run(embedder).metrics
    plain = evaluate_retrieval(encoder, *where)['metrics']
    assert plain.items() < actual['metrics'].items()
    region = vivid_ranker(encoder, reads='region')
    with pytest.raises(ValueError, match='reads regions of a dense map'):
        evaluate_retrieval(encoder, *where, ranker=region)
