"""Which texts compete with the names of a vocabulary: the rules, in NumPy.

:mod:`.competitors` has the same for PyTorch; nothing here imports it, so that a
detector without PyTorch finds the same competitors.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.name_lists import load_list
from fgclip2_det.vocabulary.negatives import Negatives
from fgclip2_det.vocabulary.synonyms import other_names

SAME_MEANING = 0.95  # cosine of texts that mean the same: TIC's, equation 1
_Key = TypeVar('_Key')
_WORD = re.compile(r'[\u3400-\u9fff]|[^\s\u3400-\u9fff]+')
_SMALL_WORDS = frozenset(
    ('a', 'an', 'the', 'of', 'in', 'on', 'at', 'to', 'by', 'for', 'with', 'and', 'or',
     'is', 'are', '的', '色')
)  # fmt: skip
MIN_WORLD = 20  # candidates; fewer say little of what a box may be instead
MIN_FILLED = 1 / 3  # of a grid of words: OVShapes' base names fill 0.6, LVIS' 0.02


@dataclass(frozen=True)
class CompetitorOptions:
    """Where competitors come from.

    Args:
        trained: take the names that the detector was trained on.
        combine: with :func:`combined_names` of them.
        lists: built-in lists, such as 'coco' and 'objects365'; see
            :mod:`.name_lists`. An encoder that never saw their words gives them
            embeddings that mean nothing: leave them out there.
        names: further texts, in any language.
        same_meaning: cosine of two texts above which they mean the same.

    Raises:
        ValueError: an unknown list, names that are no list of texts, or a cosine
            outside (0, 1].
    """

    trained: bool = True
    combine: bool = True
    lists: Sequence[str] = ()
    names: Sequence[str] = ()
    same_meaning: float = SAME_MEANING

    def __post_init__(self) -> None:
        for option in ('lists', 'names'):
            value = getattr(self, option)
            texts = not isinstance(value, str) and isinstance(value, Sequence)
            if not texts or not all(isinstance(v, str) and v.strip() for v in value):
                raise ValueError(
                    f'{option} of competitors must be a list of texts, got {value!r}'
                )
        for name in self.lists:
            load_list(name)
        if not 0 < self.same_meaning <= 1:
            raise ValueError(
                'same_meaning of competitors must lie in (0, 1], got '
                f'{self.same_meaning}'
            )

    def candidates(
        self,
        trained: Sequence[str],
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> list[str]:
        """All texts, whatever is asked for; equal ones once.

        Args:
            trained: names that the detector was trained on.
            parts: of names, as in ``Vocabulary``.
        """
        texts = list(trained) if self.trained else []
        if self.combine:
            texts += combined_names(texts, parts)
        for name in self.lists:
            texts += load_list(name).names
        texts += self.names
        once: dict[str, str] = {}
        for text in texts:
            once.setdefault(normalize_name(text), text)
        return list(once.values())


def combine_names(names: Sequence[str]) -> list[str]:
    """New names of two words, where the given ones are attribute and noun.

    First and second words that occur in several names span a grid. If at least a third
    of it is given, as with colours and shapes or colours and pieces, the rest of it is
    returned; names such as 'fire hydrant' and 'stop sign' combine to nothing.

    Example:
        >>> combine_names(['red star', 'red ring', 'blue star', 'fire hydrant'])
        []
        >>> combine_names(['red star', 'red ring', 'red cube', 'blue star', 'blue cube',
        ...                'green ring', 'green star'])
        ['blue ring', 'green cube']
    """
    pairs = {
        split_words(name) for name in names if len(normalize_name(name).split()) == 2
    }
    pairs = {pair for pair in pairs if len(pair) == 2}
    firsts = {first for first, n in Counter(a for a, _ in pairs).items() if n > 1}
    seconds = {second for second, n in Counter(b for _, b in pairs).items() if n > 1}
    grid = set(product(firsts, seconds))
    if len(grid & pairs) < MIN_FILLED * len(grid):
        return []
    return [' '.join(pair) for pair in sorted(grid - pairs)]


def combined_names(
    trained: Sequence[str], parts: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """New names that are made of what trained names are made of: :func:`combine_names`,
    and names whose parts all occur among the parts of trained ones.

    Args:
        trained: names of the training.
        parts: of names, as in ``Vocabulary``.

    Example:
        >>> combined_names(['a white cup', 'a red jug'], {
        ...     'a white cup': ['white', 'cup'], 'a red jug': ['red', 'jug'],
        ...     'a red cup': ['red', 'cup'], 'a red vase': ['red', 'vase']})
        ['a red cup']
    """
    known = {normalize_name(name) for name in trained}
    given = [(name, texts) for name, texts in (parts or {}).items()]
    seen = {t for name, texts in given if normalize_name(name) in known for t in texts}
    composed = [
        name
        for name, texts in given
        if normalize_name(name) not in known and seen.issuperset(texts)
    ]
    return [*combine_names(trained), *composed]


def split_words(name: str) -> tuple[str, ...]:
    """Words of a normalised name; each Chinese character is one."""
    return tuple(_WORD.findall(normalize_name(name)))


@dataclass(frozen=True)
class Choice:
    """Chosen candidates.

    Attributes:
        kept: S indices of candidates, those that some name is free of first.
        apart: (C, C + T) bool, see :class:`.Competitors`.
        known: (C,) bool, see :class:`.Competitors`.
    """

    kept: list[int]
    apart: np.ndarray
    known: np.ndarray


def choose_competitors(
    aliases: Sequence[Sequence[str]],
    embeds: np.ndarray,
    candidates: Sequence[str],
    candidate_embeds: np.ndarray,
    trained: Sequence[str] = (),
    combined: Sequence[str] = (),
    same_meaning: float = SAME_MEANING,
    shown: Sequence[str] = (),
) -> Choice:
    """Competitors of a vocabulary: candidates that are wrong wherever a name is right.

    A candidate does not compete with a name if it means the same (cosine above
    ``same_meaning``, or an alias or Chinese name of the built-in lists:
    :func:`.other_names`), is a kind of it ('wine bottle' of 'bottle', 红色圆形 of 圆形:
    it ends with the name), or is part of it ('red circle' of 'striped red circle' or of
    a sentence). The same relations hold names of the vocabulary apart. Two names of the
    training, or combined from it, exclude each other as they did there: 'hot dog'
    competes with 'dog'. A candidate that is asked for is no longer silent.

    A name that is no candidate is an outsider. Candidates compete with it; it competes
    with its siblings alone: outsiders of a common word ('red scarf' and 'blue scarf'),
    or whose texts are nearer than two standard deviations above the mean of the
    candidates, unless a candidate means the same. So scores do not move when unrelated
    names are asked for as well.

    Args:
        aliases: C lists of texts.
        embeds: (C, D) of the vocabulary, L2-normalised.
        candidates: K texts, different up to case and blanks.
        candidate_embeds: (K, D), L2-normalised.
        trained: names of the training.
        combined: what they combine to, see :func:`combined_names`.
        same_meaning: cosine of two texts above which they mean the same.
        shown: names whose embeddings are of images. The candidate nearest to each does
            not compete with it: it is what the images show, in words.
    """
    related = _text_relations(aliases, candidates)
    single = [[name] for name in candidates]
    if not tells_apart(candidate_embeds, same_meaning):
        same_meaning = math.inf
    means_same = embeds @ candidate_embeds.T > same_meaning
    means_same |= _listed_relations(aliases, single)
    own = _any_in(aliases, [*trained, *combined])
    declared = own[:, None] & _any_in(single, [*trained, *combined])
    free = (related | means_same) & ~declared
    if shown and len(candidates):
        rows = np.flatnonzero(_any_in(aliases, shown))
        free[rows, (embeds[rows] @ candidate_embeds.T).argmax(1)] = True
    asked = _any_in(single, _flat(aliases))
    tied = np.flatnonzero(free.any(0) & ~asked)
    rest = np.flatnonzero(~free.any(0) & ~asked)
    apart = _relations_of_names(aliases) | _listed_relations(aliases, aliases)
    apart |= embeds @ embeds.T > same_meaning
    apart &= ~(own[:, None] & own)
    outside = ~_any_in(aliases, candidates)
    new = outside & ~means_same.any(1)
    siblings = _siblings(aliases, embeds, candidate_embeds, outside, new)
    apart |= outside & ~siblings
    np.fill_diagonal(apart, False)
    was_trained = _any_in(single, trained)
    known = _any_in(aliases, trained) | (means_same & was_trained).any(1)
    known &= ~_any_in(aliases, combined)
    apart = np.concatenate([apart, free[:, tied]], 1)
    return Choice([*tied.tolist(), *rest.tolist()], apart, known)


def place_negatives(
    names: Sequence[str], apart: np.ndarray, negatives: Negatives
) -> tuple[list[int], np.ndarray]:
    """Negative prompts in front of silent competitors.

    A negative competes whatever its text is: 'red circle' with 'circle' as well, which
    silent competitors do not. A silent competitor of the same text is replaced where
    the negative is one of all names, and stands for the negative elsewhere.

    Args:
        names: S silent competitors of C names.
        apart: (C, C + T) bool, see :class:`.Competitors`.
        negatives: N texts.

    Returns:
        Indices into the N negatives followed by the S competitors, and the new
        ``apart``.
    """
    against, texts = negatives.against, negatives.texts
    count, tied = len(apart), apart.shape[1]
    place = {normalize_name(name): i for i, name in enumerate(names)}
    silent = [place.get(normalize_name(text)) for text in texts]
    of_all = [bool(column.all()) for column in against.T]
    own = [i for i, each in enumerate(silent) if each is None and not of_all[i]]
    common = [i for i, each in enumerate(of_all) if each]
    replaced = {silent[i] for i in common}
    apart = apart.copy()
    apart[:, :count] &= ~negatives.names
    for text, each in enumerate(silent):
        if each is not None and count + each < tied:
            apart[:, count + each] &= ~against[:, text]
    kept = [i for i in range(len(names)) if i not in replaced]
    some = [i for i in kept if count + i < tied]
    rest = kept[len(some) :]
    total = len(texts)
    # what some names are free of comes first
    order = [*own, *(total + i for i in some), *common, *(total + i for i in rest)]
    free = [apart[:, :count], ~against[:, own], apart[:, [count + i for i in some]]]
    return order, np.concatenate(free, 1)


def _siblings(
    aliases: Sequence[Sequence[str]],
    embeds: np.ndarray,
    candidate_embeds: np.ndarray,
    outside: np.ndarray,
    new: np.ndarray,
) -> np.ndarray:
    """(C, C) bool: names, the rows, that an outsider, the column, competes with.

    All of them, where there are too few candidates to be an outside world.

    Args:
        outside: (C,) bool, outsiders.
        new: (C,) bool, those that no candidate means.
    """
    count = len(candidate_embeds)
    if count < MIN_WORLD:
        return np.ones((len(aliases), len(aliases)), bool)
    cosines = (candidate_embeds @ candidate_embeds.T)[np.triu_indices(count, 1)]
    near = embeds @ embeds.T > cosines.mean() + 2 * cosines.std(ddof=1)
    words = [
        {word for alias in group for word in split_words(alias)} - _SMALL_WORDS
        for group in aliases
    ]
    rows: dict[str, list[int]] = {}
    for row, own in enumerate(words):
        for word in own:
            rows.setdefault(word, []).append(row)
    for shared in rows.values():
        near[np.ix_(shared, shared)] = True
    return near & outside[:, None] & new


def tells_apart(embeds: np.ndarray, same_meaning: float) -> bool:
    """Whether most of the candidates, which are different classes, lie below the
    threshold. Texts of an encoder that was not trained do not: then words decide."""
    cosines = embeds @ embeds.T
    pairs = len(embeds) * (len(embeds) - 1)
    above = int((cosines > same_meaning).sum()) - len(embeds)
    return len(embeds) < 3 or above <= pairs / 2


def _any_in(aliases: Sequence[Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """(C,) bool: whether an alias is one of the names."""
    known = {normalize_name(name) for name in names}
    rows = [any(normalize_name(a) in known for a in group) for group in aliases]
    return np.array(rows, bool)


def _text_relations(
    aliases: Sequence[Sequence[str]], candidates: Sequence[str]
) -> np.ndarray:
    """(C, K) bool: the candidate ends with an alias, or stands within one."""
    related = np.zeros((len(aliases), len(candidates)), bool)
    rows = _index(split_words(a) for a in _flat(aliases))
    owner = [i for i, group in enumerate(aliases) for _ in group]
    columns = _index(split_words(name) for name in candidates)
    for words, places in columns.items():
        for start in range(len(words)):  # endings
            for row in rows.get(words[start:], ()):
                related[owner[row], places] = True
    for words, places in rows.items():
        for span in _spans(words):
            for column in columns.get(span, ()):
                related[[owner[row] for row in places], column] = True
    return related


def _relations_of_names(aliases: Sequence[Sequence[str]]) -> np.ndarray:
    """(C, C) bool, symmetric: of :func:`_text_relations` among the names."""
    flat = _flat(aliases)
    owner = np.array([i for i, group in enumerate(aliases) for _ in group], int)
    to_alias = _text_relations(aliases, flat)
    pairs = np.zeros((len(aliases), len(aliases)), bool)
    first, second = to_alias.nonzero()
    pairs[first, owner[second]] = True
    return pairs | pairs.T


def _listed_relations(
    aliases: Sequence[Sequence[str]], others: Sequence[Sequence[str]]
) -> np.ndarray:
    """(C, K) bool: the built-in lists give an alias of one to the other as a name."""
    return _listed_as(aliases, others) | _listed_as(others, aliases).T


def _listed_as(
    aliases: Sequence[Sequence[str]], others: Sequence[Sequence[str]]
) -> np.ndarray:
    """(C, K) bool: another name of a row's alias is an alias of the column."""
    related = np.zeros((len(aliases), len(others)), bool)
    columns = _index(normalize_name(name) for name in _flat(others))
    owner = [k for k, group in enumerate(others) for _ in group]
    for row, group in enumerate(aliases):
        for word in {word for alias in group for word in other_names(alias)}:
            related[row, [owner[place] for place in columns.get(word, ())]] = True
    return related


def _flat(aliases: Sequence[Sequence[str]]) -> list[str]:
    return [alias for group in aliases for alias in group]


def _index(entries: Iterator[_Key]) -> Mapping[_Key, list[int]]:
    places: dict[_Key, list[int]] = {}
    for place, words in enumerate(entries):
        places.setdefault(words, []).append(place)
    return places


def _spans(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All runs of words, the whole included."""
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield words[start:end]
