"""XML annotation files, as data: no entities, no other files."""

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.text import decode_text, read_bytes

_WORDS = {  # that annotation tools write for flags
    'true': 1, 'yes': 1, 'false': 0, 'no': 0, 'unspecified': 0, 'unknown': 0,
}  # fmt: skip
_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([^"'>]+)["']""")


def read_xml(path: Path, encoding: str | None = None) -> ElementTree.Element:
    """Root of an XML file.

    Args:
        path: of the file.
        encoding: of it; None: what it declares, unless its bytes are plainly something
            else (:func:`.decode_text`).

    Raises:
        InputError: naming the file: it cannot be read, is not XML, or defines
            entities.
    """
    data = read_bytes(path)
    declared = _DECLARATION.match(data.removeprefix(b'\xef\xbb\xbf'))
    if encoding is None and declared:
        encoding = declared[1].decode('ascii', 'replace').strip()
    text = decode_text(data, path, encoding).lstrip()
    if text.startswith('<?xml'):  # its encoding is that of the bytes, no more
        text = text.partition('?>')[2]
    if '<!ENTITY' in text:
        raise InputError(f'{path} defines entities, which no annotation file needs')
    try:
        return ElementTree.fromstring(text.strip('\0 \t\r\n'))
    except ElementTree.ParseError as error:
        raise InputError(f'{path} is not XML ({error}); get it again') from error


def text_of(path: Path, entry: ElementTree.Element, key: str) -> str:
    """Text of a child, by its path below ``entry``; InputError where there is none."""
    value = (entry.findtext(key) or '').strip()
    if not value:
        raise InputError(f'{path}: {entry.tag} has no {key!r}; correct it')
    return value


def number_of(path: Path, entry: ElementTree.Element, key: str) -> float:
    """A finite number; InputError for anything else."""
    value = text_of(path, entry, key)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f'{path}: {key} must be a number, got {value!r:.80}')
    return number


def flag_of(path: Path, entry: ElementTree.Element, key: str) -> int:
    """A flag as a number, of words as annotation tools write them, too."""
    word = text_of(path, entry, key).lower()
    return _WORDS[word] if word in _WORDS else int(number_of(path, entry, key))
