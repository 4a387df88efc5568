"""Fingerprints of results, and what a comparison says about two of them."""

import copy
import hashlib
import json
import random
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


def with_masks(*polygons: list) -> dict:
    """The file above with objects of equal boxes and areas, and these masks."""
    images = [{**image, 'height': 20, 'width': 20} for image in COCO['images']]
    objects = [
        {**COCO['annotations'][0], 'id': i, 'area': 40, 'segmentation': [polygon]}
        for i, polygon in enumerate(polygons, 1)
    ]
    return {**COCO, 'images': images, 'annotations': objects}


def test_masks_are_ground_truth_where_they_are_evaluated(describe):
    lower, upper = [0, 0, 9, 9, 0, 9], [0, 0, 9, 0, 9, 9]
    base = result(describe(with_masks(lower, upper), masks=True))
    swapped = result(describe(with_masks(upper, lower), masks=True))
    assert barriers(base, swapped) == []
    other = result(describe(with_masks(lower, lower), masks=True))
    (reason,) = barriers(base, other)
    assert reason == 'masks: the same objects have other masks (2 / 2 of them)'
    boxes = [result(describe(with_masks(*m))) for m in ([lower, upper], [lower, lower])]
    assert barriers(*boxes) == [] and 'masks' not in boxes[0]['protocol']
    assert barriers(base, boxes[1]) == []  # which does not say them


LVIS = {
    'images': [
        {'id': i, 'file_name': f'{i}.jpg', 'neg_category_ids': [1, 2],
         'not_exhaustive_category_ids': []}
        for i in (1, 2)
    ],
    'categories': [
        {'id': i, 'name': n, 'frequency': 'r'} for i, n in enumerate('abc', 1)
    ],
    'annotations': [
        {'id': n, 'image_id': 1 + n % 2, 'category_id': 1 + n % 3,
         'bbox': [n % 4, n % 5, 9, 9], 'area': 40.0 + n % 2, 'iscrowd': 0}
        for n in range(24)
    ],
}  # fmt: skip


@pytest.mark.parametrize('seed', range(3))
def test_the_order_of_annotations_is_no_difference(describe, seed):
    def of(coco):
        return result(describe(coco=coco, rows=[], protocol='lvis', federated=True))

    shuffled = copy.deepcopy(LVIS)
    for entries in shuffled.values():
        random.Random(seed).shuffle(entries)
    first, second = of(LVIS), of(shuffled)
    assert barriers(first, second) == []
    assert first['protocol']['objects'] != second['protocol']['objects']  # as it stood
    for key, value in (('area', 1.0), ('ignore', 1), ('bbox', [0, 0, 9, 8])):
        changed = copy.deepcopy(shuffled)
        changed['annotations'][seed][key] = value
        assert barriers(first, of(changed))[0].startswith('objects: ')


def earlier(content: dict) -> dict:
    """A result as it was written before folders, counts and both digests of objects."""
    content = copy.deepcopy(content)
    protocol = content['protocol']
    if 'objects' in protocol:
        protocol['objects']['sha256'] = protocol['objects'].pop('file_order_sha256')
    for key in ('folders', 'boxes', 'counts'):
        protocol.pop(key, None)
    return content


def test_earlier_results_stay_comparable(describe):
    """With each other and with later ones, as long as they are of the same file."""
    moved = copy.deepcopy(COCO)
    moved['annotations'][0]['bbox'] = [0, 0, 9, 8]
    first, second = result(describe()), result(describe(rows=[]))
    other = result(describe(coco=moved))
    for a, b in ((earlier(first), second), (first, earlier(second)),
                 (earlier(first), earlier(second))):  # fmt: skip
        assert barriers(a, b) == []
    for a, b in ((earlier(first), other), (earlier(first), earlier(other))):
        assert barriers(a, b)[0].startswith('objects: ')


def of_benchmark(folders=None, boxes=None, counts=None, beside=None) -> dict:
    protocol = {'name': 'x', 'data': {'sha256': 'd', 'count': 2}}
    given = {'folders': folders, 'boxes': boxes, 'counts': counts}
    protocol |= {key: value for key, value in given.items() if value is not None}
    content = {'metrics': {'top1': 1.0}, 'protocol': protocol}
    return content | ({} if beside is None else {'counts': beside})


@pytest.mark.parametrize(
    ('first', 'second', 'reason'),
    [
        (
            {'folders': {'labels': {'count': 2, 'sha256': 'a'}}},
            {'folders': {'labels': {'count': 3, 'sha256': 'b'}}},
            'folders: other files of a folder were evaluated (labels 2 files / 3 '
            'files)',
        ),
        ({'folders': {'labels': {'count': 2, 'sha256': 'a'}}}, {}, None),
        (
            {'boxes': {'count': 2, 'sha256': 'a'}},
            {'boxes': {'count': 2, 'sha256': 'b'}},
            'boxes: other boxes, of objects or of background, were scored (2 / 2 of '
            'them)',
        ),
        ({'boxes': {'count': 2, 'sha256': 'a'}}, {}, None),
        (
            {'counts': {'images': 2, 'intra_scenario': 0}},
            {'counts': {'images': 2, 'intra_scenario': 1}},
            'counts: not as much was evaluated, or in another setting (intra_scenario '
            '0 / 1)',
        ),
        (  # an earlier benchmark's lie beside the protocol
            {'beside': {'images': 2, 'intra_scenario': 0}},
            {'counts': {'images': 2, 'intra_scenario': 1}},
            'counts: not as much was evaluated, or in another setting (intra_scenario '
            '0 / 1)',
        ),
        ({'counts': {'images': 2, 'names': 3}}, {'beside': {'images': 2}}, None),
        (  # those of answers, of the encoder and of other splits say nothing
            {'counts': {'rows': 1, 'truncated_texts/box': 3, 'pairs_of_all_splits': 4}},
            {'counts': {'rows': 2, 'truncated_texts/box': 0, 'pairs_of_all_splits': 8}},
            None,
        ),
    ],
)  # fmt: skip
def test_folders_boxes_and_counts(first, second, reason):
    first, second = of_benchmark(**first), of_benchmark(**second)
    assert barriers(first, second) == ([reason] if reason else [])
    assert barriers(first, copy.deepcopy(first)) == []


@pytest.mark.parametrize(
    ('first', 'second', 'differ'),
    [
        ({}, {'num_negatives': 10}, False),
        ({}, {}, False),
        ({}, {'num_negatives': 5}, True),
        ({'num_negatives': 10}, {'num_negatives': 5}, True),
        ({'num_negatives': 5}, {'num_negatives': 5}, False),
    ],
)
def test_negatives_of_a_vocabulary(first, second, differ):
    """Ten, where an earlier result does not say it."""

    def of(options):
        protocol = {'name': 'fg-ovd', 'options': options}
        return {'metrics': {'fgovd/AP': 0.5}, 'protocol': protocol}

    reasons = barriers(of(first), of(second))
    assert [r.split(':')[0] for r in reasons] == ['options.num_negatives'] * differ
    assert settings(of(first), of(second)) == []  # a barrier is said once
    others = of({**first, 'prompt': 'a'}), of({**second, 'prompt': 'b'})
    assert settings(*others) == [
        "options: other options of the protocol (prompt 'a' / 'b')"
    ]


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
