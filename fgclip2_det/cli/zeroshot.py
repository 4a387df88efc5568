"""Evaluate an encoder (FG-CLIP 2, FG-CLIP 1 or CLIP) on one data set: box
classification, hard negatives, retrieval. Needs no mm package.

``python -m pretrain.evaluate`` is the same command.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fgclip2_det.fgclip2 import DualEncoder

EXAMPLE = """examples:
  python tools/zeroshot.py --checkpoint F --data ovshapes --seed 7 --out m.json
  python tools/zeroshot.py --checkpoint F --data coco --ann val.json --images val \\
      --out m.json
  python tools/zeroshot.py --checkpoint F --data fgovd --ann h.jsonl --images coco \\
      --out m.json
  python tools/zeroshot.py --checkpoint F --data retrieval --ann c.tsv --images D \\
      --mode long --ranker R --out m.json
  python tools/zeroshot.py --checkpoint F --data few-names --ann val.json --images D \\
      --score sigmoid --out m.json"""
# Options of each kind of data; for real data, the first two are required
_OPTIONS = {
    'ovshapes': ('seed', 'data_root'),
    'coco': ('ann', 'images', 'language', 'vocabulary', 'novel', 'templates'),
    'fgovd': ('ann', 'images'),
    'retrieval': ('ann', 'images', 'mode', 'ranker', 'ranker_k'),
    'few-names': ('ann', 'images', 'language', 'templates', 'asks', 'score'),
}
_NUM_OVSHAPES = 300  # images


def parser() -> argparse.ArgumentParser:
    """Parser; options of one kind of data default to None."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--checkpoint', required=True, help='folder in the released layout, or hub id')
    add('--data', choices=list(_OPTIONS), default='ovshapes', help='default: ovshapes')
    add('--out', required=True, type=Path, help='JSON file to write')
    add('--num-images', type=int, help=f'the first n; ovshapes: {_NUM_OVSHAPES}')
    add(
        '--max-num-patches',
        type=int,
        help='per image; default: as in training, ovshapes: 576',
    )
    add('--device', help='default: cuda where there is one, else cpu')
    add('--verbose', action='store_true', help='show the traceback of an error')
    add('--seed', type=int, help='ovshapes: seed of the images; default 1000')
    add('--data-root', help='ovshapes: folder of the images')
    add('--ann', nargs='+', help='annotation file (fgovd: one or more)')
    add('--images', help='folder that the file names of --ann are relative to')
    add('--language', choices=['en', 'zh'],
        help='coco, few-names: of the names; default en')  # fmt: skip
    add('--vocabulary', help='coco: names, one per line, or category<TAB>name')
    add('--novel', nargs='+', help='coco: novel names, or a text file of names')
    sets = ['raw', 'photo', 'chinese', 'imagenet80']
    add('--templates', choices=sets, help='coco, few-names: default raw')
    add('--asks', help='few-names: what to ask, of tools/evaluate.py --write-asks')
    add(
        '--score',
        choices=['softmax', 'sigmoid'],
        help='few-names: over the names asked (default), or each on its own',
    )
    add('--mode', choices=['short', 'long'], help='retrieval: default short')
    add('--ranker', help='retrieval: folder of a ranker of the checkpoint')
    add('--ranker-k', type=int,
        help='retrieval: candidates that it ranks; default 128')  # fmt: skip
    return parser


def main(args: argparse.Namespace) -> None:
    """Evaluate, print the table and write ``args.out``."""
    from fgclip2_det.zeroshot.report import (
        check_writable,
        format_table,
        package_versions,
        write_json,
    )

    _check(args)
    check_writable(args.out)
    encoder = _load_encoder(args.checkpoint, args.device)
    start = time.perf_counter()
    result = _evaluate(encoder, args)
    seconds = time.perf_counter() - start
    if args.data == 'few-names':
        from fgclip2_det.evaluation.few_names.report import figures_table

        print(figures_table(result['metrics']))
    else:
        print(format_table(result))
    options = {name: getattr(args, name) for name in _OPTIONS[args.data]}
    about = {
        'checkpoint': args.checkpoint,
        'data': args.data,
        **{name: value for name, value in options.items() if value is not None},
        'num_images': args.num_images,
        'max_num_patches': args.max_num_patches or 'auto',
        'device': str(encoder.logit_scale.device),
        'seconds': round(seconds, 1),
        'versions': package_versions(),
    }
    write_json(args.out, {**about, **result})
    print(f'{seconds:.1f} s; wrote {args.out}')


