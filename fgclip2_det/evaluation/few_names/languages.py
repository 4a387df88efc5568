"""Names of categories to ask for, in English or Chinese."""

from __future__ import annotations

from collections.abc import Sequence

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.coco.class_split import category_name
from fgclip2_det.coco.names import normalize_name

LANGUAGES = ('en', 'zh')
_LISTS = ('coco', 'lvis')  # with Chinese names of all classes


def names_in(categories: Sequence[dict], language: str = 'en') -> list[str]:
    """A name for each category.

    Args:
        categories: entries of the annotation file.
        language: 'en': ``name_en`` or ``name``; 'zh': ``name_zh``, else the Chinese
            name of the built-in list of COCO or of LVIS, whichever has all names.

    Raises:
        ValueError: an unknown language; a category without a Chinese name.
    """
    if language not in LANGUAGES:
        raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
    if language == 'en':
        return [spoken(category_name(c, 'en')) for c in categories]
    listed = _from_lists(
        [category_name(c, 'en') for c in categories if not c.get('name_zh')]
    )
    return [
        spoken(listed.get(category_name(c, 'en')) or category_name(c, 'zh'))
        for c in categories
    ]


def _from_lists(names: Sequence[str]) -> dict[str, str]:
    """English -> Chinese name, of the first list that has all of them."""
    from fgclip2_det.vocabulary.name_lists import load_list  # brings PyTorch

    for listed in map(load_list, _LISTS):
        chinese = {
            normalize_name(name): zh
            for name, zh in zip(listed.names, listed.chinese, strict=True)
            if zh
        }
        found = {name: chinese.get(normalize_name(name)) for name in names}
        if all(found.values()):
            return {name: zh for name, zh in found.items() if zh}
    return {}
