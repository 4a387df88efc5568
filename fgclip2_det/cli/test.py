"""Evaluate a checkpoint on the test data of a config."""

import argparse
from contextlib import nullcontext

from fgclip2_det.cli.parsing import add_common_arguments, number_of_names

EXAMPLE = """example:
  python tools/test.py configs/ovd_fgclip2.py work_dirs/first/epoch_2.pth
  python tools/test.py CONFIG CHECKPOINT --work-dir work_dirs/new --show-dir drawn
  python tools/test.py CONFIG CHECKPOINT --tta --out results.pkl
  python tools/test.py CONFIG CHECKPOINT --few-names --few-names-mode hard"""

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
    add_few_names(parser)
    return parser


def add_few_names(parser: argparse.ArgumentParser) -> None:
    """Options of ``--few-names``; they stay None where they are not given."""
    add = parser.add_argument_group('few names').add_argument
    add('--few-names', action='store_true',
        help='ask for 1, 2, 5, 20 and all names an image, half of them absent; see '
             'docs/evaluation.md')  # fmt: skip
    add('--few-names-mode', choices=['random', 'hard'],
        help='absent names: at random (default), or near the present ones')  # fmt: skip
    add('--few-names-ks', nargs='+', type=number_of_names, metavar='K',
        help='numbers of names; default: 1 2 5 20 all')  # fmt: skip
    add('--few-names-seed', type=int, help='of the draw; default: 0')
    add('--few-names-asks',
        help='what to ask, of tools/evaluate.py --write-asks')  # fmt: skip
    add('--few-names-score-thr', type=float,
        help='a box counts from this score on; default: 0.3')  # fmt: skip


def few_names_options(args: argparse.Namespace) -> dict | None:
    """Options of ``FewNamesOptions``; None for a plain test."""
    names = 'mode', 'ks', 'seed', 'asks', 'score_thr'
    values = {name: getattr(args, f'few_names_{name}') for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    if given and not args.few_names:
        option = next(iter(given)).replace('_', '-')
        raise ValueError(f'--few-names-{option} belongs to --few-names; add that')
    return given if args.few_names else None


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.report import report
    from fgclip2_det.engine.runner import build_runner, leave_process_group
    from fgclip2_det.engine.start import prepare_test
    from fgclip2_det.engine.test_options import dump_predictions, show_results, use_tta
    from fgclip2_det.engine.unwrap import unwrap_model
    from fgclip2_det.models.checkpoints import check_weights

    few_names = few_names_options(args)
    cfg = load_config(args.config, args.cfg_options, args.work_dir, args.launcher)
    weights = prepare_test(cfg, args.checkpoint, args.show_dir)
    if few_names is not None:
        run_few_names(cfg, args, weights, few_names)
        return
    if args.show:
        show_results(cfg, args.wait_time)
    if args.tta:
        use_tta(cfg)
    with dump_predictions(cfg, args.out) if args.out else nullcontext():
        runner = build_runner(cfg)
        if weights is not None:
            check_weights(unwrap_model(runner.model), weights, args.checkpoint)
        runner.test()
    del runner  # it holds the process group
    leave_process_group()
    report(cfg.work_dir, args.show_dir)


def run_few_names(cfg, args: argparse.Namespace, weights, options: dict) -> None:
    from fgclip2_det.engine.few_names import (
        FewNamesOptions,
        check_few_names,
        show_few_names,
        test_few_names,
    )
    from fgclip2_det.engine.runner import build_runner
    from fgclip2_det.engine.unwrap import unwrap_model
    from fgclip2_det.models.checkpoints import check_weights

    others = 'out', 'show', 'show_dir', 'tta'
    check_few_names(
        cfg, {f'--{name.replace("_", "-")}': getattr(args, name) for name in others}
    )
    runner = build_runner(cfg)
    if weights is not None:
        check_weights(unwrap_model(runner.model), weights, args.checkpoint)
    outcome = test_few_names(runner, FewNamesOptions(**options))
    show_few_names(outcome, cfg.work_dir)
