"""OpenVocabCocoDataset: classes, labels, checks and bad images."""

import json
import logging
import math
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from PIL import Image
from torch.utils.data import DataLoader

from fgclip2_det.coco.class_split import resolve_classes
from fgclip2_det.coco.published_splits import (
    OV_COCO_BASE_CLASSES,
    OV_COCO_NOVEL_CLASSES,
)
from fgclip2_det.datasets import OpenVocabCocoDataset, UnreadableImageError
from fgclip2_det.engine.hooks.bad_image_hook import OpenVocabBadImageHook

LOAD = [{'type': 'OpenVocabLoadImage'}]


def coco_dict(num_images: int = 4) -> dict:
    """Images of 160 x 96, each with a cat (1), a dog (2) and a sofa (3)."""
    names = [('cat', '猫'), ('dog', '狗'), ('sofa', '沙发')]
    categories = [
        {'id': i, 'name': name, 'name_zh': name_zh}
        for i, (name, name_zh) in enumerate(names, 1)
    ]
    images = [
        {'id': i, 'file_name': f'{i}.png', 'width': 160, 'height': 96}
        for i in range(1, num_images + 1)
    ]
    annotations = [
        {
            'id': 10 * image['id'] + c,
            'image_id': image['id'],
            'category_id': c,
            'bbox': [20.0 * c, 10.0, 30.0, 40.0],
            'area': 1200.0,
            'iscrowd': 0,
        }
        for image in images
        for c in (1, 2, 3)
    ]
    return {'images': images, 'annotations': annotations, 'categories': categories}


@pytest.fixture
def write_coco(tmp_path):
    """Function that writes a COCO dictionary with noise images; returns the folder."""

    def write(coco: dict) -> Path:
        rng = np.random.default_rng(0)
        for image in coco['images']:
            shape = (image['height'], image['width'], 3)
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / image['file_name'])
        (tmp_path / 'ann.json').write_text(json.dumps(coco), encoding='utf-8')
        return tmp_path

    return write


def build(folder, **kwargs) -> OpenVocabCocoDataset:
    options = {'ann_file': 'ann.json', 'data_prefix': {'img': ''}}
    return OpenVocabCocoDataset(data_root=str(folder), **(options | kwargs))


def labels(dataset) -> list:
    return dataset.get_cat_ids(0)


def test_novel_alone_leaves_the_rest_as_base(write_coco):
    dataset = build(write_coco(coco_dict()), novel_classes=['cat'])
    meta = dataset.metainfo
    assert meta['classes'] == ('dog', 'sofa', 'cat')
    assert meta['base_classes'] == ('dog', 'sofa')
    assert meta['novel_classes'] == ('cat',)
    assert meta['category_ids'] == (2, 3, 1)
    assert labels(dataset) == [2, 0, 1]  # cat, dog, sofa in file order


def test_lists_order_the_labels_and_drop_the_rest(write_coco):
    dataset = build(
        write_coco(coco_dict()), base_classes=['sofa'], novel_classes=['猫']
    )
    assert dataset.metainfo['classes'] == ('sofa', 'cat')
    assert labels(dataset) == [1, 0]


def test_only_base_keeps_images_and_vocabulary(write_coco):
    dataset = build(write_coco(coco_dict()), novel_classes=['cat'], only_base=True)
    assert dataset.metainfo['classes'] == ('dog', 'sofa', 'cat')
    assert len(dataset) == 4 and labels(dataset) == [0, 1]


def test_only_base_accepts_a_file_without_novel_categories(write_coco):
    coco = coco_dict()
    del coco['categories'][0]
    coco['annotations'] = [a for a in coco['annotations'] if a['category_id'] > 1]
    folder = write_coco(coco)
    dataset = build(folder, novel_classes=['cat'], only_base=True)
    assert dataset.metainfo['category_ids'] == (2, 3, None)
    with pytest.raises(ValueError, match="class 'cat' is not a category"):
        build(folder, novel_classes=['cat'])


def test_chinese_names(write_coco):
    dataset = build(write_coco(coco_dict()), novel_classes=['dog'], language='zh')
    assert dataset.metainfo['classes'] == ('猫', '沙发', '狗')


def test_classes_of_metainfo_win(write_coco):
    meta = {'classes': ('sofa', 'dog'), 'novel_classes': ('sofa',)}
    dataset = build(write_coco(coco_dict()), metainfo=meta)
    assert dataset.metainfo['classes'] == ('sofa', 'dog')
    assert dataset.metainfo['base_classes'] == ('dog',)
    assert labels(dataset) == [1, 0]


def test_without_lists_every_class_is_base(write_coco):
    meta = build(write_coco(coco_dict())).metainfo
    assert meta['classes'] == meta['base_classes'] == ('cat', 'dog', 'sofa')
    assert meta['novel_classes'] == ()


