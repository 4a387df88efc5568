"""Rows of the suite, and what became of one."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.cli.errors import is_input_error

SECONDS = 20  # after which a row counts as one that does not end
FINE, SENTENCE = 'fine', 'sentence'


@dataclass(frozen=True)
class Row:
    """One odd or bad input.

    Attributes:
        name: what is odd about it.
        kind: of the input: 'image', 'shard', ...
        run: makes the input in an empty folder and hands it to the product.
        words: what the sentence must have; None: the input is fine, if unusual.
    """

    name: str
    kind: str
    run: Callable[[Path], object]
    words: tuple[str, ...] | None


class Said(Exception):
    """What a command printed instead of a traceback."""


class NoEnd(BaseException):
    """A row took longer than :data:`SECONDS`."""


def table(
    kind: str,
    read: Callable[[Path, Any], object],
    cases: Mapping[str, tuple],
    names: str | tuple[str, ...] = (),
) -> list[Row]:
    """Rows of one reader.

    Args:
        kind: see :class:`Row`.
        read: (folder, input) -> makes the input and reads it.
        cases: name -> (input, words of the sentence or None).
        names: what every sentence must have besides, such as the file's name.
    """
    names = (names,) if isinstance(names, str) else names
    return [
        Row(
            name,
            kind,
            lambda folder, given=given: read(folder, given),
            None if words is None else (*names, *_tuple(words)),
        )
        for name, (given, words) in cases.items()
    ]


def _tuple(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words


def outcome(row: Row, folder: Path, seconds: float = SECONDS) -> str:
    """What became of a row.

    Args:
        row: the input and what is expected.
        folder: an empty one.
        seconds: after which the row does not end.

    Returns:
        'fine' or 'sentence' where that was expected; otherwise the fault: 'accepted',
        'refused', 'words: ...', 'does not end', or the type of an error that is no
        sentence of this package.
    """
    try:
        with _at_most(seconds), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            row.run(folder)
    except NoEnd:
        return 'does not end'
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library is no Exception
        return _judged(row, error)
    return FINE if row.words is None else 'accepted'


def _judged(row: Row, error: BaseException) -> str:
    if not isinstance(error, Said) and not is_input_error(error):
        return f'{type(error).__name__}: {error}'[:200]
    if row.words is None:
        return f'refused: {error}'
    missing = [word for word in row.words if word not in str(error)]
    if missing:
        return f'words: no {missing[0]!r} in {error}'
    return SENTENCE


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt the block after some seconds."""

    def stop(*_: object) -> None:
        raise NoEnd

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
