"""OVShapes: split, drawing, files, reuse and damage."""

import colorsys
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.datasets.ovshapes.classes import (
    COLORS,
    EXTRA_CLASSES,
    OVSHAPES_CLASSES,
    SHAPES,
    classes_of,
)
from fgclip2_det.datasets.ovshapes.dataset import OVShapesDataset
from fgclip2_det.datasets.ovshapes.generate import _write, generate_ovshapes
from fgclip2_det.datasets.ovshapes.render import MIN_VISIBLE, _rasterise, render_image

SMALL = {'num_train': 6, 'num_val': 3, 'image_size': 96}


def test_split_is_48_17_15_and_covers_every_colour_and_shape():
    assert Counter(c.split for c in OVSHAPES_CLASSES) == {
        'base': 48,
        'novel': 17,
        'unused': 15,
    }
    base = classes_of('base')
    per_shape, per_color = (
        Counter(getattr(c, k) for c in base) for k in ('shape', 'color')
    )
    assert min(per_shape[s] for s in SHAPES) >= 4
    assert min(per_color[c] for c in COLORS) >= 4
    assert len({c.name for c in OVSHAPES_CLASSES}) == 80
    assert len({c.name_zh for c in OVSHAPES_CLASSES}) == 80


def test_split_is_the_published_one():
    """Checkpoints and results rest on it: it must never be drawn again."""
    assert [c.name for c in classes_of('novel')] == [
        'red triangle',
        'orange heart',
        'orange crescent',
        'yellow heart',
        'green square',
        'green arrow',
        'green crescent',
        'blue triangle',
        'blue cross',
        'blue crescent',
        'purple diamond',
        'purple star',
        'purple cross',
        'black circle',
        'black square',
        'white star',
        'white ring',
    ]
    first = OVSHAPES_CLASSES[1]
    assert (first.category_id, first.name, first.name_zh) == (
        2,
        'red square',
        '红色正方形',
    )


def test_objects_lie_inside_and_stay_visible():
    for i in range(20):
        image, objects = render_image(np.random.default_rng(i), classes_of('base'), 128)
        assert image.shape == (128, 128, 3) and image.dtype == np.uint8
        assert 2 <= len(objects) <= 6
        for o in objects:
            x1, y1, x2, y2 = o.bbox
            assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 128
            assert 28 / 2 - 0.01 <= max(x2 - x1, y2 - y1) <= 110 / 2 + 0.01
            assert o.visible >= MIN_VISIBLE
            assert o.center == ((x1 + x2) / 2, (y1 + y2) / 2)


def test_box_is_tight_on_the_drawn_pixels():
    """A square from 10.0 to 20.0 covers exactly ten pixels; half a pixel is 0.5."""
    square = np.array([[10, 10], [20, 10], [20, 20.5], [10, 20.5]], float)
    window, alpha = _rasterise([square])
    assert window == (slice(10, 21), slice(10, 20))
    np.testing.assert_allclose(alpha[:10], 1)
    np.testing.assert_allclose(alpha[10], 0.5, atol=1 / 255)


def test_colours_are_what_the_names_say():
    """The mean colour of the solid part is nearest to its own name."""
    hues = {
        'red': 0,
        'orange': 28,
        'yellow': 56,
        'green': 128,
        'blue': 220,
        'purple': 285,
        'brown': 23,
        'vermilion': 15,
        'amber': 43,
        'lime': 84,
        'teal': 160,
        'cyan': 181,
        'azure': 197,
        'indigo': 253,
        'magenta': 309,
        'pink': 330,
    }
    rng = np.random.default_rng(0)
    for c in OVSHAPES_CLASSES + EXTRA_CLASSES:
        image, objects = render_image(rng, [c], 256)
        for o in objects:
            if o.texture != 'solid' or o.visible < 1 or c.shape in ('ring', 'crescent'):
                continue
            x, y = (int(v) for v in o.center)
            rgb = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0)
            hue, saturation, value = colorsys.rgb_to_hsv(*(rgb / 255))
            if c.color in hues:
                distance = (hue * 360 - hues[c.color] + 180) % 360 - 180
                least = 0.35 if c.color == 'pink' else 0.45
                assert abs(distance) < 25 and saturation > least, c.name
                assert value < 0.62 or c.color != 'brown', c.name
            else:
                light = c.color in ('white', 'cream')
                assert (value > 0.65) == light, c.name
                assert light or value < (0.25 if c.color == 'black' else 0.32), c.name
                assert saturation > 0.03 or c.color != 'cream', c.name


def test_files_follow_the_protocol(tmp_path):
    folder = generate_ovshapes(tmp_path, num_train=30, num_val=20, image_size=64)
    splits = {c.category_id: c.split for c in OVSHAPES_CLASSES}
    seen = {}
    for split, number in (('train', 30), ('val', 20)):
        coco = json.loads((folder / f'{split}.json').read_text(encoding='utf-8'))
        assert len(coco['images']) == len(list((folder / split).iterdir())) == number
        assert len(coco['categories']) == 65
        seen[split] = {splits[a['category_id']] for a in coco['annotations']}
        for image in coco['images']:
            with Image.open(folder / split / image['file_name']) as opened:
                assert opened.size == (image['width'], image['height']) == (64, 64)
    assert seen == {'train': {'base'}, 'val': {'base', 'novel'}}
    assert not list(tmp_path.glob('.tmp-*'))


