"""Phrases and descriptions among given boxes: controls, a loop, files in layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.evaluation.descriptions import score_d3
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder, description_benchmarks, grounding
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.candidate_boxes import read_candidates
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.suite import BENCHMARKS as SUITE

BENCHMARKS = grounding.BENCHMARKS | description_benchmarks.BENCHMARKS
BOXES = [[5, 5, 30, 40], [60, 10, 40, 30], [10, 60, 25, 30], [50, 55, 45, 40]]
SIZE = (110, 100)


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def save_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def refcoco(root: Path) -> None:
    """Two images, four boxes each; the first box has two expressions."""
    images, annotations = [], []
    for n in range(10):
        name, box = f'COCO_train2014_{n // 5}.png', BOXES[n % 5 % 4]
        images.append({
            'id': n, 'file_name': name, 'caption': f'thing {n}', 'width': SIZE[0],
            'height': SIZE[1],
        })  # fmt: skip
        annotations.append({'id': n, 'image_id': n, 'category_id': 1, 'bbox': box})
        save_image(root / 'coco/train2014' / name, n // 5)
    categories = [{'id': 1, 'name': 'object'}]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    put(root / 'coco/mdetr_annotations/finetune_refcoco_val.json', content)


def flickr(root: Path) -> None:
    folder = root / 'flickr30k_entities'
    images, annotations = [], []
    for n in range(4):
        images.append({
            'id': n, 'file_name': f'{n // 2}.png', 'caption': f'one{n} and two{n}',
            'tokens_positive_eval': [[[0, 4]], [[9, 13]]], 'width': str(SIZE[0]),
            'height': str(SIZE[1]),
        })  # fmt: skip
        for span, box in (([0, 4], 0), ([9, 13], 1), ([9, 13], 2)):
            annotations.append({
                'id': len(annotations), 'image_id': n, 'bbox': BOXES[box],
                'tokens_positive': [span],
            })  # fmt: skip
        save_image(folder / f'flickr30k_images/{n // 2}.png', n // 2)
    content = {'images': images, 'annotations': annotations}
    put(folder / 'final_flickr_separateGT_val.json', content)


def d3(root: Path) -> None:
    names = ['a dog', 'a cat that sleeps', 'no hat', 'nothing here']
    categories = [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
    images, annotations = [], []
    for n in range(3):
        images.append({
            'id': n, 'file_name': f'g/{n}.png', 'width': SIZE[0], 'height': SIZE[1],
        })  # fmt: skip
        for i, box in enumerate(BOXES):
            annotations.append({
                'id': len(annotations), 'image_id': n, 'category_id': (n + i) % 3 + 1,
                'bbox': box,
            })  # fmt: skip
        save_image(root / f'd3/d3_images/g/{n}.png', n)
    for part, ids in (('full', (1, 2, 3, 4)), ('pres', (1, 2)), ('abs', (3, 4))):
        own = [c for c in categories if c['id'] in ids]
        boxes = [a for a in annotations if a['category_id'] in ids]
        content = {'images': images, 'annotations': boxes, 'categories': own}
        put(root / f'd3/d3_json/d3_{part}_annotations.json', content)


def fgovd(root: Path) -> None:
    lines = []
    for n in range(8):
        ids = [20 * n + j for j in range(11)]
        texts = [f'caption {i}' for i in ids]
        lines.append(json.dumps({
            'img_path': f'val2017/{n // 4}.png', 'image_id': n // 4,
            'bbox': BOXES[n % 4], 'category_id': ids[0], 'neg_category_ids': ids[1:],
            'pos_expression': texts[:1], 'neg_expression': texts[1:],
            'width': SIZE[0], 'height': SIZE[1],
        }))  # fmt: skip
        save_image(root / f'coco/val2017/{n // 4}.png', n // 4)
    put(root / 'fgovd/h_attributes_llava.jsonl', '\n'.join(lines))


LAYOUTS = {
    'refcoco-val': (refcoco, {'images': 2, 'phrases': 10, 'boxes': 8}),
    'flickr30k-entities-val': (flickr, {'images': 2, 'phrases': 8, 'boxes': 6}),
    'd3': (d3, {'images': 3, 'descriptions': 4, 'boxes': 12, 'intra_scenario': 0}),
    'fgovd-map-hard': (fgovd, {'images': 2, 'objects/hard': 8, 'boxes': 8}),
}


def read(name: str, root: Path, **options):
    benchmark = BENCHMARKS[name]
    return benchmark.read(benchmark.locate(root), ReadOptions(**options))


@pytest.mark.parametrize('name', LAYOUTS)
def test_controls(tmp_path, name):
    make, counts = LAYOUTS[name]
    make(tmp_path)
    task = read(name, tmp_path)
    assert task.counts == counts | {'boxes_given': 0}
    oracle = task.run(ControlEmbedder('oracle')).metrics
    oracle = {k: v for k, v in oracle.items() if 'merged' not in k}
    assert oracle and all(v == pytest.approx(100) for v in oracle.values())
    noise = task.run(ControlEmbedder('noise', seed=1)).metrics
    assert min(noise.values()) < 90
    part = read(name, tmp_path, num_images=1)
    assert part.counts['images'] == 1
    assert part.run(ControlEmbedder('oracle')).denominators


def test_refcoco_equals_a_loop(tmp_path):
    refcoco(tmp_path)
    task = read('refcoco-val', tmp_path)
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(5))
    report = task.run(Embedder(encoder.eval(), progress=False))
    right = 0
    boxes = [[x, y, x + w, y + h] for x, y, w, h in BOXES]
    for n in range(10):
        path = tmp_path / f'coco/train2014/COCO_train2014_{n // 5}.png'
        with torch.no_grad():
            [actual] = encoder.region_features(
                encoder.preprocess(path), [boxes], normalize=True
            )
            text = encoder.encode_text([f'thing {n}'], mode='box', normalize=True)
        right += int((actual @ text[0]).argmax()) == n % 5 % 4
    assert report.metrics['refexp/P@1'] == pytest.approx(10.0 * right)


def test_boxes_of_a_detector(tmp_path):
    refcoco(tmp_path)
    rows = [
        {'image_id': n, 'bbox': box, 'score': 0.5, 'category_id': 1}
        for n in (0, 7)  # any entry of an image stands for it
        for box in (BOXES[0], [0, 0, 9, 9], BOXES[0])
    ]
    boxes = put(tmp_path / 'boxes.json', rows)
    task = read('refcoco-val', tmp_path, boxes=boxes)
    assert (task.counts['boxes'], task.counts['boxes_given']) == (4, 1)
    report = task.run(ControlEmbedder('oracle'))
    assert report.metrics['refexp/P@1'] == pytest.approx(40)  # those of the first box
    put(boxes, rows[:3])
    with pytest.raises(ValueError, match='has no box in 1 of 2 images'):
        read('refcoco-val', tmp_path, boxes=boxes)


ROW = {'image_id': 1, 'bbox': BOXES[0], 'score': 0.5, 'category_id': 1}


@pytest.mark.parametrize('name', LAYOUTS)
def test_given_boxes_are_checked_in_every_benchmark_that_takes_them(tmp_path, name):
    make, _ = LAYOUTS[name]
    make(tmp_path)
    count = {'refcoco-val': 10, 'flickr30k-entities-val': 4, 'd3': 3}.get(name, 2)
    rows = [ROW | {'image_id': n} for n in range(count)]
    boxes = put(tmp_path / 'boxes.json', rows)
    task = read(name, tmp_path, boxes=boxes)
    assert task.counts['boxes_given'] == 1
    assert task.run(ControlEmbedder('noise')).denominators
    for row, message in (
        ({'image_id': 999}, r'image 999 is not in .*such as 0'),
        ({'image_id': '1'}, "image '1' is not in"),
        ({'bbox': [110, 0, 5, 5]}, 'lies outside image 1, 110 x 100 pixels'),
        ({'bbox': [-9, 0, 9, 5]}, 'lies outside image 1'),
    ):
        put(boxes, [*rows, ROW | row])
        with pytest.raises(ValueError, match=rf'row {count} .*{message}'):
            read(name, tmp_path, boxes=boxes)
    corners = [[x, y, x + 20, y + 30] for x in range(30, 80, 12) for y in (5, 40, 60)]
    put(boxes, [ROW | {'bbox': box} for box in corners])
    with pytest.raises(ValueError, match=r'of 15 boxes .* fit as x1, y1, x2, y2'):
        read(name, tmp_path, boxes=boxes)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda images: images[0].pop('file_name'), 'entry 0 has no file_name'),
        (lambda images: images[0].pop('width'), 'entry 0 must state width'),
        (lambda images: images[0].update(width='wide'), 'image 0: width must be'),
        (lambda images: images[1].update(width=300), 'in two entries'),
        (lambda images: images[0].update(file_name='x.png'), '1 of 3 images are miss'),
    ],
)
def test_wrong_entries(tmp_path, change, message):
    refcoco(tmp_path)
    path = tmp_path / 'coco/mdetr_annotations/finetune_refcoco_val.json'
    content = json.loads(path.read_text())
    change(content['images'])
    put(path, content)
    with pytest.raises(ValueError, match=message):
        read('refcoco-val', tmp_path)


def test_image_of_another_size(tmp_path):
    refcoco(tmp_path)
    task = read('refcoco-val', tmp_path)
    Image.new('RGB', (50, 40)).save(tmp_path / 'coco/train2014/COCO_train2014_1.png')
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(5))
    with pytest.raises(ValueError, match='has 50 x 40 pixels'):
        task.run(Embedder(encoder.eval(), progress=False))


def test_d3_asks_what_the_scene_asks(tmp_path):
    d3(tmp_path)
    groups = put(
        tmp_path / 'd3/d3_json/groups.json', {str(n): [1, 3] for n in range(3)}
    )
    task = read('d3', tmp_path)
    assert task.counts['intra_scenario'] == 1
    metrics = task.run(ControlEmbedder('oracle')).metrics
    assert metrics['d3/full/AP'] == pytest.approx(200 / 3)  # one of three is not asked
    put(groups, {'0': [1]})
    with pytest.raises(ValueError, match='descriptions of every image'):
        read('d3', tmp_path)


def test_d3_without_a_part(tmp_path):
    d3(tmp_path)
    (tmp_path / 'd3/d3_json/d3_abs_annotations.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'd3_abs_annotations\.json is missing'):
        read('d3', tmp_path)
    with pytest.raises(ValueError, match='cannot be read'):
        score_d3(tmp_path / 'd3/d3_json', put(tmp_path / 'p.json', []))


def test_every_benchmark_that_takes_boxes_has_a_kind_above():
    def reader(benchmark):
        return getattr(benchmark.read, 'func', benchmark.read)

    tried = {reader(BENCHMARKS[name]) for name in LAYOUTS}
    assert {reader(one) for one in SUITE.values() if one.takes_boxes} == tried


@pytest.mark.parametrize(
    'content, message',
    [
        ('[', 'may be cut off'),
        ({}, 'must be a JSON list'),
        ('', 'must be a JSON list'),
        ([{'image_id': [1], 'bbox': [0, 0, 1, 2]}], r'row 0'),
        ([{'image_id': 1, 'bbox': [True, 0, 1, 2]}], 'bbox must be x, y'),
        ([{'image_id': 1, 'bbox': [0, 0, 0, 2]}], 'has no area'),
        ([{'image_id': 1}], r'row 0 \(from 0\)'),
        ([{'image_id': 1, 'bbox': [0, 0, -1, 2]}], 'not negative'),
        ([{'image_id': 1, 'bbox': [0, 0, 1, float('nan')]}], 'finite'),
    ],
)
def test_wrong_boxes(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_candidates(put(tmp_path / 'b.json', content), {1: None}, 'a.json')


class Constant(ControlEmbedder):
    """The same direction for everything."""

    def texts(self, texts, mode):
        return torch.ones(len(texts), 4) / 2

    def images(self, items, whole=True, regions=True):
        return None, torch.ones(sum(len(item.bboxes) for item in items), 4) / 2


@pytest.mark.parametrize('name', ['refcoco-val', 'fgovd-map-hard'])
def test_ties_count_against_the_model(tmp_path, name):
    make, _ = LAYOUTS[name]
    make(tmp_path)
    metrics = read(name, tmp_path).run(Constant('noise')).metrics
    assert metrics['refexp/P@1' if 'ref' in name else 'fgovd/AP/hard'] == 0


def test_one_file_of_boxes_for_all_levels_of_fgovd(tmp_path):
    """The easy level has one of the two images of the hard one."""
    fgovd(tmp_path)
    hard = tmp_path / 'fgovd/h_attributes_llava.jsonl'
    easy = hard.with_name('e_attributes_llava.jsonl')
    put(easy, '\n'.join(hard.read_text(encoding='utf-8').splitlines()[:4]))
    rows = [{'image_id': n, 'bbox': box} for n in range(2) for box in BOXES]
    boxes = put(tmp_path / 'boxes.json', rows)
    for level, count in (('hard', 8), ('easy', 4)):
        task = read(f'fgovd-map-{level}', tmp_path, boxes=boxes)
        assert task.counts['boxes'] == count
    put(boxes, [*rows, {'image_id': 2, 'bbox': BOXES[0]}])
    with pytest.raises(ValueError, match='image 2 is not in'):
        read('fgovd-map-easy', tmp_path, boxes=boxes)
