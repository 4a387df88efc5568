"""Ablate the losses of stage 2 on OVShapes: train without each of them in turn.

Every variant is trained with every seed from one stage-1 model, and evaluated on images
of a held-out seed. Each run writes one JSON file; started again, the sweep continues
where it stopped. It ends with a table and a chart of means and standard deviations.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from fgclip2_det.cli.parsing import ROOT, TOOLS, KeyValue

CONFIGS = [
    ROOT / f'configs/pretrain/fgclip2_tiny_{name}_ovshapes.py'
    for name in ('stage2-crops', 'stage2')
]
EXAMPLE = """example:
  python tools/ablate_pretrain.py --work-dir work_dirs/ablation \\
      --start work_dirs/fgclip2_tiny/fgclip2_tiny_stage1_ovshapes/model
  python tools/ablate_pretrain.py --work-dir work_dirs/short --start START \\
      --length 0.25 --seeds 0 1 2 --variants full wo-cmr wo-tic
  python tools/ablate_pretrain.py --work-dir work_dirs/ablation --dry-run \\
      --start 'work_dirs/seed{seed}/fgclip2_tiny_stage1_ovshapes/model'"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--start', required=True, help='stage-1 model; {seed} is replaced by the seed')
    add('--work-dir', type=Path, required=True, help='folder for runs and results')
    add('--configs', nargs='+', type=Path, default=CONFIGS, metavar='CONFIG',
        help='stage-2 configs, run in this order; default: tiny model')  # fmt: skip
    add('--seeds', nargs='+', type=int, default=[0, 1, 2])
    add('--variants', nargs='+', metavar='NAME', help='default: all')
    add('--length', type=float, default=1.0, help='factor on the number of iterations')
    add('--eval-seed', type=int, help='seed of the evaluation images; default 1000')
    add('--num-images', type=int, default=300, help='evaluation images; default 300')
    add('--data-root', help='folder of the evaluation images')
    add('--device', default='cpu', help='device of the evaluation; default cpu')
    add('--cfg-options', nargs='+', action=KeyValue, default={}, metavar='KEY=VALUE',
        help='change every config of every run')  # fmt: skip
    add('--dry-run', action='store_true', help='only print the commands')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from contextlib import nullcontext

    from fgclip2_det.engine.first_process import held_work_dir

    check(args)
    held = held_work_dir(args.work_dir, 'sweep') if not args.dry_run else nullcontext()
    with held:
        sweep(args)