def test_extra_colors_are_in_train_images_alone(tmp_path):
    plain = generate_ovshapes(tmp_path, **SMALL)
    folder = generate_ovshapes(tmp_path, **SMALL, extra_colors=True)
    assert folder.name == f'{plain.name}_extra'
    assert generate_ovshapes(tmp_path, **SMALL, extra_colors=True) == folder
    assert [c.name for c in EXTRA_CLASSES][9:21] == [
        'brown ring', *(f'vermilion {shape}' for shape in SHAPES), 'amber circle'
    ]  # fmt: skip
    assert EXTRA_CLASSES[33].name_zh == '青柠色菱形'
    splits = {c.category_id: c.split for c in OVSHAPES_CLASSES + EXTRA_CLASSES}
    assert len(splits) == 200
    actual = []
    for split in ('train', 'val'):
        coco = json.loads((folder / f'{split}.json').read_text(encoding='utf-8'))
        assert len(coco['categories']) == 185
        actual.append({splits[a['category_id']] for a in coco['annotations']})
    assert actual == [{'base', 'extra'}, {'base', 'novel'}]
    assert (folder / 'val.json').read_bytes() != (plain / 'val.json').read_bytes()
    name = 'val/000001.jpg'
    assert (folder / name).read_bytes() == (plain / name).read_bytes()


def test_image_does_not_depend_on_threads_or_number(tmp_path):
    one = generate_ovshapes(tmp_path / 'one', **SMALL, num_workers=1)
    two = generate_ovshapes(tmp_path / 'two', **SMALL, num_workers=3)
    more = generate_ovshapes(tmp_path, **(SMALL | {'num_train': 8}))
    other = generate_ovshapes(tmp_path, **SMALL, seed=1)
    read = [(f / 'train/000005.jpg').read_bytes() for f in (one, two, more, other)]
    assert read[0] == read[1] == read[2] != read[3]
    assert (one / 'train.json').read_text() == (two / 'train.json').read_text()
    assert len({one.name, more.name, other.name}) == 3


def test_existing_folder_is_reused(tmp_path):
    folder = generate_ovshapes(tmp_path, **SMALL)
    before = (folder / 'manifest.json').stat().st_mtime_ns
    assert generate_ovshapes(tmp_path, **SMALL) == folder
    assert (folder / 'manifest.json').stat().st_mtime_ns == before


def test_two_processes_at_once_give_one_folder(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=generate_ovshapes, args=(tmp_path, 20, 5, 96))
        for _ in range(2)
    ]
    for p in processes:
        p.start()
    for p in processes:
        p.join(1800)
    assert [p.exitcode for p in processes] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1
    folder = generate_ovshapes(tmp_path, 20, 5, 96)
    alone = generate_ovshapes(tmp_path / 'alone', 20, 5, 96)
    for path in alone.rglob('*.*'):
        assert (folder / path.relative_to(alone)).read_bytes() == path.read_bytes()


def test_killed_generation_is_not_taken_for_complete(tmp_path):
    process = multiprocessing.get_context('fork').Process(
        target=generate_ovshapes, args=(tmp_path, 100_000, 5, 64)
    )
    process.start()
    deadline = time.monotonic() + 1800
    while not list(tmp_path.glob('.tmp-*/train/*3.jpg')):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0].name.startswith('.tmp-')


@pytest.mark.parametrize(
    'bad', [{'num_train': 0}, {'image_size': 32}, {'seed': -1}, {'num_val': 1.5}]
)
def test_impossible_parameters(tmp_path, bad):
    with pytest.raises(ValueError, match=f'{next(iter(bad))} must be an integer'):
        generate_ovshapes(tmp_path, **bad)


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_dataset_has_base_then_novel_labels(tmp_path, language):
    dataset = OVShapesDataset(str(tmp_path), 'val', language=language, **SMALL)
    meta = dataset.metainfo
    attribute = 'name' if language == 'en' else 'name_zh'
    expected = [getattr(c, attribute) for s in ('base', 'novel') for c in classes_of(s)]
    assert meta['classes'] == tuple(expected)
    assert meta['classes'] == meta['base_classes'] + meta['novel_classes']
    assert len(dataset) == 3
    train = OVShapesDataset(str(tmp_path), 'train', language=language, **SMALL)
    assert train.metainfo == meta
    assert max(max(train.get_cat_ids(i)) for i in range(6)) < 48


def test_a_lazy_dataset_generates_nothing_until_it_is_loaded(tmp_path):
    """As MMDetection's ``init_detector`` builds it, for its ``metainfo`` alone."""
    root = tmp_path / 'data'
    dataset = OVShapesDataset(str(root), 'val', lazy_init=True, **SMALL)
    assert not root.exists()
    assert (
        len(dataset) == 3 and dataset[0]['img_id'] == dataset.get_data_info(0)['img_id']
    )
    with pytest.raises(ValueError, match='num_val must be an integer'):
        OVShapesDataset(str(root), lazy_init=True, **(SMALL | {'num_val': 0}))


def _build_on_rank(root, rank):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{root}/store', rank=rank, world_size=2
    )
    with mock.patch('fgclip2_det.datasets.ovshapes.generate._write', wraps=_write) as w:
        OVShapesDataset(str(root / 'data'), 'val', **SMALL)
    assert w.call_count == (rank == 0)


def test_first_process_draws_for_all(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=_build_on_rank, args=(tmp_path, r)) for r in range(2)
    ]
    for p in processes:
        p.start()
    for p in processes:
        p.join(1800)
    assert [p.exitcode for p in processes] == [0, 0]


def test_dataset_rejects_another_split(tmp_path):
    with pytest.raises(ValueError, match="'test'"):
        OVShapesDataset(str(tmp_path), 'test')
