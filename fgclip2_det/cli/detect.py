"""Name objects, in English or Chinese, and get boxes in images of any kind.

Exit codes: 0; 1 if some images could not be read or a video has fewer frames than it
says, and the others are done; 2 for another error; 130 after Ctrl-C. What was done
until then is in DIR/detections.json, of a video in DIR/NAME-boxes.mp4 and
DIR/NAME-boxes.jsonl.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fgclip2_det.cli.detect_prompts import (
    LANGUAGE,
    TOP,
    check_prompts,
    name_everything,
    read_names,
    shown_in,
    vocabulary,
)
from fgclip2_det.cli.parsing import FAILED, INTERRUPTED
from fgclip2_det.io import IncompleteError
from fgclip2_det.rescoring.rules import ALL_RULES

if TYPE_CHECKING:
    from fgclip2_det.apis import OpenVocabInferencer
    from fgclip2_det.apis.inputs import InputImage
    from fgclip2_det.apis.results import Outcome
    from fgclip2_det.apis.slicing import Slices

PHOTOGRAPHS = '--detector iSEE-Laboratory/llmdet_tiny --encoder qihoo360/fg-clip2-base'
NAMES = """names separated by . , ; or 。，；、 or line breaks ("black cat; 白色杯子");
text in quotes is not split; "sofa|couch" are names of one class, "red {cup|plate}" of
two. Or a text file, one
class per line. Default: the names of the detector's training, if it has any"""
NOT = """names that compete for boxes and are not reported ("shadow; reflection"), for
all names, or for one of them ("cup=glass; mug"); may be given several times"""
LIKE = """a class shown by a box (corners in pixels) of an image; several of a name are
one class; with --names NAME as well, image and text count half each. Or a file of
--save-prompts"""
DETECTOR = """what finds boxes: a hub id or folder of transformers, a config of
MMDetection (.py, with --weights), a checkpoint of tools/train.py (.pth) to re-score, or
saved COCO results (.json, with --ann). Default: the embedded detector"""
EXAMPLE = f"""examples:
  fgclip2-det detect shapes/*.png --names "orange circle; 黑色圆形" --out found
  fgclip2-det detect street.jpg --names "black cat; 白色杯子" --out found \\
      {PHOTOGRAPHS}
  python tools/detect.py 'photos/**/*.jpg' --names names.txt --out found \\
      --batch-size 8 --weights work_dirs/ovd_fgclip2/epoch_2.pth
  fgclip2-det detect --video street.mp4 --every 3 --track --names bus --out found"""
