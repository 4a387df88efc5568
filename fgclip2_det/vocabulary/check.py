"""Checks of a vocabulary with an encoder: long prompts and near-synonyms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.vocabulary.embedding import TextSource
from fgclip2_det.vocabulary.name_checks import Finding, check_names

if TYPE_CHECKING:
    from fgclip2_det.vocabulary.vocabulary import Vocabulary


def check_vocabulary(
    vocabulary: Vocabulary,
    encoder: DualEncoder | str | os.PathLike | None = None,
    embeds: Tensor | None = None,
    cache_dir: str | os.PathLike | None = None,
    threshold: float = 0.95,
) -> list[Finding]:
    """Findings of :func:`check_names` and, with an encoder, of two more kinds.

    - long: a prompt with more tokens than the encoder reads;
    - near-synonym: two classes whose embeddings are closer than ``threshold``.

    Args:
        vocabulary: C classes.
        encoder: a model, folder or hub id with tokenizer and text tower.
        embeds: (C, D), L2-normalised, instead of the encoder's.
        cache_dir: as in ``Vocabulary.embed``.
        threshold: cosine, -1 to 1.

    Raises:
        ValueError: if the number of ``embeds`` is not that of the classes.
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


def _long(vocabulary: Vocabulary, source: TextSource) -> list[Finding]:
    tokenizer = source.tokenizer()
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
    """Whether the tokens need counting: a token covers at least one byte, plus a
    leading space and EOS."""
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
        i, j = pairs[place].tolist()
        first, second = names[int(i)], names[int(j)]
        message = f'{first!r} and {second!r} have cosine {values[place]:.3f}'
        findings.append(Finding('near-synonym', (first, second), message))
    return findings
