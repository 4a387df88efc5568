"""Own labels of any tool: what is wrong with them, and a config that trains on them.

Exit codes: 0; 1 if something is wrong with the labels, which the table says and what
was written leaves out; 2 for an input that cannot be used; 130 after Ctrl-C.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fgclip2_det.cli.detect import _count, _share
from fgclip2_det.cli.parsing import BAD_ANSWER, ROOT, add_json, write_json

if TYPE_CHECKING:
    from fgclip2_det.engine.own_data import OwnOptions
    from fgclip2_det.prepare.own_data import Look

LAYOUTS = ('coco', 'yolo', 'voc', 'labelme', 'cvat', 'label-studio', 'fiftyone')
EXAMPLE = """examples:
  fgclip2-det init-data photos --check
  fgclip2-det init-data photos --novel "white rook; black bishop" --out own
  fgclip2-det init-data export --images photos --novel auto --lora --replay 200
  fgclip2-det init-data chess --size tiny --novel auto --parts
  python tools/init_data.py roboflow --detector faster-rcnn --size b16"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    # fmt: off
    add('folder', type=Path, help='as the tool has written it: COCO, also '
        "Roboflow's, YOLO, PASCAL VOC, labelme, CVAT, Label Studio, FiftyOne")
    add('--layout', choices=LAYOUTS, help='which to read where a folder has several')
    add('--images', type=Path, nargs='+', default=[], metavar='DIR',
        help='where the images are, if not in the folder')
    add('--check', action='store_true', help='print the table and write nothing')
    add('--out', type=Path, metavar='DIR',
        help='folder of config.py and, unless the data is COCO already, train.json and '
             'val.json; default: <folder>_det')
    add('--novel', metavar='NAMES',
        help='classes that get no training boxes, separated by ; or a choice by rule '
             "and seed: 'auto'. Default: every class is trained")
    add('--novel-share', type=_part, default=0.2, metavar='SHARE',
        help='of the classes that auto keeps novel; default: 0.2')
    add('--val-share', type=_part, default=0.2, metavar='SHARE',
        help='of the images, for validation if the data has none; default: 0.2')
    add('--seed', type=int, default=0, help='of these choices; default: 0')
    add('--size', choices=['tiny', 'b16', 'l16', 'so16'], default='b16',
        help='of the encoder: the embedded one, base (default), large or so400m')
    add('--encoder', metavar='DIR|ID', help='weights of the encoder; default: released')
    add('--lora', action='store_true',
        help='train adapters in the encoder, which stays frozen otherwise; what it '
             'forgets is measured')
    add('--replay', type=_number, default=0, metavar='N',
        help='N images of OVShapes, the embedded data, among the training')
    add('--detector', metavar='NAME',
        help="a detector of MMDetection on our backbone instead of our detector: "
             'faster-rcnn, dino, ... (configs/swap)')
    add('--parts', action='store_true',
        help="names such as 'white rook' are a look and a thing: learn both apart, "
             'from things in the colours of others')
    add('--epochs', type=_count, help='default: as many as make about 1,200 steps')
    add('--configs', type=Path, default=ROOT / 'configs', metavar='DIR',
        help="this project's configs; default: those beside the package")
    add('--overwrite', action='store_true', help='replace files that are there')
    add_json(parser)
    add('--verbose', action='store_true', help='show the traceback of an error')
    # fmt: on
    return parser


def _part(word: str) -> float:
    value = _share(word)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f'expected more than 0 and less than 1, got {word}'
        )
    return value


def _number(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f'expected 0 or more, got {word}')
    return int(word)


def main(args: argparse.Namespace) -> None:
    if wrong := _usage(args):
        print(f'error: {wrong}', file=sys.stderr)
        sys.exit(2)
    from fgclip2_det.prepare.own_data import look

    own = look(args.folder, args.layout, args.images, args.val_share, args.seed, _bar)
    own.refuse([args.json] if args.json else [])
    _choose_novel(args, own)
    for line in own.lines():
        print(line)
    _say_parts(args, own)
    if not args.check:
        _write(args, own)
    write_json(args.json, own.to_dict())
    if own.findings.is_wrong:
        sys.exit(BAD_ANSWER)


