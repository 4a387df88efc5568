"""ROC AUC and accuracy of matching, against counts of all couples."""

import importlib.util

import numpy as np
import pytest

from fgclip2_det.zeroshot.ccmb_files import CcmbPair
from fgclip2_det.zeroshot.matching import MatchingPairs, add_matching, best_threshold
from fgclip2_det.zeroshot.report import Report
from tests.ccmb_folders import write_images


def problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, labels, halves."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 12, 60).astype(np.float32) / 8
    labels = random.random(60) < 0.2 + 0.4 * scores
    return scores, labels, random.integers(0, 2, 60)


def slow_auc(scores, labels) -> float:
    couples = [(a, b) for a in scores[labels] for b in scores[~labels]]
    return float(np.mean([(a > b) + (a == b) / 2 for a, b in couples]))


@pytest.mark.parametrize('seed', range(4))
def test_auc_and_accuracy_equal_loops(seed):
    scores, labels, halves = problem(seed)
    report = Report()
    add_matching(report, 'm', scores, labels, halves)
    auc = slow_auc(scores, labels)
    assert report.metrics['m/auc'] == pytest.approx(100 * auc)
    assert report.denominators['m/auc'] == labels.sum() * (~labels).sum()
    if importlib.util.find_spec('sklearn'):
        from sklearn.metrics import roc_auc_score

        assert roc_auc_score(labels, scores) == pytest.approx(auc)
    right = 0
    for half in (0, 1):
        own = halves == half
        best = [  # all thresholds between, below and above the other half's scores
            (-np.mean((scores[~own] > t) == labels[~own]), t)
            for t in np.arange(-1, 25) / 16
        ]
        accuracy = -min(best)[0]
        chosen = best_threshold(scores[~own], labels[~own])
        assert np.mean((scores[~own] > chosen) == labels[~own]) == accuracy
        right += ((scores[own] > chosen) == labels[own]).sum()
    assert report.metrics['m/accuracy'] == pytest.approx(100 * right / 60)
    assert report.denominators['m/accuracy'] == 60


def test_thresholds_by_hand():
    scores = np.array([0.1, 0.2, 0.4, 0.4, 0.8])
    match = np.array([False, False, True, True, True])
    assert best_threshold(scores, match) == pytest.approx(0.3)
    assert best_threshold(scores, ~match) == np.inf  # 3 of 5 do not match
    assert best_threshold(scores, np.ones(5, bool)) == -np.inf
    assert best_threshold(scores, np.zeros(5, bool)) == np.inf
    assert best_threshold(scores, np.array([0, 0, 1, 0, 1], bool)) == pytest.approx(0.3)


def test_the_same_answer_for_everything_is_chance():
    labels = np.arange(40) % 2 == 0
    report = Report()
    add_matching(report, 'm', np.full(40, 0.5), labels, np.arange(40) // 20)
    assert report.metrics == {'m/auc': 50, 'm/accuracy': 50}


def test_a_threshold_is_not_chosen_on_its_own_half():
    """Each half alone is perfect; the threshold of the other is wrong for it."""
    scores = np.array([0, 1, 10, 11])
    labels = np.array([False, True, False, True])
    report = Report()
    add_matching(report, 'm', scores, labels, np.array([0, 0, 1, 1]))
    assert report.metrics == {'m/auc': 75, 'm/accuracy': 50}
    add_matching(report, 'one', scores, labels, np.zeros(4, int))
    assert 'one/accuracy' not in report.metrics
    assert report.denominators['one/accuracy'] == 0


@pytest.mark.parametrize('label', [False, True])
def test_one_label_has_no_auc(label):
    with pytest.raises(ValueError, match='AUC is not defined unless some match'):
        add_matching(Report(), 'm', np.zeros(3), np.full(3, label), np.zeros(3, int))


def test_pairs_are_grouped_by_image_and_text(tmp_path):
    write_images(tmp_path, ['a.png', 'b.png', 'c.png'])
    lines = [
        CcmbPair('a.png', 'A cat', True),
        CcmbPair('b.png', 'a cat', False),
        CcmbPair('b.png', '狗', True),
        CcmbPair('a.png', '狗', False),
        CcmbPair('c.png', '狗', False),
        CcmbPair('a.png', 'a CAT', False),
    ]
    pairs = MatchingPairs.of(lines, tmp_path)
    assert pairs.texts == ['a cat', '狗']
    assert pairs.pairs.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1], [2, 1], [0, 0]]
    assert pairs.labels.tolist() == [line.label for line in lines]
    assert [item.captions for item in pairs.items[:2]] == [['A cat'], ['狗']]
    assert not {*pairs.items[2].captions} & {'a cat', '狗'}
    expected = dict(images=3, pairs=6, positives=2, negatives=4, contradictory=1)
    assert pairs.counts == expected
    first = MatchingPairs.of(lines, tmp_path, num_images=1)
    assert first.counts == dict(
        images=1, pairs=3, positives=1, negatives=2, contradictory=1
    )
    with pytest.raises(ValueError, match='of 1 pairs 0 match'):
        MatchingPairs.of(lines[4:5], tmp_path)
    (tmp_path / 'b.png').unlink()
    with pytest.raises(ValueError, match=r'1 of 3 images are missing: .*b\.png'):
        MatchingPairs.of(lines, tmp_path)
