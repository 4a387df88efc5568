"""Convert annotations for training and evaluation, and check data sets."""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from fgclip2_det.cli.parsing import BAD_ANSWER, write_json

EXAMPLE = """examples:
  python tools/prepare_data.py check data
  python tools/prepare_data.py ov-coco --out-dir data/coco/annotations \\
      --train data/coco/annotations/instances_train2017.json \\
      --val data/coco/annotations/instances_val2017.json
  python tools/prepare_data.py lvis-minival data/coco/annotations/lvis_v1_val.json \\
      --out data/coco/annotations/lvis_v1_minival_inserted_image_name.json
  python tools/prepare_data.py coco-to-odvg train.json --out train_od.jsonl \\
      --label-map label_map.json
  python tools/prepare_data.py leaks --train train.json --val val.json --split ov_coco

leaks exits with 1 if there is a leak (a warning alone is none), check if a data set is
incomplete."""


def bar(what: str) -> Callable[[Iterable], Iterable]:
    from tqdm import tqdm

    return lambda items: tqdm(items, desc=what, unit_scale=True, disable=None)


def ov_coco(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import ov_coco as library

    if not (args.train or args.val):
        raise ValueError('give --train, --val or both: instances files of COCO')
    for source, name, splits in (
        (args.train, library.TRAIN_NAME, ('base',)),
        (args.val, library.VAL_NAME, ('base', 'novel')),
    ):
        if source:
            target, show = args.out_dir / name, bar(source.name)
            counts = library.write_ov_coco(
                source, target, splits, args.keep_empty, show
            )
            print(f'{target}: {counts["images"]:,} images, {counts["annotations"]:,} '
                  f'boxes of {counts["categories"]} classes')  # fmt: skip


def lvis_base(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import write_lvis_base

    counts = write_lvis_base(args.ann, args.out, bar(args.ann.name))
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes; '
          f'{counts["rare"]:,} boxes of rare classes left out')  # fmt: skip


def lvis_minival(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import NUM_MINIVAL, write_lvis_minival

    counts = write_lvis_minival(args.ann, args.out, args.images, bar(args.ann.name))
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes')
    if counts['absent']:
        print(f'{counts["absent"]:,} images of the list are not in {args.ann}')
    if counts['images'] != NUM_MINIVAL:
        print(f'warning: LVIS minival has {NUM_MINIVAL:,} images, this file has '
              f'{counts["images"]:,}; its AP is not comparable with published ones',
              file=sys.stderr)  # fmt: skip


def coco_to_odvg(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import coco_to_odvg

    counts = coco_to_odvg(args.ann, args.out, args.label_map, bar(args.ann.name))
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes, '
          f'of which {counts["crowd"]:,} are crowds, kept apart')  # fmt: skip


def odvg_to_coco(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import odvg_to_coco

    counts = odvg_to_coco(
        args.ann,
        args.label_map,
        args.out,
        args.categories,
        args.skip_grounding,
        bar(args.ann.name),
    )
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes')
    if counts['grounding']:
        print(f'{counts["grounding"]:,} lines with captions (grounding) left out')


def voc_to_coco(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import read_names, voc_to_coco

    names = read_names(args.names) if args.names else None
    counts = voc_to_coco(
        args.annotations,
        args.out,
        args.image_set,
        names,
        args.zero_based,
        bar('XML'),
        args.encoding,
    )
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes, '
          f'{counts["difficult"]:,} difficult (iscrowd)')  # fmt: skip


def yolo_to_coco(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import yolo_to_coco

    counts = yolo_to_coco(
        args.images, args.labels, args.names, args.out, bar('images'), args.encoding
    )
    print(f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes; '
          f'{counts["without_labels"]:,} images have no label file')  # fmt: skip


def pseudo_boxes(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import write_pseudo_boxes

    counts = write_pseudo_boxes(
        args.ann,
        args.predictions,
        args.out,
        args.rule,
        args.min_score,
        args.ids,
        args.categories,
    )
    print(
        f'{args.out}: {counts["images"]:,} images, {counts["annotations"]:,} boxes '
        f'for {counts["labels"]:,} labels; {counts["without"]:,} have none'
    )


def check(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import check_root

    states = check_root(args.root, bar('data sets'))
    width = max(len(state.name) for state in states)
    for state in states:
        print(f'{state.name:<{width}}  {state}')
    write_json(args.json, {'data_sets': [asdict(state) for state in states]})
    if any(state.state == 'incomplete' for state in states):
        sys.exit(BAD_ANSWER)


def leaks(args: argparse.Namespace) -> None:
    from fgclip2_det.prepare import leaks as library

    findings = library.find_leaks(
        args.train,
        args.val,
        novel=args.novel,
        list_name=args.split,
        train_images=args.train_images,
        val_images=args.val_images,
        max_distance=args.distance,
        bar=bar,
        workers=args.workers,
    )
    for finding in findings:
        state = 'LEAK' if finding.leaks else 'warning' if finding.count else 'ok'
        print(f'{state:<8} {finding.check:<18} {finding.count:,} of {finding.total:,}: '
              f'{finding.note}')  # fmt: skip
        for text in finding.first:
            print(f'{"":<8}   {text}')
    has_leak = any(finding.leaks for finding in findings)
    content = {
        'train': str(args.train),
        'val': str(args.val),
        'leaks': has_leak,
        'checks': [finding.as_dict() for finding in findings],
    }
    write_json(args.json, content)
    if has_leak:
        sys.exit(BAD_ANSWER)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest='command', required=True)

    def command(function: Callable, text: str) -> Callable:
        name = function.__name__.replace('_', '-')
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        sub.add_argument('--verbose', action='store_true', help='show tracebacks')
        return sub.add_argument

    def converter(function: Callable, text: str) -> Callable:
        add = command(function, text)
        add('ann', type=Path, help='annotation file to read')
        add('--out', type=Path, required=True, help='file to write')
        return add

    # fmt: off
    add = command(ov_coco, 'COCO -> 48 base classes (train), base and 17 novel (val)')
    add('--train', type=Path, help='instances_train2017.json')
    add('--val', type=Path, help='instances_val2017.json')
    add('--out-dir', type=Path, required=True, help='folder of the two files')
    add('--keep-empty', action='store_true',
        help='keep images without boxes of these classes (5,000 instead of 4,836)')

    converter(lvis_base, 'LVIS v1 train -> without boxes of rare classes')

    add = converter(lvis_minival, 'LVIS v1 val -> minival, its part from val2017')
    add('--images', type=Path, help='ids or names, one per line, or a COCO file with '
        'these images (instances_val2017.json); default: by coco_url')

    add = converter(coco_to_odvg, 'COCO -> ODVG lines of (MM-)Grounding DINO')
    add('--label-map', type=Path, required=True, help='JSON to write: label -> name')

    add = converter(odvg_to_coco, 'ODVG lines -> COCO')
    add('--label-map', type=Path, required=True, help='JSON file: label -> name')
    add('--categories', type=Path, help='COCO file that gives the categories by name; '
        'default: the label is the id')
    add('--skip-grounding', action='store_true',
        help='leave out lines with captions, which are an error otherwise')

    add = command(voc_to_coco, 'VOC XML -> COCO; difficult becomes iscrowd')
    add('annotations', type=Path, help='folder of the XML files')
    add('--out', type=Path, required=True, help='file to write')
    add('--image-set', type=Path, help='ImageSets/Main/test.txt; default: every file')
    add('--names', type=Path, help="class names, one per line; default: VOC's 20")
    add('--zero-based', action='store_true',
        help='coordinates start at 0 and xmax is exclusive; VOC: at 1, inclusive')
    add('--encoding', help='encoding of the XML files; default: as declared')

    add = command(yolo_to_coco, 'YOLO text files -> COCO')
    add('--images', type=Path, required=True, help='folder of the images')
    add('--labels', type=Path, required=True, help='folder of the text files')
    add('--names', type=Path, required=True, help='data.yaml, or one name per line')
    add('--out', type=Path, required=True, help='file to write')
    add('--encoding', help='encoding of the text files; detected by default')

    add = converter(pseudo_boxes, 'image-level labels -> boxes chosen among detections')
    add('--predictions', type=Path, required=True, help='COCO result list')
    add('--rule', choices=['score', 'size'], default='score',
        help='best box of the label, or largest box of the image; default: score')
    add('--ids', choices=['id', 'stem'], default='id',
        help='image_id of the rows is an id (default) or a file stem')
    add('--categories', choices=['id', 'from-1'], default='id',
        help='category_id of the rows is an id (default) or counts from 1')
    add('--min-score', type=float, default=0.3, help='of a candidate; default 0.3')

    add = command(check, 'table of the data sets below a folder')
    add('root', type=Path, help='folder that holds coco/, VOCdevkit/, ...')
    add('--json', type=Path, metavar='FILE',
        help='write the table to FILE, too; /dev/stdout prints it')

    add = command(leaks, 'check training data for images and classes of an evaluation')
    add('--train', type=Path, required=True, help='COCO or LVIS file')
    add('--val', type=Path, required=True, help='COCO or LVIS file')
    add('--novel', nargs='+', help="novel classes; default: the categories' split")
    add('--split', choices=['ov_coco', 'ov_lvis'], help='novel classes of this split')
    add('--train-images', type=Path, help='folder of the training images')
    add('--val-images', type=Path, help='folder of the evaluation images')
    add('--distance', type=int, default=4, help='bits of 64 that may differ; default 4')
    add('--workers', type=int, default=4, help='threads that read images; default 4')
    add('--json', '--out', type=Path, metavar='FILE',
        help='write the findings to FILE, too; /dev/stdout prints them')
    # fmt: on
    return parser


def main(args: argparse.Namespace) -> None:
    args.function(args)