def test_split_file_and_split_key_agree(write_coco):
    coco = coco_dict()
    for category, split in zip(
        coco['categories'], ('base', 'novel', 'unused'), strict=True
    ):
        category['split'] = split
    folder = write_coco(coco)
    split = {'base': ['cat'], 'novel': ['dog']}
    (folder / 'split.json').write_text(json.dumps(split))
    by_file = build(folder, class_split='split.json').metainfo
    assert by_file == build(folder).metainfo
    assert by_file['classes'] == ('cat', 'dog')


def test_mmengine_options_still_work(write_coco):
    coco = coco_dict()
    coco['annotations'] = [a for a in coco['annotations'] if a['image_id'] != 2]
    folder = write_coco(coco)
    empty = {'filter_empty_gt': True}
    kept = [i['img_id'] for i in build(folder, filter_cfg=empty, serialize_data=False)]
    assert kept == [1, 3, 4]
    assert len(build(folder)) == 4
    assert len(build(folder, indices=2)) == 2
    assert len(build(folder).get_subset([0, 3])) == 2


def test_boxes_are_clipped_and_tiny_ones_dropped(write_coco):
    coco = coco_dict(1)
    for a, bbox in zip(
        coco['annotations'],
        ([-10, 5, 20, 20], [150, 90, 20, 20], [3, 3, 0.5, 9]),
        strict=True,
    ):
        a['bbox'] = bbox
    instances = build(write_coco(coco)).get_data_info(0)['instances']
    assert [i['bbox'] for i in instances] == [[0, 5, 10, 25], [150, 90, 160, 96]]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'category_id': 9}, 'annotation 11: category 9 is not in the file'),
        ({'image_id': 77}, 'annotation 11: image 77 is not in the file'),
        ({'bbox': [0, 0, math.nan, 5]}, 'annotation 11: bbox must be'),
        ({'bbox': [0, 0, -3, 5]}, 'annotation 11: bbox must be'),
        ({'bbox': [0, 0, 5]}, 'annotation 11: bbox must be'),
        ({'bbox': [200, 0, 5, 5]}, r'annotation 11: .* outside its image of 160 x 96'),
        ({'id': 12}, 'annotation id 12 occurs twice'),
    ],
)
def test_broken_annotation_is_named(write_coco, change, message):
    coco = coco_dict()
    coco['annotations'][0] |= change
    with pytest.raises(ValueError, match=rf'ann\.json: {message}'):
        build(write_coco(coco))


def test_broken_files_are_named(write_coco):
    folder = write_coco(coco_dict())
    with pytest.raises(ValueError, match=r'none\.json does not exist'):
        build(folder, ann_file='none.json')
    os.truncate(folder / 'ann.json', 50)
    with pytest.raises(ValueError, match='cannot be read as JSON'):
        build(folder)
    (folder / 'ann.json').write_text('[]')
    with pytest.raises(ValueError, match='must be a JSON object'):
        build(folder)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'base': ['cat', 'cat']}, "'cat' occurs 2 times"),
        ({'base': ['cat'], 'novel': ['cat']}, "'cat' occurs 2 times"),
        ({'novel': ['bird']}, "class 'bird' is not a category"),
        ({'classes': ['cat', 'dog'], 'base': ['cat'], 'novel': ['sofa']}, 'lists that'),
        ({'language': 'fr'}, "'en' or 'zh'"),
        ({'base': [], 'novel': []}, 'no class is base or novel; name some'),
    ],
)
def test_impossible_class_lists(options, message):
    with pytest.raises(ValueError, match=message):
        resolve_classes(coco_dict()['categories'], **options)


def test_names_must_be_unique_and_there():
    categories = coco_dict()['categories']
    doubled = deepcopy(categories)
    doubled[1]['name'] = 'cat'
    with pytest.raises(ValueError, match="'cat' occurs 2 times"):
        resolve_classes(doubled)
    del categories[2]['name_zh']
    with pytest.raises(ValueError, match=r"category 3 .* no 'name_zh'"):
        resolve_classes(categories, language='zh')


def test_options_are_checked(write_coco):
    folder = write_coco(coco_dict())
    for novel in (['cat'], []):
        with pytest.raises(ValueError, match='not both'):
            build(folder, class_split='ov_coco', novel_classes=novel)
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        build(folder, on_bad_image='black')
    with pytest.raises(ValueError, match='for training'):
        build(folder, on_bad_image='skip', test_mode=True)


def test_bad_image_stops_the_run_by_name(write_coco):
    folder = write_coco(coco_dict())
    os.truncate(folder / '2.png', 5000)
    dataset = build(folder, pipeline=LOAD)
    with pytest.raises(UnreadableImageError, match=r'image id 2, .*2\.png'):
        dataset[1]


def test_bad_image_is_skipped_and_counted_across_workers(write_coco):
    folder = write_coco(coco_dict())
    os.truncate(folder / '2.png', 5000)
    (folder / '3.png').unlink()
    dataset = build(folder, pipeline=LOAD, on_bad_image='skip')
    assert dataset.num_bad_images == 0
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    for _ in range(2):  # twice: an image counts once
        assert [r['img_id'] for r in loader] == [1, 4, 4, 4]
    assert dataset.num_bad_images == 2
    assert dataset.bad_image_flags.tolist() == [0, 1, 1, 0]


