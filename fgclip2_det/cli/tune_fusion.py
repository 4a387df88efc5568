"""Compare fusion settings on a dump of tools/dump_scores.py, without a forward pass.

The setting is chosen by base classes only. The detector was trained on these, so they
favour a smaller weight of FG-CLIP 2 than novel classes would, above all for beta, its
weight on novel classes. The detector without fusion is compared as well, and chosen if
no setting is better.

With --few-names every image is asked for a few names, half of them absent, in place of
all: settings are compared by their mean AP over the numbers of names, and the config of
the best one has the calibration that moves its threshold to --score-thr.
"""

import argparse
from pathlib import Path

from fgclip2_det.cli.parsing import check_ranking_options, number_of_names
from fgclip2_det.rescoring.rules import RANKING, TUNED_RULES

EXAMPLE = """example:
  python tools/tune_fusion.py --dump work_dirs/dump \\
      --ann data/coco/annotations/held_out.json --base-only \\
      --fusion geometric arithmetic --alpha 0.2 0.35 0.5 0.65 --temperature 0.01 0.02 \\
      --mode keep box --nms none 0.7 --out work_dirs/tune"""


def number_or_none(word: str) -> float | None:
    return None if word == 'none' else float(word)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--dump', required=True, help='folder of tools/dump_scores.py')
    add('--ann', required=True, help='COCO annotation file of the same images')
    add('--out', type=Path, required=True,
        help='folder for tune.json, curves.png and best.py')  # fmt: skip
    add('--fusion', nargs='+', choices=TUNED_RULES, default=['geometric'],
        help='default: geometric')  # fmt: skip
    add('--alpha', nargs='+', type=float, default=[0.1, 0.2, 0.35, 0.5, 0.65, 0.8],
        help='weights of FG-CLIP 2; default: 0.1 0.2 0.35 0.5 0.65 0.8')  # fmt: skip
    add('--beta', nargs='+', type=number_or_none,
        help="weights on novel names, 'none': alpha; default: the rule's")  # fmt: skip
    add('--temperature', nargs='+', type=float,
        help="temperatures of the similarities; default: the rule's")  # fmt: skip
    add('--mode', nargs='+', choices=['keep', 'box', 'joint'], default=['keep'],
        help='default: keep')  # fmt: skip
    add('--nms', nargs='+', type=number_or_none, default=[None],
        help="NMS IoUs for box and joint, or 'none' (default)")  # fmt: skip
    add('--num-ranked', nargs='+', type=int,
        help='ranking: names of each box that the ranker reads; 5')  # fmt: skip
    add('--ranking-weight', nargs='+', type=float,
        help="ranking: weights of the ranker's log-odds; default: 1")  # fmt: skip
    add('--max-per-image', type=int, default=300,
        help='rows kept in box and joint; default 300')  # fmt: skip
    add('--metric', choices=['ap', 'ap50'], default='ap50', help='default: ap50')
    novel = parser.add_mutually_exclusive_group()
    novel.add_argument('--base-only', action='store_true',
                       help='leave out annotations of novel classes')  # fmt: skip
    novel.add_argument('--with-novel', action='store_true',
                       help='choose by all classes, which leaks')  # fmt: skip
    few = parser.add_argument_group('few names')
    few.add_argument('--few-names', action='store_true',
                     help='compare answers to a few names instead of all')  # fmt: skip
    few.add_argument('--ks', nargs='+', type=number_of_names,
                     help='numbers of names; default: 1 2 5 20 all')  # fmt: skip
    few.add_argument('--seed', type=int, help='of the draw; default 0')
    few.add_argument('--absent', choices=['random', 'hard'],
                     help='how absent names are drawn; default: random')  # fmt: skip
    few.add_argument('--score-thr', type=float,
                     help='score that users see boxes from; default 0.3')  # fmt: skip
    few.add_argument('--precision', type=float,
                     help='that they shall have; default: the highest F1')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def few_names_options(args: argparse.Namespace) -> dict | None:
    """Options that were given of ``FewNames``; None without --few-names."""
    given = {
        name: value
        for name in ('ks', 'seed', 'absent', 'score_thr', 'precision')
        if (value := getattr(args, name)) is not None
    }
    if not args.few_names and given:
        option = next(iter(given)).replace('_', '-')
        raise ValueError(f'--{option} is for --few-names; give that too')
    return given if args.few_names else None


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.rescoring.few_names_tuning import FewNames, tune_few_names
    from fgclip2_det.rescoring.score_dump import ScoreDump
    from fgclip2_det.rescoring.tuning import DETECTOR, make_grid, tune_fusion
    from fgclip2_det.rescoring.tuning_report import (
        describe_best,
        describe_tuning,
        format_table,
        selected_metric,
        write_report,
    )
    from fgclip2_det.rescoring.tuning_truths import tuning_truths

    options = few_names_options(args)
    few = None if options is None else FewNames(**options)
    check_ranking_options(args, RANKING in args.fusion)
    dump = ScoreDump(args.dump)
    grid = make_grid(
        args.fusion,
        args.alpha,
        args.beta,
        args.temperature,
        args.mode,
        args.nms,
        args.num_ranked,
        args.ranking_weight,
        dump.header.num_ranked,
    )
    novel = 'use' if args.with_novel else 'drop' if args.base_only else 'refuse'
    truths = tuning_truths(args.ann, dump, novel, with_absent=few is not None)
    settings = [DETECTOR, *(setting for setting in grid if setting != DETECTOR)]
    protocol = describe_tuning(dump, truths, args.max_per_image, few)
    print(protocol['line'])
    if not protocol['base_only']:
        print('WARNING: the setting is chosen by novel classes, which leaks: its '
              'metrics are not a test result')  # fmt: skip
    if not protocol['novel_names']:
        print('the dump has no novel names: every class counts as base')
    if args.beta and protocol['base_only'] and len(args.beta) > 1:
        print('base classes cannot determine beta: it only changes novel scores')
    if few is None:
        figures = tune_fusion(dump, truths, settings, args.max_per_image)
    else:
        figures = tune_few_names(dump, truths, settings, few, args.max_per_image)
    metric = selected_metric(figures, args.metric)
    print(format_table(figures, metric))
    seconds = sum(row.seconds for row in figures) / len(figures)
    files = write_report(figures, metric, protocol, args.out)
    summary = describe_best(figures, metric)
    print(f'{len(figures)} settings, {seconds:.2f} s each; {summary}: '
          f'{", ".join(map(str, files))}')  # fmt: skip
