"""Interpolate a fine-tuned encoder with its initial weights (WiSE-FT)."""

import argparse
import json
from pathlib import Path

from fgclip2_det.cli.parsing import KeyValue

EXAMPLE = """example:
  python tools/wise_ft.py configs/ovshapes/ovd_fgclip2_lora.py \\
      work_dirs/ovd_fgclip2_lora/epoch_3.pth --alpha 0.5 --out half.pth
  python tools/wise_ft.py CONFIG CHECKPOINT --alpha 0 0.25 0.5 0.75 1 --eval \\
      --out 'wise_{}.pth'"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('config', help='config of the training; alpha 0 is its backbone.encoder')
    add('checkpoint', help='checkpoint of the training, with or without LoRA')
    add('--alpha', type=float, nargs='+', default=[0.5],
        help='weight of the fine-tuned encoder, 0 to 1; default 0.5')  # fmt: skip
    add('--out', help='checkpoint to write; {} is replaced by alpha')
    add('--eval', action='store_true',
        help='evaluate each alpha on the test data and print a table')  # fmt: skip
    add('--json', type=Path, help='file for it; default: WORK_DIR/wise_ft.json')
    add('--work-dir', help='for --eval; default: work_dirs/<name of the config>')
    add('--cfg-options', nargs='+', action=KeyValue, metavar='KEY=VALUE',
        help='change the config')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.config import load_config
    from fgclip2_det.engine.wise_ft import (
        WiseFT,
        evaluate,
        save_checkpoint,
        table,
        without_lora,
    )
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.models.checkpoints import read_checkpoint

    check(args)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    checkpoint = read_checkpoint(args.checkpoint)
    state_dict = checkpoint.get('state_dict', checkpoint)
    wise = WiseFT(cfg.model.backbone, state_dict, args.checkpoint)
    plain = without_lora(cfg)
    for alpha in args.alpha if args.out else ():
        path = args.out.replace('{}', f'{alpha:g}')
        meta = {**checkpoint.get('meta', {}), 'wise_ft_alpha': alpha}
        save_checkpoint(path, wise.state_dict(alpha), meta, plain)
        print(f'alpha {alpha:g}: {path}')
    if args.out:
        print("for tools/test.py, add --cfg-options model.backbone.lora=None if "
              'the config has LoRA')  # fmt: skip
    if args.eval:
        rows = list(evaluate(plain, wise, args.alpha))
        path = args.json or Path(cfg.work_dir) / 'wise_ft.json'
        write_atomic(path, f'{json.dumps(rows, indent=1)}\n'.encode())
        print(f'{table(rows)}\n\ntable: {path}')


def check(args: argparse.Namespace) -> None:
    if not args.out and not args.eval:
        raise ValueError('nothing to do; give --out FILE, --eval or both')
    if args.out and len(args.alpha) > 1 and '{}' not in args.out:
        raise ValueError(
            f'--out {args.out} would be written {len(args.alpha)} times; put {{}} in '
            "place of alpha: --out 'wise_{}.pth'"
        )
    for alpha in args.alpha:
        if not 0 <= alpha <= 1:
            raise ValueError(f'--alpha must be in [0, 1], got {alpha:g}')
