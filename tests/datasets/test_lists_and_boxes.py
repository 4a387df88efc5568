"""Lists that are empty, and boxes that MMDetection's data set leaves out."""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.datasets import OpenVocabCocoDataset


def coco_dict(*splits: str) -> dict:
    """An image of 160 x 96 with a cat, a dog and a sofa."""
    names = ('cat', 'dog', 'sofa')
    categories = [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
    for category, split in zip(categories, splits, strict=bool(splits)):
        category['split'] = split
    annotations = [
        {
            'id': i,
            'image_id': 1,
            'category_id': i,
            'bbox': [20.0 * i, 10.0, 30.0, 40.0],
            'area': 1200.0,
            'iscrowd': 0,
        }
        for i in (1, 2, 3)
    ]
    images = [{'id': 1, 'file_name': '1.png', 'width': 160, 'height': 96}]
    return {'images': images, 'annotations': annotations, 'categories': categories}


@pytest.fixture
def build(tmp_path):
    def one(coco: dict, **options) -> OpenVocabCocoDataset:
        (tmp_path / 'ann.json').write_text(json.dumps(coco))
        return OpenVocabCocoDataset(
            ann_file='ann.json', data_root=str(tmp_path), pipeline=[], **options
        )

    return one


def labels(dataset: OpenVocabCocoDataset) -> list:
    return [each['bbox_label'] for each in dataset[0]['instances']]


@pytest.mark.parametrize('where', ['options', 'metainfo'])
@pytest.mark.parametrize(
    ('given', 'base', 'novel'),
    [
        ({}, ('cat',), ('dog',)),
        ({'base_classes': None, 'novel_classes': None}, ('cat',), ('dog',)),
        ({'novel_classes': []}, ('cat', 'dog', 'sofa'), ()),
        ({'base_classes': []}, (), ('cat', 'dog', 'sofa')),
        ({'base_classes': [], 'novel_classes': ['sofa']}, (), ('sofa',)),
        ({'base_classes': ['sofa'], 'novel_classes': []}, ('sofa',), ()),
    ],
)
def test_an_empty_list_says_none_and_no_list_asks_the_file(
    build, where, given, base, novel
):
    coco = coco_dict('base', 'novel', 'unused')
    if where == 'metainfo' and None not in given.values():
        given = {'metainfo': given}
    meta = build(coco, **given).metainfo
    assert (meta['base_classes'], meta['novel_classes']) == (base, novel)
    if base:
        trained = build(coco, only_base=True, **given)
        assert len(labels(trained)) == len(base)


def test_the_option_goes_before_metainfo_also_where_it_is_empty(build):
    meta = {'classes': ['sofa', 'cat'], 'novel_classes': ['cat']}
    dataset = build(coco_dict(), metainfo=meta, novel_classes=[])
    assert dataset.metainfo['base_classes'] == ('sofa', 'cat')


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('area', [None, 0, 0.0, 7.5])
def test_a_box_without_an_area_is_a_box(build, area, test_mode):
    coco = coco_dict()
    for annotation in coco['annotations']:
        del annotation['area']
        if area is not None:
            annotation['area'] = area
    coco['annotations'][1]['bbox'] = [40.0, 10.0, 0.5, 40.0]  # too thin in any case
    dataset = build(coco, test_mode=test_mode)
    assert labels(dataset) == [0, 2]


@pytest.mark.parametrize('iscrowd', [0, 1])
def test_a_box_to_ignore_is_no_background(build, iscrowd):
    coco = coco_dict()
    coco['annotations'][1].update(ignore=1, iscrowd=iscrowd)
    coco['annotations'][2].update(ignore=0)
    instances = build(coco)[0]['instances']
    assert [each['ignore_flag'] for each in instances] == [0, 1, 0]
    assert instances[1]['bbox'] == [40.0, 10.0, 70.0, 50.0]
