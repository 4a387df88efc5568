"""What a result says of folders whose files are the annotations."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.coco.odinw_sets import odinw_sets
from fgclip2_det.evaluation.comparison import barriers
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.suite import BENCHMARKS, read_benchmark, run_benchmark
from fgclip2_det.zeroshot.zeroshot import read_imagenet, read_imagenet_v2

CLASSES = ['n1', 'n2', 'n3']
NAMES = [['cat'], ['dog'], ['cow']]
READERS = {  # of three classes in place of a thousand
    'imagenet-1k': partial(read_imagenet, wnids=CLASSES, names=NAMES),
    'imagenet-v2': partial(read_imagenet_v2, names=NAMES),
}


def save(path: Path, value: int = 0, side: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), value, np.uint8)).save(path)


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco(names=('a dog', 'no hat')) -> dict:
    return {
        'images': [{'id': 0, 'file_name': '0.png', 'width': 32, 'height': 32}],
        'annotations': [
            {'id': n, 'image_id': 0, 'category_id': n, 'bbox': [3, 3, 9, 9 + n]}
            for n in range(len(names))
        ],
        'categories': [{'id': n, 'name': name} for n, name in enumerate(names)],
    }


def ade(root: Path) -> None:
    for folder, end in (('images', 'jpg'), ('annotations', 'png')):
        for n in range(2):
            save(root / f'ADEChallengeData2016/{folder}/validation/{n}.{end}', n + 1)


def d3(root: Path) -> None:
    save(root / 'd3/d3_images/0.png')
    for part in ('full', 'pres', 'abs'):
        put(root / f'd3/d3_json/d3_{part}_annotations.json', coco())


def dci(root: Path) -> None:
    for n in range(2):
        save(root / f'dci/photos/{n}.jpg')
        entry = {'image': f'{n}.jpg', 'extra_caption': f'caption {n}'}
        put(root / f'dci/annotations/{n}.json', entry)


def odinw(root: Path) -> None:
    for one in odinw_sets(13):
        put(root / 'odinw' / one.ann_file, coco())
        save(root / 'odinw' / one.image_root / '0.png')


def imagenet(root: Path) -> None:
    for n, name in enumerate(CLASSES):
        save(root / f'imagenet/val/{name}/{n}.png')


def imagenet_v2(root: Path) -> None:
    for n in range(6):
        save(root / f'imagenetv2-matched-frequency-format-val/{n % 3}/{n}.png')


def first_odinw(root: Path) -> Path:
    return root / 'odinw' / odinw_sets(13)[0].ann_file


V2 = 'imagenetv2-matched-frequency-format-val'
ADE = 'ADEChallengeData2016'
CASES = {  # what is there, what changes what is measured, what does not
    'ade-150': (
        ade,
        lambda root: save(root / ADE / 'annotations/validation/1.png', 9),
        lambda root: save(root / ADE / 'images/validation/7.jpg'),
    ),
    'd3': (
        d3,
        lambda root: put(root / 'd3/d3_json/groups.json', {'0': [0]}),
        lambda root: put(root / 'd3/d3_json/notes.json', {}),
    ),
    'dci-retrieval': (
        dci,
        lambda root: put(
            root / 'dci/annotations/1.json', {'image': '1.jpg', 'extra_caption': 'x'}
        ),
        lambda root: save(root / 'dci/photos/9.jpg'),
    ),
    'odinw13-box': (
        odinw,
        lambda root: put(first_odinw(root), coco(('a dog', 'a cat'))),
        lambda root: put(root / 'odinw/notes.json', {}),
    ),
    'imagenet-1k': (
        imagenet,
        lambda root: save(root / 'imagenet/val/n1/9.png'),
        lambda root: save(root / 'imagenet/val/n1/.hidden.png'),
    ),
    'imagenet-v2': (
        imagenet_v2,
        lambda root: (root / V2 / '0/3.png').rename(root / V2 / '1/3.png'),
        lambda root: save(root / V2 / '0/0.png', 5),
    ),
}


def measure(name: str, root: Path) -> dict:
    one = BENCHMARKS[name]
    one = replace(one, read=READERS.get(name, one.read))
    task = read_benchmark(one, root, subset=True)
    result = run_benchmark(one, task, ControlEmbedder('noise'), root)
    return json.loads(json.dumps(result))


@pytest.mark.parametrize('name', CASES)
def test_another_folder_is_not_comparable(tmp_path, name):
    make, change, add = CASES[name]
    make(tmp_path)
    first = measure(name, tmp_path)
    add(tmp_path)
    assert barriers(first, measure(name, tmp_path)) == []
    change(tmp_path)
    assert barriers(first, measure(name, tmp_path))[0].startswith('folders: ')


def test_no_benchmark_is_without_a_file_or_a_case_above():
    """Where no role is a file, the folders are the data: all kinds are tried."""

    def kind(benchmark):
        return getattr(benchmark.read, 'func', benchmark.read)

    of_folders = {
        kind(one)
        for one in BENCHMARKS.values()
        if not any(Path(file.path).suffix for file in one.files.values())
    }
    assert of_folders <= {kind(BENCHMARKS[name]) for name in CASES}


def test_both_layouts_of_imagenet_are_one(tmp_path):
    imagenet(tmp_path / 'a')
    lines = ['ImageId,PredictionString']
    for n, name in enumerate(CLASSES):
        save(tmp_path / f'b/imagenet/val/{n}.png')
        lines.append(f'{n},{name} 1 1 2 2')
    (tmp_path / 'b/imagenet/LOC_val_solution.csv').write_text('\n'.join(lines))
    first, second = (measure('imagenet-1k', tmp_path / root) for root in 'ab')
    assert barriers(first, second) == []
