"""Figures of asks: worked out by hand, and against slow references."""

import numpy as np
import pytest

from fgclip2_det.coco.ground_truths import parse_truths
from fgclip2_det.evaluation.few_names import Ask, draw_asks, score_asks
from fgclip2_det.evaluation.few_names.measures import auroc, calibration_error
from fgclip2_det.evaluation.image_boxes import ImageBoxes

CATEGORIES = [
    {'id': 1, 'name': 'red circle', 'split': 'base'},
    {'id': 2, 'name': 'blue star', 'split': 'novel'},
    {'id': 3, 'name': 'red star', 'split': 'base'},
]


def truths_of(annotations, categories=CATEGORIES, images=(1, 2), **kwargs):
    content = {
        'images': [{'id': i, 'file_name': f'{i}.jpg'} | kwargs for i in images],
        'categories': categories,
        'annotations': [
            {'id': n, 'image_id': image, 'category_id': category, 'bbox': bbox, **more}
            for n, (image, category, bbox, more) in enumerate(annotations)
        ],
    }
    return parse_truths(content, 'a.json', bool(kwargs))


def found(*rows) -> ImageBoxes:
    """Rows of (label, bbox, score)."""
    return ImageBoxes(
        np.array([bbox for _, bbox, _ in rows], np.float64).reshape(-1, 4),
        np.array([label for label, _, _ in rows], np.int64),
        np.array([score for *_, score in rows], np.float64),
    )


A, B, FAR = [0, 0, 10, 10], [20, 0, 10, 10], [50, 50, 10, 10]
TRUTHS = truths_of([(1, 1, A, {}), (1, 2, B, {}), (2, 2, A, {})])
ASKS = [
    Ask(1, 1, '1.jpg', ('red circle',), (1,), 1),
    Ask(2, 1, '1.jpg', ('red circle', 'red star'), (1, 3), 2),
    Ask(3, 2, '2.jpg', ('red star',), (3,), 1),
    Ask(4, 2, '2.jpg', ('blue star', 'red star'), (2, 3), 2),
]
BOXES = [
    found((0, A, 0.9), (0, FAR, 0.2)),
    # IoU of the second with A is 90 / 110 = 0.82; it comes after the free match
    found((0, A, 0.6), (0, [0, 0, 10, 9], 0.5), (1, A, 0.7)),
    found((0, A, 0.35)),
    # IoU 0.6: right up to 0.60
    found((0, [0, 0, 10, 6], 0.8), (1, A, 0.04)),
]


def test_figures_by_hand():
    m = score_asks(TRUTHS, ASKS, BOXES)
    # k = 1, ranked 0.9 right, 0.35 wrong, 0.2 wrong; one object: precision 1
    assert [m[f'k1/all/{ap}'] for ap in ('AP50', 'AP')] == pytest.approx([1, 1])
    assert m['k1/all/precision'] == 1 / 2  # 0.9 right and 0.35 wrong at 0.3
    assert m['k1/all/recall'] == 1
    assert m['k1/all/false_per_100'] == 100  # 0.35, of one absent pair
    assert m['k1/all/auroc'] == 1  # 0.9 above 0.35
    # bins of 1/15: 0.9 in bin 13, 0.35 in bin 5, 0.2 in bin 3
    assert m['k1/all/ece'] == pytest.approx((0.1 + 0.35 + 0.2) / 3)
    assert m['k1/all/drift_mean'] == m['k1/all/drift_max'] == -1  # the smallest k

    # k = 2, ranked: 0.8 right to IoU 0.60, 0.7 wrong, 0.6 right, 0.5 wrong, 0.04 wrong;
    # two objects. IoU 0.50 to 0.60: precision 1 to recall 1/2 (51 of the 101 recalls),
    # then 2/3 (50). From 0.65 on 0.8 is wrong: one of three is right, recall 1/2
    early, late = (51 + 50 * 2 / 3) / 101, 51 / 3 / 101
    assert m['k2/all/AP50'] == pytest.approx(early)
    assert m['k2/all/AP'] == pytest.approx((3 * early + 7 * late) / 10)
    assert m['k2/all/precision'] == 2 / 4
    assert m['k2/all/recall'] == 1
    assert m['k2/all/false_per_100'] == 50  # 0.7, of two absent pairs
    # present 0.6 and 0.8, absent 0.7 and 0.04: three of four comparisons are right
    assert m['k2/all/auroc'] == 3 / 4
    # bins: 0.8 in 12, 0.7 in 10, 0.6 in 9 (0.6 x 15 = 9), 0.5 in 7; 0.04 is left out
    assert m['k2/all/ece'] == pytest.approx((0.2 + 0.7 + 0.4 + 0.5) / 4)
    # 'red circle' of image 1: 0.9, then 0.6; 'blue star' is new
    assert m['k2/all/drift_mean'] == m['k2/all/drift_max'] == pytest.approx(0.3)

    assert m['k2/novel/precision'] == m['k2/novel/recall'] == 1  # 'blue star'
    assert m['k2/novel/auroc'] == m['k2/novel/false_per_100'] == -1  # never absent
    assert m['k2/novel/drift_mean'] == -1
    assert m['k1/novel/AP50'] == m['k1/novel/recall'] == m['k1/novel/ece'] == -1
    assert m['k2/base/precision'] == 1 / 3  # 0.6 of 0.7, 0.6, 0.5
    assert m['k2/base/AP50'] == pytest.approx(1 / 2)  # second of two
    assert set(m) == {f'k{k}/{g}/{f}' for k in (1, 2)
                      for g in ('all', 'base', 'novel')
                      for f in ('AP', 'AP50', 'precision', 'recall', 'false_per_100',
                                'auroc', 'ece', 'drift_mean', 'drift_max')}  # fmt: skip


