"""COCO boxes as training records: base classes alone, one-word-off negatives."""

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.io import notes
from pretrain.data import to_sample
from pretrain.data.from_coco import coco_to_records

NAMES = ('white-pawn', 'white-rook', 'black-pawn', 'black-rook', 'board')
COCO = {
    'categories': [
        {'id': i, 'name': name, 'name_zh': f'名{i}'} for i, name in enumerate(NAMES)
    ],
    'images': [
        {'id': 1, 'file_name': 'a.jpg', 'width': 100, 'height': 50},
        {'id': 2, 'file_name': 'b.jpg', 'width': 10, 'height': 10},
    ],
    'annotations': [
        {'id': 1, 'image_id': 1, 'category_id': 0, 'bbox': [10, 5, 20, 10]},
        {'id': 2, 'image_id': 1, 'category_id': 3, 'bbox': [0, 0, 100, 50]},
        {'id': 3, 'image_id': 1, 'category_id': 4, 'bbox': [0, 0, 5, 5]},
        {'id': 4, 'image_id': 1, 'category_id': 4, 'bbox': [0, 0, 5, 5], 'iscrowd': 1},
        {'id': 5, 'image_id': 2, 'category_id': 1, 'bbox': [0, 0, 5, 5]},
    ],
}


def test_records_hold_base_boxes_and_never_a_novel_name():
    """white-rook is novel: its box, its image without others and its name are gone."""
    [record] = coco_to_records(COCO, 'en', ['white-rook'])
    assert record['f_path'] == 'a.jpg' and 'is_cn' not in record
    pawn, rook, board = record['bbox_info']
    assert pawn['bbox'] == pytest.approx([0.1, 0.1, 0.3, 0.3])
    assert pawn['short_expr'] == 'white pawn'
    assert list(pawn['short_expr_negs'].values()) == ['black pawn']
    assert list(rook['short_expr_negs'].values()) == ['black pawn']
    assert 'short_expr_negs' not in board  # one word: nothing is one word off
    assert 'white rook' not in str(record)


def test_chinese_negatives_are_those_of_the_english_names():
    records = list(coco_to_records(COCO, 'zh'))
    assert [len(record['bbox_info']) for record in records] == [3, 1]
    assert all(record['is_cn'] for record in records)
    pawn = records[0]['bbox_info'][0]
    assert pawn['short_expr'] == '名0'
    assert set(pawn['short_expr_negs'].values()) == {'名1', '名2'}


def test_records_become_samples():
    [record, _] = coco_to_records(COCO, 'en')
    image = Image.new('RGB', (100, 50))
    sample = to_sample(record, image, np.random.default_rng(0), max_anns=None)
    assert sample.bboxes.tolist()[0] == pytest.approx([10, 5, 30, 15])
    assert sample.hard_positives == ['white pawn', 'black rook', None]


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"\['dragon'\] are not categories"):
        list(coco_to_records(COCO, 'en', ['dragon']))
    nameless = COCO | {'categories': [{'id': 0, 'name': 'a'}]}
    nameless['annotations'] = COCO['annotations'][:1]
    with pytest.raises(ValueError, match='name_zh'):
        list(coco_to_records(nameless, 'zh'))


# A phone photo as Label Studio writes it: 4000 x 3000 is the size of the file, the
# boxes are of the upright image of 3000 x 4000.
PHONE = {
    'categories': [{'id': 0, 'name': 'cat'}],
    'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 4000, 'height': 3000}],
    'annotations': [
        {'id': 5, 'image_id': 1, 'category_id': 0, 'bbox': [100, 3200, 500, 700]},
    ],
}


@pytest.mark.parametrize(
    ('bbox', 'message'),
    [
        ([100, 3200, 500, 700], r'4000 x 3000 pixels; it fits .*EXIF orientation'),
        ([5000, 5000, 9, 9], 'lies outside .*; correct or remove it'),
        ([1, 2, 3], 'bbox must be x, y, width'),
        ([1, 2, -3, 4], 'finite and not negative'),
    ],
)
def test_boxes_are_checked(bbox, message):
    coco = PHONE | {'annotations': [PHONE['annotations'][0] | {'bbox': bbox}]}
    with pytest.raises(ValueError, match=rf'a\.json: annotation 5: .*{message}'):
        list(coco_to_records(coco, 'en', path='a.json'))


def test_sides_exchanged_get_a_line_where_boxes_only_cross_the_border(caplog):
    notes._SAID.clear()
    crossing = PHONE['annotations'][0] | {'bbox': [100, 2500, 500, 1400]}
    list(coco_to_records(PHONE | {'annotations': [crossing]}, 'en', path='a.json'))
    [line] = caplog.messages
    assert 'boxes of 1 images, a.jpg among them' in line and 'EXIF' in line
    notes._SAID.clear()
    wide = crossing | {
        'id': 6,
        'bbox': [3200, 100, 500, 300],
    }  # tells that 4000 is right
    list(coco_to_records(PHONE | {'annotations': [crossing, wide]}, 'en'))
    little = PHONE['annotations'][0] | {'bbox': [100, 2500, 500, 520]}
    list(coco_to_records(PHONE | {'annotations': [little]}, 'en'))
    assert len(caplog.messages) == 1


def test_a_root_category_is_no_negative():
    coco = PHONE | {
        'categories': [
            {'id': 0, 'name': 'white pawn', 'supercategory': 'white men'},
            {'id': 1, 'name': 'white men', 'supercategory': 'none'},
        ],
        'annotations': [PHONE['annotations'][0] | {'bbox': [0, 0, 9, 9]}],
    }
    [record] = coco_to_records(coco, 'en')
    assert 'short_expr_negs' not in record['bbox_info'][0]


def test_boxes_end_at_the_border_and_those_without_area_are_counted(caplog):
    """80 x 60 of the third box lie outside; the first two have no area inside."""
    notes._SAID.clear()
    boxes = ([0, 0, 0, 9], [4000, 10, 50, 50], [3920, 2940, 160, 120])
    annotations = [
        PHONE['annotations'][0] | {'id': i, 'bbox': box} for i, box in enumerate(boxes)
    ]
    [record] = coco_to_records(PHONE | {'annotations': annotations}, 'en')
    [info] = record['bbox_info']
    assert info['bbox'] == pytest.approx([0.98, 0.98, 1, 1])
    assert '2 boxes have no area in their image; left out' in caplog.text
    to_sample(record, Image.new('RGB', (40, 30)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'categories': [{'id': 0}]}, r"a\.json: category 0 has no 'name'"),
        ({'annotations': 5}, r"a\.json must hold a list of 'annotations', got 5"),
        ({'images': [{'id': 1}]}, r"a\.json: image 1 has no 'file_name'"),
    ],
)
def test_bad_files_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        list(coco_to_records(PHONE | change, 'en', path='a.json'))
