"""OV-COCO and LVIS parts equal a loop over the whole file."""

import json

import pytest
from pycocotools.coco import COCO

from fgclip2_det.coco.published_splits import (
    OV_COCO_BASE_CLASSES,
    OV_COCO_NOVEL_CLASSES,
)
from fgclip2_det.datasets import OpenVocabCocoDataset
from fgclip2_det.prepare import (
    read_image_list,
    write_lvis_base,
    write_lvis_minival,
    write_ov_coco,
)
from fgclip2_det.vocabulary.name_lists import load_list

SPLITS = {'base': OV_COCO_BASE_CLASSES, 'novel': OV_COCO_NOVEL_CLASSES}


def slow_part(coco: dict, splits: tuple, keep_empty: bool) -> dict:
    names = load_list('coco')
    part = dict(coco, images=[], annotations=[], categories=[])
    for category in coco['categories']:
        for split in splits:
            if category['name'] in SPLITS[split]:
                chinese = names.chinese[names.names.index(category['name'])]
                new = dict(category, split=split, name_zh=chinese)
                part['categories'].append(new)
    kept = [category['id'] for category in part['categories']]
    for box in coco['annotations']:
        if box['category_id'] in kept:
            part['annotations'].append(box)
    for image in coco['images']:
        boxes = [b for b in part['annotations'] if b['image_id'] == image['id']]
        if boxes or keep_empty:
            part['images'].append(image)
    return part


@pytest.mark.parametrize('keep_empty', [False, True])
@pytest.mark.parametrize('splits', [('base',), ('base', 'novel')])
def test_ov_coco_equals_a_loop(coco, write, tmp_path, splits, keep_empty):
    target = tmp_path / 'out' / 'part.json'
    counts = write_ov_coco(write(coco), target, splits, keep_empty)
    actual = json.loads(target.read_text(encoding='utf-8'))
    assert actual == slow_part(coco, splits, keep_empty)
    assert list(actual) == list(coco)
    assert counts == {
        k: len(actual[k]) for k in ('images', 'annotations', 'categories')
    }
    assert len(COCO(str(target)).cats) == (48 if splits == ('base',) else 65)


def test_sections_may_come_in_any_order(coco, write, tmp_path):
    backwards = dict(reversed(coco.items()))
    write_ov_coco(write(backwards), tmp_path / 'a.json', ('base',))
    actual = json.loads((tmp_path / 'a.json').read_text(encoding='utf-8'))
    assert actual == slow_part(coco, ('base',), False)


def test_the_dataset_reads_split_and_chinese_names(coco, write, tmp_path):
    write_ov_coco(write(coco), tmp_path / 'a.json', ('base', 'novel'))
    dataset = OpenVocabCocoDataset(
        ann_file=str(tmp_path / 'a.json'), language='zh', test_mode=True
    )
    assert len(dataset.metainfo['base_classes']) == 48
    assert '猫' in dataset.metainfo['novel_classes']
    assert len(dataset) == 4


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('images'), "must hold a list of 'images', got None"),
        (lambda c: c.update(images={}), "must hold a list of 'images', got {}"),
        (
            lambda c: c['images'].append(5),
            r'image entry 6 \(from 0\) must be an object',
        ),
        (lambda c: c['images'][0].pop('id'), "image entry 0 .* has no 'id'"),
        (lambda c: c['images'][1].update(id=4), 'image id 4 occurs twice'),
        (
            lambda c: c['annotations'][2].update(image_id=77),
            'annotation 98: image 77 is not in the file',
        ),
        (
            lambda c: c['annotations'][3].update(category_id=9),
            'annotation 97: category 9 is not in the file',
        ),
        (lambda c: c['categories'][0].pop('name'), "has no 'name'"),
        (lambda c: c['categories'].pop(), "1 of 48 classes .* 'toothbrush' the first"),
    ],
)
def test_faults_name_file_and_entry(coco, write, tmp_path, change, message):
    change(coco)
    with pytest.raises(ValueError, match=rf'source\.json.*{message}'):
        write_ov_coco(write(coco), tmp_path / 'a.json', ('base',))
    assert not (tmp_path / 'a.json').exists()


def test_the_source_is_not_overwritten(coco, write):
    source = write(coco)
    with pytest.raises(ValueError, match='would overwrite its source'):
        write_ov_coco(source, source, ('base',))


