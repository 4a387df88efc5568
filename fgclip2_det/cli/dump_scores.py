"""Dump FG-CLIP 2's cosines for a detector's results, for tools/tune_fusion.py.

An interrupted run continues when it is started again.
"""

import argparse

from fgclip2_det.cli.parsing import add_result_list, check_device

NUM_RANKED = 10

EXAMPLE = """example:
  python tools/dump_scores.py --predictions results.bbox.json \\
      --images data/coco/train2017 --ann data/coco/annotations/held_out.json \\
      --encoder qihoo360/fg-clip2-base --out work_dirs/dump"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_result_list(parser)
    add('--out', required=True, help='folder of the dump')
    add(
        '--templates', default='raw', help='raw (default), photo, chinese or imagenet80'
    )
    add('--language', choices=['en', 'zh'], default='en', help='of the class names')
    add('--novel', nargs='+', help="novel classes; default: the categories' split")
    add('--max-num-patches', default='auto', help='patches per image; default auto')
    add('--ranker', help='folder of a ranker of regions, for the rule ranking')
    add('--num-ranked', type=int,
        help=f'names of each box that the ranker reads; default {NUM_RANKED}'
        )  # fmt: skip
    add('--cache-dir', help='folder for cached text embeddings')
    add('--device', default='cpu')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det import load_encoder
    from fgclip2_det.rescoring.dump_writer import dump_scores

    if args.num_ranked is not None and args.ranker is None:
        raise ValueError('--num-ranked is for --ranker FOLDER; give that too')
    check_device(args.device)
    patches = args.max_num_patches
    header = dump_scores(
        args.predictions,
        args.ann,
        args.images,
        load_encoder(args.encoder).to(args.device),
        args.out,
        args.templates,
        args.language,
        args.novel,
        int(patches) if patches.isdecimal() else patches,
        args.cache_dir,
        unpickle=args.unpickle,
        label_order=args.label_order,
        ids=args.ids,
        categories=args.categories,
        ranker=args.ranker,
        num_ranked=NUM_RANKED if args.num_ranked is None else args.num_ranked,
    )
    print(f'{header.num_images} images, {len(header.classes)} names, '
          f'{len(header.novel_classes)} of them novel: {args.out}')  # fmt: skip
    if not header.novel_classes:
        print('no class is novel, so tuning will use all of them; --novel names some')