COMPETITORS = (
    'what names compete with, unreported, when --detector is re-scored: built-in lists '
    "or files of names; 'none': each other alone; default: what the detector was "
    'trained on, or coco objects365'
)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('images', nargs='*', help="files, folders, patterns ('**' too) or URLs")
    add('--video', metavar='SOURCE',
        help='a video file or the number of a camera, not images')  # fmt: skip
    add('--every', type=_count, metavar='N',
        help='of a video, detect in every Nth frame; default: 1')  # fmt: skip
    add('--track', action='store_true',
        help='of a video, ids of boxes over frames (pip install trackers)')  # fmt: skip
    add('--names', help=NAMES)
    add('--not', action='append', dest='negatives', metavar='NAMES', help=NOT)
    add('--like', action='append', metavar='IMAGE:X,Y,X,Y=NAME|FILE', help=LIKE)
    add(
        '--unlike',
        action='append',
        metavar='IMAGE:X,Y,X,Y=NAME',
        help='a box of what a class of --like is not: it competes with the class',
    )
    add('--save-prompts', type=Path, metavar='FILE',
        help='write the classes of --like to a .safetensors file, for --like later or '
             'elsewhere')  # fmt: skip
    add('--words', action='append', metavar='LIST=WORD|WORD',
        help='words of a placeholder, noun=cup|plate for "{colour} {noun}"; lists of '
             'colour, material, pattern, shape and size (颜色, 材质, 图案, 形状) are '
             'built in')  # fmt: skip
    add('--prompt-free', nargs='?', const='', metavar='LIST|FILE',
        help='no names: every object gets its best ones from a built-in list such as '
             'ram or lvis, or a file; default: ram, 4,585 tags, or what the embedded '
             'detector knows')  # fmt: skip
    add('--language', choices=['en', 'zh', 'both'],
        help=f'of the list; default: {LANGUAGE}')  # fmt: skip
    add('--top', type=_count, metavar='N',
        help=f'names per box without a prompt; default: {TOP}')  # fmt: skip
    add('--text-cache', type=Path, metavar='DIR',
        help='where the embeddings of the list are kept; default: '
             '~/.cache/fgclip2_det/texts')  # fmt: skip
    add('--attributes', type=_whole, metavar='N',
        help='negatives of each name that differ in one attribute word, as "blue cup" '
             'from "red cup"; default: 8 if --names has braces, else 0')  # fmt: skip
    add('--out', type=Path, default=Path('outputs'), metavar='DIR',
        help='folder of images and detections.json; default: outputs')  # fmt: skip
    add_system_options(parser)
    add('--score-thr', type=_share, default=0.3, metavar='SCORE',
        help='boxes that score lower are left out; default: 0.3')  # fmt: skip
    add('--batch-size', type=_count, default=1, metavar='N', help='default: 1')
    add('--slices', type=_side, nargs='?', const=640, metavar='SIZE',
        help='detect in overlapping slices of SIZE pixels, 640 if none is given, for '
             'small things in large images')  # fmt: skip
    add('--slice-overlap', type=_share, metavar='SHARE',
        help='of a slice that its neighbours see as well; default: 0.2')  # fmt: skip
    add('--slice-whole', action='store_true',
        help='the whole image is one more slice, for larger things')  # fmt: skip
    add('--explain', type=_count, nargs='?', const=3, metavar='N',
        help='a sheet and a JSON file for each of the N best boxes of an image, in '
             'DIR/explained; default: 3')  # fmt: skip
    add('--allow-urls', action='store_true', help='fetch images whose URL is given')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def add_system_options(parser: argparse.ArgumentParser, saved: bool = True) -> None:
    """The options that :func:`build` reads; ``saved``: with that of saved results."""
    add = parser.add_argument
    add('--detector', help=DETECTOR)
    add('--weights', help='checkpoint of the detector, or one of tools/train.py')
    add('--encoder', help='folder or hub id of the encoder that re-scores --detector')
    add('--fusion', choices=ALL_RULES, help='default: geometric')
    add('--ranker', help='folder of a ranker of regions, for --fusion ranking')
    add('--chunk-size', type=_count, metavar='N',
        help='names a pass of a detector that reads names; default: 40, or the '
             "config's")  # fmt: skip
    add('--competitors', nargs='+', metavar='LIST|FILE', help=COMPETITORS)
    if saved:
        add('--ann', help='COCO file with images and categories of saved results')
    add('--device', help='cpu, cuda, cuda:1, mps; default: cuda if there is one')
    add('--dtype', choices=['float32', 'bfloat16', 'int8'], default='float32',
        help='of the encoder; int8 needs a CPU with AVX-512 VNNI; '
             'default: float32')  # fmt: skip


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f'expected 0 or more, got {word}')
    return int(word)


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f'expected 1 or more, got {word}')
    return int(word)


