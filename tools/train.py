"""Train a detector, or align an encoder, from a config."""

import argparse

from _cli import add_common_arguments, parse_and_run

EXAMPLE = """example:
  python tools/train.py configs/ovd_fgclip2.py --work-dir work_dirs/first
  python tools/train.py configs/ovd_fgclip2.py --work-dir work_dirs/first --resume
  torchrun --nproc-per-node 8 tools/train.py CONFIG --launcher pytorch"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from a checkpoint; without a path, from the last one in the work '
        'dir',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the total batch size',
    )
    parser.add_argument(
        '--seed', type=int, help="of all randomness; the config's, or 0, by default"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.launch import (
        build_runner,
        leave_process_group,
        load_config,
        prepare_training,
        report,
    )

    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    prepare_training(cfg, args.resume, args.amp, args.auto_scale_lr, args.seed)
    build_runner(cfg).train()
    leave_process_group()
    report(cfg.work_dir)


if __name__ == '__main__':
    parse_and_run(parser(), main)
