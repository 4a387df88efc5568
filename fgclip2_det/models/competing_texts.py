"""Competitors of a detector's names, their candidates embedded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from torch import Tensor

from fgclip2_det.vocabulary import Vocabulary, parts_of
from fgclip2_det.vocabulary.competitors import (
    CompetitorOptions,
    Competitors,
    add_negatives,
    combined_names,
    select_competitors,
)


class CompetingTexts:
    """Finds competitors whenever the names change.

    Args:
        options: of :class:`.CompetitorOptions`.
    """

    def __init__(self, options: Mapping) -> None:
        self.options = CompetitorOptions(**options)
        self._key: Hashable = None
        self._embeds: Tensor | None = None

    @classmethod
    def build(cls, options: Mapping | bool) -> CompetingTexts | None:
        """From a config: options, True for the defaults, or False for none."""
        if isinstance(options, bool):
            return cls({}) if options else None
        return cls(options)

    def __call__(
        self,
        vocabulary: Vocabulary,
        embeds: Tensor,
        trained: Sequence[str],
        embed: Callable[[Vocabulary], Tensor],
        source: Hashable,
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> Competitors:
        """Silent competitors of a vocabulary, without its negatives.

        Args:
            vocabulary: C names.
            embeds: (C, D) of them.
            trained: names that the detector was trained on.
            embed: embeds a vocabulary; called when the candidates change.
            source: tells one encoder from another.
            parts: of names, as in ``Vocabulary``.
        """
        names = self.options.candidates(trained, parts)
        candidates = embeds[:0]
        if names:
            key = source, tuple(names), tuple(vocabulary.templates)
            if key != self._key or self._embeds is None:
                texts = _as_texts(names, vocabulary, parts)
                self._key, self._embeds = key, embed(texts)
            candidates = self._embeds
        return select_competitors(
            vocabulary.aliases,
            embeds,
            names,
            candidates,
            trained,
            combined_names(trained, parts),
            self.options.same_meaning,
            vocabulary.images.names if vocabulary.images is not None else (),
        )


def find_competitors(
    finder: CompetingTexts | None,
    vocabulary: Vocabulary,
    embeds: Tensor,
    trained: Sequence[str],
    embed: Callable[[Vocabulary], Tensor],
    source: Hashable,
    parts: Mapping[str, Sequence[str]] | None = None,
) -> Competitors | None:
    """Silent competitors, if there is a finder of them, and the vocabulary's negatives,
    texts and boxes of images; None without either. Arguments as in
    :class:`CompetingTexts`."""
    negatives, images = vocabulary.negatives, vocabulary.images
    shown = None if images is None else images.counters(vocabulary.names)
    if finder is not None:
        found = finder(vocabulary, embeds, trained, embed, source, parts)
    elif negatives is not None or shown is not None:
        found = Competitors.none(*embeds.shape)
    else:
        return None
    if negatives is not None:
        others = embeds[:0]
        if negatives.texts:
            others = embed(_as_texts(list(negatives.texts), vocabulary, parts))
        found = add_negatives(found, negatives, others)
    if images is not None and shown is not None:
        found = add_negatives(found, shown, images.negatives)
    return found


def _as_texts(
    names: list[str],
    vocabulary: Vocabulary,
    parts: Mapping[str, Sequence[str]] | None,
) -> Vocabulary:
    """Texts with the templates of a vocabulary."""
    return Vocabulary(
        names,
        vocabulary.templates,
        base_classes=[],
        check=False,
        parts=parts_of(names, parts),
    )
