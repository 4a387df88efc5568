"""Train a detector, or align an encoder, from a config."""

import argparse
from pathlib import Path

from fgclip2_det.cli.parsing import add_common_arguments

# for which a restarted sweep waits for the training of the one that was killed
ORPHAN_SECONDS = 20
EXAMPLE = """example:
  python tools/train.py configs/ovd_fgclip2.py --work-dir work_dirs/first
  python tools/train.py configs/ovd_fgclip2.py --work-dir work_dirs/first --resume
  python tools/train.py configs/ovd_fgclip2.py --work-dir work_dirs/first --resume \\
      --cfg-options train_cfg.max_epochs=6
  torchrun --nproc-per-node 8 tools/train.py CONFIG --launcher pytorch"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint; without a path, from the last one in the work '
        "dir. The resumed run's options stay in force, this command's are added: more "
        'epochs or iterations stretch its schedule',
    )
    parser.add_argument(
        '--resume-with-changes',
        action='store_true',
        help="resume even if data, schedule or model differ from the checkpoint's",
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='start anew in a work dir that holds checkpoints of an earlier training, '
        'which are removed; refused without this option',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the total batch size',
    )
    parser.add_argument(
        '--seed', type=int, help="random seed; default: the config's, or 0"
    )
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.config import load_config, work_dir_of
    from fgclip2_det.engine.first_process import held_work_dir, print_once
    from fgclip2_det.engine.report import report
    from fgclip2_det.engine.run_record import recorded_options, start_record
    from fgclip2_det.engine.runner import build_runner, leave_process_group
    from fgclip2_det.engine.start import prepare_training
    from fgclip2_det.io.child_processes import end_with_parent

    resume = args.resume or ('auto' if args.resume_with_changes else None)
    resumed = None
    if resume is not None:
        auto = work_dir_of(args.config, args.work_dir)
        resumed = auto if resume == 'auto' else Path(resume).parent
    flags = args.amp, args.auto_scale_lr
    record = start_record(args.config, args.cfg_options, *flags, resumed)
    for words in record['options'] if resume is not None else ():
        print_once(f'options of this run: {" ".join(words)}')
    options = recorded_options(record)
    cfg = load_config(args.config, options, args.work_dir, args.launcher)
    flags = record['amp'], record['auto_scale_lr']
    changes = args.resume_with_changes
    prepare_training(cfg, resume, *flags, args.seed, changes, record, args.overwrite)
    with held_work_dir(cfg.work_dir, wait=ORPHAN_SECONDS if end_with_parent() else 0):
        build_runner(cfg).train()
        leave_process_group()
    report(cfg.work_dir)
