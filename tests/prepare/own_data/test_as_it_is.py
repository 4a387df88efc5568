"""COCO files serve as they are only where the readers of COCO take them."""

import json

import numpy as np
import pytest

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.prepare.own_data import as_coco, look, write_coco

BOX = [4, 4, 20, 20]


def change(path, section, **values):
    content = json.loads(path.read_text())
    for key, value in values.items():
        content[section][1].pop(key, None)
        if value is not None:
            content[section][1][key] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('section', 'values'),
    [
        ('images', dict(width=None)),
        ('images', dict(height='32')),
        ('categories', dict(name=' jug')),
        ('categories', dict(name='jug\t')),
    ],
)
def test_what_readers_refuse_is_written_anew(tmp_path, coco, split, section, values):
    for name, first in (('train', 0), ('val', 5)):
        images = [(f'{i}.png', i) for i in range(first, first + 5)]
        boxes = [(i + 1, 1 + i % 2, BOX) for i in range(5)]
        coco(tmp_path / f'{name}.json', images, boxes, ['cup', 'jug'])
    assert look(tmp_path).as_it_is
    change(tmp_path / f'{split}.json', section, **values)
    own = look(tmp_path)
    assert not own.as_it_is and own.data.names == ['cup', 'jug']
    assert not own.findings['order']
    write_coco(as_coco(own.data, own.data.of(split)), tmp_path / 'out.json')
    written = read_coco(tmp_path / 'out.json')
    assert {i['width'] for i in written.images.values()} == {48}
    assert [c['name'] for c in written.categories.values()] == ['cup', 'jug']


def test_lists_of_categories_of_lvis_are_numbered_anew(tmp_path, coco):
    images = [(f'{i}.png', i) for i in range(5)]
    boxes = [(i + 1, 1 + i % 2, BOX) for i in range(5)]
    path = coco(tmp_path / 'a.json', images, boxes, ['cup', 'jug', 'bus'])
    content = json.loads(path.read_text())
    for category in content['categories']:
        category['id'] += 40
    for box in content['annotations']:
        box['category_id'] += 40
    content['images'][2].update(
        neg_category_ids=[43, 41, 99, [41]], not_exhaustive_category_ids=[42]
    )
    content['images'][3].update(neg_category_ids=None)
    path.write_text(json.dumps(content))
    own = look(tmp_path)
    images = as_coco(own.data, own.data.images)['images']
    assert images[2]['neg_category_ids'] == [3, 1]
    assert images[2]['not_exhaustive_category_ids'] == [2]
    assert 'neg_category_ids' not in images[3] and 'neg_category_ids' not in images[0]


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize(
    ('area', 'kind'),
    [
        (0, 'area'), (0.0, 'area'), (-3, 'area'), ('9', 'area'), (True, 'area'),
        ([], 'area'), (..., 'no_area'), (0.5, None), (400, None),
    ],
)  # fmt: skip
def test_an_area_that_is_none_is_counted_and_written(tmp_path, coco, split, area, kind):
    """MMDetection leaves out boxes whose area is 0, or ends where there is none."""
    for name, first in (('train', 0), ('val', 5)):
        images = [(f'{i}.png', i) for i in range(first, first + 5)]
        boxes = [(i + 1, 1 + i % 2, BOX) for i in range(5)]
        coco(tmp_path / f'{name}.json', images, boxes, ['cup', 'jug'])
    change(
        tmp_path / f'{split}.json', 'annotations', area=None if area is ... else area
    )
    own = look(tmp_path)
    counts = {key: own.findings[key] for key in ('area', 'no_area', 'bad_entry')}
    assert counts == {'area': 0, 'no_area': 0, 'bad_entry': 0} | (
        {kind: 1} if kind else {}
    )
    assert own.as_it_is == (kind is None)
    assert own.findings.is_wrong == (kind == 'area')
    written = as_coco(own.data, own.data.of(split))['annotations']
    expected = area if kind is None else 400
    assert [each['area'] for each in written] == [400, expected, 400, 400, 400]


def test_boxes_to_ignore_are_written_as_crowds(tmp_path, coco):
    """As a box of VOC that is difficult; MMDetection leaves ``ignore: 1`` out."""
    images = [(f'{i}.png', i) for i in range(5)]
    boxes = [(i + 1, 1 + i % 2, BOX) for i in range(5)]
    path = coco(tmp_path / 'a.json', images, boxes, ['cup', 'jug'])
    change(path, 'annotations', ignore=1, iscrowd=0)
    own = look(tmp_path)
    assert own.findings['crowd'] == 1
    written = as_coco(own.data, own.data.images)['annotations']
    assert [each['iscrowd'] for each in written] == [0, 1, 0, 0, 0]
    assert not any('ignore' in each for each in written)


@pytest.mark.parametrize('seed', range(3))
def test_masks_of_no_pixel_are_counted(tmp_path, coco, seed):
    """An outline that goes around twice has no inside; once, it has."""
    angles = np.sort(np.random.default_rng(seed).uniform(0, 2 * np.pi, 9))
    outline = np.stack([14 + 10 * np.cos(angles), 14 + 10 * np.sin(angles)], 1)
    once = outline.ravel().tolist()
    images = [(f'{i}.png', i) for i in range(5)]
    boxes = [(i + 1, 1 + i % 2, BOX) for i in range(5)]
    path = coco(tmp_path / 'a.json', images, boxes, ['cup', 'jug'])
    for polygon, count in ((once, 0), (once * 2, 1)):
        change(path, 'annotations', segmentation=[polygon])
        own = look(tmp_path)
        assert own.findings['empty_mask'] == count == own.findings.is_wrong
        written = as_coco(own.data, own.data.images)['annotations'][1]
        assert ('segmentation' in written) == (not count)
        assert written['bbox'] == BOX
