"""Which classes a name means, and what the file says of them itself."""

import json

import pytest

from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import choose_novel, look

BOX = [4, 4, 20, 20]


def test_classes_that_differ_in_case_alone_are_told_apart(tmp_path, coco):
    images = [(f'{i}.png', i) for i in range(9)]
    coco(tmp_path / 'a.json', images, [(i, 1 + i % 4, BOX) for i in range(1, 10)],
         ['dog', 'Dog', 'Red cup', 'bus'])  # fmt: skip
    data = look(tmp_path).data
    for name in ('dog', 'Dog'):
        assert choose_novel(data, [name]) == [name]
    assert choose_novel(data, ['Dog', 'dog']) == ['dog', 'Dog']
    assert choose_novel(data, ['red_CUP', 'Red cup', 'Bus']) == ['Red cup', 'bus']
    with pytest.raises(
        InputError, match="'DOG' may be any of the classes 'dog', 'Dog'"
    ):
        choose_novel(data, ['DOG'])


def test_a_split_of_the_file_is_said_not_to_count(tmp_path, coco):
    """The config names the novel classes, so that the file's own are not looked at."""
    names = ['cup', 'jug', 'bus', 'tree', 'lamp']
    for split, first in (('train', 0), ('val', 10)):
        images = [(f'{i}.png', i) for i in range(first, first + 5)]
        boxes = [(i, i, BOX) for i in range(1, 6)]
        path = coco(tmp_path / f'{split}.json', images, boxes, names)
        content = json.loads(path.read_text())
        kinds = ('base', 'novel', 'unused', 'unused', 'base')
        for category, kind in zip(content['categories'], kinds, strict=True):
            category['split'] = kind
        path.write_text(json.dumps(content))
    own = look(tmp_path)
    assert own.as_it_is and own.findings['own_split'] == 3
    assert own.findings.first['own_split'][0] == "train.json: 'jug': novel"
