"""Commands that are stopped and started again, on inputs that take a second.

Each has ``prepare(folder)``, which writes inputs to ``folder/in``; ``run(folder)``,
the command as a user types it, which writes to ``folder/out``; and ``outcome(folder)``,
what must be equal: name -> digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fgclip2_det import cli

ROOT = Path(__file__).resolve().parents[2]
# names of our own that a stopped run may leave: the next one removes them when they
# are an hour old
TEMPORARY = re.compile(r'\..+\.\d+-\d+-[0-9a-f]{8}\.tmp(\.\w+)?|\.tmp-\w+')
LOCKS = re.compile(r'\.lock|\.holder\.json|\.use-.+\.lock')
NAMES = ['red circle', '蓝色星形', 'green ring', 'white cross']


@dataclass(frozen=True)
class Command:
    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    outcome: Callable[[Path], dict[str, str]]
    ignored: Callable[[str], bool] = lambda path: not path.startswith('out')


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def bytes_of(folder: Path) -> dict[str, str]:
    """Digests of all files below ``folder/out`` but temporary ones and locks."""
    files = {}
    for path in sorted((folder / 'out').rglob('*')):
        parts = path.relative_to(folder / 'out').parts
        ours = any(TEMPORARY.fullmatch(p) or LOCKS.fullmatch(p) for p in parts)
        if path.is_file() and not ours:
            files['/'.join(parts)] = digest(path.read_bytes())
    return files


def left_behind(folder: Path) -> int:
    """Temporary files and folders of ours below ``folder/out``."""
    names = (path.name for path in (folder / 'out').rglob('*'))
    return sum(TEMPORARY.fullmatch(name) is not None for name in names)


def tensors_of(value: object, name: str = '') -> dict[str, str]:
    """Digests of the tensors and numbers in nested containers."""
    if isinstance(value, torch.Tensor):
        return {name: digest(value.contiguous().numpy().tobytes())}
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {name: repr(value)}
    return {
        k: v for key, own in pairs for k, v in tensors_of(own, f'{name}.{key}').items()
    }


def checkpoint_of(path: Path, parts: tuple[str, ...]) -> dict[str, str]:
    content = torch.load(path, weights_only=False)
    return {k: v for part in parts for k, v in tensors_of(content[part], part).items()}


# ------------------------------------------------------------------ inputs
def write_results(folder: Path) -> None:
    """Five images, and 26 results on four of them."""
    rng = np.random.default_rng(0)
    (folder / 'in' / 'images').mkdir(parents=True)
    for i in range(5):
        pixels = rng.integers(0, 256, (48, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / 'in' / 'images' / f'{i}.png')
    boxes = rng.uniform(5, 30, (26, 4)).round(1).tolist()
    scores = rng.uniform(0.05, 0.95, 26).tolist()
    rows = [
        dict(image_id=k % 4, category_id=k % 3 + 1, bbox=box, score=score)
        for k, (box, score) in enumerate(zip(boxes, scores, strict=True))
    ]
    objects = [
        dict(id=k + 1, image_id=k % 5, category_id=k % 4 + 1, bbox=box, iscrowd=0,
             area=box[2] * box[3])
        for k, box in enumerate(boxes[:9])
    ]  # fmt: skip
    coco = dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=80, height=48) for i in range(5)
        ],
        categories=[dict(id=i, name=name) for i, name in enumerate(NAMES, 1)],
        annotations=objects,
    )
    for name, content in (('ann', coco), ('results', rows)):
        (folder / 'in' / f'{name}.json').write_text(json.dumps(content))


def write_training_records(folder: Path) -> None:
    """Twelve records of the paper's layout on the five images."""
    write_results(folder)
    box = dict(bbox=[0.1, 0.1, 0.5, 0.6], short_expr='red circle')
    box |= dict(long_expr='a red circle on the left')
    records = [
        dict(f_path=f'{i % 5}.png', caption=f'a scene number {i}',
             short_caption=f'scene {i}', bbox_info=[box])
        for i in range(12)
    ]  # fmt: skip
    (folder / 'in' / 'records.json').write_text(json.dumps(records))


def draw_data(folder: Path) -> None:
    """OVShapes for a detector and for alignment, drawn before anything is stopped."""
    from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

    generate_ovshapes(folder / 'in', 6, 2, 96)
    generate_ovshapes(folder / 'in', 8, 1, 256, 1, True)


