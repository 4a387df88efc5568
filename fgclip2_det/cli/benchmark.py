"""Evaluate an encoder on public benchmarks: box classification, grounding of
descriptions, retrieval, ImageNet, segmentation. Needs no mm package.

--list shows the names, which files exist below --data-root and where the others are
published. Nothing is downloaded. --encoder oracle and --encoder noise test the
evaluation itself: they predict the ground truth, or at random.
"""

import argparse
import json
from pathlib import Path

from fgclip2_det.cli.parsing import number_of_names

EXAMPLE = """examples:
  python tools/benchmark.py --list --data-root data
  python tools/benchmark.py coco-box fgovd --encoder qihoo360/fg-clip2-base \\
      --data-root data --out-dir work_dirs/benchmarks
  python tools/benchmark.py coco-box --encoder oracle --data-root data --out-dir O
  python tools/benchmark.py refcoco-val --encoder F --boxes detections.json --out-dir O
  python tools/benchmark.py icr icm --encoder F --ranker R --data-root data --out-dir O
  python tools/benchmark.py --page docs/benchmarks.md --results work_dirs/benchmarks"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('names', nargs='*', metavar='NAME', help='benchmarks')
    add('--list', action='store_true', help='show all benchmarks and their files')
    add('--encoder', help='folder in the released layout, hub id, random-base (-large, '
        '-so400m, -tiny), oracle or noise')  # fmt: skip
    add('--segmentor', nargs=2, metavar=('CONFIG', 'CHECKPOINT'),
        help='instead of --encoder, for segmentation: a trained decoder')  # fmt: skip
    add('--data-root', type=Path, default=Path('data'), help='default: data')
    add('--out-dir', type=Path, help='folder for NAME.json of each benchmark')
    add('--num-images', type=int, help='only the first n images')
    add('--boxes', type=Path, help='COCO result list with the boxes to choose from; '
        'default: the annotated boxes')  # fmt: skip
    add('--ranker', help='folder of a ranker of the encoder, oracle or noise: retrieval'
        ' and matching are measured without and with it')  # fmt: skip
    add('--ranker-k', type=int, help='candidates that it ranks for a query; default: '
        "the benchmark's reference's")  # fmt: skip
    add('--subset', action='store_true', help='the files are a subset of the published')
    add('--max-num-patches', type=int, help='per image; default: as in training')
    add('--device', help='default: cuda where there is one, else cpu')
    add('--dtype', choices=['float32', 'bfloat16', 'int8'], default='float32')
    add('--seed', type=int, default=0, help='seed of random weights and of noise')
    add('--page', type=Path, help='only write the results page to this file')
    add('--results', type=Path, help='for --page: folder of NAME.json files')
    add('--verbose', action='store_true', help='show the traceback of an error')
    add_few_names(parser)
    return parser


def add_few_names(parser: argparse.ArgumentParser) -> None:
    """Options of few-names; they stay None where they are not given."""
    add = parser.add_argument_group('few-names').add_argument
    add('--few-names-mode', choices=['random', 'hard'],
        help='absent names: at random (default), or near the present ones')  # fmt: skip
    add('--few-names-ks', nargs='+', type=number_of_names, metavar='K',
        help='numbers of names; default: 1 2 5 20 all')  # fmt: skip
    add('--few-names-seed', type=int, help='of the draw; default: 0')
    add('--few-names-language', choices=['en', 'zh'], help='of the names; default: en')
    add('--few-names-asks',
        help='what to ask, of tools/evaluate.py --write-asks')  # fmt: skip
    add('--few-names-score', choices=['softmax', 'sigmoid'],
        help='of a box: softmax over the names asked for (default), or sigmoid with '
             "the encoder's scale and bias")  # fmt: skip
    add('--few-names-score-thr', type=float,
        help='a box counts from this score on; default: 0.3')  # fmt: skip


def few_names_options(args: argparse.Namespace) -> dict:
    """Options of ``FewNamesOptions`` that were given."""
    names = 'mode', 'ks', 'seed', 'language', 'asks', 'score', 'score_thr'
    values = {name: getattr(args, f'few_names_{name}') for name in names}
    given = {name: value for name, value in values.items() if value is not None}
    drawn = [n for n in ('mode', 'ks', 'seed', 'language') if n in given]
    if 'asks' in given and drawn:
        raise ValueError(
            f'--few-names-asks says what is asked; leave out --few-names-{drawn[0]}'
        )
    return given


def main(args: argparse.Namespace) -> None:
    if args.list:
        show_list(args.data_root)
    elif args.page:
        write_page(args.page, args.results)
    else:
        measure(args)


def show_list(data_root: Path) -> None:
    from fgclip2_det.zeroshot.suite import BENCHMARKS

    width = max(map(len, BENCHMARKS))
    for name, benchmark in BENCHMARKS.items():
        print(f'{name:<{width}}  {benchmark.title}')
        for file in benchmark.files.values():
            exists = (data_root / file.path).exists()
            state = 'present' if exists else f'missing; published at {file.url}'
            print(f'{"":<{width}}    {file.path}: {state}')


def write_page(path: Path, results: Path | None) -> None:
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.zeroshot.results_page import read_folder, results_page

    write_atomic(path, results_page(read_folder(results) if results else {}).encode())
    print(f'-> {path}')


def measure(args: argparse.Namespace) -> None:
    from fgclip2_det.evaluation.few_names.report import figures_table
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.zeroshot import format_table
    from fgclip2_det.zeroshot.benchmark import ReadOptions
    from fgclip2_det.zeroshot.suite import (
        find_benchmarks,
        read_benchmark,
        run_benchmark,
    )

    for value, option in (
        (args.names, 'the name of a benchmark (--list shows them)'),
        (args.encoder or args.segmentor, '--encoder'),
        (args.out_dir, '--out-dir'),
    ):
        if not value:
            raise ValueError(f'{option} is needed')
    if args.segmentor is not None:
        check_segmentor(args)
    check_ranker(args)
    options = ReadOptions(
        args.num_images,
        args.boxes,
        few_names_options(args),
        args.ranker,
        args.ranker_k,
    )
    chosen = find_benchmarks(args.names)
    tasks = [  # checks all files before the first benchmark runs for hours
        read_benchmark(benchmark, args.data_root, options, args.subset)
        for benchmark in chosen
    ]
    embedder, name = make_any_embedder(args)
    for benchmark, task in zip(chosen, tasks, strict=True):
        result = run_benchmark(benchmark, task, embedder, args.data_root, options)
        result['protocol']['encoder_name'] = name
        if args.ranker:
            result['protocol']['ranker_name'] = args.ranker
        print(f'{benchmark.title}, {name}')
        if benchmark.takes_few_names:
            print(figures_table(result['metrics']))
        else:
            print(format_table(result))
        show_paper(benchmark)
        path = args.out_dir / f'{benchmark.name}.json'
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(path, f'{text}\n'.encode())
        print(f'{result["seconds"]:.1f} s -> {path}\n')


def check_segmentor(args: argparse.Namespace) -> None:
    """Refuse what does not go with ``--segmentor``."""
    from fgclip2_det.zeroshot.segmentation import BENCHMARKS

    for given, option in (
        (args.encoder, '--encoder'),
        (args.max_num_patches, '--max-num-patches'),
        (args.dtype != 'float32', '--dtype'),
        (args.ranker, '--ranker'),
    ):
        if given:
            raise ValueError(f'{option} does not go with --segmentor; leave it out')
    others = [name for name in args.names if name not in BENCHMARKS]
    if others:
        raise ValueError(
            f'--segmentor is for segmentation, {others[0]} is not; choose among '
            f'{", ".join(BENCHMARKS)}'
        )


def make_any_embedder(args: argparse.Namespace) -> tuple:
    """What answers, and its name."""
    import torch

    if args.segmentor is None:
        from fgclip2_det.zeroshot.suite import make_embedder

        budget = args.max_num_patches or 'auto'
        dtype = getattr(torch, args.dtype)
        embedder = make_embedder(
            args.encoder, budget, args.device, dtype, args.seed, args.ranker
        )
        return embedder, args.encoder

    from fgclip2_det.engine.segmentor_embedder import SegmentorEmbedder

    config, checkpoint = args.segmentor
    embedder = SegmentorEmbedder.load(config, checkpoint, args.device)
    return embedder, f'{Path(config).stem} (trained)'


def check_ranker(args: argparse.Namespace) -> None:
    """ValueError for options that do not fit together."""
    if args.ranker_k is not None and args.ranker is None:
        raise ValueError('--ranker-k is of a ranker; give --ranker, too')
    if args.ranker_k is not None and args.ranker_k < 1:
        raise ValueError(f'--ranker-k must be at least 1, got {args.ranker_k}')


def show_paper(benchmark) -> None:
    from fgclip2_det.zeroshot.benchmark import SIZES

    for metric, numbers in benchmark.paper.items():
        values = ', '.join(
            f'{size} {number}'
            for size, number in zip(SIZES, numbers, strict=True)
            if number is not None
        )
        print(f'published: {metric} {values}')
