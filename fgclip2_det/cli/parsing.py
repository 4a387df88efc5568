"""Argument parsing shared by the tools."""

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fgclip2_det.cli.errors import is_input_error, log_traceback, sentence_of
from fgclip2_det.io.closed_pipes import closed_pipe_ends_quietly, reader_left

_PACKAGE = Path(__file__).resolve().parents[1]
# configs/ and tools/ lie beside the package in a checkout, inside it in a wheel
ROOT = next(
    (f for f in (_PACKAGE.parent, _PACKAGE / '.mim') if (f / 'tools').is_dir()),
    _PACKAGE.parent,
)
TOOLS = ROOT / 'tools'
# Exit status: 0 fine; 1 the answer to the question is bad, as of a check that finds
# something; 2 usage or input, or a fault of the program; 130 Ctrl-C; 141 nobody read
# on, see fgclip2_det.io.closed_pipes.
BAD_ANSWER, FAILED, INTERRUPTED = 1, 2, 130
# options and arguments that name a file to write
OUTPUTS = ('out', 'json', 'label_map', 'picture', 'write_asks')


class KeyValue(argparse.Action):
    """Parse ``key=value`` words: Python literals first, then MMEngine's shorthand."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from fgclip2_det.engine.options import parse_options

        try:
            options = parse_options(values)
        except ValueError as error:
            parser.error(f'{option_string}: {error}')
        known = getattr(namespace, self.dest, None) or {}
        setattr(namespace, self.dest, {**known, **options})


def number_of_names(word: str) -> int | str:
    """Type of --ks: a number, or 'all'."""
    return word if word == 'all' else int(word)


def check_ranking_options(args: argparse.Namespace, ranks: bool) -> None:
    """ValueError for options of the rule 'ranking' without it."""
    for name in ('num_ranked', 'ranking_weight'):
        if not ranks and getattr(args, name) is not None:
            raise ValueError(
                f'--{name.replace("_", "-")} is for --fusion ranking; give that too'
            )


def check_device(name: str) -> None:
    """ValueError for a --device that this PyTorch cannot use."""
    import torch

    try:
        torch.zeros(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'--device {name} cannot be used ({reason}); give cpu, or a device that '
            'this PyTorch has'
        ) from error


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of train.py and test.py, as MMDetection spells them."""
    parser.add_argument('--work-dir', help='default: work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeyValue,
        metavar='KEY=VALUE',
        help='change the config: train_cfg.max_epochs=2 a.list="[1,2]" '
        """names="['red circle', 'traffic light']" (Python literals, else text); """
        "another type drops the old one's other keys",
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    parser.add_argument(
        '--verbose', action='store_true', help='show the traceback of an error'
    )


def parse_and_run(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], None],
    intermixed: bool = False,
    argv: Sequence[str] | None = None,
) -> None:
    """Call ``main`` with the parsed arguments, by default of ``sys.argv``.

    An input error is printed to stderr as one sentence, any other exception with its
    traceback. The traceback of either goes to the log file of a started run. The exit
    status is :data:`FAILED`; ``--verbose`` prints every traceback. Ctrl-C is one word
    and :data:`INTERRUPTED`, a second one ends the process at once. Where nobody reads
    the output any more, see :func:`.closed_pipe_ends_quietly`.

    Args:
        parser: parser of the tool; it must have ``--verbose``.
        main: main function of the tool.
        intermixed: whether positional arguments may stand between options.
        argv: arguments to parse instead of ``sys.argv``.
    """
    with closed_pipe_ends_quietly():
        parse = parser.parse_intermixed_args if intermixed else parser.parse_args
        args = parse(argv)
        os.environ.setdefault('LOCAL_RANK', str(getattr(args, 'local_rank', 0)))
        _run(main, args)


