"""Bands: intervals, thresholds by a labelled part, what is doubtful."""

import json

import numpy as np
import pytest

from fgclip2_det.apis.annotating.bands import (
    Band,
    bands_of,
    measured_bands,
    wilson,
)
from fgclip2_det.apis.annotating.content import Labels
from fgclip2_det.apis.annotating.doubts import doubt_lines, doubts
from fgclip2_det.apis.annotating.labelled import LabelledPart, answers_on
from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.apis.annotating.options import AnnotateOptions
from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass

CUP, CAT = OntologyClass('cup', ('cup', '杯子')), OntologyClass('cat', ('cat',))
BOTH = Ontology((CUP, CAT))


def test_wilson_by_hand():
    """10 of 10: the upper end is 1, the lower 10 / (10 + z^2) = 0.72246. 0 of 10 is its
    mirror. 8 of 10 with z = 2: centre (0.8 + 0.2) / 1.4 = 5 / 7, half-width
    2 sqrt(0.016 + 0.01) / 1.4 = 0.230350."""
    assert wilson(10, 10) == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    assert wilson(0, 10) == pytest.approx((0.0, 1 - 10 / (10 + 1.959964**2)))
    half = 2 * 0.026**0.5 / 1.4
    assert wilson(8, 10, z=2.0) == pytest.approx((5 / 7 - half, 5 / 7 + half))
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match='expected 0 to 3 successes, got 4'):
        wilson(4, 3)


def test_wilson_as_scipy():
    stats = pytest.importorskip('scipy.stats')
    for right, count in ((0, 1), (1, 1), (3, 7), (45, 50), (999, 1000)):
        expected = stats.binomtest(right, count).proportion_ci(method='wilson')
        assert wilson(right, count) == pytest.approx(
            (expected.low, expected.high), abs=1e-7
        )


def answers(*pairs: tuple[float, int]) -> tuple[np.ndarray, np.ndarray]:
    scores, right = zip(*pairs, strict=True)
    return np.array(scores), np.array(right, bool)


def test_the_lowest_threshold_of_a_precision():
    """By hand: 3 of 4 from 0.6 on; boxes of one score stand together."""
    own = answers((0.9, 1), (0.8, 1), (0.7, 0), (0.6, 1), (0.5, 0), (0.5, 1), (0.4, 0))
    cases = {1.0: 0.8, 0.75: 0.6, 0.66: 0.5, 0.5: 0.4, 0.0: 0.4}
    for precision, threshold in cases.items():
        (band,) = measured_bands([own], precision, 0.2, 1)
        assert band.accept == threshold and band.source == 'labelled'
    (band,) = measured_bands([own], 0.75, 0.2, 1)
    assert (band.num_boxes, band.precision) == (4, 0.75)
    assert (band.low, band.high) == wilson(3, 4)
    (none,) = measured_bands([answers((0.9, 0))], 0.5, 0.2, 1)
    assert none.accept is None and none.of(0.95) == 'review' and none.of(0.1) is None


def test_rare_classes_get_the_threshold_of_all():
    few, many = answers((0.9, 0)), answers((0.8, 1), (0.7, 1), (0.6, 1))
    bands = measured_bands([few, many, None], 0.75, 0.2, 3)
    assert [band.source for band in bands] == [
        'labelled, all classes', 'labelled', 'labelled, all classes',
    ]  # fmt: skip
    assert bands[0] == bands[2] and bands[0].accept == 0.6 and bands[0].num_boxes == 4
    assert measured_bands([None], 0.5, 0.2, 1)[0].accept is None


def test_an_ontology_has_thresholds_of_its_own():
    own = Ontology(
        (OntologyClass('a', ('a',), threshold=0.7),
         OntologyClass('b', ('b',), review=0.4), CAT)
    )  # fmt: skip
    bands = bands_of(own, 0.5, 0.25, [Band(0.2, 0.25, 'labelled')] * 3)
    assert [(b.accept, b.review, b.source) for b in bands] == [
        (0.7, 0.25, 'ontology'), (0.2, 0.2, 'labelled'), (0.2, 0.2, 'labelled'),
    ]  # fmt: skip
    bands = bands_of(own, 0.5, 0.25, [None] * 3)
    assert [(b.accept, b.review) for b in bands] == [
        (0.7, 0.25), (0.5, 0.4), (0.5, 0.25),
    ]  # fmt: skip
    assert [bands[1].of(score) for score in (0.5, 0.49, 0.4, 0.39)] == [
        'accept', 'review', 'review', None,
    ]  # fmt: skip


