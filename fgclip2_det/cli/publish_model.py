"""Publish a model: the part of a checkpoint that inference needs."""

import argparse

EXAMPLE = """example:
  python tools/publish_model.py work_dirs/ovd_fgclip2/epoch_2.pth detector.pth \\
      --dtype bfloat16"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkpoint', help='of tools/train.py')
    parser.add_argument('out', help='file to write')
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16', 'float16'],
        default='float32',
        help='dtype of weights with two or more dimensions; default float32',
    )
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.publish import publish_checkpoint

    size = publish_checkpoint(args.checkpoint, args.out, args.dtype)
    print(f'{args.out}: {size / 1e6:.1f} MB')
