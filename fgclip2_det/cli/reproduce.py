"""Reproduce a published result: a detector on a benchmark, alone and re-scored.

First a list of what is needed, where it is published and what of it is there; nothing
is downloaded. Then the detector runs over the images in shards, FG-CLIP re-scores them,
and a table has both beside the published numbers. A stopped run continues when it is
started again. Exit status 2: something is missing.
"""

import argparse
from pathlib import Path

EXAMPLE = """examples:
  python tools/reproduce.py lvis-minival llmdet-tiny fgclip2-base --check
  python tools/reproduce.py lvis-minival llmdet-tiny fgclip2-base --weights weights
  python tools/reproduce.py lvis-minival wedetect-large=wedetect.bbox.json fgclip2-base
  python tools/reproduce.py lvis-val llmdet-large fgclip2-so400m --shards 2/8
  python tools/reproduce.py lvis-minival llmdet-tiny fgclip2-base --dry-run --out /tmp/o
  python tools/reproduce.py lvis-minival llmdet-tiny fgclip2-base --cost

benchmarks: lvis-minival, lvis-minival-zh, lvis-val, coco, fg-ovd, d3
detectors: llmdet-tiny, llmdet-base, llmdet-large, mm-grounding-dino-tiny, sam3, or
  NAME=FILE with a COCO result list
encoders: fgclip2-base, fgclip2-large, fgclip2-so400m, fgclip1-base, fgclip1-large"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('benchmark')
    add('detector', help='a name, or NAME=FILE')
    add('encoder')
    add('--data-root', type=Path, default=Path('data'),
        help='folder with coco/, fgovd/, d3/; default: data')  # fmt: skip
    add('--weights', type=Path,
        help='folder with OWNER/NAME of every model; default: FGCLIP2_WEIGHTS, or '
             'weights')  # fmt: skip
    add('--out', type=Path, default=Path('work_dirs/reproduce'),
        help='folder for shards and results; default: work_dirs/reproduce')  # fmt: skip
    add('--shard-size', type=int, default=64, help='images of a shard; default: 64')
    add('--shards', default='1/1', metavar='I/N',
        help='run every N-th shard from the I-th, on several machines')  # fmt: skip
    add('--limit', type=int, help='only the first images')
    add('--device', help='default: cuda where there is one, else cpu')
    add('--check', action='store_true', help='only show what is there')
    add('--cost', action='store_true', help='only compute memory and time')
    add('--tflops', type=float, default=67.0,
        help='of --cost: peak of the GPU in TFLOP/s; default: 67, an H100 or H200 in '
             'float32')  # fmt: skip
    add('--efficiency', type=float, default=0.3,
        help='of --cost: share of the peak that is reached; default: 0.3')  # fmt: skip
    add('--json', type=Path, metavar='FILE', help='of --cost: write the figures')
    add('--dry-run', action='store_true',
        help='make a few pictures and small random weights in the released layouts '
             'below --out, and run on those')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.reproduce.command import reproduce

    reproduce(args)