def line(image: str, *boxes: tuple, hash: str = '', error: str = '') -> ImageLine:
    """A line of (label, score, x1, y1, x2, y2)."""
    return ImageLine(
        image, 1, 100, 80, hash, [list(b[2:]) for b in boxes], [b[0] for b in boxes],
        [b[1] for b in boxes], error,
    )  # fmt: skip


@pytest.fixture
def part(tmp_path):
    """part(annotations, categories) -> COCO file of a/1.png and 2.png."""

    def write(annotations, categories=((7, '杯子'), (8, 'dog'))):
        images = [
            dict(id=i, file_name=name, width=100, height=80)
            for i, name in enumerate(('a/1.png', '2.png'), 1)
        ]
        rows = [
            dict(id=i, image_id=image, category_id=category, bbox=bbox, iscrowd=crowd)
            for i, (image, category, bbox, crowd) in enumerate(annotations, 1)
        ]
        path = tmp_path / 'part.json'
        own = [dict(id=i, name=name) for i, name in categories]
        path.write_text(
            json.dumps(dict(images=images, annotations=rows, categories=own))
        )
        return path

    return write


def test_answers_on_a_labelled_part(part):
    """A duplicate and a box on nothing are wrong, one on a crowd does not count, and a
    category that is no class is left out."""
    lines = {
        'a/1.png': line(
            'a/1.png', (0, 0.9, 0, 0, 20, 20), (0, 0.8, 1, 0, 20, 20),
            (0, 0.7, 50, 50, 70, 70), (1, 0.9, 0, 0, 9, 9), (0, 0.6, 80, 0, 99, 20),
        ),
        'b/2.png': line('b/2.png', (0, 0.5, 0, 0, 30, 30)),
    }  # fmt: skip
    path = part([(1, 7, [0, 0, 20, 20], 0), (1, 7, [80, 0, 19, 20], 1),
                 (2, 8, [0, 0, 30, 30], 0)])  # fmt: skip
    own = LabelledPart.read(path, BOTH, lines)
    cup, cat = answers_on(own, lines, 2)
    assert cat is None
    assert cup[0].tolist() == [0.9, 0.8, 0.7, 0.5]
    assert cup[1].tolist() == [True, False, False, False]
    lines.pop('b/2.png')
    with pytest.raises(ValueError, match=r'image b/2\.png could not be read'):
        answers_on(own, lines, 2)
    with pytest.raises(ValueError, match=r'image 2\.png is not one of the images'):
        LabelledPart.read(path, BOTH, lines)
    with pytest.raises(ValueError, match=r'no category of the ontology \(cup, cat\)'):
        LabelledPart.read(part([], [(1, 'dog')]), BOTH, lines)


def test_doubts():
    lines = [
        line('1.png', (0, 0.9, 0, 0, 20, 20), (1, 0.4, 0, 0, 20, 21), hash='0f' * 8),
        line('2.png', (0, 0.9, 0, 0, 20, 20), (1, 0.1, 0, 0, 20, 20), hash='f0' * 8),
        line('3.png', hash='0f' * 7 + '0e'),
        line('4.png'),
    ]
    labels = Labels(BOTH, [Band(0.5, 0.25)] * 2, lines, {})
    content = doubts(labels, {'5.png': 'torn'})
    (pair,) = content['two_names']
    assert (pair['image'], pair['names']) == ('1.png', ['cup', 'cat'])
    assert pair['iou'] == pytest.approx(20 / 21, abs=1e-3)
    assert content['near_duplicates']['groups'] == [['1.png', '3.png']]
    assert 'dHash' in content['near_duplicates']['hash']
    assert content['without_boxes'] == ['3.png', '4.png'] and not content['never_found']
    text = '\n'.join(doubt_lines(content))
    assert '1.png: cup / cat' in text and '1.png = 3.png' in text and '5.png' in text
    own = [line('2.png', (0, 0.9, 0, 0, 20, 20), hash='f0' * 8)]
    clean = Labels(Ontology((CUP,)), [Band(0.5, 0.25)], own, {})
    assert list(doubt_lines(doubts(clean, {}))) == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(formats=['coco', 'csv']), 'some of coco, yolo, voc, odvg, labelme, got'),
        (dict(formats=[]), 'name one or more formats'),
        (dict(accept=1.2), 'accept must be a number from 0 to 1'),
        (dict(accept=0.3, review=0.4), r'review 0\.4 is above accept 0\.3'),
        (dict(batch_size=0), 'batch_size must be 1 or more'),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        AnnotateOptions(**options)
