"""Distinguish input errors from other exceptions, and log tracebacks."""

from __future__ import annotations

import dis
import logging
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from types import TracebackType

from fgclip2_det.io import InputError

OWN = {'fgclip2_det', 'pretrain'}
_TYPES = (ValueError, FileNotFoundError, ImportError)
_LIBRARY = sysconfig.get_path('stdlib')
_OWN_FRAME = re.compile(r'[\\/](fgclip2_det|pretrain|tools)[\\/][^"]*"')


def is_input_error(error: BaseException) -> bool:
    """Whether ``error`` reports invalid input in one sentence.

    True for an ``InputError``; for a ``ValueError`` or ``ImportError`` that this
    package raised, here or in a worker process; for a missing file that this package
    tried to open; and for a name that is not in MMEngine's registry. False for other
    errors of Python, PyTorch and other packages.
    """
    if isinstance(error, InputError):
        return True
    if isinstance(error, KeyError):
        return ' registry. ' in str(error) and ' is not in the ' in str(error)
    if isinstance(error, FileNotFoundError) and _is_own_open(error.__traceback__):
        return True
    if not isinstance(error, _TYPES):
        return False
    if _is_own_raise(error.__traceback__) or worker_message(error) is not None:
        return True
    pool = type(error.__cause__).__name__ in ('RemoteTraceback', '_RemoteTraceback')
    return pool and _message_of_own_raise(str(error.__cause__)) is not None


def sentence_of(error: BaseException) -> str:
    """The message in one line, preceded by its type unless it is an input error."""
    message = worker_message(error) if is_input_error(error) else None
    if message is None:
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
    sentence = ' '.join(str(message).split()) or 'no message'
    return sentence if is_input_error(error) else f'{type(error).__name__}: {sentence}'


def worker_message(error: BaseException) -> str | None:
    """Message of an error that this package raised in a data loader worker, or None.

    PyTorch re-raises such an error with the worker's traceback in its text.
    """
    text = str(error)
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return None
    return _message_of_own_raise(text)


def _message_of_own_raise(text: str) -> str | None:
    """Message of a printed traceback whose last frame is a ``raise`` in this package;
    None otherwise."""
    lines = text.rstrip('\n" ').splitlines()
    frames = [i for i, line in enumerate(lines) if line.startswith('  File "')]
    if not frames or not _OWN_FRAME.search(lines[frames[-1]]):
        return None
    source = lines[frames[-1] + 1].strip() if frames[-1] + 1 < len(lines) else ''
    rest = [line for line in lines[frames[-1] + 1 :] if not line.startswith('    ')]
    if not source.startswith('raise ') or not rest:
        return None
    return ' '.join([rest[0].partition(': ')[2], *rest[1:]])


def log_traceback(error: BaseException) -> list[str]:
    """Write the traceback to the log files of a started run; return their paths."""
    module = sys.modules.get('mmengine.logging')
    if module is None:
        return []
    text = ''.join(traceback.format_exception(error))
    paths = []
    for logger in list(module.MMLogger._instance_dict.values())[-1:]:
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                record = logger.makeRecord(
                    logger.name, logging.ERROR, __file__, 0, text, (), None
                )
                handler.handle(record)
                paths.append(handler.baseFilename)
    return paths


def _is_own_raise(trace: TracebackType | None) -> bool:
    """Whether the last frame is a ``raise`` in this package."""
    frames = list(_frames(trace))
    if not frames or not _is_own(frames[-1]):
        return False
    return any(
        step.offset == frames[-1].tb_lasti and step.opname == 'RAISE_VARARGS'
        for step in dis.get_instructions(frames[-1].tb_frame.f_code)
    )


def _is_own_open(trace: TracebackType | None) -> bool:
    """Whether this package opened the file, itself or through the standard library."""
    for frame in reversed(list(_frames(trace))):
        path = frame.tb_frame.f_code.co_filename
        if _is_own(frame):
            return True
        if 'site-packages' in path or not path.startswith(('<frozen', _LIBRARY)):
            return False
    return False


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_own(trace: TracebackType) -> bool:
    frame = trace.tb_frame
    name = frame.f_globals.get('__name__', '')
    of_tool = _OWN_FRAME.search(f'"{frame.f_code.co_filename}"') is not None
    return name.split('.')[0] in OWN or of_tool