def _check(args: argparse.Namespace) -> None:
    """Fill in defaults; raise ValueError for options that do not fit together."""
    wanted = _OPTIONS[args.data]
    for name in dict.fromkeys(name for names in _OPTIONS.values() for name in names):
        if getattr(args, name) is not None and name not in wanted:
            raise ValueError(
                f'--{name.replace("_", "-")} is not an option of --data {args.data}; '
                'leave it out'
            )
    for name in ('ann', 'images'):
        if name in wanted and getattr(args, name) is None:
            raise ValueError(f'--data {args.data} needs --{name}')
    if args.data != 'fgovd' and args.ann and len(args.ann) > 1:
        raise ValueError(f'--data {args.data} takes one --ann, got {len(args.ann)}')
    if args.asks and args.language:
        raise ValueError('--asks says what is asked; leave out --language')
    if args.vocabulary and args.language:
        raise ValueError('give --vocabulary or --language, not both')
    if args.ranker_k is not None and args.ranker is None:
        raise ValueError('--ranker-k is of a ranker; give --ranker, too')
    for name in ('num_images', 'max_num_patches', 'ranker_k'):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f'--{name.replace("_", "-")} must be positive: {value}')
    if args.data == 'ovshapes':
        from fgclip2_det.zeroshot.ovshapes import DEFAULT_SEED, MAX_NUM_PATCHES

        args.seed = DEFAULT_SEED if args.seed is None else args.seed
        args.num_images = args.num_images or _NUM_OVSHAPES
        args.max_num_patches = args.max_num_patches or MAX_NUM_PATCHES
        args.data_root = args.data_root or os.environ.get(
            'OVSHAPES_ROOT', 'data/ovshapes'
        )


def _load_encoder(checkpoint: str, device: str | None) -> DualEncoder:
    import torch

    from fgclip2_det.fgclip1 import load_encoder

    encoder = load_encoder(checkpoint)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        return encoder.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'--device {device} cannot be used: {error}') from error


def _evaluate(encoder: DualEncoder, args: argparse.Namespace) -> dict[str, dict]:
    import torch

    from fgclip2_det import zeroshot
    from fgclip2_det.zeroshot.coco import read_names

    budget = args.max_num_patches or 'auto'
    common = {'num_images': args.num_images, 'max_num_patches': budget}
    with torch.no_grad():
        if args.data == 'ovshapes':
            return zeroshot.evaluate_ovshapes(
                encoder, args.data_root, args.seed, **common
            )
        if args.data == 'fgovd':
            return zeroshot.evaluate_fgovd(encoder, args.ann, args.images, **common)
        if args.data == 'retrieval':
            return _retrieval(encoder, args, common)
        if args.data == 'few-names':
            return _few_names(encoder, args, common)
        novel = args.novel
        if novel and len(novel) == 1 and Path(novel[0]).is_file():
            novel = read_names(novel[0])
        return zeroshot.evaluate_coco_boxes(
            encoder,
            args.ann[0],
            args.images,
            args.language or 'en',
            novel,
            args.vocabulary,
            args.templates or 'raw',
            **common,
        )


def _retrieval(
    encoder: DualEncoder, args: argparse.Namespace, common: dict
) -> dict[str, dict]:
    from fgclip2_det.ranker import Ranker
    from fgclip2_det.zeroshot import evaluate_retrieval

    if args.ranker is not None:
        common['ranker'] = Ranker.from_pretrained(args.ranker, encoder)
        if args.ranker_k is not None:
            common['ranker_k'] = args.ranker_k
    mode = args.mode or 'short'
    return evaluate_retrieval(encoder, args.ann[0], args.images, mode, **common)


def _few_names(
    encoder: DualEncoder, args: argparse.Namespace, common: dict
) -> dict[str, dict]:
    from fgclip2_det.zeroshot.few_names import FewNamesOptions, evaluate_few_names_boxes

    names = 'language', 'templates', 'asks', 'score'
    given = {name: getattr(args, name) for name in names if getattr(args, name)}
    options = FewNamesOptions(**given)
    return evaluate_few_names_boxes(
        encoder, args.ann[0], args.images, options, **common
    )
