"""Asks: half present, half absent, nested, seeded, and near to what is there."""

import json

import numpy as np
import pytest

from fgclip2_det.coco.ground_truths import Truths, parse_truths
from fgclip2_det.evaluation.few_names import DEFAULT_KS, draw_asks
from fgclip2_det.evaluation.few_names.name_pools import name_pools

SHAPES = ('circle', 'star', 'square', 'ring', 'heart')
COLORS = ('red', 'blue', 'black', 'white', 'green')
NAMES = [f'{color} {shape}' for color in COLORS for shape in SHAPES]


def truths_of(labels: list[list[int]], names=NAMES, crowds=(), **image_lists) -> Truths:
    """Images with an object for each label; (image, label) of ``crowds`` are crowds."""
    annotations = [
        {'id': 100 * i + n, 'image_id': i, 'category_id': label,
         'bbox': [10.0 * n, 0.0, 8.0, 8.0], 'iscrowd': int((i, label) in crowds)}
        for i, own in enumerate(labels)
        for n, label in enumerate(own)
    ]  # fmt: skip
    images = [
        {'id': i, 'file_name': f'{i}.jpg', 'width': 100, 'height': 100}
        | {key: lists[i] for key, lists in image_lists.items()}
        for i in range(len(labels))
    ]
    categories = [{'id': i, 'name': n} for i, n in enumerate(names)]
    if image_lists:
        categories = [c | {'frequency': 'f'} for c in categories]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    return parse_truths(json.loads(json.dumps(content)), 'a.json', bool(image_lists))


def random_truths(seed: int, num_images: int = 60) -> Truths:
    rng = np.random.default_rng(seed)
    return truths_of(
        [rng.integers(0, 25, rng.integers(0, 8)).tolist() for _ in range(num_images)]
    )


def by_image(asks) -> dict:
    found: dict = {}
    for ask in asks:
        found.setdefault(ask.image_id, {})[ask.k] = ask
    return found


