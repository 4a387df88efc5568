"""Evaluate a checkpoint on the test data of a config."""

import argparse

from fgclip2_det.cli.parsing import add_common_arguments

EXAMPLE = """example:
  python tools/test.py configs/ovd_fgclip2.py work_dirs/first/epoch_3.pth
  python tools/test.py CONFIG CHECKPOINT --work-dir work_dirs/new --show-dir drawn
  python tools/test.py CONFIG CHECKPOINT --tta --out results.pkl"""

# positional arguments may stand between options
INTERMIXED = True


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
    parser.add_argument(
        '--out',
        help="predictions: FILE.pkl in MMDetection's form, or FILE.json for COCO's "
        'result lists (FILE.bbox.json, FILE.segm.json)',
    )
    parser.add_argument('--show', action='store_true', help='a window for each image')
    parser.add_argument('--show-dir', help='folder for the drawn images')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds per window (2); 0: a key'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_model and tta_pipeline, or "
        'a horizontal flip',
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.first_process import is_first_process
    from fgclip2_det.engine.report import report
    from fgclip2_det.engine.runner import build_runner, leave_process_group
    from fgclip2_det.engine.start import prepare_test
    from fgclip2_det.engine.test_options import (
        dump_predictions,
        finish_dump,
        show_results,
        use_tta,
    )
    from fgclip2_det.engine.unwrap import unwrap_model
    from fgclip2_det.models.checkpoints import check_weights

    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    weights = prepare_test(cfg, args.checkpoint, args.show_dir)
    if args.show:
        show_results(cfg, args.wait_time)
    if args.tta:
        use_tta(cfg)
    dump = dump_predictions(cfg, args.out) if args.out else None
    runner = build_runner(cfg)
    if weights is not None:
        check_weights(unwrap_model(runner.model), weights, args.checkpoint)
    runner.test()
    if is_first_process():
        finish_dump(dump)
    del runner  # it holds the process group
    leave_process_group()
    report(cfg.work_dir, args.show_dir)
