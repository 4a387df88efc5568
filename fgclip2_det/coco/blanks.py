"""Whitespace and invisible characters in names."""

from __future__ import annotations

import re

# characters that look blank, but are not for ``str.split``: braille's empty cell and
# the fillers of Hangul
_BLANK = dict.fromkeys(map(ord, '\u2800\u3164\uffa0'), ' ')
# soft hyphen, zero-width space, word joiner, byte order mark, direction marks, and
# Mongolian's vowel separator: no letter, no blank, nothing to see
_UNSEEN = dict.fromkeys(
    [0x00AD, 0x180E, 0x200B, 0x200E, 0x200F, 0x2060, 0xFEFF,
     *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)  # fmt: skip
# Zero-width joiners choose letter forms in Persian and Indic scripts, and make one
# emoji of several. At an end, or beside a blank, ASCII or a Chinese character, they do
# nothing.
_PLAIN = r'[\x00-\x7f\u4e00-\u9fff\u3400-\u4dbf]'
_IDLE_JOINERS = re.compile(
    rf'(?:(?<={_PLAIN})|^)[\u200c\u200d]+|[\u200c\u200d]+(?={_PLAIN}|$)'
)


def plain_blanks(text: str) -> str:
    """A name or prompt with single spaces for blanks of any sort, and none at its ends.

    Tokenizers read a tab, a no-break space, an ideographic space or two spaces as
    other tokens than a space, and a model's embedding changes with them, though a
    reader sees the same name. What a reader cannot see at all is left out.

    Example:
        >>> plain_blanks('\\ufeffred\\u3000 circle ')
        'red circle'
    """
    text = text.translate(_BLANK | _UNSEEN)
    return _IDLE_JOINERS.sub('', ' '.join(text.split())).strip()


def spoken(name: str) -> str:
    """A name as text for an encoder or detector: :func:`plain_blanks`, and underscores
    are spaces."""
    return plain_blanks(name.replace('_', ' '))