def test_thresholds_include_their_score_and_change_only_what_is_shown():
    low, high = (score_asks(TRUTHS, ASKS, BOXES, t) for t in (0.04, 0.8))
    assert low['k2/all/precision'] == 2 / 5
    assert high['k2/all/precision'] == 1 and high['k2/all/recall'] == 1 / 2
    assert high['k2/all/false_per_100'] == 0 and low['k2/all/false_per_100'] == 100
    for name in ('AP', 'AP50', 'auroc', 'ece', 'drift_max'):
        assert low[f'k2/all/{name}'] == high[f'k2/all/{name}']
    with pytest.raises(ValueError, match=r'score_thr must lie in \[0, 1\], got 1.5'):
        score_asks(TRUTHS, ASKS, BOXES, 1.5)


def test_an_object_that_is_lost_or_found_drifts_from_or_to_zero():
    lost = score_asks(TRUTHS, ASKS, [BOXES[0], found((1, A, 0.7)), *BOXES[2:]])
    assert lost['k2/all/drift_mean'] == 0.9
    come = score_asks(TRUTHS, ASKS, [found((0, FAR, 0.9)), *BOXES[1:]])
    assert come['k2/all/drift_mean'] == 0.6
    never = score_asks(TRUTHS, ASKS, [found(), found(), *BOXES[2:]])
    assert never['k2/all/drift_mean'] == never['k2/all/drift_max'] == -1


def test_crowds_take_any_number_of_boxes():
    truths = truths_of([(1, 1, A, {}), (1, 1, [20, 0, 40, 40], {'iscrowd': 1}),
                        (2, 1, A, {'iscrowd': 1})])  # fmt: skip
    asks = [Ask(n, n, None, ('red circle',), (1,), 1) for n in (1, 2)]
    inside = [(0, [20, 0, 10, 10], 0.9), (0, [30, 0, 10, 10], 0.8)]
    m = score_asks(truths, asks, [found(*inside, (0, A, 0.7)), found((0, A, 0.9))])
    assert m['k1/all/AP'] == pytest.approx(1)
    assert m['k1/all/precision'] == m['k1/all/recall'] == 1
    assert m['k1/all/ece'] == pytest.approx(0.3)  # 0.7 alone, and it is right
    # image 2 has a crowd alone: neither present nor absent
    assert m['k1/all/auroc'] == m['k1/all/false_per_100'] == -1


def test_lvis_forgives_boxes_of_names_that_are_not_labelled_in_full():
    categories = [{'id': i, 'name': f'c{i}', 'frequency': 'rcf'[i]} for i in range(3)]
    truths = truths_of(
        [(1, 0, A, {}), (1, 1, A, {})], categories, (1,),
        neg_category_ids=[2], not_exhaustive_category_ids=[1],
    )  # fmt: skip
    asks = draw_asks(truths, ('all',))
    assert asks[0].category_ids == (0, 1, 2)
    rows = [(0, A, 0.9), (0, FAR, 0.8), (1, A, 0.7), (1, FAR, 0.95), (2, FAR, 0.5)]
    m = score_asks(truths, asks, [found(*rows)])
    assert m['kall/all/precision'] == 2 / 4  # the box of 0.95 is neither
    assert m['kall/novel/precision'] == 1 / 2  # rare: 0.9 and 0.8
    assert m['kall/base/precision'] == 1 / 2  # 0.7 right, 0.5 wrong
    assert m['kall/all/false_per_100'] == 100


