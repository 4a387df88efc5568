"""Negative prompts: names that compete for a box and are never reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.names import has_content
from fgclip2_det.vocabulary.texts import parse_texts

Texts = str | Sequence[str]
NUM_NEGATIVES = 8  # automatic ones of a name
EVERY = '*'  # stands for all names in a mapping
NegativeTexts = Texts | Mapping[str, Texts]


@dataclass(frozen=True)
class Negatives:
    """Negative prompts of a vocabulary with C names.

    Attributes:
        texts: N texts, different up to case and blanks; none is a name.
        against: (C, N) bool: whether the text of the column competes with the name of
            the row.
        names: (C, C) bool: whether the name of the column is a negative of the name of
            the row.
    """

    texts: tuple[str, ...]
    against: np.ndarray
    names: np.ndarray

    @property
    def key(self) -> tuple:
        """Equal for equal negatives."""
        return self.texts, self.against.tolist(), self.names.tolist()

    @classmethod
    def read(
        cls, given: NegativeTexts, aliases: Sequence[Sequence[str]]
    ) -> Negatives | None:
        """Negatives as a user gives them; None where there are none.

        Args:
            given: 'shadow; reflection' or a list, for all names; or a mapping name ->
                its own negatives, '*' -> those of all names. A name may be a negative
                of another one.
            aliases: C lists of texts, the names of the vocabulary.

        Raises:
            ValueError: negatives that are no texts, that are a name asked for, or that
                belong to a name that is not asked for.
        """
        index = {normalize_name(a): c for c, group in enumerate(aliases) for a in group}
        columns: dict[str, tuple[str, set[int]]] = {}
        between = np.zeros((len(aliases), len(aliases)), bool)
        for rows, text in _entries(given, index, len(aliases)):
            name = index.get(normalize_name(text))
            if name is None:
                columns.setdefault(normalize_name(text), (text, set()))[1].update(rows)
            elif name in rows:
                raise ValueError(
                    f'{text!r} is asked for and a negative of '
                    f'{"all names" if len(rows) > 1 else "itself"}; leave it out of '
                    'one of them'
                )
            else:
                between[list(rows), name] = True
        if not columns and not between.any():
            return None
        against = np.zeros((len(aliases), len(columns)), bool)
        for column, (_, rows) in enumerate(columns.values()):
            against[list(rows), column] = True
        return cls(tuple(text for text, _ in columns.values()), against, between)


def _entries(
    given: NegativeTexts, index: Mapping[str, int], count: int
) -> list[tuple[frozenset[int], str]]:
    """Pairs of the rows that a text is a negative of, and the text."""
    if not isinstance(given, Mapping):
        return [(frozenset(range(count)), text) for text in _texts(given)]
    pairs = []
    for name, texts in given.items():
        if name == EVERY:
            rows = frozenset(range(count))
        elif isinstance(name, str) and normalize_name(name) in index:
            rows = frozenset([index[normalize_name(name)]])
        else:
            raise ValueError(
                f'negatives are given for {name!r}, which is not asked for; expected '
                f'one of {", ".join(list(index)[:5])}'
            )
        pairs += [(rows, text) for text in _texts(texts)]
    return pairs


def _texts(given: Texts) -> list[str]:
    texts = parse_texts(given) if isinstance(given, str) else given
    if not isinstance(texts, Sequence) or not all(
        isinstance(text, str) and has_content(text) for text in texts
    ):
        raise ValueError(
            "negatives must be texts such as 'shadow; reflection', or name -> texts, "
            f'got {given!r:.80}'
        )
    return list(texts)


def find_negatives(
    aliases: Sequence[Sequence[str]], num: int = NUM_NEGATIVES
) -> dict[str, list[str]]:
    """Names that differ in one attribute: 'blue cup' of 'red cup'.

    Args:
        aliases: C lists of texts, in English or Chinese; the first is changed.
        num: at most, of each name; 0 for none.

    Returns:
        First alias -> its negatives, for :class:`.Vocabulary`; names without an
        attribute word that is known have none. The words are those of
        :mod:`.hard_negatives`, near-synonyms ('crimson' of 'red') left out.

    Raises:
        ValueError: ``num`` below 0.
    """
    if not isinstance(num, int) or num < 0:
        raise ValueError(
            f'the number of attribute negatives must be 0 or more: {num!r}'
        )
    if not num:
        return {}
    # loaded when needed: word lists of two languages
    from fgclip2_det.vocabulary.hard_negatives import HardNegativeWriter

    writer = HardNegativeWriter(num)
    found = {}
    for group in aliases:
        own = {normalize_name(alias) for alias in group}
        texts = [t for t in writer.write(group[0]) if normalize_name(t) not in own]
        if texts:
            found[group[0]] = texts
    return found


def join_negatives(
    given: NegativeTexts | None, others: Mapping[str, list[str]]
) -> NegativeTexts | None:
    """Negatives as given, with others by name."""
    if not others:
        return given
    if not isinstance(given, Mapping):
        given = {EVERY: given} if given else {}
    joined = {name: _texts(texts) for name, texts in given.items()}
    for name, texts in others.items():
        joined[name] = [*joined.get(name, []), *texts]
    return joined


def parse_negatives(options: Sequence[str]) -> dict[str, list[str]] | None:
    """Negatives of a command line: 'shadow; reflection', 'cup=glass; mug', or several
    such in one option: 'shadow; cup=glass; mug; plate=bowl'.

    Returns:
        Name -> negatives, :data:`EVERY` for those of all names; None without options.

    Raises:
        ValueError: for an option without a text.
    """
    found: dict[str, list[str]] = {}
    for option in options:
        name = EVERY
        head, *parts = option.split('=')  # each but the last ends with the next name
        for number, rest in enumerate(parts):
            *texts, after = parse_texts(head)
            if texts:
                found.setdefault(name, []).extend(texts)
            elif number:
                raise ValueError(
                    f'no negative of {name!r} before {after!r} in {option!r}; expected '
                    "negatives such as 'cup=glass; mug; plate=bowl'"
                )
            name, head = after, rest
        found.setdefault(name, []).extend(parse_texts(head))
    return found or None
