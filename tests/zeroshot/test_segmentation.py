"""Zero-shot segmentation: pixels against a slow loop, and the released layouts."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.score_maps import stretch
from fgclip2_det.zeroshot import Embedder, ImageItem, Report
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.confusion import add_segmentation, confusion
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.segmentation import (
    BENCHMARKS,
    Scheme,
    read_label_map,
    read_segmentation,
)
from fgclip2_det.zeroshot.zeroshot import read_class_list

ALL = ReadOptions()
SCHEME = Scheme([[['cat']], [['dog']], [['bird', 'fowl']]], first=1, ignored=(0, 255))


def slow_confusion(dense, texts, class_of, labels):
    """Pixel by pixel; the true class must be the only best one."""
    num_classes = max(class_of) + 1
    scores = torch.einsum('td,dhw->thw', texts, dense)
    scores = F.interpolate(scores[None], labels.shape, mode='bilinear')[0]
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for y, row in enumerate(labels.tolist()):
        for x, truth in enumerate(row):
            if truth < 0:
                continue
            best = [
                max(float(scores[t, y, x]) for t, c in enumerate(class_of) if c == k)
                for k in range(num_classes)
            ]
            wrong = max(
                (k for k in range(num_classes) if k != truth), key=best.__getitem__
            )
            counts[truth, truth if best[truth] > best[wrong] + 1e-6 else wrong] += 1
    return counts


def write_set(root: Path, name: str, values: list, mode=np.uint8) -> dict[str, Path]:
    """Images and label maps of ``values`` (each (H, W) numbers) where they belong."""
    benchmark = BENCHMARKS[name]
    paths = {role: root / file.path for role, file in benchmark.files.items()}
    for role in ('images', 'labels'):
        paths[role].mkdir(parents=True, exist_ok=True)
    stems = [f'2007_{i:06d}' for i in range(len(values))]
    for stem, numbers in zip(stems, values, strict=True):
        label = Image.fromarray(np.asarray(numbers, dtype=mode))
        if name.startswith('voc'):
            label = label.convert('P')  # the same numbers, as a palette's
            label.putdata(np.asarray(numbers).flatten().tolist())
        suffix = '.tif' if mode is np.uint16 else '.png'
        label.save(paths['labels'] / f'{stem}{suffix}')
        Image.effect_noise(label.size, 60).convert('RGB').save(
            paths['images'] / f'{stem}.jpg'
        )
    if 'list' in paths:
        paths['list'].parent.mkdir(parents=True)
        paths['list'].write_text(''.join(f'{stem}\n' for stem in stems))
    return paths


def random_maps(numbers: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.choice(numbers, size) for size in ((9, 14), (12, 7), (5, 5))]


@pytest.mark.parametrize(
    ('name', 'count'), [('ade150', 150), ('ade847', 847), ('pc59', 59), ('pc459', 459)]
)
def test_lists_are_whole(name, count):
    entries = read_class_list(name)
    assert len(entries) == count
    assert len({tuple(sorted(each)) for each in entries}) == count  # no two the same
    assert all(alias == alias.strip().lower() for each in entries for alias in each)


def test_places_in_the_lists():
    """The numbers that PASCAL Context's 59 classes have among its 459."""
    many = [each[0] for each in read_class_list('pc459')]
    few = [each[0] for each in read_class_list('pc59')]
    numbers = [many.index(name) + 1 for name in few]
    assert numbers == sorted(numbers)
    assert numbers[:5] == [2, 9, 18, 19, 22] and numbers[-3:] == [445, 454, 458]
    assert read_class_list('ade847')[11][:2] == ['person', 'individual']
    assert read_class_list('ade150')[-1] == ['flag']
    background, *objects = BENCHMARKS['voc-21'].read.keywords['scheme'].names
    assert len(background) == 39 and len(objects) == 20
    assert ['grass'] in background and ['table'] not in background
    assert objects[0] == [['aeroplane']] and objects[-1] == [['tvmonitor']]


