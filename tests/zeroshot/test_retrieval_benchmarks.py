"""Caption files in the released layouts, and retrieval on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.caption_files import (
    read_coco_captions,
    read_coco_cn,
    read_dci,
    read_flickr30k_cna,
    read_karpathy,
    read_sharegpt4v,
)
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.retrieval_benchmarks import BENCHMARKS

TEXTS = [[f'picture {i} seen for the {k}. time' for k in range(6)] for i in range(4)]


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8')
    return path


def coco(root: Path) -> list[str]:
    annotations = [
        {'id': 10 * k + i, 'image_id': i, 'caption': f' {TEXTS[i][k]}\n'}
        for k in (5, 4, 3, 2, 1, 0)  # by id, not by place
        for i in range(4)
    ]
    images = [{'id': i, 'file_name': f'{i}.jpg'} for i in range(4)]
    content = {'images': images, 'annotations': annotations}
    put(root / 'coco/annotations/captions_val2017.json', content)
    return [f'coco/val2017/{i}.jpg' for i in range(4)]


def karpathy(root: Path) -> list[str]:
    images = [
        {
            'filename': f'{i}.jpg',
            'split': 'train' if i == 1 else 'test',
            'sentences': [{'raw': text} for text in TEXTS[i]],
        }
        for i in range(4)
    ]
    put(root / 'flickr30k/dataset_flickr30k.json', {'images': images})
    return [f'flickr30k/flickr30k-images/{i}.jpg' for i in (0, 2, 3)]


def dci(root: Path) -> list[str]:
    for i in range(4):
        content = {'image': f'sa_{i}.jpg', 'extra_caption': TEXTS[i][0]}
        put(root / f'dci/annotations/{i}.json', content)
    return [f'dci/photos/sa_{i}.jpg' for i in range(4)]


def sharegpt4v(root: Path) -> list[str]:
    items = [
        {
            'image': f'sam/images/sa_{i}.jpg',
            'conversations': [
                {'from': 'human', 'value': 'What is this?'},
                {'from': 'gpt', 'value': TEXTS[i][0].replace(' ', '\n', 1)},
            ],
        }
        for i in range(4)
    ]
    name = 'share-captioner_coco_lcs_sam_1246k_1107.json'
    put(root / 'sharegpt4v' / name, items)
    return [f'sharegpt4v/images/sam/images/sa_{i}.jpg' for i in range(4)]


def tabbed(root: Path) -> list[str]:
    lines = '\n'.join(f'a/{i}.jpg\t{TEXTS[i][0]}' for i in range(4))
    put(root / 'lit_cn/captions.txt', lines)
    return [f'lit_cn/images/a/{i}.jpg' for i in range(4)]


def cna(root: Path) -> list[str]:
    lines = [f'100{i}#{k}\t{TEXTS[i][k]}' for i in range(4) for k in range(5)]
    put(root / 'flickr30k_cna/flickr30k_cna_test.txt', '\n'.join(lines))
    return [f'flickr30k/flickr30k-images/100{i}.jpg' for i in range(4)]


def coco_cn(root: Path) -> list[str]:
    lines = [
        f'COCO_val2014_{i:012d}#zhm#{k} {TEXTS[i][k]}'
        for i in range(4)
        for k in range(5)
    ]
    put(root / 'coco_cn/pair.txt', '\n'.join(lines))
    return [f'coco/val2014/COCO_val2014_{i:012d}.jpg' for i in range(4)]


LAYOUTS = {
    'coco-retrieval': (coco, 5),
    'flickr30k-retrieval': (karpathy, 5),
    'dci-retrieval': (dci, 1),
    'sharegpt4v-retrieval': (sharegpt4v, 1),
    'lit-cn': (tabbed, 1),
    'flickr30k-cna': (cna, 5),
    'coco-cn': (coco_cn, 5),
}


def make(root: Path, name: str) -> tuple[list[Path], int]:
    layout, per_image = LAYOUTS[name]
    paths = [root / path for path in layout(root)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return paths, per_image


@pytest.mark.parametrize('name', LAYOUTS)
def test_released_layouts(tmp_path, name):
    paths, per_image = make(tmp_path, name)
    benchmark = BENCHMARKS[name]
    task = benchmark.read(benchmark.locate(tmp_path), ReadOptions())
    actual = {'images': len(paths), 'captions': per_image * len(paths)}
    assert task.counts == actual
    report = task.run(ControlEmbedder('oracle'))
    assert set(report.metrics.values()) == {100}
    assert {f'{metric}@5' for metric in benchmark.paper} < set(report.metrics)
    assert report.denominators[next(iter(benchmark.paper))] == len(paths)
    noise = task.run(ControlEmbedder('noise', seed=3)).metrics
    assert min(noise.values()) < 100
    missing = paths[0]
    missing.unlink()
    with pytest.raises(ValueError, match=r'1 of \d images are missing'):
        benchmark.read(benchmark.locate(tmp_path), ReadOptions())


def test_equals_a_loop(tmp_path):
    paths, _ = make(tmp_path, 'coco-retrieval')
    benchmark = BENCHMARKS['coco-retrieval']
    task = benchmark.read(benchmark.locate(tmp_path), ReadOptions())
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(2))
    report = task.run(Embedder(encoder.eval(), progress=False))
    with torch.no_grad():
        images = torch.cat([
            encoder.encode_image(encoder.preprocess(path), normalize=True)
            for path in paths
        ])  # fmt: skip
        texts = [text for group in TEXTS for text in group[:5]]
        embeds = encoder.encode_text(texts, mode='short', normalize=True)
    scores = images @ embeds.T
    for k in (1, 5):
        suffix = '' if k == 1 else f'@{k}'
        i2t = [
            any(j // 5 == i for j in row.argsort(descending=True)[:k].tolist())
            for i, row in enumerate(scores)
        ]
        t2i = [
            j // 5 in column.argsort(descending=True)[:k].tolist()
            for j, column in enumerate(scores.T)
        ]
        for direction, right in (('i2t', i2t), ('t2i', t2i)):
            metric = f'retrieval/short/{direction}{suffix}'
            assert report.metrics[metric] == pytest.approx(100 * np.mean(right))


@pytest.mark.parametrize(
    'reader, content, message',
    [
        (read_coco_captions, '{"images": [', 'cannot be read as JSON'),
        (read_coco_captions, {'images': []}, "must hold a list of 'annotations'"),
        (
            read_coco_captions,
            {'images': [], 'annotations': [{'id': 3, 'image_id': 1, 'caption': 'a'}]},
            'annotation 3: image 1 is not in the file',
        ),
        (
            read_coco_captions,
            {
                'images': [{'id': 1, 'file_name': 'a.jpg'}],
                'annotations': [{'id': 3, 'image_id': 1, 'caption': 'a'}],
            },
            'a.jpg has 1 captions, expected 5',
        ),
        (read_karpathy, {'images': []}, "no image of the split 'test'"),
        (read_karpathy, {'images': [{}]}, 'filename must be a text'),
        (read_sharegpt4v, [{'image': 'a', 'conversations': []}], 'has no answer'),
        (read_flickr30k_cna, '1000 without tab', 'line 1: expected image#k'),
        (read_flickr30k_cna, '', 'holds no caption'),
        (read_coco_cn, '\nCOCO_val2014_12#zhm#0 a', 'line 2: expected COCO_val2014'),
    ],
)
def test_wrong_files(tmp_path, reader, content, message):
    with pytest.raises(ValueError, match=message):
        reader(put(tmp_path / 'file', content))


def test_dci_without_files_or_captions(tmp_path):
    with pytest.raises(ValueError, match='holds no JSON file'):
        read_dci(tmp_path)
    put(tmp_path / 'a.json', {'image': 'a.jpg', 'extra_caption': ' '})
    with pytest.raises(ValueError, match='extra_caption must be a text'):
        read_dci(tmp_path)