# ------------------------------------------------------------------ commands
def words_of_results(folder: Path) -> list[str]:
    words = [
        '--predictions',
        folder / 'in/results.json',
        '--ann',
        folder / 'in/ann.json',
    ]
    words += ['--images', folder / 'in/images', '--encoder', 'fgclip2_tiny']
    return [str(word) for word in words]


def dump(folder: Path) -> None:
    from fgclip2_det import FGCLIP2
    from fgclip2_det.rescoring.dump_writer import dump_scores

    names = ('results.json', 'ann.json', 'images')
    dump_scores(
        *(folder / 'in' / name for name in names),
        FGCLIP2.from_pretrained('fgclip2_tiny'),
        folder / 'out' / 'dump',
        cache_dir=folder / 'out' / 'cache',
        images_per_shard=2,
        progress=False,
    )


def rescore(folder: Path) -> None:
    cache = ['--cache-dir', str(folder / 'out/cache')]
    out = ['--out', str(folder / 'out/rescored.json')]
    cli.run('rescore', [*words_of_results(folder), *cache, *out])


def evaluate(folder: Path) -> None:
    words = ['--protocol', 'coco', '--ann', folder / 'in/ann.json', '--out',
             folder / 'out/metrics.json', '--predictions',
             folder / 'in/results.json']  # fmt: skip
    cli.run('evaluate', [str(word) for word in words])


def detect(folder: Path) -> None:
    from fgclip2_det.apis import detection_report

    detection_report.INTERVAL = -1.0  # a state after each image, however fast it is
    words = [folder / 'in/images', '--names', 'red circle; blue star', '--out']
    cli.run('detect', [*map(str, words), str(folder / 'out')])


def detections_of(folder: Path) -> dict[str, str]:
    files = bytes_of(folder)
    text = (folder / 'out/detections.json').read_text()  # paths are the folder's
    return files | {'detections.json': digest(text.replace(str(folder), '').encode())}


def publish(folder: Path) -> None:
    words = [folder / 'in/epoch_1.pth', folder / 'out/detector.pth']
    cli.run('publish_model', [*map(str, words), '--dtype', 'bfloat16'])


def write_checkpoint(folder: Path) -> None:
    (folder / 'in').mkdir()
    weights = {f'layer{i}.weight': torch.full((8, 8), i / 7) for i in range(4)}
    content = dict(meta=dict(cfg='a = 1\n', epoch=1, seed=0), state_dict=weights)
    torch.save(content | dict(optimizer={}), folder / 'in/epoch_1.pth')


def export(folder: Path) -> None:
    """Into a new folder, and over another model."""
    from fgclip2_det import FGCLIP2
    from pretrain.export import export_encoder

    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    export_encoder(encoder, folder / 'out' / 'new', 'bfloat16')
    export_encoder(encoder, folder / 'out' / 'old', 'bfloat16')


def write_model(folder: Path) -> None:
    from fgclip2_det import FGCLIP2

    (folder / 'in').mkdir()
    torch.manual_seed(0)
    FGCLIP2.from_size('tiny').save_pretrained(folder / 'out' / 'old')


def embed(folder: Path) -> None:
    from fgclip2_det import FGCLIP2, Vocabulary

    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    for names in (NAMES, NAMES[:2], NAMES[1:]):
        Vocabulary(names).embed(encoder, folder / 'out')


def nothing(folder: Path) -> None:
    (folder / 'in').mkdir()


def fill_features(folder: Path) -> None:
    from fgclip2_det.datasets.feature_cache import FeatureCache, FeatureWriter

    cache = FeatureCache(folder / 'out', 'a')
    with FeatureWriter(cache, shard_bytes=2 * 4 * 6 * 2 + 1) as writer:
        for i in range(7):
            if f'{i}' not in cache:
                writer.add(f'{i}', torch.full((4, 2, 3), i / 3), (20 + i, 30))


def features_of(folder: Path) -> dict[str, str]:
    from fgclip2_det.datasets.feature_cache import FeatureCache

    cache = FeatureCache(folder / 'out', 'a')
    maps = {key: cache.read(key) for key in sorted(cache.keys())}
    return {
        key: f'{own.float().sum().item()} {size}' for key, (own, size) in maps.items()
    }


