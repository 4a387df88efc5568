"""Which categories of a COCO file make the vocabulary, and in which order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_NAME_KEYS = ('name', 'name_en', 'name_zh')
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
    raise ValueError(
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
    - neither: the categories' own ``split`` key ('base' or 'novel') decides where all
      have one, and else every class is base.

    Lists may write a class by any of its names (``name``, ``name_en``, ``name_zh``).

    Args:
        categories: of the COCO file.
        classes: vocabulary, or None.
        base: base classes, or None.
        novel: novel classes, or None.
        language: ``'en'`` or ``'zh'``, of the names returned.
        novel_may_lack: accept novel classes that are no category of the file.

    Raises:
        ValueError: on duplicate names, names in both lists or in none, and names that
            the file lacks; the first offender is named.
    """
    if language not in _LANGUAGE_KEYS:
        raise ValueError(f"language must be 'en' or 'zh', got {language!r}")
    for title, names in (
        ('classes', classes),
        ('base and novel classes', [*(base or ()), *(novel or ())]),
    ):
        _check_unique(title, names or ())
    if classes is base is novel is None and all('split' in c for c in categories):
        base = [c['name'] for c in categories if c['split'] == 'base']
        novel = [c['name'] for c in categories if c['split'] == 'novel']
    by_name = _index(categories)

    def find(names: Sequence[str] | None, may_lack: bool = False) -> list[dict]:
        return [_find(by_name, name, may_lack) for name in names or ()]

    def rest(pool: Sequence[dict], taken: list[dict]) -> list[dict]:
        ids = {c['id'] for c in taken}
        return [c for c in pool if c['id'] not in ids]

    listed, novel_found = find(classes), find(novel, novel_may_lack)
    base_found = find(base) or rest(listed or categories, novel_found)
    if novel is None and base is not None:
        novel_found = rest(listed, base_found)
    ordered = listed or base_found + novel_found
    strays = rest(base_found + novel_found, ordered) + rest(
        ordered, base_found + novel_found
    )
    if strays:
        raise ValueError(
            f'{strays[0]["name"]!r} must be in classes and in base or novel; '
            'leave out classes, or give lists that agree'
        )

    def names_of(found: list[dict]) -> tuple[str, ...]:
        return tuple(category_name(c, language) for c in found)

    _check_unique('class names', names_of(ordered))
    return ClassSplit(
        classes=names_of(ordered),
        base_classes=names_of(base_found),
        novel_classes=names_of(novel_found),
        category_ids=tuple(c['id'] for c in ordered),
    )


def _check_unique(title: str, names: Sequence[str]) -> None:
    name, count = max(Counter(names).items(), key=lambda x: x[1], default=('', 0))
    if count > 1:
        raise ValueError(f'{title}: {name!r} occurs {count} times; keep one of them')


def _index(categories: Sequence[dict]) -> dict[str, list[dict]]:
    """Any name of a category -> the categories that have it."""
    index = {}
    for category in categories:
        for name in {category[key] for key in _NAME_KEYS if category.get(key)}:
            index.setdefault(name, []).append(category)
    return index


def _find(by_name: dict[str, list[dict]], name: str, may_lack: bool) -> dict:
    found = by_name.get(name, [])
    if len(found) > 1:
        raise ValueError(
            f'class {name!r} is the name of categories '
            f'{[c["id"] for c in found]}; names must be unique'
        )
    if not found and not may_lack:
        known = ', '.join(by_name)
        raise ValueError(
            f'class {name!r} is no category of the annotation file, which has: {known}'
        )
    # a class without category carries its name in every language
    return found[0] if found else {'id': None, 'name': name, 'name_zh': name}
