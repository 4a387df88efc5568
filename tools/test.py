"""Evaluate a checkpoint on the test data of a config."""

import argparse

from _cli import add_common_arguments, parse_and_run

EXAMPLE = """example:
  python tools/test.py configs/ovd_fgclip2.py work_dirs/first/epoch_12.pth
  python tools/test.py CONFIG CHECKPOINT --work-dir work_dirs/new --show-dir pictures"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file; none for a model whose config names its weights',
    )
    add_common_arguments(parser)
    parser.add_argument('--show-dir', help='folder for a picture of every image')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.checkpoints import check_weights
    from fgclip2_det.engine.launch import (
        build_runner,
        leave_process_group,
        load_config,
        prepare_test,
        report,
    )

    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    weights = prepare_test(cfg, args.checkpoint, args.show_dir)
    runner = build_runner(cfg)
    if weights is not None:
        check_weights(runner.model, weights, args.checkpoint)
    runner.test()
    del runner  # and with it what holds the process group
    leave_process_group()
    report(cfg.work_dir, args.show_dir)


if __name__ == '__main__':
    parse_and_run(parser(), main)
