"""Selection of class names that a detector's own text model can tokenize."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

_SHOWN = 5


def readable_names(
    aliases: Sequence[Sequence[str]],
    tokenizer: Any,
    limit: int | None = None,
    prepare: Callable[[str], str] = str,
    reader: str = 'the detector',
) -> list[str]:
    """For each class, the first alias without unknown tokens that is short enough.

    BERT's tokenizer replaces unknown words, such as most Chinese, by [UNK], so such
    names get equal scores. CLIP's tokenizer is based on bytes and has no unknown words.

    Args:
        aliases: C lists of names.
        tokenizer: tokenizer of ``transformers``.
        limit: maximum number of tokens, including start and end tokens; None for any.
        prepare: function that the detector applies to a name.
        reader: name of the text model, for messages.

    Raises:
        ValueError: naming the classes without an alias of which something is left,
            that can be tokenized and is short enough.
    """
    chosen, unknown, long, empty = [], [], [], []
    for names in aliases:
        faults = [_fault(prepare(name), tokenizer, limit) for name in names]
        if None in faults:
            chosen.append(names[faults.index(None)])
        elif faults[0] == 'unknown':
            unknown.append(names[0])
        elif faults[0] == 'empty':
            empty.append(repr(names[0]))
        else:
            long.append(f'{names[0]!r} with {faults[0]}')
    if unknown:
        raise ValueError(
            f'{reader} cannot read {len(unknown)} of {len(aliases)} names: '
            f'{_listed(list(map(repr, unknown)))}; each has a word that its tokenizer '
            f'replaces by {tokenizer.unk_token}, so that such names get equal scores. '
            "Give them in English, or with an English alias: ['黑猫', 'black cat']"
        )
    if empty:
        raise ValueError(
            f'{reader} leaves nothing of {len(empty)} of {len(aliases)} names: '
            f'{_listed(empty)}; punctuation and what stands in parentheses are left '
            "out. Change them, or give an alias: ['(bow)', 'bow']"
        )
    if long:
        raise ValueError(
            f'{reader} reads at most {limit} tokens of a name, but {len(long)} of '
            f'{len(aliases)} have more: {_listed(long)}; shorten them or give a '
            'shorter alias'
        )
    return chosen


def warn_of_other_scripts(names: Sequence[str], reader: str) -> None:
    """Warn once of names in scripts that an English text model was not trained on."""
    foreign = [name for name in names if any(map(_is_foreign, name))]
    if foreign:
        warnings.warn(
            f'{reader} was trained on English text; {len(foreign)} of {len(names)} '
            f'names are only bytes to it: {_listed(list(map(repr, foreign)))}. Expect '
            'low accuracy, or give English names or aliases',
            stacklevel=3,
        )


def _fault(name: str, tokenizer: Any, limit: int | None) -> str | None:
    """'empty', 'unknown', the number of tokens where it is too high, or None."""
    if not name.strip():
        return 'empty'
    unknown = tokenizer.unk_token_id
    marks = (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id)
    ids = tokenizer(name)['input_ids']
    if unknown is not None and unknown not in marks and unknown in ids:
        return 'unknown'
    return f'{len(ids)} tokens' if limit is not None and len(ids) > limit else None


def _is_foreign(character: str) -> bool:
    return character.isalpha() and not unicodedata.name(character, '').startswith(
        ('LATIN', 'FULLWIDTH LATIN')
    )


def _listed(texts: list[str]) -> str:
    more = len(texts) - _SHOWN
    return ', '.join(texts[:_SHOWN]) + (f' and {more} more' if more > 0 else '')
