"""``fgclip2-det``: every tool as a sub-command.

A sub-command is a module of this folder with ``parser()`` and ``main(args)``. Parsers
are built without PyTorch, so that ``--help`` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from fgclip2_det.cli.parsing import parse_and_run
from fgclip2_det.io.closed_pipes import closed_pipe_ends_quietly

NO_COMMANDS = {'__init__', '__main__', 'detect_prompts', 'errors', 'parsing'}


def commands() -> dict[str, str]:
    """Sub-command, as it is typed -> module."""
    files = sorted(Path(__file__).parent.glob('*.py'))
    names = [file.stem for file in files if file.stem not in NO_COMMANDS]
    return {name.replace('_', '-'): name for name in names}


def run(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the module ``name`` of this folder with ``argv``, by default ``sys.argv``."""
    module = import_module(f'{__name__}.{name}')
    parser = module.parser()
    parser.prog = prog or parser.prog
    options = {'intermixed': True} if getattr(module, 'INTERMIXED', False) else {}
    parse_and_run(parser, module.main, argv=argv, **options)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``fgclip2-det``."""
    argv = sys.argv[1:] if argv is None else list(argv)
    known = commands()
    rows = []
    if not argv or argv[0] in ('-h', '--help'):
        rows = [f'  {name:<20} {_summary(known[name])}' for name in known]
    parser = argparse.ArgumentParser(
        prog='fgclip2-det',
        description='Open-vocabulary detection for MMDetection with FG-CLIP 2.',
        epilog='\n'.join(['commands:', *rows]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    text = 'fgclip2-det COMMAND --help shows its options'
    parser.add_argument('command', choices=list(known), metavar='COMMAND', help=text)
    with closed_pipe_ends_quietly():
        name = parser.parse_args(argv[:1]).command
    run(known[name], argv[1:], f'fgclip2-det {name}')


def _summary(module: str) -> str:
    """First sentence of a module's docstring."""
    text = import_module(f'{__name__}.{module}').__doc__ or ''
    first = ' '.join(text.partition('\n\n')[0].split())
    return first.partition('. ')[0].rstrip('.')
