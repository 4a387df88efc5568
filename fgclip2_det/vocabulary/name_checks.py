"""Checks of class names that need no encoder: duplicates, plurals, underscores."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.coco.names import normalize_name

_IRREGULAR = {
    'child': 'children', 'foot': 'feet', 'goose': 'geese', 'man': 'men',
    'mouse': 'mice', 'ox': 'oxen', 'person': 'people', 'tooth': 'teeth',
    'woman': 'women',
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One problem of a vocabulary.

    Args:
        kind: 'duplicate', 'shared', 'plural', 'underscore', 'marks', 'long' or
            'near-synonym'.
        names: the names concerned, as given.
        message: one sentence.
    """

    kind: str
    names: tuple[str, ...]
    message: str


def check_names(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    """Findings that only need the names.

    - duplicate: two classes whose names differ only in case, character width, spaces,
      hyphens and the like; or two aliases of a class that differ only in case, number
      of spaces and underscores;
    - shared: an alias of one class is a name of another (滑雪板, skis and snowboard);
    - plural: the name of one class is the plural of another's;
    - underscore: prompts write it as a space; one finding for all such names;
    - marks: '|' or braces, which only a string is split at; one finding as well.

    Args:
        aliases: C lists of names.
    """
    return [
        *_equal(aliases),
        *_plural(aliases),
        *_underscore(aliases),
        *_marks(aliases),
    ]


def doubtful_names(aliases: Sequence[Sequence[str]], most: int = 3) -> str | None:
    """One line on the first findings of :func:`check_names`; None without any."""
    findings = check_names(aliases)
    if not findings:
        return None
    more = f' (and {len(findings) - most} more)' if len(findings) > most else ''
    listed = '; '.join(finding.message for finding in findings[:most])
    return f'doubtful names: {listed}{more}'


def uncomposed_names(
    names: Sequence[str], composed: Iterable[str], trained: Iterable[str], most: int = 3
) -> str | None:
    """One line on names that a detector, trained with names composed of parts, neither
    composes nor was trained with; None without any.

    Args:
        names: that are asked for.
        composed: names that the detector has parts of.
        trained: names that it was trained with.
        most: names to list.
    """
    table = {normalize_name(name): name for name in composed}
    known = {*table, *map(normalize_name, trained)}
    others = [name for name in names if normalize_name(name) not in known]
    if not others or not table:
        return None
    near = get_close_matches(normalize_name(others[0]), table, n=1, cutoff=0.0)
    listed = ', '.join(map(repr, others[:most]))
    more = f' and {len(others) - most} more' if len(others) > most else ''
    return (
        f'{listed}{more}: this detector composes its names of parts and has none of '
        f'these; ask with its own names, as {table[near[0]]!r}, or give a Vocabulary '
        f'with parts'
    )


def _equal(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    owners: dict[str, list[tuple[int, int, str]]] = {}
    for label, names in enumerate(aliases):
        for place, name in enumerate(names):
            owners.setdefault(_squeeze(name), []).append((label, place, name))
    findings = []
    for uses in owners.values():
        names = tuple(name for _, _, name in uses)
        labels = sorted({label for label, _, _ in uses})
        listed = ', '.join(map(repr, names))
        if len(labels) > 1:
            classes = ', '.join(f'{k} ({aliases[k][0]!r})' for k in labels)
            first = all(place == 0 for _, place, _ in uses)
            what = 'are one name' if first else 'name more than one class'
            findings.append(
                Finding(
                    'duplicate' if first else 'shared',
                    names,
                    f'{listed} {what}: classes {classes}',
                )
            )
            continue
        # 'bow-tie' and 'bowtie' are fair aliases, 'Cat' and 'cat' are one
        readings = [normalize_name(name) for name in names]
        twice = tuple(
            name
            for name, reading in zip(names, readings, strict=True)
            if readings.count(reading) > 1
        )
        if twice:
            message = (
                f'{", ".join(map(repr, twice))} are one alias of class {labels[0]}'
            )
            findings.append(Finding('duplicate', twice, message))
    return findings


def _squeeze(name: str) -> str:
    """Like ``normalize_name``, and without character width, hyphens, dots, spaces."""
    name = normalize_name(unicodedata.normalize('NFKC', name))
    return ''.join(c for c in name if c not in " -–'’.·") or name


def _plural(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    owner = {
        normalize_name(name): (label, name)
        for label, names in enumerate(aliases)
        for name in names
    }
    findings = []
    for name, (label, given) in owner.items():
        for plural in _plurals(name):
            other, its = owner.get(plural, (label, given))
            if other != label:
                message = f'{its!r} is the plural of {given!r}, another class'
                findings.append(Finding('plural', (given, its), message))
    return findings


def _plurals(name: str) -> set[str]:
    """Possible plurals of an English name; none for other scripts."""
    head, space, last = name.rpartition(' ')
    if not last.isascii() or not last.isalpha():
        return set()
    plurals = {f'{last}s', f'{last}es', _IRREGULAR.get(last, f'{last}s')}
    if last.endswith('y'):
        plurals.add(f'{last[:-1]}ies')
    if last.endswith(('f', 'fe')):
        plurals.add(f'{last.rstrip("e")[:-1]}ves')
    return {head + space + word for word in plurals}


def _underscore(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    names = tuple(name for group in aliases for name in group if '_' in name)
    if not names:
        return []
    count = 'a name holds' if len(names) == 1 else f'{len(names)} names hold'
    spaces = spoken(names[0])
    message = f'{count} underscores, read as spaces: {names[0]!r} as {spaces!r}'
    return [Finding('underscore', names, message)]


def _marks(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    names = tuple(n for group in aliases for n in group if any(c in n for c in '|{}'))
    if not names:
        return []
    count = 'a name of a list is' if len(names) == 1 else f'{len(names)} names are'
    message = (
        f"{count} not split at '|' or braces: {names[0]!r}; give aliases as a list in "
        'the list, or all names as one string'
    )
    return [Finding('marks', names, message)]