def test_all_images_bad(write_coco):
    folder = write_coco(coco_dict(2))
    for i in (1, 2):
        (folder / f'{i}.png').write_bytes(b'')
    dataset = build(folder, pipeline=LOAD, on_bad_image='skip')
    with pytest.raises(ValueError, match='none of its 2 images'):
        dataset[0]


def test_hook_finds_wrapped_datasets(write_coco, caplog):
    dataset = build(write_coco(coco_dict()), pipeline=LOAD, on_bad_image='skip')

    class Runner:
        train_dataloader = DataLoader(RepeatDataset(dataset, 2))
        logger = logging.getLogger('bad images')

    hook = OpenVocabBadImageHook()
    hook.after_train_epoch(Runner)
    assert not caplog.records
    dataset.bad_image_flags[torch.tensor([0, 3])] = 1
    hook.after_train_epoch(Runner)
    assert '2 of 4 images' in caplog.text


def test_ov_coco_split_is_the_published_one(shared):
    split = json.loads((shared / 'data/metadata/ovcoco_split.json').read_text())
    assert [c['name'] for c in split['base48']] == list(OV_COCO_BASE_CLASSES)
    assert [c['name'] for c in split['novel17']] == list(OV_COCO_NOVEL_CLASSES)


@pytest.mark.parametrize(
    ('ann_file', 'only_base', 'num_images', 'num_boxes'),
    [
        ('train_base48', True, 128, 675),
        ('train_all80', True, 128, 675),
        ('val_all80', False, 162, 1335),
        ('val_ov65_base48_novel17', False, 162, 1335),
    ],
)
def test_ov_coco_on_real_files(shared, ann_file, only_base, num_images, num_boxes):
    dataset = OpenVocabCocoDataset(
        data_root=str(shared / 'data/coco'),
        ann_file=f'annotations/{ann_file}.json',
        class_split='ov_coco',
        only_base=only_base,
    )
    meta = dataset.metainfo
    assert meta['classes'] == OV_COCO_BASE_CLASSES + OV_COCO_NOVEL_CLASSES
    actual = [label for i in range(len(dataset)) for label in dataset.get_cat_ids(i)]
    assert (len(dataset), len(actual)) == (num_images, num_boxes)
    assert max(actual) < (48 if only_base else 65)


def test_chess_on_real_files(shared):
    options = {'data_root': str(shared / 'data/chess'), 'class_split': 'split.json'}
    names = {}
    for language in ('en', 'zh'):
        dataset = OpenVocabCocoDataset(
            ann_file='valid.json', language=language, **options
        )
        names[language] = dataset.metainfo['novel_classes']
    assert names == {
        'en': (
            'white rook chess piece',
            'black bishop chess piece',
            'white queen chess piece',
        ),
        'zh': ('白色国际象棋车', '黑色国际象棋象', '白色国际象棋后'),
    }


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([[1, 1, 9, 1, 9]], 'polygon 0 .* has 5 numbers'),
        ([[1, 1, 9, 1, 9, float('nan')]], 'finite numbers'),
        ({'size': [96, 160], 'counts': [1, 2]}, 'counts are of 3 pixels'),
        ({'size': [160, 96], 'counts': [15360]}, r'mask of \[160, 96\] pixels'),
    ],
)
def test_masks_are_checked_where_they_are_loaded(write_coco, segmentation, message):
    coco = coco_dict()
    for annotation in coco['annotations']:
        annotation['segmentation'] = [[20, 10, 50, 10, 50, 50]]
    coco['annotations'][4]['segmentation'] = segmentation
    folder = write_coco(coco)
    with_mask = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
    with pytest.raises(ValueError, match=rf'ann\.json: annotation 22: .*{message}'):
        build(folder, pipeline=[*LOAD, with_mask])
    assert len(build(folder, pipeline=LOAD)) == 4
    coco['annotations'][4]['segmentation'] = None
    assert len(build(write_coco(coco), pipeline=[*LOAD, with_mask])) == 4


def test_a_root_category_is_no_class(write_coco):
    """Roboflow's category 0, which groups the others and may bear a class's name."""
    coco = coco_dict()
    for category in coco['categories']:
        category['supercategory'] = 'pets'
    root = {'id': 0, 'name': 'pets', 'supercategory': 'none'}
    coco['categories'] = [root, *coco['categories']]
    actual = build(write_coco(coco)).metainfo
    assert actual['classes'] == ('cat', 'dog', 'sofa')
    assert actual['category_ids'] == (1, 2, 3)
    root['name'] = 'cat'
    actual = build(write_coco(coco), novel_classes=['cat']).metainfo
    assert actual['novel_classes'] == ('cat',) and actual['category_ids'] == (2, 3, 1)
