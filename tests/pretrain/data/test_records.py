"""What to_sample makes of a record, and which records it refuses."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import to_sample

IMAGE = Image.new('RGB', (200, 100))


def rng(seed=0):
    return np.random.default_rng(seed)


def box(bbox=(0.1, 0.2, 0.3, 0.4), **texts):
    return {'bbox': list(bbox), 'short_expr': 'Dog', **texts}


def sample_of(*boxes, seed=0, **options):
    return to_sample({'bbox_info': list(boxes)}, IMAGE, rng(seed), **options)


def test_a_record_by_hand():
    """Normalised (0.1, 0.2, 0.3, 0.4) of 200 x 100 pixels is (20, 20, 60, 40)."""
    record = {
        'caption': ' A LONG Caption ',
        'short_caption': 'Short',
        'bbox_info': [box(short_expr_negs={'10': 'J', '2': 'B', '0': 'A'})],
    }
    sample = to_sample(record, IMAGE, rng())
    assert (sample.language, sample.short, sample.long) == (
        'en',
        'short',
        'a long caption',
    )
    assert sample.bboxes.dtype == np.float32
    np.testing.assert_allclose(sample.bboxes, [[20, 20, 60, 40]])
    assert sample.phrases == sample.hard_positives == ['dog']
    assert sample.hard_negatives == [['a', 'b', 'j']]  # by number, lower-case
    assert sample.true_texts == [('dog', None)] and sample.num_bad == 0


def test_a_record_without_boxes_and_captions():
    sample = to_sample({'short_caption': '  ', 'is_cn': True}, IMAGE, rng())
    assert sample.short is sample.long is None and sample.language == 'zh'
    assert sample.bboxes.shape == (0, 4) and sample.phrases == []


def test_chinese_records_keep_their_boxes_and_get_no_prefix():
    for language, short in (('en', 'a photo of dog'), ('zh', 'dog')):
        record = {'short_caption': 'Dog', 'bbox_info': [box()]}
        record |= {'is_cn': True} if language == 'zh' else {}
        sample = to_sample(record, IMAGE, rng(), short_prefix='A photo of ')
        assert sample.short == short and len(sample.bboxes) == 1


def test_phrases_are_drawn_or_chosen():
    entry = box(long_expr='A big dog')
    drawn = [sample_of(entry, seed=s).phrases[0] for s in range(200)]
    assert 60 < drawn.count('dog') < 140 and set(drawn) == {'dog', 'a big dog'}
    assert sample_of(entry, expr='short').phrases == ['dog']
    assert sample_of(entry, expr='long').phrases == ['a big dog']
    for expr in ('random', 'short', 'long'):  # the other where one is missing
        assert sample_of(box(), expr=expr).phrases == ['dog']
        alone = box(short_expr=None, long_expr='Big')
        assert sample_of(alone, expr=expr).phrases == ['big']


def test_some_boxes_are_chosen_by_the_generator():
    """Each of 10 boxes is among the 4 in 40 percent of 500 draws."""
    boxes = [box(short_expr=f'dog {k}') for k in range(10)]
    counts = dict.fromkeys(range(10), 0)
    for seed in range(500):
        chosen = [int(p[4:]) for p in sample_of(*boxes, seed=seed).phrases]
        assert len(chosen) == 4 and chosen == sorted(chosen)
        for k in chosen:
            counts[k] += 1
    assert min(counts.values()) > 150 and max(counts.values()) < 250
    first = sample_of(*boxes, ann_choice='first')
    assert first.phrases == [f'dog {k}' for k in range(4)]
    assert len(sample_of(*boxes, max_anns=None).phrases) == 10
    assert sample_of(*boxes, max_anns=0).bboxes.shape == (0, 4)


def test_the_same_generator_gives_the_same_sample():
    boxes = [box(long_expr='Big', short_expr=f'dog {k}') for k in range(10)]
    first, second = sample_of(*boxes, seed=3), sample_of(*boxes, seed=3)
    assert first.phrases == second.phrases
    assert first.bboxes.tolist() == second.bboxes.tolist()


def test_hard_positives_belong_to_their_negatives():
    short = {'short_expr_negs': {'0': 'Cat'}, 'flag_short_neg': 1}
    long = {'long_expr': 'Big dog', 'long_expr_negs': {'0': 'Big cat', '1': 'Red dog'}}
    pairs = {'dog': ['cat'], 'big dog': ['big cat', 'red dog']}
    actual = set()
    for seed in range(40):
        sample = sample_of(box(**short, **long), seed=seed)
        positive = sample.hard_positives[0]
        assert sample.hard_negatives == [pairs[positive]]
        actual.add(positive)
    assert actual == set(pairs)
    only_long = sample_of(box(**long))
    assert only_long.hard_positives == ['big dog']
    off = sample_of(box(**short | {'flag_short_neg': 0}))
    assert off.hard_positives == [None] and off.hard_negatives == [[]]
    off = sample_of(box(**long, flag_long_neg=0))
    assert off.hard_positives == [None]


def test_negatives_that_are_true_or_repeated_are_left_out():
    negatives = dict(enumerate(['Dog', 'cat', 'CAT ', '', None, 'big DOG', 'cow']))
    negatives = {str(number): text for number, text in negatives.items()}
    sample = sample_of(box(long_expr='Big dog', short_expr_negs=negatives))
    assert sample.hard_negatives == [['cat', 'cow']]
    sample = sample_of(box(short_expr_negs={'0': 'dog'}))
    assert sample.hard_positives == [None]


def test_boxes_are_clipped_to_the_image():
    sample = sample_of(box((-0.5, 0, 0.5, 1.25)), box((0, 0, 1, 1, 0.5)))
    assert sample.bboxes.tolist() == [[0, 0, 100, 100], [0, 0, 200, 100]]


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (box((0.1, 0.2, 0.1, 0.4)), 'no area inside the image'),
        (box((0.3, 0.2, 0.1, 0.4)), 'no area inside the image'),
        (box((1.0, 0.2, 1.5, 0.4)), 'no area inside the image'),
        (box((10, 20, 60, 40)), 'divided by the width and height'),
        (box((0.1, 0.2, 0.3)), 'four finite numbers'),
        (box((0.1, 0.2, 0.3, None)), 'four finite numbers'),
        (box((0.1, 0.2, 0.3, float('nan'))), 'four finite numbers'),
        (box((0.1, 0.2, 0.3, 10**400)), 'divided by the width'),
        (box((0.1, 0.2, 0.3, True)), 'four finite numbers'),
        ({'short_expr': 'dog'}, 'four finite numbers, got None'),
        ({'bbox': [0, 0, 1, 1]}, 'neither short_expr nor long_expr'),
        (box(short_expr=5), 'short_expr must be a text, got 5'),
        (box(long_expr='\ud800'), 'long_expr is not valid Unicode'),
        (box(flag_short_neg=1), 'flag_short_neg is set but short_expr_negs holds'),
        (box(short_expr_negs=['a']), 'short_expr_negs must be an object'),
        (box(short_expr_negs={'0': 3}), 'short_expr_negs 0 must be a text'),
        (box(long_expr_negs={'0': 'a'}), 'long_expr_negs but no long_expr'),
        ('dog', "must be an object, got 'dog'"),
    ],
)
def test_bad_boxes_name_record_and_box(entry, message):
    with pytest.raises(ValueError, match=f'^a.json, record 7, box 1.*{message}'):
        sample_of(box(), entry, name='a.json, record 7')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'caption': 5}, 'caption must be a text, got 5'),
        ({'short_caption': ['a']}, 'short_caption must be a text'),
        ({'bbox_info': {}}, 'bbox_info must be a list'),
    ],
)
def test_bad_records_are_named(change, message):
    with pytest.raises(ValueError, match=f'^a.json, record 7: {message}'):
        to_sample(change, IMAGE, rng(), name='a.json, record 7')
