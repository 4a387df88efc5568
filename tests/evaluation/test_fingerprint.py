"""Fingerprints of results, and what a comparison says about two of them."""

import copy
import hashlib
import json
import re
from importlib.util import find_spec

import pytest

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.evaluation.comparison import (
    barriers,
    class_differences,
    draw_differences,
    metric_rows,
    read_result,
    settings,
)
from fgclip2_det.evaluation.fingerprint import commit, evaluation_fingerprint, versions

COCO = {
    'images': [{'id': 1, 'file_name': 'a.jpg'}, {'id': 2, 'file_name': 'b.jpg'}],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': '杯子'}],
    'annotations': [{'id': 1, 'image_id': 1, 'category_id': 2, 'bbox': [0, 0, 9, 9]}],
}
ROWS = [{'image_id': 1, 'category_id': 2, 'bbox': [0, 0, 9, 9], 'score': 0.5}]


@pytest.fixture
def describe(tmp_path):
    """Function: options -> fingerprint of the files above."""

    def run(coco=COCO, rows=ROWS, protocol='ov-coco', novel=(2,), notes=None, **read):
        ann, results = tmp_path / 'ann.json', tmp_path / 'rows.json'
        ann.write_text(json.dumps(coco))
        results.write_text(json.dumps(rows))
        truths = read_truths(ann, **read)
        actual = read_results(results, truths)
        return evaluation_fingerprint(
            protocol, truths, ann, actual, results, ['bbox'], novel, notes
        )

    return run


def result(protocol, ap=0.5, **classes) -> dict:
    rows = {name: {'AP': value, 'AP50': value} for name, value in classes.items()}
    return {
        'metrics': {'coco/bbox/AP': ap, 'coco/bbox/APs': -1},
        'protocol': protocol,
        'classwise': {'coco/bbox': rows},
    }


def test_fields_and_digests(describe):
    """The digests are those of plain JSON, which anyone can write."""
    actual = describe(notes={'templates': 'photo'})
    assert json.loads(json.dumps(actual)) == actual
    text = '[[1,"a.jpg"],[2,"b.jpg"]]'
    images = {'count': 2, 'sha256': hashlib.sha256(text.encode()).hexdigest()}
    assert actual['images'] == images
    text = '[["cat","base"],["杯子","novel"]]'
    assert actual['classes'] == {
        'count': 2,
        'splits': {'base': 1, 'novel': 1},
        'sha256': hashlib.sha256(text.encode()).hexdigest(),
    }
    rows = hashlib.sha256(json.dumps(ROWS).encode()).hexdigest()
    assert actual['predictions'] == {
        'sha256': rows,
        'rows': 1,
        'rows_of_other_images': 0,
        'rows_of_other_classes': 0,
        'rows_outside': 0,
        'rows_outside_kept': False,
        'images_without_rows': 1,
    }
    assert actual['max_detections'] == {'ov-coco': {'per_image_and_class': 100}}
    assert actual['notes'] == {'templates': 'photo'} and actual['name'] == 'ov-coco'
    assert actual['versions'] == versions() and versions()['numpy']
    assert actual['commit'] is None or re.fullmatch('[0-9a-f]{40}', commit())


@pytest.mark.skipif(find_spec('mmdet') is None, reason='needs mmdet')
def test_the_version_of_mmdet_is_that_of_whatever_installs_it():
    assert re.match(r'\d+\.\d+', versions()['mmdet'])


def test_the_first_differences_are_said_in_words(describe):
    base = result(describe())
    assert barriers(base, copy.deepcopy(base)) == []
    renamed = copy.deepcopy(COCO)
    renamed['categories'][0]['name'] = 'dog'
    moved = copy.deepcopy(COCO)
    moved['annotations'][0]['bbox'] = [0, 0, 9, 8]
    for options, message in (
        (
            {'image_ids': [1]},
            r'images: different images were evaluated \(2 / 1 of them',
        ),
        ({'novel': (1,)}, 'classes: different classes, or another split of them'),
        ({'coco': renamed}, 'classes: different classes'),
        ({'coco': moved}, 'objects: the same images have other ground truth'),
    ):
        reasons = barriers(base, result(describe(**options)))
        assert re.match(message, reasons[0]), reasons
    other = result(describe(protocol='coco'))
    other['metrics'] = {'coco/segm/AP': 0.5}
    assert re.match(
        "name: .* average over different .*'ov-coco' / 'coco'", barriers(base, other)[0]
    )


def test_flavours_in_both_files_are_compared(describe):
    """lvis with lvis-both: comparable unless the limit of what they share differs."""

    def of(*flavours, limit=300):
        protocol = describe() | {'flavours': flavours, 'name': '-'.join(flavours)}
        protocol['max_detections'] = {f: {'per_image': limit} for f in flavours}
        metrics = {f'{flavour}/bbox/AP': 0.5 for flavour in flavours}
        return {'metrics': metrics, 'protocol': protocol}

    assert barriers(of('lvis'), of('lvis', 'lvis-fixed')) == []
    assert 'raise AP' in barriers(of('lvis'), of('lvis', limit=900))[0]
    reasons = barriers(of('lvis'), of('lvis-fixed'))
    assert [reason.split(':')[0] for reason in reasons] == [
        'name', 'flavours', 'max_detections',
    ]  # fmt: skip


def test_settings_leave_numbers_comparable(describe):
    base = result(describe(notes={'resolution': '800'}))
    other = result(describe(rows=[], notes={'resolution': '640'}))
    assert barriers(base, other) == []
    said = settings(base, other)
    assert said[0] == (
        "notes: the predictions were made in another way (resolution '800' / '640')"
    )
    assert said[1].endswith('kept another number of detections (1 / 0)')
    assert 'same predictions' in settings(base, copy.deepcopy(base))[0]


def test_differences_of_metrics_and_classes(describe):
    first = result(describe(), ap=0.5, cat=0.2, cup=0.6, never=None)
    second = result(describe(), ap=0.75, cat=0.4, cup=0.5, never=0.1)
    second['metrics']['coco/bbox/AR1'] = 0.3
    assert metric_rows(first, second) == [
        ('coco/bbox/AP', 0.5, 0.75, 0.25),
        ('coco/bbox/APs', None, None, None),
        ('coco/bbox/AR1', None, 0.3, None),
    ]
    actual = class_differences(first, second)
    assert list(actual['coco/bbox']) == ['cup', 'cat']
    assert actual['coco/bbox'] == pytest.approx({'cup': -0.1, 'cat': 0.2})
    picture = draw_differences(actual | {'lvis/segm': {f'{n}': 0.1 for n in range(50)}})
    assert picture.startswith(b'\x89PNG')
    with pytest.raises(ValueError, match='no class-wise figures in common'):
        class_differences(first, {'classwise': None})


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / 'a.json').write_text('{"metrics": {}}')
    with pytest.raises(ValueError, match='must hold "metrics" and "protocol"'):
        read_result(tmp_path / 'a.json')
