"""Turn a COCO detection file into records for alignment training."""

import argparse
import json
from pathlib import Path

EXAMPLE = """example:
  python tools/coco_to_records.py data/chess/train.json --out data/chess_records \\
      --novel white-rook black-bishop white-queen"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('ann', type=Path, help='COCO annotations')
    parser.add_argument('--out', type=Path, required=True, help='folder for records')
    parser.add_argument(
        '--novel', nargs='*', default=[], help='classes to leave out of the records'
    )
    parser.add_argument('--languages', nargs='+', choices=['en', 'zh'], default=['en'])
    parser.add_argument(
        '--allow-outside',
        action='store_true',
        help="keep file names that leave the image folder ('..', absolute paths)",
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.io.text import read_json
    from pretrain.data.from_coco import coco_to_records

    coco = read_json(args.ann)
    for language in args.languages:
        records = list(
            coco_to_records(coco, language, args.novel, args.ann, args.allow_outside)
        )
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / f'{args.ann.stem}_{language}.json'
        write_atomic(path, json.dumps(records, ensure_ascii=False).encode())
        num_boxes = sum(len(record['bbox_info']) for record in records)
        print(f'{path}: {len(records)} images, {num_boxes} boxes')