def _side(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(
            f'expected a number of pixels, got {word}; put images before --slices'
        )
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
        sys.exit(FAILED)
    if bool(args.images) == (args.video is not None):
        print('error: name images, or one --video', file=sys.stderr)
        sys.exit(FAILED)
    if args.explain and (args.video is not None or args.slices is not None):
        print('error: --explain is of images in one pass, without --slices or '
              '--video', file=sys.stderr)  # fmt: skip
        sys.exit(FAILED)
    if args.prompt_free is not None and (args.names or args.like or args.negatives):
        print('error: --prompt-free is without --names, --like and --not',
              file=sys.stderr)  # fmt: skip
        sys.exit(FAILED)
    check_prompts(args)
    _check_owners(args)
    try:
        detect(args) if args.video is None else detect_video(args)
    except KeyboardInterrupt:
        print('interrupted before the first image or frame was done', file=sys.stderr)
        sys.exit(INTERRUPTED)


def _check_owners(args: argparse.Namespace) -> None:
    """Refuse options of a video or of slices without them.

    Raises:
        ValueError: naming both.
    """
    for option, owner, given in (
        ('--every', '--video', args.every is not None),
        ('--track', '--video', args.track),
        ('--slice-overlap', '--slices', args.slice_overlap is not None),
        ('--slice-whole', '--slices', args.slice_whole),
    ):
        if given and getattr(args, owner[2:]) is None:
            raise ValueError(
                f'{option} belongs to {owner}; give that as well, or leave it out'
            )


def detect(args: argparse.Namespace) -> None:
    """Everything but the command line's own checks."""
    from tqdm import tqdm

    from fgclip2_det.apis.detection_report import DetectionReport
    from fgclip2_det.apis.detection_table import detection_table
    from fgclip2_det.apis.inputs import find_inputs

    names = read_names(args)
    slices = _slices(args)
    sources = find_inputs(args.images, args.allow_urls)
    _keep_inputs(args, sources)
    count = len(sources)
    inferencer = build(args)
    name_everything(args, inferencer)
    if names is not None or args.like:
        inferencer.set_vocabulary(vocabulary(args, names or [], inferencer))
    report = DetectionReport(args.out, count, args.score_thr)
    outcomes = inferencer.stream(
        sources, None, args.score_thr, batch_size=args.batch_size,
        allow_urls=args.allow_urls, slices=slices,
    )  # fmt: skip
    bar = tqdm(total=count, unit='image', disable=True if count == 1 else None)
    with bar:
        try:
            for outcome in outcomes:
                picture = report.add(outcome)
                if args.explain and picture is not None:
                    explain(inferencer, outcome, picture.stem, args)
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


def _keep_inputs(args: argparse.Namespace, sources: 'list[InputImage]') -> None:
    """Refuse to draw over images that are detected in, or that show a class."""
    from fgclip2_det.apis.output_files import keep_inputs, pictures_of

    pictures = pictures_of(sources, args.out)
    sheets = [
        args.out / 'explained' / f'{picture.stem}-{number}.png'
        for picture in pictures
        for number in range(1, (args.explain or 0) + 1)
    ]
    keep_inputs([*pictures, *sheets], [*(s.path for s in sources), *shown_in(args)])


def explain(
    inferencer: 'OpenVocabInferencer',
    outcome: 'Outcome',
    name: str,
    args: argparse.Namespace,
) -> None:
    """Sheets and JSON files of an image's best boxes, named after its drawn image."""
    from fgclip2_det.apis.output_files import save_image
    from fgclip2_det.io.atomic import write_atomic

    source = outcome.given.path or outcome.image
    assert source is not None  # it was detected in
    best = inferencer.explain_best(source, None, args.explain, args.score_thr)
    for number, each in enumerate(best, 1):
        target = args.out / 'explained' / f'{name}-{number}.png'
        save_image(target, each.plot())
        write_atomic(target.with_suffix('.json'), f'{each.to_json()}\n'.encode())


def detect_video(args: argparse.Namespace) -> None:
    """A video or a camera instead of images."""
    from fgclip2_det.apis.video_reader import VideoReader

    names = read_names(args)
    source = int(args.video) if args.video.isdecimal() else args.video
    with VideoReader(source, args.every or 1) as reader:
        inferencer = build(args)
        name_everything(args, inferencer)
        texts = None
        if names is not None or args.like:
            texts = vocabulary(args, names or [], inferencer)
        report = inferencer.start_video(reader, texts, args.out, args.score_thr)
        try:
            inferencer.fill_video(
                report, reader, args.score_thr, track=args.track,
                batch_size=args.batch_size, slices=_slices(args),
            )  # fmt: skip
        except KeyboardInterrupt:
            print(f'\ninterrupted: {report.sentence()}', file=sys.stderr)
            sys.exit(INTERRUPTED)
        except OSError as error:
            raise ValueError(
                f'{args.out} cannot be written ({error}); {report.sentence()}'
            ) from error
    print(f'{report.results.boxes} boxes; {report.sentence()}')
    if shortfall := report.shortfall():
        raise IncompleteError(f'{shortfall}; {report.sentence()}')


def _slices(args: argparse.Namespace) -> 'Slices | None':
    from fgclip2_det.apis.slicing import Slices

    if args.slices is None:
        return None
    overlap = Slices.overlap if args.slice_overlap is None else args.slice_overlap
    return Slices(args.slices, overlap, args.slice_whole)


def build(args: argparse.Namespace) -> 'OpenVocabInferencer':
    """The system that the options describe."""
    from fgclip2_det.apis import OpenVocabInferencer
    from fgclip2_det.cli.rescore import competitor_options

    if args.detector is None and args.weights is None:
        print(
            'the embedded detector knows coloured shapes only; for photographs, with '
            f'released weights:\n  {PHOTOGRAPHS}'
        )
    options = {}
    if args.competitors is not None:
        none = args.competitors == ['none']
        options['competitors'] = not none and competitor_options(args.competitors)
    if args.ranker is not None:
        options['ranker'] = args.ranker
    return OpenVocabInferencer(
        args.weights,
        **options,
        device=args.device,
        detector=args.detector,
        encoder=args.encoder,
        fusion=args.fusion,
        chunk_size=args.chunk_size,
        ann_file=args.ann,
        dtype=args.dtype,
        cache_size=0,
    )
