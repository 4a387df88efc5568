"""COCO -> ODVG -> COCO gives back the file; readers of ODVG see what they should."""

import json

import numpy as np
import pytest
from mmdet.datasets import ODVGDataset
from pycocotools.coco import COCO

from fgclip2_det.prepare import coco_to_odvg, odvg_to_coco


@pytest.fixture
def convert(coco, write, tmp_path):
    """convert(coco) -> (lines, label map, counts)."""

    def convert_coco(content=coco):
        target, labels = tmp_path / 'a.jsonl', tmp_path / 'labels.json'
        counts = coco_to_odvg(write(content), target, labels)
        lines = target.read_text(encoding='utf-8').splitlines()
        names = json.loads(labels.read_text(encoding='utf-8'))
        return [json.loads(line) for line in lines], names, counts

    return convert_coco


def slow_lines(coco: dict) -> list[dict]:
    names = [category['name'] for category in coco['categories']]
    ids = [category['id'] for category in coco['categories']]
    lines = []
    for image in coco['images']:
        line = dict(image, filename=image['file_name'], detection={'instances': []})
        del line['file_name']
        for box in coco['annotations']:
            if box['image_id'] != image['id']:
                continue
            x, y, w, h = box['bbox']
            label = ids.index(box['category_id'])
            entry = dict(box, bbox=[x, y, x + w, y + h], label=label)
            entry['category'] = names[label]
            del entry['image_id'], entry['category_id']
            part = 'crowd' if box['iscrowd'] else 'instances'
            line['detection'].setdefault(part, []).append(entry)
        lines.append(line)
    return lines


def rounded(lines: list[dict]) -> list[dict]:
    for line in lines:
        for part in line['detection'].values():
            for box in part:
                box['bbox'] = [round(v, 6) for v in box['bbox']]
    return lines


def test_lines_equal_a_loop(coco, convert):
    lines, names, counts = convert()
    assert lines == rounded(slow_lines(coco))
    assert list(names.items())[1] == ('1', 'stop sign') and len(names) == 67
    assert counts == {'images': 6, 'annotations': 7, 'crowd': 1}


def by_id(entries: list[dict]) -> dict:
    return {entry['id']: entry for entry in entries}


def check_round_trip(source, coco, tmp_path):
    lines, labels = tmp_path / 'a.jsonl', tmp_path / 'labels.json'
    coco_to_odvg(source, lines, labels)
    counts = odvg_to_coco(lines, labels, tmp_path / 'back.json', like=source)
    back = json.loads((tmp_path / 'back.json').read_text(encoding='utf-8'))
    assert back['images'] == coco['images']
    assert back['categories'] == coco['categories']
    assert by_id(back['annotations']) == by_id(coco['annotations'])
    assert counts['annotations'] == len(coco['annotations'])
    assert len(COCO(str(tmp_path / 'back.json')).anns) == len(coco['annotations'])


def test_round_trip_gives_back_every_entry(coco, write, tmp_path):
    check_round_trip(write(coco), coco, tmp_path)


def test_round_trip_of_boxes_with_many_decimals(coco, write, tmp_path):
    """Thin ones and others: rounding turns no side round and takes none away."""
    rng = np.random.default_rng(0)
    sides = [0, 1e-9, 3e-7, 4.9e-7, 1e-6, 1.4e-6, 0.01, 7.123456789]
    boxes = [
        [*rng.uniform(0, 40, 2).tolist(), width, height]
        for width in sides
        for height in sides
    ]
    own = coco['images'][0]['id'], coco['categories'][0]['id']
    coco['annotations'] = [
        dict(id=i, image_id=own[0], category_id=own[1], bbox=box, area=1, iscrowd=0)
        for i, box in enumerate(boxes)
    ]
    source, lines, labels = write(coco), tmp_path / 'a.jsonl', tmp_path / 'labels.json'
    coco_to_odvg(source, lines, labels)
    odvg_to_coco(lines, labels, tmp_path / 'back.json', like=source)
    back = json.loads((tmp_path / 'back.json').read_text())['annotations']
    actual = np.array([entry['bbox'] for entry in back])
    expected = np.array(boxes)
    assert np.array_equal(actual[:, :2], expected[:, :2])
    np.testing.assert_allclose(actual[:, 2:], expected[:, 2:], atol=1e-6, rtol=0)
    assert np.array_equal(actual[:, 2:] > 0, expected[:, 2:] > 0)


def test_keys_of_odvg_in_a_coco_file(coco, write, tmp_path):
    """What means something else there changes no label and makes no caption."""
    coco['annotations'][0] |= dict(label=99, category='thing')
    coco['images'][0] |= dict(grounding={}, detection={}, filename='other.jpg')
    lines, labels = tmp_path / 'a.jsonl', tmp_path / 'labels.json'
    coco_to_odvg(write(coco), lines, labels)
    counts = odvg_to_coco(lines, labels, tmp_path / 'back.json')
    assert counts == {'images': 6, 'annotations': 7, 'grounding': 0}


def test_round_trip_of_real_coco(shared, tmp_path):
    source = shared / 'data' / 'coco' / 'annotations' / 'val_all80.json'
    if not source.is_file():
        pytest.skip(f'needs {source}')
    coco = json.loads(source.read_text(encoding='utf-8'))
    check_round_trip(source, coco, tmp_path)


