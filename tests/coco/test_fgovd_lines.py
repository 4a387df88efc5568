"""FG-OVD's jsonl files: one reader for benchmarks and for detectors' mAP."""

import json

import pytest

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.evaluation.hard_vocabularies import read_hard_objects

LINE = {
    'image_id': 7, 'category_id': 1, 'neg_category_ids': [2, 5], 'bbox': [1, 2, 3, 4],
    'width': 20, 'height': 10, 'pos_expression': ['a red cup'],
    'neg_expression': ['a blue cup', 'a green cup'],
}  # fmt: skip


def write(path, *lines):
    path.write_bytes('\r\n'.join(['', *map(json.dumps, lines), '']).encode('utf-8-sig'))
    return path


def test_titles_count_every_line(tmp_path):
    path = write(tmp_path / 'h.jsonl', LINE, LINE | {'neg_expression': []})
    titles, entries = zip(*read_fgovd_lines(path), strict=True)
    assert titles == (f'{path} line 2', f'{path} line 3')
    assert entries == (LINE, LINE | {'neg_expression': []})
    (actual,) = read_hard_objects(write(path, LINE), 2)
    assert (actual.category_id, actual.negatives, actual.size) == (1, (2, 5), (20, 10))
    assert actual.texts == {1: 'a red cup', 2: 'a blue cup', 5: 'a green cup'}


@pytest.mark.parametrize(
    'change, message',
    [
        ({'width': 2.5}, 'line 2: width and height must be pixels'),
        ({'pos_expression': 'a red cup'}, 'line 2: pos_expression must be a list of'),
        (
            {'neg_expression': ['a', 3]},
            'line 2: neg_expression must be a list of texts',
        ),
        ({'neg_category_ids': [2]}, 'line 2 has 2 ids for 3 captions'),
        ({'neg_category_ids': [[2], 5]}, 'line 2 is not an object of FG-OVD'),
        ({'neg_category_ids': None}, 'line 2 is not an object of FG-OVD'),
    ],
)
def test_wrong_lines_are_named(tmp_path, change, message):
    path = write(tmp_path / 'h.jsonl', LINE | change)
    with pytest.raises(ValueError, match=message):
        read_hard_objects(path, 1)
