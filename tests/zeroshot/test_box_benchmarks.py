"""COCO, LVIS, BoxClass-CN, FG-OVD and ODinW: small files in the released layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.coco.odinw_sets import ODINW_SETS, OdinwSet, odinw_sets
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.box_benchmarks import BENCHMARKS
from fgclip2_det.zeroshot.controls import ControlEmbedder

NAMES = ['cat', 'dog', 'red_cup', 'tree', 'house', 'sun', 'aerosol_can']
DEFAULT = ReadOptions()


def save_image(path: Path, seed: int = 0, size: tuple = (64, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def coco_like(names: list[str], images: int = 3, boxes: int = 4) -> dict:
    annotations = [
        {
            'id': i * boxes + j + 1,
            'image_id': i + 1,
            'category_id': (i * boxes + j) % len(names) + 1,
            'bbox': [4 * j, 3 * j, 20, 16],
            'iscrowd': int(i == 0 and j == 1),
        }
        for i in range(images)
        for j in range(boxes)
    ]
    return {
        'images': [
            {'id': i + 1, 'file_name': f'{i}.png', 'width': 64, 'height': 48}
            for i in range(images)
        ],
        'annotations': annotations,
        'categories': [{'id': i, 'name': n} for i, n in enumerate(names, 1)],
    }


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_coco(root: Path, content: dict) -> None:
    write(root / 'coco/annotations/instances_val2017.json', content)
    for number, image in enumerate(content['images']):
        save_image(root / 'coco/val2017' / image['file_name'], number)


def read(name: str, root: Path, options: ReadOptions = DEFAULT):
    return BENCHMARKS[name].read(BENCHMARKS[name].locate(root), options)


def test_coco_counts_crowds_and_equals_a_loop(tmp_path):
    content = coco_like(NAMES)
    make_coco(tmp_path, content)
    task = read('coco-box', tmp_path)
    assert task.counts == {'images': 3, 'boxes': 12, 'failed_boxes': 0, 'names': 7}
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
    embedder = Embedder(encoder.eval(), progress=False)
    report = task.run(embedder)
    names = embedder.names([name.replace('_', ' ') for name in NAMES], 'imagenet80')
    right = {1: 0, 5: 0}
    for annotation in content['annotations']:
        image = content['images'][annotation['image_id'] - 1]
        batch = encoder.preprocess(tmp_path / 'coco/val2017' / image['file_name'])
        x, y, w, h = annotation['bbox']
        with torch.no_grad():
            [actual] = encoder.region_features(
                batch, [[[x, y, x + w, y + h]]], normalize=True
            )
        order = (actual[0] @ names.T).argsort(descending=True).tolist()
        for k in right:
            right[k] += annotation['category_id'] - 1 in order[:k]
    for k, count in right.items():
        assert report.metrics[f'box_top{k}/all/en'] == pytest.approx(100 * count / 12)


def test_boxes_that_cannot_be_pooled_are_wrong_and_not_left_out(tmp_path):
    content = coco_like(NAMES)
    content['annotations'][0]['bbox'] = [5, 5, 0, 3]
    content['annotations'][5]['bbox'] = [100, 5, 4, 3]
    make_coco(tmp_path, content)
    task = read('coco-box', tmp_path)
    assert (task.counts['boxes'], task.counts['failed_boxes']) == (12, 2)
    report = task.run(ControlEmbedder('oracle'))
    assert report.metrics['box_top1/all/en'] == pytest.approx(100 * 10 / 12)
    assert report.denominators['box_top1/all/en'] == 12


def test_the_first_images_alone(tmp_path):
    make_coco(tmp_path, coco_like(NAMES))
    task = read('coco-box', tmp_path, ReadOptions(num_images=2))
    assert (task.counts['images'], task.counts['boxes']) == (2, 8)
    assert task.run(ControlEmbedder('oracle')).metrics['box_top1/all/en'] == 100


@pytest.mark.parametrize('name', ['lvis-box', 'lvis-box-val2017', 'odinw13-box'])
def test_chosen_images_keep_their_failed_boxes(tmp_path, name):
    """Images 2 and 4 of five have a box that cannot be pooled; image 4 no other. With
    images enough the figures are those of all images; image 1 is in train2017."""
    content = coco_like(NAMES, images=5, boxes=2)
    content['annotations'][3]['bbox'] = [5, 5, 0, 10]
    content['annotations'][6]['bbox'] = [70, 5, 5, 5]
    content['annotations'][7]['bbox'] = [5, 5, 3, 0]
    metric = 'box_top1/all/en'
    if name == 'odinw13-box':
        make_odinw(tmp_path, 13)
        one = odinw_sets(13)[0]
        make_odinw_set(tmp_path, one, content)
        metric = f'odinw_top1/{one.name}'
    else:
        make_lvis(tmp_path, content, train=[0])
    every, failed = read(name, tmp_path), []
    for count in (1, 2, 3, 4, 5):
        task = read(name, tmp_path, ReadOptions(num_images=count))
        failed.append(task.counts['failed_boxes'])
    assert task.counts == every.counts
    in_folder = name == 'lvis-box-val2017'  # images 2 to 5
    assert failed == ([1, 3, 3, 3, 3] if in_folder else [0, 1, 3, 3, 3])
    report, total = every.run(ControlEmbedder('oracle')), 8 if in_folder else 10
    assert report.denominators[metric] == total
    assert report.metrics[metric] == pytest.approx(100 * (total - 3) / total)


def make_lvis(root: Path, content: dict, train: list[int]) -> None:
    """Images by URL, those of ``train`` (from 0) in train2017, and frequencies."""
    for number, image in enumerate(content['images']):
        folder = 'train2017' if number in train else 'val2017'
        name = f'{folder}/{image.pop("file_name")}'
        image['coco_url'] = f'http://images.cocodataset.org/{name}'
        save_image(root / 'coco' / name, number)
    for category, frequency in zip(content['categories'], 'rcfrcfr', strict=True):
        category['frequency'] = frequency
    write(root / 'coco/annotations/lvis_v1_val.json', content)


def test_lvis_reads_urls_and_frequencies(tmp_path):
    content = coco_like(NAMES)
    make_lvis(tmp_path, content, train=[1])
    task = read('lvis-box', tmp_path)
    assert (task.counts['images'], task.counts['boxes']) == (3, 12)
    report = task.run(ControlEmbedder('oracle'))
    labels = [a['category_id'] - 1 for a in content['annotations']]
    for group, letter in (('rare', 'r'), ('common', 'c'), ('frequent', 'f')):
        expected = sum('rcfrcfr'[label] == letter for label in labels)
        assert report.denominators[f'box_top1/{group}/en'] == expected
        assert report.metrics[f'box_top1/{group}/en'] == 100
    part = read('lvis-box-val2017', tmp_path)
    assert (part.counts['images'], part.counts['boxes']) == (2, 8)
    content['categories'][2]['frequency'] = 'x'
    write(tmp_path / 'coco/annotations/lvis_v1_val.json', content)
    with pytest.raises(ValueError, match="'red_cup' has the frequency 'x'"):
        read('lvis-box', tmp_path)


def test_boxclass_cn_is_chinese_and_raw(tmp_path):
    content = coco_like(['猫', '狗', '红色杯子'])
    write(tmp_path / 'boxclass_cn/valid_category_data_total_zh.json', content)
    for number, image in enumerate(content['images']):
        save_image(tmp_path / 'boxclass_cn/images' / image['file_name'], number)
    benchmark = BENCHMARKS['boxclass-cn']
    task = read('boxclass-cn', tmp_path)
    assert task.run(ControlEmbedder('oracle')).metrics['box_top1/all/zh'] == 100
    assert benchmark.differences(task.counts) == {
        'images': (24221, 3),
        'boxes': (66258, 12),
        'names': (566, 3),
    }


def fgovd_line(image: int, number: int, positive: str, negatives: list[str]) -> str:
    return json.dumps({
        'img_path': f'val2017/{image}.png', 'bbox': [4.0 * number, 2, 20, 16],
        'pos_expression': [positive], 'neg_expression': negatives,
        'width': 64, 'height': 48,
    })  # fmt: skip


def test_fgovd_levels_share_one_pass(tmp_path):
    negatives = [f'a {color} cup' for color in ('red', 'green', 'white')]
    stems = ('h_attributes', 'm_attributes', 'e_attributes', 'shuffle_negatives')
    for level, stem in enumerate(stems):
        lines = [
            fgovd_line(0, 1, f'a blue cup {level}', negatives),
            fgovd_line(1, level, 'a black cup', negatives),
        ]
        path = tmp_path / f'fgovd/{stem}_llava.jsonl'
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(lines))
    for image in (0, 1):
        save_image(tmp_path / f'coco/val2017/{image}.png', image)
    task = read('fgovd', tmp_path)
    assert task.counts == {
        **{f'boxes/{level}': 2 for level in ('hard', 'medium', 'easy', 'trivial')},
        'images': 2,
    }
    oracle, noise = (ControlEmbedder(kind) for kind in ('oracle', 'noise'))
    assert set(task.run(oracle).metrics.values()) == {100}
    assert sum(task.run(noise).metrics.values()) < 400
    hard = read('fgovd-hard', tmp_path)
    assert list(hard.run(oracle).metrics) == ['fgovd_top1/hard']


def make_odinw(root: Path, count: int) -> None:
    for number, one in enumerate(odinw_sets(count)):
        names = list(one.prompts) or [f'{one.name} a', f'{one.name}-b']
        make_odinw_set(root, one, coco_like(names, images=1 + number % 2, boxes=2))


def make_odinw_set(root: Path, one: OdinwSet, content: dict) -> None:
    write(root / 'odinw' / one.ann_file, content)
    for number, image in enumerate(content['images']):
        save_image(root / 'odinw' / one.image_root / image['file_name'], number)


def test_odinw_averages_sets_not_boxes(tmp_path):
    make_odinw(tmp_path, 13)
    task = read('odinw13-box', tmp_path)
    assert task.counts['sets'] == 13
    report = task.run(ControlEmbedder('noise'))
    shares = [report.metrics[f'odinw_top1/{one.name}'] for one in odinw_sets(13)]
    assert report.metrics['odinw_top1/average'] == pytest.approx(np.mean(shares))
    assert report.metrics['odinw_top1/median'] == pytest.approx(np.median(shares))
    assert set(task.run(ControlEmbedder('oracle')).metrics.values()) == {100}
    with pytest.raises(FileNotFoundError, match='AerialMaritimeDrone/tiled'):
        read('odinw35-box', tmp_path)


def test_odinw_has_13_of_35_sets_and_the_published_prompts():
    assert (len(odinw_sets(35)), len(odinw_sets(13))) == (35, 13)
    pothole = ODINW_SETS['pothole']
    assert pothole.prompts == {'pothole': 'there are some holes on the road'}
    assert ODINW_SETS['pistols'].image_root == 'pistols/export'
    with pytest.raises(ValueError, match='ODinW-13 and ODinW-35, got 14'):
        odinw_sets(14)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['annotations'][0].update(category_id=99), 'category 99 is not'),
        (lambda c: c['annotations'][0].update(image_id=77), 'image 77 is not'),
        (lambda c: c['annotations'][0].update(id=2), 'annotation id 2 occurs twice'),
        (lambda c: c['images'][0].pop('file_name'), "has no 'file_name'"),
        (lambda c: c['categories'][0].update(name='Dog'), "'Dog'"),
        (lambda c: c.update(annotations=[]), 'holds no box to name'),
        (lambda c: c['images'][2].update(file_name='x.png'), '1 of 3 images are'),
    ],
)
def test_wrong_files(tmp_path, change, message):
    content = coco_like(NAMES)
    make_coco(tmp_path, content)
    change(content)
    write(tmp_path / 'coco/annotations/instances_val2017.json', content)
    with pytest.raises(ValueError, match=message):
        read('coco-box', tmp_path).run(ControlEmbedder('oracle'))


def test_missing_files_are_named_with_their_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'instances_val2017.json \(published'):
        read('coco-box', tmp_path)


@pytest.fixture
def photographs(tmp_path, shared) -> Path:
    """A data root with a part of COCO and of FG-OVD."""
    source = shared / 'data/coco'
    for folder in ('coco/annotations', 'fgovd'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'coco/val2017').symlink_to((source / 'images/val2017').resolve())
    annotations = source.resolve() / 'annotations'
    links = {'coco/annotations/instances_val2017.json': 'val_all80.json'}
    stems = ('h_attributes', 'm_attributes', 'e_attributes', 'shuffle_negatives')
    levels = ('hard', 'medium', 'easy', 'trivial')
    for stem, level in zip(stems, levels, strict=True):
        links[f'fgovd/{stem}_llava.jsonl'] = f'fgovd_{level}.jsonl'
    for link, name in links.items():
        (tmp_path / link).symlink_to(annotations / name)
    return tmp_path


@pytest.mark.parametrize('name', ['coco-box', 'fgovd'])
def test_controls_on_photographs(photographs, name):
    task = read(name, photographs)
    oracle = task.run(ControlEmbedder('oracle'))
    assert set(oracle.metrics.values()) == {100}
    noise = task.run(ControlEmbedder('noise'))
    if name == 'coco-box':
        assert noise.metrics['box_top1/all/en'] < 3  # chance is 1.25
        assert noise.denominators['box_top1/all/en'] == 1487
    else:
        hard = noise.metrics['fgovd_top1/hard']
        assert hard == pytest.approx(100 / 11, abs=8)  # 151 boxes