# ------------------------------------------------------------------ slow references
def random_case(seed: int):
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(1, 31):
        for _ in range(rng.integers(0, 5)):
            box = [*rng.uniform(0, 60, 2), *rng.uniform(10, 40, 2)]
            crowd = {'iscrowd': int(rng.random() < 0.15)}
            annotations.append((image, int(rng.integers(1, 7)), box, crowd))
    categories = [{'id': i, 'name': f'red {i}'} for i in range(1, 7)]
    truths = truths_of(annotations, categories, range(1, 31))
    asks = draw_asks(truths, (1, 2, 5, 'all'), seed)
    boxes = []
    for ask in asks:
        rows = []
        own = [a for a in annotations if a[0] == ask.image_id]
        for _ in range(rng.integers(0, 9)):
            box = [*rng.uniform(0, 60, 2), *rng.uniform(10, 40, 2)]
            label = int(rng.integers(len(ask.names)))
            if own and rng.random() < 0.7:
                _, category, near, _ = own[rng.integers(len(own))]
                box = np.array(near) + rng.normal(0, 2, 4)
                if category in ask.category_ids and rng.random() < 0.8:
                    label = ask.category_ids.index(category)
            rows.append((label, np.abs(box).tolist(), round(rng.random(), 1)))
        boxes.append(found(*rows))
    return truths, asks, boxes


@pytest.mark.parametrize('seed', range(4))
def test_ap_equals_pycocotools_with_a_pair_for_an_image(seed, reference_ap):
    truths, asks, boxes = random_case(seed)
    m = score_asks(truths, asks, boxes)
    for k in (1, 2, 5, 'all'):
        images, detections = [], []
        for ask, own in zip(asks, boxes, strict=True):
            for n, category in enumerate(ask.category_ids if ask.k == k else ()):
                rows = truths.image == truths.image_index[ask.image_id]
                rows &= truths.category == truths.category_index[category]
                zeros = np.zeros(rows.sum(), np.int64)
                images.append(
                    ImageBoxes(truths.bboxes[rows], zeros, None, truths.crowd[rows])
                )
                of_name = own.labels == n
                detections.append(
                    ImageBoxes(own.bboxes[of_name], own.labels[of_name] * 0,
                               own.scores[of_name])
                )  # fmt: skip
        ap = reference_ap(images, detections, 1)
        assert m[f'k{k}/all/AP'] == pytest.approx(ap.mean())
        assert m[f'k{k}/all/AP50'] == pytest.approx(ap[0, 0])
        assert 0.05 < ap[0, 0] < 0.95


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    for n in (2, 5, 40):
        scores, positive = rng.integers(0, 6, n) / 5, rng.random(n) < 0.5
        positive[:2] = [True, False]
        wins = [
            (a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]
        ]
        assert auroc(scores, positive) == pytest.approx(np.mean(wins))
    assert auroc(np.zeros(3), np.ones(3, bool)) == -1
    assert auroc(np.zeros(0), np.zeros(0, bool)) == -1


def test_calibration_error_bin_by_bin():
    rng = np.random.default_rng(1)
    scores, right = rng.random(500), rng.random(500) < 0.4
    scores[:3] = 0, 1, 1 / 15
    total = 0.0
    for b in range(15):
        inside = [b / 15 <= s < (b + 1) / 15 or (b == 14 and s == 1) for s in scores]
        if any(inside):
            gap = abs(right[inside].mean() - scores[inside].mean())
            total += gap * sum(inside) / 500
    assert calibration_error(scores, right) == pytest.approx(total)
    # two of four are right at 0.75: off by 0.25 in one bin
    assert calibration_error(np.full(4, 0.75), np.array([1, 1, 0, 0], bool)) == 0.25
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == -1


@pytest.mark.parametrize(('asks', 'boxes', 'message'), [
    ([], [], 'there are no asks'),
    (ASKS, BOXES[1:], 'there are 4 asks but boxes of 3'),
    (ASKS[:1], BOXES[1:2], r'ask 1 has 1 names; .* labels below that, got \[0, 0, 1\]'),
    ([Ask(1, 9, None, ('a',), (1,), 1)], BOXES[:1], 'ask 1: image 9 is not in the ann'),
    ([Ask(1, 1, None, ('a',), (7,), 1)], BOXES[:1], 'ask 1: category 7 is not in the'),
    ([ASKS[0], ASKS[0]], BOXES[:2], 'ask 1 is the second of image 1 with k 1'),
])  # fmt: skip
def test_asks_and_boxes_that_do_not_fit_are_refused(asks, boxes, message):
    with pytest.raises(ValueError, match=message):
        score_asks(TRUTHS, asks, boxes)
