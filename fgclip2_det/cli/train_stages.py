"""Run several training configs in sequence, each from the previous one's model."""

import argparse
import subprocess
import sys
from pathlib import Path

from fgclip2_det.cli.parsing import TOOLS, KeyValue

RECORD = 'stage.json'  # settings of a stage, in its folder
EXAMPLE = """example (makes the tiny model in fgclip2_det/assets):
  python tools/train_stages.py configs/pretrain/fgclip2_tiny_stage1-crops_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage1_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage2-crops_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage2-windows_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage2_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage2-fine_ovshapes.py \\
      configs/pretrain/fgclip2_tiny_stage2-finer_ovshapes.py \\
      --work-dir work_dirs/fgclip2_tiny --out my_tiny --dtype bfloat16

Started again, it continues where it stopped."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('configs', nargs='+', type=Path, help='in this order')
    parser.add_argument(
        '--work-dir', type=Path, required=True, help='one subfolder per config'
    )
    parser.add_argument('--out', type=Path, help='folder for the last model, exported')
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16', 'float16'],
        help='dtype of the weights in --out; default: as trained',
    )
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help="processes that share each config's batch",
    )
    parser.add_argument('--seed', type=int, help='seed of all stages')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValue,
        default={},
        metavar='KEY=VALUE',
        help='change every config',
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.first_process import held_work_dir

    if args.processes < 1:
        raise ValueError(f'--processes must be at least 1, got {args.processes}')
    for config in args.configs:
        if not config.is_file():
            raise FileNotFoundError(f'there is no config {config}')
    folders = [args.work_dir / config.stem for config in args.configs]
    if len(set(folders)) < len(folders):
        names = ', '.join(config.stem for config in args.configs)
        raise ValueError(f'configs must have different file names, got {names}')
    for config in args.configs if args.processes > 1 else ():
        _batch_share(config, args.cfg_options, args.processes)
    with held_work_dir(args.work_dir, 'chain of trainings'):
        run_stages(args, folders)


def run_stages(args: argparse.Namespace, folders: list[Path]) -> None:
    """Train what has not been trained, and export the last model."""
    from fgclip2_det import load_encoder
    from fgclip2_det.engine.finished_runs import check_settings, write_settings
    from pretrain.curves import draw_curves
    from pretrain.export import export_encoder

    model = None
    stages = zip(args.configs, folders, strict=True)
    for number, (config, work_dir) in enumerate(stages, 1):
        print(f'stage {number} of {len(args.configs)}: {config}', flush=True)
        done = (work_dir / 'model' / 'config.json').is_file()
        settings = _settings(args, config, work_dir, model)
        if check_settings(work_dir / RECORD, settings) is None and done:
            raise ValueError(
                f'{work_dir / "model"} exists without a record of its config and '
                f'initial model; choose another --work-dir, or delete {work_dir}'
            )
        if not done:
            command = _command(args, config, work_dir, model)
            write_settings(work_dir / RECORD, settings)
            _train(config, command)
        model = work_dir / 'model'
    model = folders[-1] / 'model'
    if args.out is not None:
        export_encoder(load_encoder(model), args.out, args.dtype)
    curves = draw_curves(folders, args.work_dir / 'curves.png')
    print(f'model: {args.out or model}\ncurves: {curves}')


def _settings(
    args: argparse.Namespace, config: Path, work_dir: Path, start: Path | None
) -> dict:
    """What a stage's model depends on: resolved config, seed and initial weights."""
    from fgclip2_det.engine.finished_runs import resolved_config
    from fgclip2_det.io.digests import file_digest

    weights = None if start is None else file_digest(start / 'model.safetensors')
    resolved = resolved_config(config, args.cfg_options, work_dir)
    return {'config': resolved, 'seed': args.seed, 'start_weights': weights}


def _train(config: Path, command: list[str]) -> None:
    """Run tools/train.py in a subprocess."""
    from fgclip2_det.io.child_processes import environment_of_child

    code = subprocess.run(command, env=environment_of_child()).returncode
    if code:
        raise ValueError(f'{config} ended with exit code {code}; see its output above')


def _command(
    args: argparse.Namespace, config: Path, work_dir: Path, start: Path | None
) -> list[str]:
    from fgclip2_det.engine.options import format_options

    options = dict(args.cfg_options)
    if start is not None:
        options['model.encoder.pretrained'] = str(start)
    command = [sys.executable]
    if args.processes > 1:
        options |= _batch_share(config, args.cfg_options, args.processes)
        command += ['-m', 'torch.distributed.run', '--standalone']
        command += ['--nproc-per-node', args.processes]
    command += [TOOLS / 'train.py', config]
    command += ['--work-dir', work_dir, '--resume']
    if args.processes > 1:
        command += ['--launcher', 'pytorch']
    if args.seed is not None:
        command += ['--seed', str(args.seed)]
    if options:
        command += ['--cfg-options', *format_options(options)]
    return [str(word) for word in command]


def _batch_share(config: Path, changes: dict, processes: int) -> dict[str, int]:
    """Option that splits a config's batch evenly over the processes."""
    from mmengine.config import Config

    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    batch_size = cfg.train_dataloader.batch_size
    if batch_size % processes:
        raise ValueError(
            f'{config}: batch_size {batch_size} is not divisible by --processes '
            f'{processes}'
        )
    return {'train_dataloader.batch_size': batch_size // processes}
