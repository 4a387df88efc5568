"""JSON files written entry by entry, in bounded memory."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic, write_atomic
from fgclip2_det.io.text import TOO_DEEP

_MAX_IN_MEMORY = 1 << 20


def dumps(value: object) -> str:
    """JSON text of a value; characters beyond ASCII are not escaped.

    Raises:
        ValueError: if a number is not finite, which JSON cannot hold, or values are
            nested too deeply.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise InputError(TOO_DEEP) from error


def check_target(source: Path | str, target: Path | str) -> None:
    """Check that a target is not the file that it is made from.

    Raises:
        ValueError: if both are one file.
    """
    if Path(target).resolve() == Path(source).resolve():
        raise InputError(f'{target} would overwrite its source; give another name')


def write_text_pieces(path: Path | str, pieces: Iterable[str]) -> None:
    """Write pieces of text as one UTF-8 file, in full or not at all.

    Up to a megabyte is joined in memory, a longer text is written piece by piece. If a
    piece raises, the old file stays as it was.
    """
    path, pieces = Path(path), iter(pieces)
    head, size = [], 0
    for piece in pieces:
        head.append(piece)
        size += len(piece)
        if size > _MAX_IN_MEMORY:
            break
    else:
        write_atomic(path, ''.join(head).encode())
        return
    with open_atomic(path) as file:
        file.write(''.join(head).encode())
        for piece in pieces:
            file.write(piece.encode())


def json_pieces(items: Iterable[tuple[str, bool, Any]]) -> Iterator[str]:
    """Text of a JSON object from what ``json_stream.stream_json`` yields.

    One entry stands on a line.
    """
    start, in_list, is_first = '{', False, True
    for key, is_entry, value in items:
        if is_entry:
            yield ('\n' if is_first else ',\n') + dumps(value)
            is_first = False
            continue
        yield ('\n]' if in_list else '') + f'{start}{dumps(key)}: '
        start, in_list, is_first = ',\n', value == [], True
        yield '[' if in_list else dumps(value)
    yield ('\n]' if in_list else '') + ('{}\n' if start == '{' else '}\n')


def coco_pieces(sections: dict[str, Any]) -> Iterator[str]:
    """Text of a COCO file from its sections, iterables or single values, in order."""

    def items() -> Iterator[tuple[str, bool, Any]]:
        for key, section in sections.items():
            if isinstance(section, str | dict):
                yield key, False, section
            else:
                yield key, False, []
                yield from ((key, True, entry) for entry in section)

    return json_pieces(items())