def _run(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    try:
        with second_interrupt_ends():
            refuse_overwriting(args)
            main(args)
    except KeyboardInterrupt:
        from fgclip2_det.io.child_processes import PARENT

        if PARENT not in os.environ:  # else a sweep says so
            print('interrupted', file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            raise
        logs = log_traceback(error)
        if isinstance(error, ImportError) and error.__cause__:
            error = error.__cause__  # MMEngine hides why a custom import failed
        if args.verbose or not is_input_error(error):
            traceback.print_exception(error)
            for path in logs:
                print(f'log: {path}', file=sys.stderr)
        print(f'error: {sentence_of(error)}', file=sys.stderr)
        sys.exit(getattr(error, 'status', FAILED) if is_input_error(error) else FAILED)


@contextmanager
def second_interrupt_ends() -> Iterator[None]:
    """A block in which the first Ctrl-C raises KeyboardInterrupt, as always, and leaves
    the next one to the system, which asks nobody."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # it is ignored, or somebody else's
        return

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:  # in another thread than the first
        yield
        return
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_overwriting(args: argparse.Namespace) -> None:
    """ValueError if an output of the command is one of its inputs, by any path, and
    the command has no ``--in-place`` that was given; or if two outputs are one file."""
    _refuse_equal_outputs(args)
    in_place = getattr(args, 'in_place', None)
    remedy = 'name another file' + ', or add --in-place' * (in_place is not None)
    for name in () if in_place else OUTPUTS:
        output = getattr(args, name, None)
        if output is None or not os.path.isfile(output):
            continue
        for other, value in vars(args).items():
            values = value if isinstance(value, list | tuple) else [value]
            for given in values:
                if other != name and _is_file(given) and Path(given).samefile(output):
                    raise ValueError(
                        f'--{name.replace("_", "-")} {output} is the file of '
                        f'{other.replace("_", "-")} as well and would replace it; '
                        f'{remedy}'
                    )


def _refuse_equal_outputs(args: argparse.Namespace) -> None:
    seen: dict[str, str] = {}
    for name in OUTPUTS:
        output = getattr(args, name, None)
        if output is None or os.path.exists(output):
            continue  # a device, or a file that is looked at above
        option = f'--{name.replace("_", "-")}'
        other = seen.setdefault(os.path.realpath(output), option)
        if other != option:
            raise ValueError(
                f'{other} and {option} are both {output}; name another file for one'
            )


def _is_file(value: object) -> bool:
    try:
        return isinstance(value, str | os.PathLike) and Path(value).is_file()
    except (OSError, ValueError):  # too long, or with a null byte: a text, no path
        return False


def add_json(parser: Any) -> None:
    """Add ``--json`` of a command that checks something."""
    parser.add_argument(
        '--json',
        type=Path,
        metavar='FILE',
        help='write the findings to FILE, too; /dev/stdout prints them',
    )


def write_json(path: Path | None, content: object) -> None:
    """Write what ``--json`` asks for; nothing without it."""
    if path is not None:
        from fgclip2_det.io.atomic import write_atomic

        text = json.dumps(content, ensure_ascii=False, indent=2)
        write_atomic(path, f'{text}\n'.encode())


def add_result_list(parser: argparse.ArgumentParser) -> None:
    """Add the options of tools that compare a result list with an encoder."""
    add = parser.add_argument
    add('--predictions', required=True, help='COCO result list')
    add('--unpickle', action='store_true',
        help='the predictions are a pickle of MMDetection (DumpDetResults, --out); '
             'only tensors and plain values are accepted')  # fmt: skip
    add('--label-order', metavar='ORDER',
        help="label order of the pickle: file (CocoDataset), split (base before "
             'novel, OpenVocabCocoDataset), ov_coco, the config of the detector, or a '
             'file of names in label order; required if these differ')  # fmt: skip
    add('--ids', choices=['id', 'stem'], default='id',
        help="image_id of the rows: the image's id, or the stem of its file name, as "
             'ultralytics writes it')  # fmt: skip
    add('--categories', choices=['id', 'from-1'], default='id',
        help="category_id of the rows: the category's id, or its position in the file "
             "counted from 1, as ultralytics' class + 1")  # fmt: skip
    add('--ann', required=True, help='COCO annotation file: images and categories')
    add('--images', required=True, help='folder that its file names are relative to')
    add('--encoder', required=True, help='folder in the released layout, or hub id')
