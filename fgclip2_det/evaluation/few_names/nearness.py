"""How near names are to each other: shared words, and embeddings of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

_PAIR_BONUS = 2.0  # more than any cosine is above another


class Nearness:
    """Order of absent names by their nearness to the present ones.

    Names of two words that share one of them come first: 'red star' and 'black circle'
    beside 'red circle'. Then the cosine of text embeddings decides; without embeddings
    the share of words that two names have in common, and names that share none come
    last, at random.

    Args:
        names: K names.
        embed: the names -> (K, D) embeddings of any length; None: there are none.

    Raises:
        ValueError: embeddings of another number, or that are not finite.
    """

    def __init__(
        self,
        names: Sequence[str],
        embed: Callable[[list[str]], np.ndarray] | None = None,
    ) -> None:
        self.names = list(names)
        words = [set(re.findall(r'\w+', name.lower())) for name in names]
        vocabulary = {w: n for n, w in enumerate(sorted(set().union(*words)))}
        self.has_word = np.zeros((len(words), len(vocabulary)), np.float32)
        for row, own in zip(self.has_word, words, strict=True):
            row[[vocabulary[word] for word in own]] = 1
        self.num_words = self.has_word.sum(1)
        self.embeds = None if embed is None else _unit(embed(self.names), len(words))

    def nearest_first(
        self, present: np.ndarray, absent: np.ndarray, image_id: int | str
    ) -> np.ndarray:
        """The absent names, nearest first; equally near ones keep their order.

        Args:
            present, absent: indices of names, in any order.
            image_id: for the message.

        Raises:
            ValueError: without embeddings, if no absent name shares a word with a
                present one.
        """
        if not len(present) or not len(absent):
            return absent
        near = self._near(present, absent).max(0)
        if self.embeds is None and not near.any():
            shown = ', '.join(repr(self.names[i]) for i in present[:3])
            raise ValueError(
                f'hard absent names: no absent name shares a word with those of image '
                f'{image_id!r} ({shown}); give text embeddings of names (embed=..., '
                "tools/evaluate.py --text-encoder), or take mode 'random'"
            )
        return absent[np.argsort(-near, kind='stable')]

    def _near(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(len(a), len(b)); the larger, the nearer."""
        shared = self.has_word[a] @ self.has_word[b].T
        most = np.maximum(self.num_words[a][:, None], self.num_words[b]).clip(1)
        if self.embeds is None:
            return shared / most
        pair = (self.num_words[a][:, None] == 2) & (self.num_words[b] == 2)
        bonus = _PAIR_BONUS * (pair & (shared > 0))
        return self.embeds[a] @ self.embeds[b].T + bonus


def _unit(embeds: np.ndarray, count: int) -> np.ndarray:
    embeds = np.asarray(embeds, np.float64)
    if embeds.ndim != 2 or len(embeds) != count or not np.isfinite(embeds).all():
        raise ValueError(
            f'embed must give finite ({count}, D) embeddings, got {embeds.shape}'
        )
    return embeds / np.linalg.norm(embeds, axis=1, keepdims=True).clip(1e-12)