@pytest.mark.parametrize(('length', 'size'), [(5, 17), (17, 5), (1, 6), (4, 4)])
def test_stretch_equals_torch(length, size):
    values = torch.randn(2, length, 3, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(values[None], (size, 3), mode='bilinear')[0]
    actual = [stretch(values, 1, size, i, min(i + 2, size)) for i in range(0, size, 2)]
    torch.testing.assert_close(torch.cat(actual, 1), expected)


@pytest.mark.parametrize('block_elements', [1, 300, 1 << 24])
@pytest.mark.parametrize('size', [(19, 23), (4, 3)])
@pytest.mark.parametrize('class_of', [[0, 1, 2, 3], [0, 0, 1, 2, 2, 3]])
def test_confusion_equals_a_slow_loop(block_elements, size, class_of):
    random = torch.Generator().manual_seed(1)
    dense = F.normalize(torch.randn(8, 5, 6, generator=random), dim=0)
    texts = F.normalize(torch.randn(len(class_of), 8, generator=random), dim=1)
    labels = torch.randint(-1, 4, size, generator=random)
    actual = confusion(dense, texts, torch.tensor(class_of), labels, block_elements)
    assert torch.equal(actual, slow_confusion(dense, texts, class_of, labels))
    assert actual.sum() == (labels >= 0).sum()


def test_ties_are_wrong():
    dense = torch.ones(1, 2, 2)
    labels = torch.tensor([[0, 1], [1, -1]])
    actual = confusion(dense, torch.ones(2, 1), torch.tensor([0, 1]), labels)
    assert actual.tolist() == [[0, 1], [2, 0]]
    actual = confusion(dense * torch.nan, torch.ones(2, 1), torch.arange(2), labels)
    assert actual.diag().sum() == 0 and actual.sum() == 3


def test_rates_match_hand_computation():
    """Class 0: 3 / (4 + 3 - 3); class 1: 2 / (4 + 3 - 2); class 2 does not occur."""
    report = Report()
    add_segmentation(report, torch.tensor([[3, 1, 0], [0, 2, 2], [0, 0, 0]]))
    assert report.metrics == pytest.approx(
        {'miou': 57.5, 'mean_accuracy': 62.5, 'pixel_accuracy': 62.5}
    )
    assert report.denominators == {'miou': 2, 'mean_accuracy': 2, 'pixel_accuracy': 8}
    assert report.counts == {'classes': 3, 'classes_without_pixels': 1}
    with pytest.raises(ValueError, match='no pixel has a class'):
        add_segmentation(Report(), torch.zeros(3, 3))


@pytest.mark.parametrize(
    ('name', 'numbers', 'ignored', 'mode'),
    [
        ('ade-150', [1, 2, 149, 150], [0], np.uint8),
        ('ade-847', [0, 114, 191, 846], [65535], np.uint16),  # two of them are bags
        ('pc-59', [0, 1, 58], [255], np.uint8),
        ('pc-459', [0, 200, 458], [459, 65535], np.uint16),
        ('voc-20', [1, 2, 20], [0, 255], np.uint8),
        ('voc-21', [0, 1, 2, 20], [255], np.uint8),
    ],
)
def test_released_layouts(tmp_path, name, numbers, ignored, mode):
    """Any map is right for the oracle: small ones have a place per pixel."""
    write_set(tmp_path, name, random_maps([*numbers, *ignored]), mode)
    benchmark = BENCHMARKS[name]
    task = benchmark.read(benchmark.locate(tmp_path), ALL)
    num_classes = benchmark.expected['classes']
    assert task.counts == {'images': 3, 'classes': num_classes}
    actual = task.run(ControlEmbedder('oracle'))
    assert actual.metrics == dict.fromkeys(
        ('miou', 'mean_accuracy', 'pixel_accuracy'), 100
    )
    assert actual.denominators['miou'] == len(numbers)
    assert actual.counts['classes_without_pixels'] == num_classes - len(numbers)
    assert 0 < actual.denominators['pixel_accuracy'] < 9 * 14 + 12 * 7 + 5 * 5
    one = benchmark.read(benchmark.locate(tmp_path), ReadOptions(num_images=1))
    assert one.counts['images'] == 1


def test_controls_on_larger_images(tmp_path):
    """384 x 256 pixels, 16 x 16 of one class each: squares of 2 x 2 for the oracle."""
    rng = np.random.default_rng(0)
    cells = rng.integers(1, 4, (16, 24))
    paths = write_set(tmp_path, 'ade-150', [cells.repeat(16, 0).repeat(16, 1)])
    task = read_segmentation(paths, ALL, SCHEME, '.png')
    assert task.run(ControlEmbedder('oracle')).metrics['miou'] == 100
    values = [rng.integers(1, 4, (16, 16)) for _ in range(40)]
    paths = write_set(tmp_path / 'many', 'ade-150', values)
    actual = read_segmentation(paths, ALL, SCHEME, '.png').run(ControlEmbedder('noise'))
    assert 30 < actual.metrics['pixel_accuracy'] < 37  # chance: 33.3
    assert 18 < actual.metrics['miou'] < 22  # p / (2 - p) at p = 1/3: 20
    assert actual.denominators['pixel_accuracy'] == 40 * 256


def test_the_oracle_needs_truths(tmp_path):
    with pytest.raises(ValueError, match=r'x\.jpg: the oracle needs'):
        next(ControlEmbedder('oracle').dense_maps([ImageItem(tmp_path / 'x.jpg')]))


def test_a_real_encoder_equals_the_slow_loop(tmp_path):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    embedder = Embedder(encoder.eval(), max_num_patches=24, progress=False)
    rng = np.random.default_rng(2)
    values = [rng.integers(0, 4, size) for size in ((32, 48), (40, 24))]
    paths = write_set(tmp_path, 'ade-150', values)
    actual = read_segmentation(paths, ALL, SCHEME, '.png').run(embedder)
    names = [['cat'], ['dog'], ['bird', 'fowl']]
    texts = embedder.names(names, 'imagenet80')  # no shared alias: the same mean
    files = sorted(paths['images'].iterdir())
    maps = embedder.dense_maps([ImageItem(path) for path in files])
    counts = sum(
        slow_confusion(dense, texts, [0, 1, 2], torch.from_numpy(numbers) - 1)
        for dense, numbers in zip(maps, values, strict=True)
    )
    expected = Report()
    add_segmentation(expected, counts)
    for name, percent in expected.metrics.items():
        assert actual.metrics[name] == pytest.approx(percent, abs=0.2)  # rounding
    Image.new('RGB', (9, 9)).save(files[1])
    with pytest.raises(ValueError, match='9 x 9 pixels, the annotation file says 24'):
        read_segmentation(paths, ALL, SCHEME, '.png').run(embedder)


def test_label_maps(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(np.array([[0, 1], [3, 255]], dtype=np.uint8)).save(path)
    assert read_label_map(path, SCHEME).tolist() == [[-1, 0], [2, -1]]
    Image.fromarray(np.array([[1, 4]], dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match=r'a.png holds 4; expected 1 to 3, or \[0, 25'):
        read_label_map(path, SCHEME)
    Image.new('RGB', (2, 2)).save(path)
    with pytest.raises(ValueError, match=r'one number a pixel .*, got mode RGB'):
        read_label_map(path, SCHEME)
    numbers = np.random.default_rng(0).integers(0, 4, (40, 50))
    for suffix, mode in (('png', np.uint8), ('tif', np.uint16)):
        path = tmp_path / f'b.{suffix}'
        Image.fromarray(numbers.astype(mode)).save(path)
        assert torch.equal(read_label_map(path, SCHEME), torch.tensor(numbers - 1))
        whole = path.read_bytes()
        for content in (b'', whole[: len(whole) // 2], b'no picture'):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf'map .*b\.{suffix} cannot be read'):
                read_label_map(path, SCHEME)


def test_bad_folders(tmp_path):
    def fails(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            BENCHMARKS['voc-20'].read(paths, ALL)

    paths = write_set(tmp_path, 'voc-20', random_maps([0, 1]))
    paths['list'].write_text('2007_000000\n2007_000000\n')
    fails(r'val\.txt lists 2007_000000 twice')
    paths['list'].write_text('2007_000009\n')
    fails(r'1 of 1 images are missing: .*Class/2007_000009\.png')
    paths['list'].write_text('\n')
    fails(r'val\.txt names no image')
    paths['list'].write_bytes(b'\xff\xfe\xff')
    fails('is not complete utf-16 text')
    paths['list'].write_text('2007_000001\n')
    (paths['images'] / '2007_000001.jpg').unlink()
    fails(r'1 of 1 images are missing: .*JPEGImages/2007_000001\.jpg')
    with pytest.raises(FileNotFoundError, match=r'ade-150 needs .*annotations/valid'):
        BENCHMARKS['ade-150'].locate(tmp_path)
