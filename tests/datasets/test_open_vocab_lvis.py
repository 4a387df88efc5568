"""OpenVocabLVISDataset: split by frequency, lists of each image, counts."""

import json

import pytest

from fgclip2_det.datasets import OpenVocabLVISDataset


def lvis_dict() -> dict:
    categories = [
        dict(id=i, name=name, frequency=frequency, image_count=count)
        for i, name, frequency, count in [
            (3, 'tea_pot', 'f', 900),
            (5, 'cat', 'r', 4),
            (7, 'dog', 'c', 40),
            (9, 'eel', 'c', 20),
        ]
    ]
    url = 'http://images.cocodataset.org/val2017/000000000139.jpg'
    image = dict(
        id=139, coco_url=url, width=160, height=96, neg_category_ids=[9, 5],
        not_exhaustive_category_ids=[7],
    )  # fmt: skip
    boxes = [
        dict(id=i, image_id=139, category_id=c, bbox=[10, 10, 20, 20], area=400)
        for i, c in enumerate((3, 5, 7))
    ]
    return dict(images=[image], annotations=boxes, categories=categories)


@pytest.fixture
def load(tmp_path):
    def build(coco: dict, **options):
        (tmp_path / 'lvis.json').write_text(json.dumps(coco))
        return OpenVocabLVISDataset(
            ann_file='lvis.json', data_root=str(tmp_path), pipeline=[], **options
        )

    return build


def test_training_data(load):
    dataset = load(lvis_dict(), only_base=True)
    meta = dataset.metainfo
    assert meta['classes'] == ('tea pot', 'dog', 'eel', 'cat')
    assert meta['novel_classes'] == ('cat',)
    assert meta['category_ids'] == (3, 7, 9, 5)
    assert meta['image_counts'] == (900, 40, 20, 4)
    image = dataset[0]
    assert image['img_path'].endswith('val2017/000000000139.jpg')
    assert [x['bbox_label'] for x in image['instances']] == [0, 1]  # no cat
    assert image['neg_labels'] == [2]  # novel names are not loaded
    assert image['not_exhaustive_labels'] == [1]


def test_all_classes_for_evaluation(load):
    image = load(lvis_dict(), test_mode=True)[0]
    assert sorted(x['bbox_label'] for x in image['instances']) == [0, 1, 3]
    assert image['neg_labels'] == [2, 3]


def test_an_empty_list_of_novel_names_makes_every_class_base(load):
    coco = lvis_dict()
    coco['annotations'][1]['area'] = 0  # the box of the rare class has sides
    dataset = load(coco, only_base=True, novel_classes=[])
    assert dataset.metainfo['base_classes'] == ('tea pot', 'cat', 'dog', 'eel')
    assert [x['bbox_label'] for x in dataset[0]['instances']] == [0, 1, 2]


def test_bad_files(load):
    coco = lvis_dict()
    del coco['images'][0]['neg_category_ids']
    with pytest.raises(ValueError, match='image 139 needs neg_category_ids'):
        load(coco)
    coco = lvis_dict()
    coco['images'][0]['not_exhaustive_category_ids'] = [4]
    with pytest.raises(ValueError, match='not_exhaustive_category_ids'):
        load(coco)
    coco = lvis_dict()
    del coco['categories'][1]['frequency']
    with pytest.raises(ValueError, match='frequency of f, c or r'):
        load(coco)
