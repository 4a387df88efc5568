"""Name objects, in English or Chinese, and get boxes in pictures of any kind.

Exit codes: 0; 1 if some pictures could not be read, or for another error; 2 for a wrong
command line; 130 after Ctrl-C. What was done until then is in DIR/detections.json.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgclip2_det.rescoring.rules import ALL_RULES

if TYPE_CHECKING:
    from fgclip2_det.apis import OpenVocabInferencer
    from fgclip2_det.vocabulary import Vocabulary

PHOTOGRAPHS = '--detector iSEE-Laboratory/llmdet_tiny --encoder qihoo360/fg-clip2-base'
NAMES = """names separated by . , ; or 。，；、 or line breaks ("black cat; 白色杯子");
text in quotes is not split; "sofa|couch" are names of one class, "red {cup|plate}" of
two. Or a text file, one
class per line. Default: the names of the detector's training, if it has any"""
NOT = """names that compete for boxes and are not reported ("shadow; reflection"), for
all names, or for one of them ("cup=glass; mug"); may be given several times"""
DETECTOR = """what finds boxes: a hub id or folder of transformers, a config of
MMDetection (.py, with --weights), a checkpoint of tools/train.py (.pth) to re-score, or
saved COCO results (.json, with --ann). Default: the embedded detector"""
EXAMPLE = f"""examples:
  fgclip2-det detect shapes/*.png --names "orange circle; 黑色圆形" --out found
  fgclip2-det detect street.jpg --names "black cat; 白色杯子" --out found \\
      {PHOTOGRAPHS}
  python tools/detect.py 'photos/**/*.jpg' --names names.txt --out found \\
      --batch-size 8 --weights work_dirs/ovd_fgclip2/epoch_3.pth"""
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('pictures', nargs='+', help="files, folders, patterns ('**' too) or URLs")
    add('--names', help=NAMES)
    add('--not', action='append', dest='negatives', metavar='NAMES', help=NOT)
    add('--like', action='append', metavar='PICTURE:X,Y,X,Y=NAME',
        help='a class shown by a box (corners in pixels) of a picture; several of a '
             'name are one class; with --names NAME as well, picture and text count '
             'half each')  # fmt: skip
    add('--attributes', type=_whole, metavar='N',
        help='negatives of each name that differ in one attribute word, as "blue cup" '
             'from "red cup"; default: 8 if --names has braces, else 0')  # fmt: skip
    add('--out', type=Path, default=Path('outputs'), metavar='DIR',
        help='folder of pictures and detections.json; default: outputs')  # fmt: skip
    add('--detector', help=DETECTOR)
    add('--weights', help='checkpoint of the detector, or one of tools/train.py')
    add('--encoder', help='folder or hub id of the FG-CLIP 2 that re-scores --detector')
    add('--fusion', choices=ALL_RULES, help='default: geometric')
    add('--chunk-size', type=_count, metavar='N',
        help='names a pass of a detector that reads names; default: 40, or the '
             "config's")  # fmt: skip
    add('--ann', help='COCO file with images and categories of saved results')
    add('--device', help='cpu, cuda, cuda:1, mps; default: cuda if there is one')
    add('--dtype', choices=['float32', 'bfloat16'], default='float32')
    add('--score-thr', type=_share, default=0.3, metavar='SCORE',
        help='boxes that score lower are left out; default: 0.3')  # fmt: skip
    add('--batch-size', type=_count, default=1, metavar='N', help='default: 1')
    add('--allow-urls', action='store_true', help='fetch pictures whose URL is given')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f'expected 0 or more, got {word}')
    return int(word)


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f'expected 1 or more, got {word}')
    return int(word)


def _share(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'expected a number from 0 to 1, got {word}')
    return value


def main(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.out.is_dir():
        print(f'error: --out {args.out} is a file; name a folder', file=sys.stderr)
        sys.exit(2)
    try:
        detect(args)
    except KeyboardInterrupt:
        print('interrupted before the first picture was done', file=sys.stderr)
        sys.exit(INTERRUPTED)


def detect(args: argparse.Namespace) -> None:
    """Everything but the command line's own checks."""
    from tqdm import tqdm

    from fgclip2_det.apis.detection_report import DetectionReport
    from fgclip2_det.apis.detection_table import detection_table
    from fgclip2_det.apis.pictures import find_pictures

    names = None if args.names is None else _names(args.names)
    count = len(find_pictures(args.pictures, args.allow_urls))
    inferencer = build(args)
    if names is not None or args.like:
        inferencer.set_vocabulary(vocabulary(args, names or [], inferencer))
    elif args.negatives:
        raise ValueError('--not belongs to --names; give the names as well')
    report = DetectionReport(args.out, count, args.score_thr)
    outcomes = inferencer.stream(
        args.pictures, None, args.score_thr, batch_size=args.batch_size,
        allow_urls=args.allow_urls,
    )  # fmt: skip
    bar = tqdm(total=count, unit='image', disable=True if count == 1 else None)
    with bar:
        try:
            for outcome in outcomes:
                report.add(outcome)
                bar.update()
        except KeyboardInterrupt:
            bar.close()
            print(f'\ninterrupted: {report.stop()}', file=sys.stderr)
            sys.exit(INTERRUPTED)
        except OSError as error:
            raise ValueError(
                f'{args.out} cannot be written ({error}); {report.stop()}'
            ) from error
    report.finish()
    for line in detection_table(report.images):
        print(line)
    print(f'boxes: {report.path}')
    report.check_unread()


def vocabulary(
    args: argparse.Namespace, names: list[list[str]], inferencer: 'OpenVocabInferencer'
) -> 'Vocabulary':
    """Names, negatives and image prompts of the options."""
    from fgclip2_det.vocabulary import Vocabulary
    from fgclip2_det.vocabulary.image_prompts import ImagePrompt, parse_example
    from fgclip2_det.vocabulary.negatives import NUM_NEGATIVES, parse_negatives
    from fgclip2_det.vocabulary.texts import has_braces

    per_name = args.attributes
    if per_name is None:
        per_name = NUM_NEGATIVES if has_braces(args.names or '') else 0
    options: dict[str, Any] = dict(
        negatives=parse_negatives(args.negatives or ()), attribute_negatives=per_name
    )
    if not args.like:
        return Vocabulary(names, **options)
    examples: dict[str, list] = {}
    for text in args.like:
        name, example = parse_example(text)
        examples.setdefault(name, []).append(example)
    named = {group[0] for group in names}
    shown = inferencer.encode_prompts(
        [ImagePrompt(name, own, name if name in named else None)
         for name, own in examples.items()]
    )  # fmt: skip
    return shown.vocabulary(
        [group for group in names if group[0] not in examples], **options
    )


def build(args: argparse.Namespace) -> 'OpenVocabInferencer':
    """The system that the options describe."""
    from fgclip2_det.apis import OpenVocabInferencer

    if args.detector is None and args.weights is None:
        print(
            'the embedded detector knows coloured shapes only; for photographs, with '
            f'released weights:\n  {PHOTOGRAPHS}'
        )
    return OpenVocabInferencer(
        args.weights,
        device=args.device,
        detector=args.detector,
        encoder=args.encoder,
        fusion=args.fusion,
        chunk_size=args.chunk_size,
        ann_file=args.ann,
        dtype=args.dtype,
        cache_size=0,
    )


def _names(text: str) -> list[list[str]]:
    from fgclip2_det.vocabulary import read_texts

    try:
        return read_texts(text)
    except ValueError as error:
        print(f'error: --names: {error}', file=sys.stderr)
        sys.exit(2)