def shards(folder: Path) -> None:
    words = [folder / 'in/records.json', '--images', folder / 'in/images', '--out',
             folder / 'out', '--max-per-shard', 5]  # fmt: skip
    cli.run('convert_to_shards', [str(word) for word in words])


def generate(folder: Path) -> None:
    from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

    generate_ovshapes(folder / 'out', 3, 2, 64)


def negatives(folder: Path) -> None:
    words = [folder / 'in/records.json', '--out', folder / 'out/negatives.json']
    cli.run('make_hard_negatives', [*map(str, words), '--workers', '0'])


def train(folder: Path) -> None:
    os.environ['OVSHAPES_ROOT'] = str(folder / 'in')
    options = ['num_train=6', 'num_val=2', 'image_size=96', 'max_num_patches=36',
               'train_cfg.max_epochs=2', 'train_dataloader.batch_size=3']  # fmt: skip
    words = [ROOT / 'configs/ovd_fgclip2.py', '--work-dir', folder / 'out']
    words += ['--resume', '--cfg-options', *options]
    cli.run('train', [str(word) for word in words])


def training_of(folder: Path) -> dict[str, str]:
    found = checkpoint_of(folder / 'out/epoch_2.pth', ('state_dict', 'optimizer'))
    kept = ('metrics.json', 'run.json', 'config_fingerprint.json')
    return found | {name: digest((folder / 'out' / name).read_bytes()) for name in kept}


def align(folder: Path) -> None:
    os.environ['OVSHAPES_ROOT'] = str(folder / 'in')
    options = ['num_images=8', 'max_iters=3', 'train_dataloader.batch_size=4']
    options += ['default_hooks.checkpoint.interval=1']
    config = 'configs/pretrain/fgclip2_tiny_stage1-crops_ovshapes.py'
    words = [ROOT / config, '--work-dir', folder / 'out', '--resume']
    cli.run('train', [str(word) for word in (*words, '--cfg-options', *options)])


def alignment_of(folder: Path) -> dict[str, str]:
    found = checkpoint_of(folder / 'out/iter_3.pth', ('state_dict', 'optimizer'))
    model = sorted((folder / 'out/model').iterdir())
    return found | {path.name: digest(path.read_bytes()) for path in model}


def outside_logs(path: str) -> bool:
    """Not in ``out``, or a log of a training, which nobody reads back."""
    return not path.startswith('out') or re.match(r'out/\d{8}_\d{6}', path) is not None


def write_listed(folder: Path) -> None:
    """A result list with the objects of two pictures of the dry run."""
    from fgclip2_det.reproduce.dry_run_data import write_data

    write_data(folder / 'in' / 'data')
    ann = folder / 'in' / 'data' / 'coco' / 'annotations' / 'instances_val2017.json'
    keys = ('image_id', 'category_id', 'bbox')
    rows = [
        {key: a[key] for key in keys} | {'score': 0.5}
        for a in json.loads(ann.read_text())['annotations']
    ]
    (folder / 'in' / 'list.json').write_text(json.dumps(rows))


def reproduce(folder: Path) -> None:
    """Data, weights, shards of two pictures, result lists and reports."""
    listed = f'list={folder / "in" / "list.json"}'
    words = ['coco', listed, 'fgclip2-base', '--dry-run', '--limit', '2',
             '--shard-size', '1', '--out', str(folder / 'out')]  # fmt: skip
    cli.run('reproduce', words)


COMMANDS = {
    'training': Command(draw_data, train, training_of, outside_logs),
    'alignment': Command(draw_data, align, alignment_of, outside_logs),
    'dump': Command(write_results, dump, bytes_of),
    're-scoring': Command(write_results, rescore, bytes_of),
    'results': Command(write_results, evaluate, bytes_of),
    'detections': Command(write_results, detect, detections_of),
    'publish': Command(write_checkpoint, publish, bytes_of),
    'export': Command(write_model, export, bytes_of),
    'vocabulary cache': Command(nothing, embed, bytes_of),
    'feature cache': Command(nothing, fill_features, features_of),
    'shards': Command(write_training_records, shards, bytes_of),
    'hard negatives': Command(write_training_records, negatives, bytes_of),
    'generation': Command(nothing, generate, bytes_of),
    'reproduction': Command(write_listed, reproduce, bytes_of),
}
