"""Class lists of public data sets, in label order.

``lists/README.md`` names the sources. The lists:

=============  =====  =======================================================
name           size   besides English names
=============  =====  =======================================================
``coco``       80     aliases, Chinese (56 ram_tags, 24 own translations)
``ov_coco``    65     the same; 48 base classes, then 17 novel ones
``lvis``       1,203  aliases, frequency, Chinese (723 ram_tags, 480 own)
``ov_lvis``    1,203  the same; the 337 rare classes are novel
``objects365`` 365    some aliases
``voc``        20     aliases, Chinese (from COCO's)
``openimages`` 500    nothing
``ram``        4,585  Chinese; actions and scenes are among the tags
=============  =====  =======================================================

A Chinese name is that of RAM's bilingual tag list for the English name or one of its
aliases, or our own translation where that list lacks the name, uses it in another
sense, or would give two classes the same name. The list ``ram`` is that list as it is:
401 tags share 195 Chinese names.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fgclip2_det.vocabulary.names import ALIAS_MARK, pick_names

FOLDER = Path(__file__).resolve().parent / 'lists'
# name -> (file, novel classes' value of 'split' or 'frequency')
LIST_NAMES = {
    'coco': ('coco', None),
    'ov_coco': ('coco', ('split', 'novel')),
    'lvis': ('lvis', None),
    'ov_lvis': ('lvis', ('frequency', 'r')),
    'objects365': ('objects365', None),
    'voc': ('voc', None),
    'openimages': ('openimages', None),
    'ram': ('ram', None),
}


@dataclass(frozen=True)
class NameList:
    """C classes of a data set; every tuple is in label order.

    Args:
        names: as the data set writes them.
        aliases: other English names of each class.
        chinese: name of each class, None where there is none.
        chinese_sources: 'ram_tags' or 'own translation', None where there is none.
        frequency: LVIS's 'f', 'c' or 'r'; None elsewhere.
        novel: True where a published split makes the class novel.
    """

    names: tuple[str, ...]
    aliases: tuple[tuple[str, ...], ...]
    chinese: tuple[str | None, ...]
    chinese_sources: tuple[str | None, ...]
    frequency: tuple[str | None, ...]
    novel: tuple[bool, ...]

    def entries(self, language: str = 'en', aliases: bool = False) -> list[list[str]]:
        """Names and aliases for a vocabulary; see :func:`.names.pick_names`."""
        return [
            pick_names([name, *others] if aliases else [name], zh, language)
            for name, others, zh in zip(
                self.names, self.aliases, self.chinese, strict=True
            )
        ]


@cache
def load_list(name: str) -> NameList:
    """A built-in list.

    Args:
        name: a key of ``LIST_NAMES``.

    Raises:
        ValueError: if there is no such list.
    """
    if name not in LIST_NAMES:
        raise ValueError(f'lists are {", ".join(LIST_NAMES)}; got {name!r}')
    stem, novel = LIST_NAMES[name]
    with open(FOLDER / f'{stem}.tsv', encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))
    if name == 'ov_coco':  # base first, as the data set orders them
        rows = [r for split in ('base', 'novel') for r in rows if r['split'] == split]

    def column(key: str) -> tuple[str | None, ...]:
        return tuple(row.get(key) or None for row in rows)

    return NameList(
        names=tuple(row['name'] for row in rows),
        aliases=tuple(tuple((a or '').split(ALIAS_MARK)) if a else ()
                      for a in column('aliases')),
        chinese=column('zh'),
        chinese_sources=column('zh_source'),
        frequency=column('frequency'),
        novel=tuple(novel is not None and r[novel[0]] == novel[1] for r in rows),
    )  # fmt: skip