def test_mmdetection_reads_the_lines_without_crowds(convert, tmp_path):
    lines, _, _ = convert()
    dataset = ODVGDataset(
        data_root=str(tmp_path),
        ann_file='a.jsonl',
        label_map_file='labels.json',
        data_prefix={'img': ''},
        return_classes=True,
        test_mode=True,
        pipeline=[],
    )
    for i, line in enumerate(lines):
        actual = dataset.get_data_info(i)['instances']
        # MMDetection leaves boxes below one pixel out
        wide = [b for b in line['detection']['instances'] if b['area'] > 7]
        assert [x['bbox_label'] for x in actual] == [b['label'] for b in wide]
        assert [x['bbox'] for x in actual] == [b['bbox'] for b in wide]


def test_images_without_file_name_are_named_by_their_url(coco, convert):
    for image in coco['images']:
        del image['file_name']
    assert convert()[0][0]['filename'] == 'val2017/000000000004.jpg'
    del coco['images'][2]['coco_url']
    with pytest.raises(ValueError, match="image 1 has no 'file_name'"):
        convert()


@pytest.mark.parametrize(
    ('section', 'change', 'message'),
    [
        ('annotations', {'bbox': [1, 2, 3]}, 'annotation 100: bbox must be'),
        ('annotations', {'bbox': [999, 2, 3, 4]}, 'lies outside its image'),
        ('images', {'width': 0}, 'image 4: width must be a positive number'),
        ('categories', {'name': 'dog'}, "are both named 'dog'; .* rename one"),
        ('categories', {'name': '  '}, 'name must be a string that is not blank'),
    ],
)
def test_faults_of_coco_are_named(coco, convert, section, change, message):
    coco[section][0] |= change
    with pytest.raises(ValueError, match=message):
        convert()


# ------------------------------------------------------------------------ to COCO
def line(**changes) -> dict:
    box = {'bbox': [1, 2, 4, 6.5], 'label': 3, 'category': '猫'}
    good = {'filename': 'a.jpg', 'height': 96, 'width': 160}
    return good | {'detection': {'instances': [box | changes.pop('box', {})]}} | changes


@pytest.fixture
def back(write, tmp_path):
    """back([line, ...]) -> (COCO dictionary, counts)."""

    def convert_lines(lines, skip=False):
        path, target = tmp_path / 'a.jsonl', tmp_path / 'a.json'
        path.write_text(
            '\n'.join(json.dumps(entry, ensure_ascii=False) for entry in lines),
            encoding='utf-8',
        )
        labels = write({'0': 'dog', '3': '猫'}, 'labels.json')
        counts = odvg_to_coco(path, labels, target, skip_grounding=skip)
        return json.loads(target.read_text(encoding='utf-8')), counts

    return convert_lines


GROUNDING = {'filename': 'b.jpg', 'height': 9, 'width': 9, 'grounding': {'regions': []}}


def test_lines_without_ids_are_numbered(back):
    coco, counts = back([line(), GROUNDING, line(detection={}), line()], skip=True)
    assert [image['id'] for image in coco['images']] == [1, 2, 3]
    box = {'bbox': [1, 2, 3, 4.5], 'area': 13.5, 'iscrowd': 0, 'category_id': 3}
    expected = [box | {'id': 1, 'image_id': 1}, box | {'id': 2, 'image_id': 3}]
    assert coco['annotations'] == expected
    assert coco['categories'] == [{'id': 0, 'name': 'dog'}, {'id': 3, 'name': '猫'}]
    assert counts == {'images': 3, 'annotations': 2, 'grounding': 1}


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (GROUNDING, 'has a caption with regions'),
        (line(filename=None), "needs a 'filename'"),
        (line(detection=[]), "'detection' .an object"),
        (line(height=0), 'height must be positive, got 0'),
        (line(detection={'instances': 5}), 'instances must be a list'),
        (line(box={'bbox': [5, 2, 4, 6]}), 'bbox of x1 <= x2'),
        (line(box={'bbox': [1, 2, 4, float('nan')]}), 'finite'),
        (line(box={'label': 1}), 'label 1 is not in the label map'),
        (line(box={'label': [3]}), r'label \[3\] is not in the label map'),
        (line(box={'label': 0}), "is '猫', but its label 0 is 'dog'"),
        (line(id=5), 'image ids must be on all or on none'),
        (line(id=1.5), 'image id 1.5 must be a number or a string'),
    ],
)
def test_faults_of_lines_are_named(back, bad, message):
    with pytest.raises(ValueError, match=rf'a\.jsonl: line 2.*{message}'):
        back([line(), bad])


def test_the_source_is_not_overwritten(coco, write, tmp_path):
    source = write(coco)
    with pytest.raises(ValueError, match='would overwrite its source'):
        coco_to_odvg(source, source, tmp_path / 'labels.json')
    with pytest.raises(ValueError, match='would overwrite its source'):
        odvg_to_coco(source, tmp_path / 'labels.json', source)


def test_label_map_and_categories_must_fit(coco, convert, write, tmp_path):
    convert()
    args = tmp_path / 'a.jsonl', tmp_path / 'labels.json', tmp_path / 'b.json'
    other = coco | {'categories': coco['categories'][1:]}
    with pytest.raises(ValueError, match="has no category 'traffic light', label 0"):
        odvg_to_coco(*args, like=write(other, 'other.json'))
    for content in (['a'], {'a': 'cat'}, {'0': 'a', '1': 'a'}, {'0': 5}):
        write(content, 'labels.json')
        with pytest.raises(ValueError, match=r'labels\.json'):
            odvg_to_coco(*args)
