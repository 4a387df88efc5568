"""evaluate_file against the functions that it calls, and what it refuses."""

import json

import pytest

from fgclip2_det.evaluation import evaluate_file


@pytest.fixture
def files(tmp_path) -> tuple:
    """A base class found, a novel one found as the base one."""
    coco = {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 100, 'height': 80},
                   {'id': 2, 'file_name': 'b.jpg', 'width': 100, 'height': 80}],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'cup'}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 20, 20]},
            {'id': 2, 'image_id': 1, 'category_id': 2, 'bbox': [50, 0, 20, 20]},
        ],
    }  # fmt: skip
    rows = [
        {'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 20, 20], 'score': 0.9},
        {'image_id': 1, 'category_id': 1, 'bbox': [50, 0, 20, 20], 'score': 0.8},
    ]
    for name, content in (('ann', coco), ('rows', rows)):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    return tmp_path / 'ann.json', tmp_path / 'rows.json'


def test_ov_coco(files):
    names = {'base': ['cat'], 'novel': ['cup']}
    actual = evaluate_file('ov-coco', *files, **names, notes={'templates': 'photo'})
    metrics = {key.split('/')[-1]: value for key, value in actual.metrics.items()}
    assert metrics == pytest.approx({
        'base_ap50': 1, 'novel_ap50': 0, 'all_ap50': 0.5,
        'base_ap': 1, 'novel_ap': 0, 'all_ap': 0.5,
    })  # fmt: skip
    assert actual.classwise['ov-coco/bbox']['cup']['AP50'] == 0
    assert actual.protocol['name'] == 'ov-coco'
    assert actual.protocol['notes'] == {'templates': 'photo'}
    assert actual.protocol['classes']['splits'] == {'base': 1, 'novel': 1}
    json.dumps(actual.protocol)


def test_images_that_count(files, tmp_path):
    (tmp_path / 'ids.json').write_text('[2]')
    actual = evaluate_file('coco', *files, image_ids=tmp_path / 'ids.json')
    assert actual.metrics['coco/bbox/AP50'] == -1
    assert actual.protocol['images']['count'] == 1


@pytest.mark.parametrize(
    ('protocol', 'options', 'message'),
    [
        ('voc', {}, "protocol must be one of.*'odinw35'.*got 'voc'"),
        ('coco', {'novel': ['cup']}, 'base and novel belong to ov-coco, not to coco'),
        ('d3', {'image_ids': 'ids.json'}, 'not options of d3'),
        ('coco', {'iou_types': ['mask']}, 'iou types must be'),
        ('ov-coco', {'novel': ['zebra']}, 'zebra'),
        ('refexp', {'ids': 'stem'}, 'ids is not an option of refexp'),
        ('odinw13', {'count': 35}, 'count is not an option of odinw13'),
        ('coco', {'num_negatives': 3}, 'num_negatives is not an option of coco'),
    ],
)
def test_what_is_refused(files, protocol: str, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate_file(protocol, *files, **options)
