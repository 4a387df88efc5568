"""Long lists of names for detection without a prompt, and which of them mean the same.

In a list of thousands, several names are right for one object: 'sofa' and 'couch',
'bottle' and 'wine bottle'. They share the probability of a softmax, and would fill a
list of best names. Here they do not compete with each other, and are told apart from
names that do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.competitors import (
    SAME_MEANING,
    Competitors,
    combine_names,
    select_competitors,
    tells_apart,
)
from fgclip2_det.vocabulary.name_lists import LIST_NAMES, load_list
from fgclip2_det.vocabulary.names import read_names_file

LANGUAGES = 'en', 'zh', 'both'


@dataclass(frozen=True)
class LongList:
    """C classes of a list.

    Args:
        entries: C lists of names that a class is embedded by; the first is shown.
        meanings: C lists of all its names in both languages, shared ones included.
    """

    entries: tuple[tuple[str, ...], ...]
    meanings: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.entries)


def read_long_list(
    names: str | os.PathLike | Sequence[str | Sequence[str]] = 'ram',
    language: str = 'en',
) -> LongList:
    """A list by its name, from a text file, or as it is given.

    Args:
        names: a built-in list, such as 'ram' or 'lvis'; a file of one class a line; or
            names.
        language: of a built-in list: 'en'; 'zh', where classes of one Chinese name are
            one class; 'both', Chinese as one more name.

    Raises:
        ValueError: for another language, a list without Chinese names, a file that
            cannot be read, or names without any text.
    """
    if language not in LANGUAGES:
        raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
    if isinstance(names, str) and names in LIST_NAMES:
        return _built_in(names, language)
    entries: Sequence = (
        read_names_file(names) if isinstance(names, str | os.PathLike) else names
    )
    groups = [(e,) if isinstance(e, str) else tuple(e) for e in entries]
    return LongList(tuple(groups), tuple(groups))


def _built_in(name: str, language: str) -> LongList:
    listed = load_list(name)
    entries, meanings, seen = [], [], set()
    for english, others, chinese in zip(
        listed.names, listed.aliases, listed.chinese, strict=True
    ):
        if language == 'zh' and chinese is None:
            raise ValueError(
                f'{english!r} of the list {name!r} has no Chinese name; take language '
                "'en'"
            )
        own = {'en': [english], 'zh': [chinese], 'both': [english, chinese]}[language]
        texts = [t for t in own if t is not None and normalize_name(t) not in seen]
        if not texts:
            continue
        seen.update(normalize_name(text) for text in texts)
        entries.append(tuple(texts))
        meanings.append(tuple(t for t in (english, *others, chinese) if t is not None))
    return LongList(tuple(entries), tuple(meanings))


def select_among(
    meanings: Sequence[Sequence[str]],
    embeds: Tensor,
    trained: Sequence[str] = (),
    same_meaning: float = SAME_MEANING,
) -> Competitors:
    """What names of a long list compete with: each other, and nothing else.

    Two names do not compete if one is a kind or a part of the other, if the built-in
    lists or their Chinese names say that they are the same, or if their embeddings are
    nearer than ``same_meaning``; see :func:`.select_competitors`. Names of the training
    exclude each other, as there.

    Args:
        meanings: C lists of names, see :class:`LongList`.
        embeds: (C, D), L2-normalised.
        trained: names that the detector was trained on.
        same_meaning: cosine; not used for an encoder that tells no texts apart.
    """
    if not tells_apart(embeds, same_meaning):
        same_meaning = math.inf
    found = select_competitors(
        meanings, embeds, (), embeds[:0], trained, combine_names(trained),
        same_meaning,
    )  # fmt: skip
    count = len(meanings)
    return replace(found, apart=found.apart[:, :count])