def test_real_coco_equals_a_loop_and_the_known_split(shared, tmp_path):
    folder = shared / 'data' / 'coco' / 'annotations'
    if not folder.is_dir():
        pytest.skip(f'needs {folder}')
    for source, known, splits in (
        ('train_all80', 'train_base48', ('base',)),
        ('val_all80', 'val_ov65_base48_novel17', ('base', 'novel')),
    ):
        path = folder / f'{source}.json'
        write_ov_coco(path, tmp_path / 'a.json', splits, keep_empty=True)
        actual = json.loads((tmp_path / 'a.json').read_text(encoding='utf-8'))
        expected = json.loads((folder / f'{known}.json').read_text(encoding='utf-8'))
        for key in ('images', 'annotations', 'categories'):
            ids = {entry['id'] for entry in expected[key]}
            assert {entry['id'] for entry in actual[key]} == ids
        coco = json.loads(path.read_text(encoding='utf-8'))
        assert actual == slow_part(coco, splits, True)


def make_lvis() -> dict:
    url = 'http://images.cocodataset.org'
    return {
        'info': {},
        'annotations': [
            {'id': i, 'image_id': image, 'category_id': category, 'bbox': [0, 0, 5, 5]}
            for i, (image, category) in enumerate([(7, 2), (9, 1), (7, 3), (8, 2)], 1)
        ],
        'images': [
            {
                'id': i,
                'coco_url': f'{url}/{split}/{i:012d}.jpg',
                'width': 9,
                'height': 9,
                'neg_category_ids': [2],
            }
            for i, split in ((9, 'val2017'), (7, 'train2017'), (8, 'val2017'))
        ],
        'categories': [
            {'id': 1, 'name': 'airplane', 'frequency': 'f'},
            {'id': 2, 'name': 'applesauce', 'frequency': 'r'},
            {'id': 3, 'name': 'not of LVIS', 'frequency': 'c'},
        ],
    }


def test_lvis_base_drops_boxes_of_rare_classes_alone(write, tmp_path):
    lvis = make_lvis()
    counts = write_lvis_base(write(lvis), tmp_path / 'base.json')
    actual = json.loads((tmp_path / 'base.json').read_text(encoding='utf-8'))
    assert [box['id'] for box in actual['annotations']] == [2, 3]
    assert actual['images'] == lvis['images']
    assert [c['split'] for c in actual['categories']] == ['base', 'novel', 'base']
    assert actual['categories'][0]['name_zh'] == '飞机'
    assert 'name_zh' not in actual['categories'][2]
    assert counts == {'images': 3, 'annotations': 2, 'categories': 3, 'rare': 2}
    del lvis['categories'][1]['frequency']
    with pytest.raises(ValueError, match=r"category 2 .'applesauce'. needs a 'freq"):
        write_lvis_base(write(lvis), tmp_path / 'base.json')


@pytest.mark.parametrize(
    ('lines', 'kept', 'absent'),
    [
        (None, [9, 8], 0),
        ('9\n000000000007.jpg\n\n', [9, 7], 0),
        ('val2017/000000000008.jpg\n5', [8], 1),
    ],
)
def test_minival_equals_a_loop(write, tmp_path, lines, kept, absent):
    lvis = make_lvis()
    if lines is not None:
        (tmp_path / 'list.txt').write_text(lines)
    target = tmp_path / 'minival.json'
    counts = write_lvis_minival(write(lvis), target, lines and tmp_path / 'list.txt')
    actual = json.loads(target.read_text(encoding='utf-8'))
    by_id = {image['id']: image for image in lvis['images']}
    names = [image['coco_url'].split('.org/')[1] for image in actual['images']]
    expected = [by_id[i] | {'file_name': n} for i, n in zip(kept, names, strict=True)]
    assert actual['images'] == expected
    boxes = [box for box in lvis['annotations'] if box['image_id'] in kept]
    assert actual['annotations'] == boxes
    assert actual['categories'] == lvis['categories']
    assert counts['images'] == len(kept) and counts['absent'] == absent
    assert len(COCO(str(target)).imgs) == len(kept)


def test_minival_of_a_coco_file_and_its_faults(coco, write, tmp_path):
    path = write(coco, 'list.json')
    assert read_image_list(path) == ['4', '2', '1', '3', '6', '5']
    with pytest.raises(ValueError, match='none of its 3 images is in the list'):
        write_lvis_minival(write(make_lvis()), tmp_path / 'a.json', path)
    (tmp_path / 'list.txt').write_text('12\ncat.jpg\n')
    with pytest.raises(ValueError, match=r"line 2 must be an image id .* 'cat\.jpg'"):
        read_image_list(tmp_path / 'list.txt')
    lvis = make_lvis()
    del lvis['images'][1]['coco_url']
    with pytest.raises(ValueError, match='image 7 has neither'):
        write_lvis_minival(write(lvis), tmp_path / 'a.json')
