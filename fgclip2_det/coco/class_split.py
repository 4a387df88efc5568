"""Classes of a COCO file: which of them count, in which order, base or novel."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fgclip2_det.coco.entries import NAME_KEYS, names_of
from fgclip2_det.io import InputError

_SPLITS = ('base', 'novel', 'unused')
_LANGUAGE_KEYS = {'en': ('name_en', 'name'), 'zh': ('name_zh',)}


@dataclass(frozen=True)
class ClassSplit:
    """Classes in label order, all four tuples in the same language.

    Args:
        classes: names, label i is the i-th.
        base_classes: names trained on.
        novel_classes: names seen in evaluation alone.
        category_ids: of the file, one per class; None where it has no such category.
    """

    classes: tuple[str, ...]
    base_classes: tuple[str, ...]
    novel_classes: tuple[str, ...]
    category_ids: tuple[int | None, ...]


def category_name(category: dict, language: str) -> str:
    """Name of a COCO category: ``name_en`` or ``name``, or ``name_zh``.

    Raises:
        ValueError: if the category has no name in that language.
    """
    for key in _LANGUAGE_KEYS[language]:
        if category.get(key):
            return category[key]
    raise InputError(
        f'category {category.get("id")} ({category.get("name")!r}) has no '
        f'{_LANGUAGE_KEYS[language][-1]!r}, which language={language!r} needs; add it '
        'to the categories of the annotation file'
    )


def resolve_classes(
    categories: Sequence[dict],
    classes: Sequence[str] | None = None,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
    language: str = 'en',
    novel_may_lack: bool = False,
) -> ClassSplit:
    """Choose the classes of a COCO file and put them in label order.

    ``classes``, when given, are the vocabulary in that order. Otherwise it is
    ``base`` then ``novel``, each in the given order. Of the two,

    - ``novel`` alone: base is the rest, in file order;
    - ``base`` alone: there is no novel class;
    - one of them empty and the other None: no class is of that kind, all are of the
      other;
    - one of them empty beside a list of the other: that list is all there is; both
      empty is an error;
    - neither: the categories' own ``split`` key ('base', 'novel' or 'unused') decides
      where all have one, and else every class is base.

    Lists may write a class by any of its names (``name``, ``name_en``, ``name_zh``).

    Args:
        categories: of the COCO file.
        classes: vocabulary, or None.
        base: base classes; empty: none is base; None: not given.
        novel: novel classes; empty: none is novel; None: not given.
        language: ``'en'`` or ``'zh'``, of the names returned.
        novel_may_lack: accept novel classes that are not categories of the file, unless
            they look like a misspelt category that is in no list.

    Raises:
        ValueError: naming the first fault: a value that is not a list, an unknown
            ``split``, duplicate names, names in both lists or in neither, names that
            the file lacks, or no class at all.
    """
    if language not in _LANGUAGE_KEYS:
        raise InputError(f"language must be 'en' or 'zh', got {language!r}")
    for title, names in (
        ('classes', classes),
        ('base_classes', base),
        ('novel_classes', novel),
    ):
        _check_list(title, names)
    for title, names in (
        ('classes', classes),
        ('base and novel classes', [*(base or ()), *(novel or ())]),
    ):
        _check_unique(title, names or ())
    if classes is base is novel is None and all('split' in c for c in categories):
        _check_split_keys(categories)
        base = [c['name'] for c in categories if c['split'] == 'base']
        novel = [c['name'] for c in categories if c['split'] == 'novel']
    by_name = _index(categories)
    listed_names = {*(classes or ()), *(base or ()), *(novel or ())}
    unlisted = [
        name
        for name, owners in by_name.items()
        if not any(c.get(key) in listed_names for c in owners for key in NAME_KEYS)
    ]

    def find(names: Sequence[str] | None, may_lack: bool = False) -> list[dict]:
        return [_find(by_name, name, may_lack, unlisted) for name in names or ()]

    def rest(pool: Sequence[dict], taken: list[dict]) -> list[dict]:
        ids = {c['id'] for c in taken}
        return [c for c in pool if c['id'] not in ids]

    listed, novel_found = find(classes), find(novel, novel_may_lack)
    if base is None:
        base_found = rest(listed or categories, novel_found)
    else:
        base_found = find(base)
        if novel is None:
            novel_found = rest(listed if listed or base else categories, base_found)
    ordered = listed or base_found + novel_found
    if categories and not ordered:
        raise InputError(
            'no class is base or novel; name some in base_classes or novel_classes, '
            'which may be empty one at a time, or correct the split of the categories'
        )
    strays = rest(base_found + novel_found, ordered) + rest(
        ordered, base_found + novel_found
    )
    if strays:
        raise InputError(
            f'{strays[0]["name"]!r} must be in classes and in base or novel; '
            'leave out classes, or give lists that agree'
        )

    def titles(entries: list[dict]) -> tuple[str, ...]:
        return tuple(category_name(c, language) for c in entries)

    _check_unique('class names', titles(ordered))
    return ClassSplit(
        classes=titles(ordered),
        base_classes=titles(base_found),
        novel_classes=titles(novel_found),
        category_ids=tuple(c['id'] for c in ordered),
    )


def _check_list(title: str, names: object) -> None:
    if names is None:
        return
    if isinstance(names, str) or not isinstance(names, Iterable):
        kind = 'a string' if isinstance(names, str) else type(names).__name__
        raise InputError(
            f'{title}: expected a list, got {kind}: {names!r}; write [{names!r}]'
        )
    for name in names:
        if not isinstance(name, str):
            raise InputError(
                f'{title}: expected a list of names, got {name!r} in it; '
                'write each name as a string'
            )


def _check_split_keys(categories: Sequence[dict]) -> None:
    for category in categories:
        if category['split'] not in _SPLITS:
            raise InputError(
                f'category {category["id"]} ({category["name"]!r}) has the split '
                f'{category["split"]!r}, expected one of {_SPLITS}; correct it, or '
                'give base_classes and novel_classes'
            )


def _check_unique(title: str, names: Sequence[str]) -> None:
    name, count = max(Counter(names).items(), key=lambda x: x[1], default=('', 0))
    if count > 1:
        raise InputError(f'{title}: {name!r} occurs {count} times; keep one of them')


def _index(categories: Sequence[dict]) -> dict[str, list[dict]]:
    """Any name of a category -> the categories that have it."""
    index = {}
    for category in categories:
        for name in set(names_of(category)):
            index.setdefault(name, []).append(category)
    return index


def _find(
    by_name: dict[str, list[dict]], name: str, may_lack: bool, unlisted: Sequence[str]
) -> dict:
    owners = by_name.get(name, [])
    if len(owners) > 1:
        raise InputError(
            f'class {name!r} is the name of categories '
            f'{[c["id"] for c in owners]}; names must be unique'
        )
    if owners:
        return owners[0]
    # A category of another list is not a misspelling: 'white king' beside 'white ring'.
    lowered = {other.lower(): other for other in unlisted}
    cutoff = 0.8 if may_lack else 0.6
    close = get_close_matches(name.lower(), lowered, 1, cutoff)
    if close or not may_lack:
        meant = f'; did you mean {lowered[close[0]]!r}?' if close else '.'
        other = (
            f' If not, list {lowered[close[0]]!r} in base_classes.' if may_lack else ''
        )
        first = ', '.join(list(by_name)[:5]) + (', ...' if len(by_name) > 5 else '')
        raise InputError(
            f'class {name!r} is not a category of the annotation file{meant}{other} '
            f'The {len(by_name)} names of the file: {first}'
        )
    # a class without category carries its name in every language
    return {'id': None, 'name': name, 'name_zh': name}
