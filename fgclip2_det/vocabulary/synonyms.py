"""Synonyms of class names: what other data sets call the same class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.name_lists import load_list

# PASCAL VOC's words for six of COCO's classes. Darknet's coco.names has them, and with
# it the released RT-DETR of Hugging Face (id2label of PekingU/rtdetr_*, as listed in
# github.com/roboflow/model-leaderboard, pull request 1).
_VOC_WORDS = {
    'airplane': 'aeroplane',
    'couch': 'sofa',
    'dining table': 'diningtable',
    'motorcycle': 'motorbike',
    'potted plant': 'pottedplant',
    'tv': 'tvmonitor',
}


def squeeze(name: str) -> str:
    """A name normalised as in a vocabulary, and without spaces."""
    return normalize_name(name).replace(' ', '').replace('-', '')


def synonyms_of(name: str) -> list[str]:
    """Synonyms of a COCO class, squeezed; none for other names."""
    own = squeeze(name)
    return [other for other in _groups().get(own, ()) if other != own]


@cache
def _groups() -> dict[str, tuple[str, ...]]:
    coco = load_list('coco')
    groups = {}
    for name, aliases in zip(coco.names, coco.aliases, strict=True):
        words = [name, *aliases, *([_VOC_WORDS[name]] if name in _VOC_WORDS else [])]
        group = tuple(dict.fromkeys(map(squeeze, words)))
        for word in group:
            groups[word] = group
    return groups


def other_names(name: str) -> set[str]:
    """What the built-in lists also call a class, normalised, in both languages.

    COCO's and LVIS's aliases and Chinese names, PASCAL VOC's words, the halves of
    'Bowl/Basin', and a name without what its brackets explain. Two aliases of one class
    need not mean the same, as 'man' and 'woman' of 'person', so an alias leads to the
    class's names alone. A word of several classes, such as 'bow', leads to all of them.

    Example:
        >>> sorted(other_names('Couch'))
        ['lounge', 'sofa', '沙发']
        >>> other_names('狗')
        {'dog'}
    """
    own = normalize_name(name)
    names = {part.strip() for part in own.split('/')} | {_without_brackets(own)}
    for word in (own, *names):
        names |= _same_class().get(word, set())
    return names - {own, ''}


@cache
def _same_class() -> dict[str, set[str]]:
    """Word -> words for the same class."""
    others: dict[str, set[str]] = {}
    for listed in map(load_list, ('coco', 'lvis', 'voc')):
        for english, aliases, chinese in zip(
            listed.names, listed.aliases, listed.chinese, strict=True
        ):
            names = [english]
            if chinese is not None:
                names.append(chinese)
            if english in _VOC_WORDS:
                names.append(_VOC_WORDS[english])
            heads, rest = _forms(names), _forms(aliases)
            for word in heads:
                others.setdefault(word, set()).update(heads | rest)
            for word in rest:
                others.setdefault(word, set()).update(heads)
    return others


def _forms(names: Sequence[str]) -> set[str]:
    normalized = {normalize_name(name) for name in names}
    return normalized | {_without_brackets(name) for name in normalized}


def _without_brackets(name: str) -> str:
    return re.sub(r'\s*\(.*?\)', '', name).strip()


def match_names(
    aliases: Sequence[Sequence[str]], known: Sequence[str]
) -> list[str | None]:
    """The known name of each class: its own, one of its aliases, or a synonym.

    A known name is matched to one class at most; equal names take precedence over
    aliases, and these over synonyms.

    Args:
        aliases: C lists of names.
        known: names to match against, for example a detector's.

    Returns:
        C entries of ``known``, None where no name matches.
    """
    owners = {squeeze(name): name for name in reversed(known)}
    matches: list[str | None] = [None] * len(aliases)
    ways = (
        lambda names: [squeeze(names[0])],
        lambda names: [squeeze(name) for name in names[1:]],
        lambda names: [word for name in names for word in synonyms_of(name)],
    )
    for way in ways:
        for label, names in enumerate(aliases):
            words = way(names) if matches[label] is None else ()
            word = next((word for word in words if word in owners), None)
            if word is not None:
                matches[label] = owners.pop(word)
    return matches