def _usage(args: argparse.Namespace) -> str | None:
    """What is wrong with the command line, or None."""
    for folder in args.images:
        if not folder.is_dir():
            return f'there is no folder {folder} of images'
    if args.detector is not None:
        from fgclip2_det.engine.own_data.options import DETECTORS

        if args.detector not in DETECTORS:
            return f'--detector must be one of {", ".join(DETECTORS)}'
        if args.novel or args.lora or args.replay or args.parts:
            return ('--detector is closed-set: leave --novel, --lora, --replay and '
                    '--parts out, which belong to our detector')  # fmt: skip
    return None


def _bar(items: Iterable) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, desc='images', unit='image', delay=1, disable=None)


def _choose_novel(args: argparse.Namespace, own: 'Look') -> None:
    """Fill in the novel names, and count their boxes in the training images."""
    if args.novel is None:
        return
    from fgclip2_det.prepare.own_data import choose_novel
    from fgclip2_det.vocabulary.texts import parse_texts

    names = None if args.novel == 'auto' else parse_texts(args.novel)
    own.novel = choose_novel(own.data, names, args.novel_share, args.seed)
    for image in own.data.of('train'):
        for box in image.boxes:
            if box.name in own.novel:
                own.findings.add('unlabelled', f'{image.path}: {box.name!r}')


def _options(args: argparse.Namespace, own: 'Look') -> 'OwnOptions':
    from fgclip2_det.engine.own_data import OwnOptions
    from fgclip2_det.prepare.own_data import split_names

    return OwnOptions(
        args.configs, args.size, args.encoder, 'lora' if args.lora else 'frozen',
        args.replay, args.detector, args.epochs, args.seed,
        split_names(own.data.names) if args.parts else None,
    )  # fmt: skip


def _write(args: argparse.Namespace, own: 'Look') -> None:
    from fgclip2_det.engine.own_data import (
        own_config,
        plan_files,
        swap_config,
        write_files,
    )
    from fgclip2_det.engine.own_data.files import refuse_existing
    from fgclip2_det.io.atomic import write_atomic

    out = args.out or Path(f'{args.folder.resolve().name}_det')
    config = out / 'config.py'
    own.refuse([out, config])
    refuse_existing([config], args.overwrite)
    options = _options(args, own)
    files = plan_files(own, out, args.replay, args.overwrite)
    if args.detector is None:
        text = own_config(files, own.novel, options)
    else:
        text = swap_config(files, own.data.names, own.has_masks, options)
    write_files(own, files, args.replay, args.seed)
    write_atomic(config, text.encode())
    _say(args, own, config, [*files.ann_files.values()])


def _say(
    args: argparse.Namespace, own: 'Look', config: Path, paths: list[Path]
) -> None:
    """What was written, and the next command."""
    print()
    if args.novel == 'auto':
        from fgclip2_det.prepare.own_data.splitting import NOVEL_RULE

        print(f'novel: {"; ".join(own.novel)} ({NOVEL_RULE}; seed {args.seed})')
    elif own.novel:
        print(f'novel: {"; ".join(own.novel)}')
    else:
        print('novel: none, every class is trained')
    print(f'data: {", ".join(_short(path) for path in paths)}')
    print(f'config: {config}')
    print(f'train: python tools/train.py {shlex.quote(str(config))}')
    if args.detector is None:
        from fgclip2_det.engine.own_data.advice import advice

        images = sum(1 for image in own.data.of('train') if image.boxes)
        for line in advice(images, args.lora, args.replay):
            print(line)


def _say_parts(args: argparse.Namespace, own: 'Look') -> None:
    """Which names are a look and a thing, and how many images teach both apart."""
    if not args.parts:
        return
    from fgclip2_det.prepare.own_data import split_names

    parts = split_names(own.data.names)
    for place, what in enumerate(('looks', 'things')):
        print(f'{what}: {", ".join(dict.fromkeys(p[place] for p in parts.values()))}')
    if whole := [name for name in own.data.names if name not in parts]:
        print(f'whole names: {", ".join(whole)}')
    trained = parts.keys() - set(own.novel)
    images = [
        sum(box.name in trained for box in image.boxes)
        for image in own.data.of('train')
    ]
    several = sum(count > 1 for count in images)
    print(
        f'{several:,} of {len(images):,} training images have two of them or more; '
        'things take their colours from others in the same image'
    )
    base = [parts[name] for name in own.data.names if name in trained]
    known = {part for pair in base for part in pair}
    for name in own.novel:
        if lost := [part for part in parts.get(name, []) if part not in known]:
            print(f'warning: no trained name has {lost[0]!r} of {name!r}; keep one')


def _short(path: Path) -> str:
    """Relative to where the command runs, if it is below that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