@pytest.mark.parametrize('mode', ['random', 'hard'])
@pytest.mark.parametrize('seed', [0, 7])
def test_half_is_there_and_smaller_asks_are_in_larger_ones(mode, seed):
    truths = random_truths(seed)
    asks = draw_asks(truths, (20, 'all', 3, 1, 2), seed, mode)
    assert [ask.id for ask in asks] == list(range(1, len(asks) + 1))
    own = {i: set(truths.category[truths.image == i].tolist()) for i in range(60)}
    odd = []
    for image_id, found in by_image(asks).items():
        assert list(found) == [1, 2, 3, 20, 'all']
        previous: set = set()
        for k, ask in found.items():
            assert ask.file_name == f'{image_id}.jpg'
            assert ask.names == tuple(NAMES[i] for i in ask.category_ids)
            assert list(ask.category_ids) == sorted(set(ask.category_ids))
            assert len(ask.names) == (25 if k == 'all' else k)
            assert previous <= set(ask.category_ids)
            previous = set(ask.category_ids)
            there = len(previous & own[image_id])
            if k == 'all':
                assert there == len(own[image_id])
                continue
            assert there in {min(h, len(own[image_id])) for h in (k // 2, (k + 1) // 2)}
            if k == 1 and own[image_id]:
                odd.append(there)
    assert 0.3 < np.mean(odd) < 0.7


def test_an_image_s_draw_depends_on_itself_alone():
    truths = random_truths(3)
    asks = by_image(draw_asks(truths, DEFAULT_KS, 5))
    again = by_image(draw_asks(truths, (5, 2), 5))
    for image_id, found in again.items():
        for k, ask in found.items():
            assert ask.category_ids == asks[image_id][k].category_ids
    other = by_image(draw_asks(truths, DEFAULT_KS, 6))
    same = [asks[i][2].category_ids == other[i][2].category_ids for i in asks]
    assert np.mean(same) < 0.2
    chinese = draw_asks(truths, (2,), 5, names=[f'名{i}' for i in range(25)])
    assert chinese[0].category_ids == asks[0][2].category_ids
    assert chinese[0].names == tuple(f'名{i}' for i in chinese[0].category_ids)


def test_absent_names_fill_up_and_present_ones_do():
    # 5 names: three present, so of four names two are absent, and of all five two
    truths = truths_of([[0, 1, 2], [], [0, 1, 2, 3, 4]], NAMES[:5])
    found = by_image(draw_asks(truths, (4, 5, 6), 0))
    assert len(set(found[0][4].category_ids) & {0, 1, 2}) == 2
    assert found[0][5].category_ids == found[0][6].category_ids == (0, 1, 2, 3, 4)
    assert len(found[1][4].names) == 4  # nothing is present
    assert len(found[2][4].names) == 4  # nothing is absent


def test_crowds_are_neither_present_nor_absent():
    truths = truths_of([[0, 1]], NAMES[:4], crowds={(0, 1)})
    for seed in range(20):
        asks = by_image(draw_asks(truths, (2, 4, 'all'), seed))[0]
        assert asks[2].category_ids in {(0, 2), (0, 3)}
        assert asks[4].category_ids == (0, 2, 3)
        assert asks['all'].category_ids == (0, 1, 2, 3)


def test_lvis_asks_for_what_is_known_alone():
    truths = truths_of(
        [[0, 1, 1], [2], []],
        neg_category_ids=[[5, 6], [], [7]],
        not_exhaustive_category_ids=[[1], [9], []],
    )
    assert name_pools(truths).source == 'neg_category_ids of images'
    for seed in range(10):
        found = by_image(draw_asks(truths, (2, 5, 'all'), seed))
        assert found[0]['all'].category_ids == (0, 1, 5, 6)
        assert len({*found[0][2].category_ids} & {5, 6}) == 1
        assert found[0][5].category_ids == (0, 1, 5, 6)  # there is no fifth
        assert {ask.category_ids for ask in found[1].values()} == {(2,)}
        assert {ask.category_ids for ask in found[2].values()} == {(7,)}
    nothing = truths_of([[]], neg_category_ids=[[]], not_exhaustive_category_ids=[[]])
    assert draw_asks(nothing) == []


def test_negatives_of_annotations_are_the_absent_names():
    truths = truths_of([[0], [1]])
    for mode in ('random', 'hard'):
        asks = draw_asks(truths, (2, 'all'), 0, mode, negatives={0: [3, 0, 4, 3]})
        assert asks[0].category_ids in {(0, 3), (0, 4)}
        assert asks[1].category_ids == (0, 3, 4)
        assert [ask.category_ids for ask in asks[2:]] == [(1,), (1,)]


def test_hard_names_share_a_word_with_a_present_one():
    truths = random_truths(1)
    own = {i: set(truths.category[truths.image == i].tolist()) for i in range(60)}
    for ask in draw_asks(truths, (1, 2, 5), 0, 'hard'):
        there = own[ask.image_id]
        words = {word for i in there for word in NAMES[i].split()}
        for i in set(ask.category_ids) - there:
            assert not there or words & set(NAMES[i].split())


def test_embeddings_find_what_is_near_where_no_word_is_shared():
    names = ['cat', 'dog', 'car', 'hot dog', 'red car', 'red cat']
    # on a circle, in degrees: cat 0, dog 10, car 90, hot dog 60, red car 95, red cat 50
    angles = np.radians([0, 10, 90, 60, 95, 50])
    embeds = 3 * np.stack([np.cos(angles), np.sin(angles)], 1)
    near = by_image(
        draw_asks(truths_of([[0], [2], [4]], names), (2,), 0, 'hard',
                  embed=lambda given: embeds if given == names else None)
    )  # fmt: skip
    assert near[0][2].category_ids == (0, 1)  # cat: dog is 10 degrees away
    assert near[1][2].category_ids == (2, 4)  # car: red car is 5
    # red car: red cat shares a word of two, although car is nearer on the circle
    assert near[2][2].category_ids == (4, 5)
    # without embeddings: cat shares half of 'red cat'
    words = by_image(draw_asks(truths_of([[0], [1]], names), (2,), 0, 'hard'))
    assert words[0][2].category_ids == (0, 5)
    assert words[1][2].category_ids == (1, 3)


@pytest.mark.parametrize(('options', 'message'), [
    ({'ks': (2, 2)}, "different numbers from 1 on, and 'all', got"),
    ({'ks': (0,)}, 'from 1 on'),
    ({'ks': ()}, 'from 1 on'),
    ({'seed': -1}, 'seed must be a whole number from 0 on, got -1'),
    ({'mode': 'easy'}, "mode must be one of .*'hard'.*, got 'easy'"),
    ({'names': ['one']}, 'there are 3 categories but 1 names'),
    ({'mode': 'hard'}, r"shares a word with those of image 0 \('cat'\); give text emb"),
    ({'mode': 'hard', 'embed': lambda names: np.ones((2, 4))}, r'\(3, D\) embeddings'),
    ({'mode': 'hard', 'embed': lambda names: np.full((3, 4), np.nan)}, 'finite'),
])  # fmt: skip
def test_impossible_draws_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        draw_asks(truths_of([[0]], ['cat', 'dog', 'car']), **options)
