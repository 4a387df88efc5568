"""Own data of few images: how many of them, frozen or LoRA, with replay or without.

The embedded detector is trained on a part of a COCO set, as ``fgclip2-det init-data
--size tiny`` writes the config, for the same number of steps each time: with the
encoder frozen or with LoRA, on the own images alone or with as many images of OVShapes,
the data it comes from (so that half of the steps' images are replay). Every row has

- AP and AP50 of the base and the novel names of the own data's validation;
- top-1 of the encoder on true boxes of OVShapes' 17 novel names (the retention test);
- AP50 of the detector on OVShapes' novel names: heads forget as well as encoders.

    python -m benchmarks.own_data data/chess \\
        --novel "white-rook; black-bishop; white-queen" --images 0 50 150 --steps 150

``--images 0`` is the embedded detector before any training. One seed of everything; a
run takes one to two minutes of a core. Results go to --out after every run, and runs
that it has are not done again. Steps are whole epochs: choose numbers that divide.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

COLUMNS = (
    ('base_ap50', 'base AP50'), ('base_ap', 'base AP'), ('novel_ap50', 'novel AP50'),
    ('novel_ap', 'novel AP'), ('retention', 'top-1 of OVShapes novel, encoder'),
    ('shapes_ap50', 'novel AP50 on OVShapes, detector'),
)  # fmt: skip


def part_of(source: Path, count: int, target: Path, seed: int) -> int:
    """A folder with ``count`` of the training images, and all for validation."""
    train = json.loads((source / 'train.json').read_text(encoding='utf-8'))
    images = sorted(train['images'], key=lambda image: image['id'])
    random.Random(seed).shuffle(images)
    kept = {image['id'] for image in images[:count]}
    train['images'] = [image for image in train['images'] if image['id'] in kept]
    train['annotations'] = [a for a in train['annotations'] if a['image_id'] in kept]
    target.mkdir(parents=True)
    (target / 'train.json').write_text(json.dumps(train), encoding='utf-8')
    (target / 'images').symlink_to((source / 'images').resolve())
    (target / 'valid.json').symlink_to((source / 'valid.json').resolve())
    return len(kept)


def run_one(args: argparse.Namespace, folder: Path, row: dict) -> dict[str, Any]:
    """One training of the config that ``init-data`` writes."""
    from fgclip2_det import cli

    own, out = folder / 'data', folder / 'own'
    is_start = not row['images']  # the embedded detector itself
    count = part_of(args.folder, row['images'] or 10, own, args.seed)
    replay = count if row['replay'] else 0
    batches = -(-(count + replay) // 2)
    epochs = max(1, round(args.steps / batches))
    words = ['--size', 'tiny', '--novel', args.novel, '--out', out, '--epochs', epochs]
    words += ['--lora'] if row['train'] == 'lora' else []
    words += ['--replay', replay] if replay else []
    try:
        cli.main(['init-data', str(own), *map(str, words)])
    except SystemExit as stop:  # 1: images leak, as those of one camera do
        if stop.code != 1:
            raise
    figures = train_one(args, out / 'config.py', is_start)
    if is_start:
        return row | dict(images=0, replay=0, steps=0) | figures
    return row | dict(images=count, replay=replay, steps=epochs * batches) | figures


def train_one(
    args: argparse.Namespace, config: Path, is_start: bool
) -> dict[str, float]:
    """Figures of a config after its training, or of what it starts from."""
    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.retention import RetentionTest
    from fgclip2_det.engine.runner import build_runner

    plain = dict(num_workers=0, persistent_workers=False)
    options: dict[str, Any] = {'max_num_patches': args.patches}
    for name in ('train', 'val'):
        options |= {f'{name}_dataloader.{key}': value for key, value in plain.items()}
    options['val_dataloader.dataset.indices'] = args.eval_images
    cfg = load_config(config, options, str(config.parent / 'work'))
    cfg.custom_hooks = [
        hook
        for hook in cfg.custom_hooks
        if 'Retention' not in hook['type'] and 'Visual' not in hook['type']
    ]
    shapes = dict(
        type='OVShapesDataset', data_root=str(args.shapes), split='val', num_train=1,
        num_val=args.eval_images, test_mode=True,
        pipeline=cfg.val_dataloader.dataset.pipeline,
    )  # fmt: skip
    cfg.test_dataloader = {**cfg.val_dataloader, 'dataset': shapes}
    cfg.test_evaluator = dict(type='OpenVocabCocoMetric')
    runner = build_runner(cfg)
    test = RetentionTest(shapes, 'novel')
    if is_start:
        shown = runner.val()
    else:
        runner.train()
        shown = _last(runner)
    figures = {key.rpartition('/')[2]: float(value) for key, value in shown.items()}
    figures['retention'] = test.top1(runner.model)
    figures['shapes_ap50'] = float(runner.test()['open_vocab/novel_ap50'])
    return figures


def _last(runner: Any) -> dict[str, float]:
    """The last validation's figures."""
    scalars = runner.message_hub.log_scalars
    return {
        key: float(scalars[key].current())
        for key in scalars
        if key.startswith('val/open_vocab/')
    }


def table(rows: list[dict]) -> str:
    """Markdown."""
    titles = ['images', 'encoder', 'replay', 'steps', *(title for _, title in COLUMNS)]
    lines = [' | '.join(titles), ' | '.join(['---'] * len(titles))]
    for row in rows:
        cells = [str(row['images']), row['train'], str(row['replay'])]
        cells.append(str(row['steps']))
        for key, _ in COLUMNS:
            cells.append(f'{row[key]:.3f}' if 'ap' in key else f'{row[key]:.1f}')
        lines.append(' | '.join(cells))
    return '\n'.join(f'| {line} |' for line in lines)


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = own.add_argument
    add('folder', nargs='?', type=Path, help='images/, train.json and valid.json')
    add('--novel', default='auto')
    add('--images', type=int, nargs='+', default=[0, 50, 150])
    add('--train', nargs='+', default=['frozen', 'lora'])
    add('--replay', type=int, nargs='+', default=[0, 1])
    add('--steps', type=int, default=150, help='of two images')
    add('--eval-images', type=int, default=30, help='of either validation, at most')
    add('--patches', type=int, default=400)
    add('--seed', type=int, default=0)
    add('--out', type=Path, default=Path('own_data.json'))
    return own


def main() -> None:
    import torch

    import fgclip2_det.registration  # once for all processes

    args = parser().parse_args()
    torch.set_num_threads(1)
    rows = json.loads(args.out.read_text()) if args.out.is_file() else []
    done = {(r['asked'], r['train'], bool(r['replay'])) for r in rows}
    with tempfile.TemporaryDirectory() as shared:
        args.shapes = Path(shared)
        for count, train, replay in product(args.images, args.train, args.replay):
            is_twin = train != args.train[0] or replay != args.replay[0]
            if (not count and is_twin) or (count, train, bool(replay)) in done:
                continue
            row = dict(asked=count, images=count, train=train, replay=replay)
            with (
                tempfile.TemporaryDirectory() as folder,
                ProcessPoolExecutor(1, mp_context=get_context('fork')) as pool,
            ):  # a process each: MMEngine keeps loggers and visualizers
                rows.append(pool.submit(run_one, args, Path(folder), row).result())
            args.out.write_text(json.dumps(rows, indent=1), encoding='utf-8')
            print(table(rows), flush=True)


if __name__ == '__main__':
    main()
