"""Export a detector or an encoder as ONNX, for a runtime without PyTorch."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fgclip2_det.rescoring.rules import EXPORTED_RULES

if TYPE_CHECKING:
    from fgclip2_det.apis import OpenVocabInferencer

EXAMPLE = """examples:
  fgclip2-det export exported --weights work_dirs/ovd_fgclip2/epoch_2.pth --check val/
  python tools/export.py exported --int8 --names "black cat; 白色杯子" --nms
  fgclip2-det export encoder --encoder qihoo360/fg-clip2-base --rescore geometric"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('out', type=Path, help='folder to write')
    add('--weights', help='checkpoint of the detector; default: the embedded one')
    add('--config', help='config file; default: the one in the weights')
    add('--encoder', help='folder or hub id of an FG-CLIP 2, FG-CLIP 1 or CLIP, '
        'exported instead of a detector')  # fmt: skip
    add('--opset', type=int, default=20, help='of ONNX, 18 or later; default: 20')
    add('--names', help='names that are baked into the detector, as in '
        'tools/detect.py; default: names stay exchangeable')  # fmt: skip
    add('--nms', action='store_true', help='class-wise NMS inside the graph')
    add('--int8', nargs='?', const='dynamic', choices=['dynamic', 'static'],
        help='matrix products in int8; static takes the ranges of activations from '
             '--calibrate; default: dynamic')  # fmt: skip
    add('--calibrate', nargs='+', metavar='IMAGE',
        help='pictures for --int8 static, files or folders')  # fmt: skip
    add('--keep-float', nargs='+', default=[], metavar='PART',
        help='layers whose name contains PART stay in float with --int8, besides '
             'those that always do')  # fmt: skip
    add('--rescore', nargs='+', default=[], choices=EXPORTED_RULES, metavar='RULE',
        help='with --encoder: re-scoring heads of fusion rules: '
             f'{", ".join(EXPORTED_RULES)}')  # fmt: skip
    add('--no-text', action='store_true', help='leave the text tower out')
    add('--max-side', type=int, metavar='PATCHES',
        help="of an image's side; default: the detector's patch budget, 1024 for an "
             'encoder, 32 for FG-CLIP 1')  # fmt: skip
    add('--pt2', action='store_true', help='with files of torch.export as well')
    add('--check', nargs='+', metavar='IMAGE',
        help='compare the export with PyTorch on pictures, files or '
             'folders')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.onnx.tracing import check_opset

    _check_options(args)
    check_opset(args.opset)
    if args.encoder is not None:
        _export_encoder(args)
    else:
        _export_detector(args)


def _check_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options that do not go together."""
    alone = {
        '--weights, --config, --names and --nms': bool(
            args.weights or args.config or args.names or args.nms
        ),
    }
    for what, given in alone.items():
        if args.encoder is not None and given:
            raise ValueError(f'{what} are of a detector; leave out --encoder')
    if args.rescore and args.encoder is None:
        raise ValueError('--rescore is of an encoder; name it with --encoder')
    if args.int8 == 'static' and not args.calibrate:
        raise ValueError(
            '--int8 static needs pictures; give some with --calibrate, or take '
            '--int8 dynamic'
        )
    if args.calibrate and args.int8 != 'static':
        raise ValueError('--calibrate is for --int8 static; add it')
    if args.keep_float and args.int8 is None:
        raise ValueError('--keep-float is for --int8; add it')
    if args.max_side is not None and args.max_side < 1:
        raise ValueError(f'--max-side must be 1 or more, got {args.max_side}')


def _export_encoder(args: argparse.Namespace) -> None:
    from fgclip2_det.fgclip1 import load_encoder
    from fgclip2_det.onnx.comparing import compare_encoders
    from fgclip2_det.onnx.exporting import export_encoder
    from fgclip2_det.onnx.quantizing import quantize_folder

    pictures, compared = _images(args.calibrate), _images(args.check)
    encoder = load_encoder(args.encoder)
    export_encoder(
        encoder, args.out, args.opset, not args.no_text, args.rescore,
        args.max_side, args.pt2,
    )  # fmt: skip
    if args.int8 is not None:
        print(quantize_folder(args.out, args.int8, pictures, args.keep_float))
    _print_files(args.out)
    if compared:
        print(compare_encoders(encoder, args.out, compared))


def _export_detector(args: argparse.Namespace) -> None:
    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.onnx.comparing import compare_detectors
    from fgclip2_det.onnx.detector_export import export_detector
    from fgclip2_det.onnx.quantizing import quantize_folder
    from fgclip2_det.vocabulary import read_texts

    pictures, compared = _images(args.calibrate), _images(args.check)
    inferencer = OpenVocabInferencer(args.weights, args.config, 'cpu')
    names = None if args.names is None else read_texts(args.names)
    export_detector(
        inferencer.system, args.out, args.opset, names, args.nms, not args.no_text,
        args.max_side, args.pt2,
    )  # fmt: skip
    if args.int8 is not None:
        print(quantize_folder(args.out, args.int8, pictures, args.keep_float))
    _print_files(args.out)
    if compared:
        print(compare_detectors(_fresh(inferencer, names), args.out, compared))


def _fresh(
    inferencer: 'OpenVocabInferencer', names: list[list[str]] | None
) -> 'OpenVocabInferencer':
    """The inferencer with the names of the export."""
    if names is not None:
        inferencer.set_vocabulary(names)
    elif inferencer.system.default is not None:
        inferencer.set_vocabulary(inferencer.system.default)
    return inferencer


def _images(names: list[str] | None) -> list[Path]:
    from fgclip2_det.cli.image_demo import find_images

    return find_images(names) if names else []


def _print_files(out: Path) -> None:
    for file in sorted(out.iterdir()):
        print(f'{file}: {file.stat().st_size / 1e6:.1f} MB')
