"""Label a folder of images with any detector, and take a person's corrections back.

Exit codes: 0; 1 if some images could not be read, or for another error; 2 for a wrong
command line; 130 after Ctrl-C. The same command goes on where it was stopped.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from fgclip2_det.cli.detect import (
    INTERRUPTED,
    PHOTOGRAPHS,
    _count,
    _share,
    _side,
    add_system_options,
    build,
)

if TYPE_CHECKING:
    from fgclip2_det.apis.annotating import AnnotateOptions
    from fgclip2_det.vocabulary.ontology import Ontology

OF_REVIEW = ('review', 'out', 'formats', 'overwrite', 'verbose')
FORMATS = ('coco', 'yolo', 'voc', 'odvg', 'labelme')
EXAMPLE = f"""examples:
  fgclip2-det annotate photos --ontology classes.yaml --out labels \\
      --format coco yolo --accept 0.6 --review 0.3 \\
      {PHOTOGRAPHS}
  python tools/annotate.py shapes --ontology "red circle|红色圆形; star" --out labels
  fgclip2-det annotate photos --ontology classes.yaml --out labels \\
      --labelled part.json --precision 0.95
  fgclip2-det annotate --review changed.json --out labels"""
ONTOLOGY = """classes.yaml or .json: 'classes' with prompts, negatives, images and a
threshold each, or a mapping of prompt to class; or names as for detect"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('folder', nargs='?', type=Path, help='images, at any depth below it')
    add('--ontology', help=ONTOLOGY)
    add('--out', type=Path, required=True, metavar='LABELS', help='folder of labels')
    add('--format', nargs='+', choices=FORMATS, metavar='FORMAT', dest='formats',
        help=f'{", ".join(FORMATS)}, one or more; default: coco')  # fmt: skip
    add('--accept', type=_share, metavar='SCORE',
        help='boxes that score this or more are labels; default: 0.5')  # fmt: skip
    add('--review', metavar='SCORE|FILE',
        help='boxes from this score to --accept are for a person to look at, in '
             'review.json; default: 0.25. Or the review.json that a person '
             'changed')  # fmt: skip
    add('--labelled', type=Path, metavar='PART.json',
        help='COCO file of some of the images: thresholds are chosen by '
             'it')  # fmt: skip
    add('--precision', type=_share, metavar='SHARE',
        help='of accepted boxes, measured on --labelled; default: 0.9')  # fmt: skip
    add('--min-boxes', type=_count, metavar='N',
        help="boxes on --labelled that a class's own threshold takes; fewer get that "
             'of all classes; default: 20')  # fmt: skip
    add('--overwrite', action='store_true',
        help='replace labels that exist, changed ones and those of other settings '
             'too')  # fmt: skip
    add_system_options(parser)
    add('--batch-size', type=_count, default=1, metavar='N', help='default: 1')
    add('--slices', type=_side, nargs='?', const=640, metavar='SIZE',
        help='detect in overlapping slices of SIZE pixels, 640 if none is '
             'given')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    threshold = _threshold(args.review)
    changed = None if args.review is None or threshold is not None else args.review
    wrong = _usage(args, changed)
    if wrong:
        print(f'error: {wrong}', file=sys.stderr)
        sys.exit(2)
    if changed is not None:
        take_back(args, Path(changed))
        return
    from fgclip2_det.vocabulary.ontology_file import as_ontology

    ontology = as_ontology(args.ontology)
    label(args, ontology, threshold)


def _threshold(word: str | None) -> float | None:
    """The score of --review, or None for a file."""
    try:
        return None if word is None else float(word)
    except ValueError:
        return None


def _usage(args: argparse.Namespace, changed: str | None) -> str | None:
    """What is wrong with the command line, or None."""
    if args.out.exists() and not args.out.is_dir():
        return f'--out {args.out} is a file; name a folder'
    if changed is not None:
        if not changed.lower().endswith('.json'):
            return f'--review is a score or a file (.json), got {changed}'
        others = _given(args, besides=OF_REVIEW)
        if others:
            return (
                f'--review {changed} takes --out, --format and --overwrite alone; '
                f'leave {", ".join(others)} out'
            )
        return None
    threshold = _threshold(args.review)
    if threshold is not None and not 0 <= threshold <= 1:
        return f'--review must be a number from 0 to 1, got {args.review}'
    if args.folder is None or args.ontology is None:
        return 'name a folder of images and --ontology, or --review changed.json'
    if not args.folder.is_dir():
        return f'there is no folder {args.folder} of images'
    if args.labelled is not None and args.accept is not None:
        return '--labelled chooses the threshold; leave --accept out'
    measured = args.precision is not None or args.min_boxes is not None
    if args.labelled is None and measured:
        return '--precision and --min-boxes belong to --labelled'
    return None


def _given(args: argparse.Namespace, besides: Collection[str]) -> list[str]:
    """What was given on the command line that is not the default."""
    default = parser().get_default
    return [
        name if name == 'folder' else f'--{name.replace("_", "-")}'
        for name, value in vars(args).items()
        if name not in besides and value != default(name)
    ]


def take_back(args: argparse.Namespace, changed: Path) -> None:
    """Corrections into the labels, and a table of what the bands were worth."""
    from fgclip2_det.apis.annotating import apply_review

    report = apply_review(changed, args.out, args.formats or (), args.overwrite)
    for line in report.lines():
        print(line)
    print(f'{report.content["images"]} images are corrected, see {args.out}')


def options_of(args: argparse.Namespace, review: float | None) -> 'AnnotateOptions':
    """The options that were given; others have their defaults."""
    from fgclip2_det.apis.annotating import AnnotateOptions

    given = dict(
        formats=args.formats, accept=args.accept, review=review,
        labelled=args.labelled, precision=args.precision, min_boxes=args.min_boxes,
        batch_size=args.batch_size, slices=args.slices,
    )  # fmt: skip
    known = {key: value for key, value in given.items() if value is not None}
    if 'accept' in known and 'review' not in known:
        known['review'] = min(known['accept'], AnnotateOptions.review)
    return AnnotateOptions(**known)


def label(args: argparse.Namespace, ontology: 'Ontology', review: float | None) -> None:
    """Label a folder and print the table."""
    from tqdm import tqdm

    from fgclip2_det.apis.annotating import Annotator

    options = options_of(args, review)
    annotator: Annotator | None = None
    try:
        annotator = Annotator(
            args.folder, ontology, args.out, build(args), options, args.overwrite
        )
        done = annotator.run(
            lambda images, total: tqdm(
                images, total=total, unit='image', disable=True if total == 1 else None
            )
        )
    except KeyboardInterrupt:
        what = 'no image was done' if annotator is None else annotator.sentence()
        print(f'\ninterrupted: {what}', file=sys.stderr)
        sys.exit(INTERRUPTED)
    for line in done.lines():
        print(line)
    if done.num_new:
        speed = done.num_new / done.seconds
        print(f'{done.num_new} images in {done.seconds:.1f} s, {speed:.1f} images/s')
    print(f'labels: {args.out}')
    done.check_unread()
