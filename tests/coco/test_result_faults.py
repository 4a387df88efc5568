"""Result lists and annotation files that are not in order."""

import json

import numpy as np
import pytest

from fgclip2_det.coco.ground_truths import read_image_ids, read_truths
from fgclip2_det.coco.masks import encode_mask
from fgclip2_det.coco.result_lists import read_results

ROW = {'image_id': 7, 'category_id': 3, 'bbox': [10.0, 20, 30, 40], 'score': 0.5}


def content(**changes) -> dict:
    image = {'id': 7, 'file_name': 'a.jpg', 'width': 100, 'height': 80}
    return {
        'images': [image, image | {'id': 2}],
        'categories': [{'id': 3, 'name': 'a', 'frequency': 'r'},
                       {'id': 1, 'name': 'b', 'frequency': 'f'}],
        'annotations': [{'id': 1, 'image_id': 7, 'category_id': 3,
                         'bbox': [1, 2, 3, 4]}],
    } | changes  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Function: rows or text -> what read_results returns."""

    def run(rows, iou_types=('bbox',), ann=None, **options):
        (tmp_path / 'ann.json').write_text(json.dumps(ann or content()))
        text = rows if isinstance(rows, str) else json.dumps(rows)
        (tmp_path / 'rows.json').write_text(text)
        truths = read_truths(tmp_path / 'ann.json', **options)
        return read_results(tmp_path / 'rows.json', truths, iou_types)

    return run


def test_columns(read):
    """Indices follow rising ids; bbox and score as written; spaces do not matter."""
    other = ROW | {'image_id': 2, 'category_id': 1, 'score': 1}
    actual = read(json.dumps([ROW, other], indent=2)).results
    assert actual.image.tolist() == [1, 0] and actual.category.tolist() == [1, 0]
    assert actual.bboxes.tolist() == [[10, 20, 30, 40]] * 2
    assert actual.scores.tolist() == [0.5, 1] and actual.masks is None
    assert len(read(' [] ').results) == 0


def test_rows_of_what_does_not_count_are_left_out(read):
    rows = [ROW, ROW | {'image_id': 2}, ROW | {'category_id': 1}]
    actual = read(rows, image_ids=[7], category_ids=[3])
    assert (actual.num_rows, actual.num_other_images, actual.num_other_classes) == (
        3, 1, 1,
    )  # fmt: skip
    assert len(actual.results) == 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image_id': 8}, 'row 1 .*: image 8 is not in the annotation file.* 2 ids'),
        ({'category_id': '3'}, "row 1 .*: category '3' is not in the annotation"),
        ({'image_id': [7]}, r'image \[7\] is not in'),
        ({'score': float('nan')}, r'score must be a probability in \[0, 1\], got nan'),
        ({'score': 1.5}, r'score must be a probability in \[0, 1\], got 1.5'),
        ({'score': '0.5'}, "score must be a probability .* got '0.5'"),
        ({'bbox': [1, 2, -3, 4]}, r'finite and not negative, got \[1, 2, -3, 4\]'),
        ({'bbox': [1, 2, float('inf'), 4]}, 'finite and not negative, got .*inf'),
        ({'bbox': [1, 2, 3]}, r'bbox must be x, y, .* got \[1, 2, 3\]'),
        ({'bbox': [1, 2, 3, 'x']}, "bbox must be x, y, .* 'x'"),
        ({'bbox': None}, 'bbox must be x, y, .* got None'),
    ],
)
def test_impossible_rows_are_named(read, change, message):
    with pytest.raises(ValueError, match=message):
        read([ROW, ROW | change])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (json.dumps([ROW, ROW | {'score': 0.1}])[:-20], 'row 1 .* may be cut off'),
        (json.dumps([ROW])[:-1], 'row 1 .*may be cut off'),
        ('', 'must be a JSON list of results'),
        ('{"annotations": []}', 'must be a JSON list of results, got'),
        ('[] {}', 'text after its list'),
        ('[3]', 'row 0 .*: expected an object, got 3'),
        (json.dumps([{'image_id': 7}]), "row 0 .*: it has no 'category_id'; a row"),
        (json.dumps([ROW, ROW]), 'two rows are the same .image 7, category 3, bbox'),
    ],
)
def test_impossible_files_are_named(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_equal_boxes_with_other_scores_or_masks_are_no_duplicates(read):
    assert len(read([ROW, ROW | {'score': 0.6}]).results) == 2
    masks = [ROW | {'segmentation': [[x, 10, 40, 10, 40, 40]]} for x in (10, 20)]
    assert len(read(masks, ['segm']).results) == 2
    with pytest.raises(ValueError, match='two rows are the same'):
        read([*masks, masks[0]], ['bbox', 'segm'])


def test_corners_in_place_of_sizes_are_noticed(read):
    """Boxes of the right and lower half; one that fits anyhow does not hide it."""
    rng = np.random.default_rng(0)
    low = rng.uniform([50, 40], [70, 60], (20, 2))
    high = low + rng.uniform(5, 15, (20, 2))
    corners = np.hstack([low, high])
    right = np.hstack([low, high - low])

    def rows(boxes):
        return [ROW | {'bbox': box} for box in boxes.tolist()]

    assert len(read(rows(right)).results) == 20
    with pytest.raises(ValueError, match=r'20 of 21 boxes reach outside .* x1, y1'):
        read([*rows(corners), ROW])
    sizeless = [{'id': 7}, {'id': 2}]
    assert len(read(rows(corners), ann=content(images=sizeless)).results) == 20


def test_masks_are_read_in_any_form():
    """A square of 20 x 20 pixels as polygon, as runs of its columns and as RLE."""
    polygon = encode_mask([[10, 10, 30, 10, 30, 30, 10, 30]], 40, 50)
    runs = [10 * 40 + 10, *[20] * 39, 10 + 20 * 40 - 20]
    runs[-1] = 2000 - sum(runs[:-1])
    plain = encode_mask({'size': [40, 50], 'counts': runs}, 40, 50)
    text = {'size': [40, 50], 'counts': polygon['counts'].decode()}
    assert encode_mask(text, 40, 50) == polygon == plain
    with pytest.raises(ValueError, match=r'mask of \[40, 50\] pixels .* \[50, 40\]'):
        encode_mask(text, 50, 40)
    with pytest.raises(ValueError, match='polygons or RLE, got None'):
        encode_mask(None, 4, 4)


def test_impossible_masks_are_named(read):
    with pytest.raises(ValueError, match=r"row 0 .*: it has no 'segmentation'"):
        read([ROW], ['segm'])
    row = ROW | {'segmentation': {'size': [8, 8], 'counts': '0'}}
    with pytest.raises(ValueError, match=r'row 0 .*mask of \[8, 8\] pixels'):
        read([row], ['segm'])
    with pytest.raises(ValueError, match=r'annotation 1: .*got None; masks need'):
        read([], masks=True)


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        ({'images': None}, {}, "must hold a list of 'images'"),
        ({'images': [{'id': 1}, {'id': 1}]}, {}, 'image id 1 occurs twice'),
        ({'images': [{'id': 1}, {'id': '2'}]}, {}, 'ids must be all numbers'),
        ({'categories': [{'id': 3}]}, {}, "category 3 has no 'name'"),
        ({'categories': []}, {}, 'annotation 1: category 3 is not in the file'),
        ({'annotations': [{'id': 4, 'image_id': 7, 'category_id': 3}]}, {},
         "annotation 4 has no 'bbox'"),
        ({'annotations': [{'id': 4, 'image_id': 7, 'category_id': 3,
                           'bbox': [0, 0, -1, 2]}]}, {}, 'bbox .* not negative'),
        ({}, {'image_ids': [7, 9]}, 'image 9 is asked for but not in'),
        ({}, {'federated': True}, "image 7 has no list 'neg_category_ids'"),
        ({'images': [{'id': 7, 'neg_category_ids': [4],
                      'not_exhaustive_category_ids': []}]}, {'federated': True},
         'image 7: category 4 of neg_category_ids'),
        ({'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'a'}]},
         {'federated': True}, 'frequency must be one of .*got None'),
    ],
)  # fmt: skip
def test_impossible_annotation_files_are_named(tmp_path, changes, options, message):
    (tmp_path / 'ann.json').write_text(json.dumps(content(**changes)))
    with pytest.raises(ValueError, match=message):
        read_truths(tmp_path / 'ann.json', **options)


def test_image_ids_of_a_list_or_a_coco_file(tmp_path):
    path = tmp_path / 'ids.json'
    path.write_text('[3, 1]')
    assert read_image_ids(path) == [3, 1]
    path.write_text(json.dumps(content()))
    assert read_image_ids(path) == [7, 2]
    path.write_text('{"ids": [1]}')
    with pytest.raises(ValueError, match='must be a JSON list of image ids'):
        read_image_ids(path)
    with pytest.raises(ValueError, match=r'nowhere\.json cannot be read'):
        read_image_ids(tmp_path / 'nowhere.json')
