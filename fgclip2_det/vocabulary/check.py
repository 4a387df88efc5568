"""What is doubtful about a vocabulary, before a detector is run with it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.vocabulary.blanks import spoken
from fgclip2_det.vocabulary.embedding import TextSource
from fgclip2_det.vocabulary.names import normalize_name

if TYPE_CHECKING:
    from fgclip2_det.vocabulary.vocabulary import Vocabulary

_IRREGULAR = {
    'child': 'children', 'foot': 'feet', 'goose': 'geese', 'man': 'men',
    'mouse': 'mice', 'ox': 'oxen', 'person': 'people', 'tooth': 'teeth',
    'woman': 'women',
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One doubtful thing.

    Args:
        kind: 'duplicate', 'shared', 'plural', 'underscore', 'long' or
            'near-synonym'.
        names: those it is about, as they were given.
        message: one sentence.
    """

    kind: str
    names: tuple[str, ...]
    message: str


def check_names(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    """What the names alone tell.

    - duplicate: two classes with the same name but for case, width, spaces, hyphens
      and the like; or a class with the same alias but for case, spaces' number and
      underscores;
    - shared: an alias of one class is a name of another (滑雪板, skis and snowboard);
    - plural: the name of one class is the plural of another's;
    - underscore: prompts write it as a space; one finding for all such names.

    Args:
        aliases: C lists of names.
    """
    return [*_equal(aliases), *_plural(aliases), *_underscore(aliases)]


def check_vocabulary(
    vocabulary: Vocabulary,
    encoder: FGCLIP2 | str | os.PathLike | None = None,
    embeds: Tensor | None = None,
    cache_dir: str | os.PathLike | None = None,
    threshold: float = 0.95,
) -> list[Finding]:
    """Findings of :func:`check_names`, and with an encoder two more.

    - long: a prompt that has more tokens than the encoder reads;
    - near-synonym: two classes whose embeddings are closer than ``threshold``.

    Args:
        vocabulary: C classes.
        encoder: a model, folder or hub id; its tokenizer and its text tower.
        embeds: (C, D) L2-normalised, in place of the encoder's own.
        cache_dir: of ``Vocabulary.embed``.
        threshold: cosine, in -1 ... 1.

    Raises:
        ValueError: ``embeds`` of another vocabulary.
    """
    findings = check_names(vocabulary.aliases)
    long = [] if encoder is None else _long(vocabulary, TextSource(encoder))
    if embeds is None and encoder is not None and not long:
        embeds = vocabulary.embed(encoder, cache_dir)
    if embeds is not None:
        if len(embeds) != len(vocabulary):
            raise ValueError(
                f'expected an embedding of each of {len(vocabulary)} classes, got '
                f'{len(embeds)}; embed this vocabulary again'
            )
        long += _near_synonyms(vocabulary.names, embeds, threshold)
    return findings + long


def _equal(aliases: Sequence[Sequence[str]]) -> list[Finding]:
    owners: dict[str, list[tuple[int, int, str]]] = {}
    for label, names in enumerate(aliases):
        for place, name in enumerate(names):
            owners.setdefault(_squeeze(name), []).append((label, place, name))
    findings = []
    for found in owners.values():
        names = tuple(name for _, _, name in found)
        labels = sorted({label for label, _, _ in found})
        listed = ', '.join(map(repr, names))
        if len(labels) > 1:
            classes = ', '.join(f'{k} ({aliases[k][0]!r})' for k in labels)
            first = all(place == 0 for _, place, _ in found)
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
    """Stricter than ``normalize_name``: without width, hyphens, dots and spaces."""
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
    """Ways to write the plural of an English name; nothing for other scripts."""
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


def _long(vocabulary: Vocabulary, source: TextSource) -> list[Finding]:
    if source.folder is not None:
        tokenizer = FGCLIP2Tokenizer.from_folder(source.folder)
    else:
        tokenizer = source.load().tokenizer
    findings = []
    for name, prompts in zip(vocabulary.names, vocabulary.prompts(), strict=True):
        counts = [tokenizer.count(p) for p in prompts if _may_be_long(p, source)]
        if max(counts, default=0) > source.max_tokens:
            message = (
                f'a prompt of {name!r} has {max(counts)} tokens, '
                f'{source.max_tokens} is the limit; shorten it'
            )
            findings.append(Finding('long', (name,), message))
    return findings


def _may_be_long(prompt: str, source: TextSource) -> bool:
    """Whether it is worth counting: no token stands for less than a byte, and a
    space before the text and EOS may come on top."""
    return len(prompt.encode()) >= source.max_tokens - 1


def _near_synonyms(
    names: Sequence[str], embeds: Tensor, threshold: float
) -> list[Finding]:
    cosines = embeds.float() @ embeds.float().T
    cosines.masked_fill_(torch.ones_like(cosines).tril().bool(), -2)  # each pair once
    pairs = (cosines > threshold).nonzero()
    values = cosines[pairs[:, 0], pairs[:, 1]]
    findings = []
    for place in values.argsort(descending=True).tolist():
        first, second = (names[k] for k in pairs[place].tolist())
        message = f'{first!r} and {second!r} have cosine {values[place]:.3f}'
        findings.append(Finding('near-synonym', (first, second), message))
    return findings