def sweep(args: argparse.Namespace) -> None:
    """Run what has not been run, and write table and chart."""
    runs = [(v, seed) for v in args.variants for seed in seeds_of(args, v)]
    results = []
    for number, (variant, seed) in enumerate(runs, 1):
        print(f'run {number} of {len(runs)}: {variant}, seed {seed}', flush=True)
        results.append(run(args, variant, seed))
    if args.dry_run:
        return
    from fgclip2_det.io.atomic import write_atomic
    from pretrain.ablation import collect, draw_table, format_markdown

    table = collect(results)
    text = format_markdown(table)
    write_atomic(args.work_dir / 'ablation.md', f'{text}\n'.encode())
    chart = draw_table(table, args.work_dir / 'ablation.png')
    print(f'\nPercent, mean of English and Chinese, ± is the standard deviation over '
          f'seeds\n\n{text}\n\nchart: {chart}')  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Fill in defaults; raise ValueError for invalid options before the first run."""
    from fgclip2_det.engine.config import read_config
    from fgclip2_det.zeroshot.ovshapes import DEFAULT_SEED
    from pretrain.ablation import VARIANTS, find_variant

    args.variants = [find_variant(name) for name in args.variants or VARIANTS]
    args.eval_seed = DEFAULT_SEED if args.eval_seed is None else args.eval_seed
    stems = [config.stem for config in args.configs]
    if len(set(stems)) < len(stems):
        raise ValueError(f'configs must have different file names, got {stems}')
    for config in args.configs:
        if not config.is_file():
            raise FileNotFoundError(f'there is no config {config}')
    args.loaded = [read_config(config) for config in args.configs]
    for config, cfg in zip(args.configs, args.loaded, strict=True):
        given, own = args.cfg_options, cfg.train_dataloader.dataset.get('seed')
        given = given.get('train_dataloader.dataset.seed', given.get('seed', own))
        if given == args.eval_seed:
            raise ValueError(
                f'{config} trains on images of seed {args.eval_seed}; take another '
                '--eval-seed'
            )
    for seed in args.seeds:
        if not (start_of(args, seed) / 'config.json').is_file() and not args.dry_run:
            raise ValueError(f'there is no model in {start_of(args, seed)} (--start)')


def seeds_of(args: argparse.Namespace, variant: str) -> list[int]:
    """Seeds of a variant; one seed if nothing is trained and the start is the same."""
    from pretrain.ablation import VARIANTS

    same = VARIANTS[variant] is None and '{seed}' not in args.start
    return args.seeds[:1] if same else args.seeds


def start_of(args: argparse.Namespace, seed: int) -> Path:
    """Path of the stage-1 model of a seed."""
    return Path(args.start.replace('{seed}', str(seed)))


def run(args: argparse.Namespace, variant: str, seed: int) -> dict | None:
    """Result of one variant and seed, read from its file or computed by training."""
    from fgclip2_det.engine.finished_runs import resolved_config
    from fgclip2_det.io.digests import file_digest, json_digest
    from fgclip2_det.zeroshot.report import write_json
    from pretrain.ablation import slug

    folder = args.work_dir / slug(variant) / f'seed{seed}'
    out = args.work_dir / 'results' / f'{slug(variant)}_seed{seed}.json'
    plan = commands(args, variant, seed, folder)
    settings = {
        'variant': variant,
        'seed': seed,
        'start': str(start_of(args, seed)),
        'options': [options for _, _, options in plan],
        'configs': [
            json_digest(resolved_config(config, options, folder))
            for config, (_, _, options) in zip(args.configs, plan, strict=False)
        ],
        'start_weights': file_digest(start_of(args, seed) / 'model.safetensors')
        if not args.dry_run
        else None,
        'eval_seed': args.eval_seed,
        'num_images': args.num_images,
    }
    if args.dry_run:
        for _, command, _ in plan:
            print(shlex.join(command))
        return None
    if out.is_file():
        return read_result(out, settings)
    settings_file = folder / 'settings.json'
    if settings_file.is_file():
        read_result(settings_file, settings)
    for path in (settings_file, out):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(settings_file, settings)
    model = start_of(args, seed)
    for model, command, _ in plan:
        if not (model / 'config.json').is_file():
            train(command)
    result = settings | evaluate(args, None if not plan else model, seed)
    write_json(out, result)
    return result


def commands(
    args: argparse.Namespace, variant: str, seed: int, folder: Path
) -> list[tuple[Path, list[str], dict]]:
    """(path of the trained model, command, options) of each config, in order."""
    from fgclip2_det.engine.options import format_options
    from pretrain.ablation import VARIANTS, schedule_options

    changes, model, plan = VARIANTS[variant], start_of(args, seed), []
    if changes is None:
        return plan
    for config, cfg in zip(args.configs, args.loaded, strict=True):
        options: dict[str, Any] = {'model.encoder.pretrained': str(model)}
        options |= {f'model.losses.{name}': value for name, value in changes.items()}
        if 'seed' in (cfg.train_dataloader.get('sampler') or {}):
            options['train_dataloader.sampler.seed'] = seed  # order and random choices
        options |= schedule_options(cfg, args.length) | args.cfg_options
        command = [sys.executable, str(TOOLS / 'train.py')]
        command += [str(config), '--work-dir', str(folder / config.stem), '--resume']
        command += ['--seed', str(seed), '--cfg-options']
        command += format_options(options)
        model = folder / config.stem / 'model'
        plan.append((model, command, options))
    return plan


def train(command: list[str]) -> None:
    """Run tools/train.py in a subprocess."""
    from fgclip2_det.io.child_processes import environment_of_child

    code = subprocess.run(command, env=environment_of_child()).returncode
    if code:
        raise ValueError(
            f'a training ended with exit code {code}, see its output above; run the '
            f'same command again to continue. It was: {shlex.join(command)}'
        )


def evaluate(args: argparse.Namespace, model: Path | None, seed: int) -> dict:
    """Metrics of a trained model; None evaluates the initial model of stage 2."""
    from fgclip2_det import load_encoder
    from fgclip2_det.zeroshot import evaluate_ovshapes
    from pretrain.initialise import build_for_training

    if model is None:  # with new heads initialised as in stage 2
        start = {**args.loaded[0].model.encoder, 'pretrained': start_of(args, seed)}
        encoder = build_for_training(**start).eval()
    else:
        encoder = load_encoder(model)
    root = args.data_root or os.environ.get('OVSHAPES_ROOT', 'data/ovshapes')
    encoder = encoder.to(args.device)
    patches = args.loaded[-1].train_dataloader.collate_fn.max_num_patches
    return evaluate_ovshapes(
        encoder, root, args.eval_seed, args.num_images, max_num_patches=patches
    )


def read_result(path: Path, settings: dict) -> dict:
    """A file of an earlier start; ValueError if it had other settings."""
    from fgclip2_det.io.text import json_values, read_json

    content = read_json(path, remedy='delete it')
    for name, value in json_values(settings).items():
        if content.get(name) != value:
            raise ValueError(
                f'{path} has different {name}: {content.get(name)!r} there, '
                f'{value!r} here; choose another --work-dir, or delete the file and '
                'its run'
            )
    return content
