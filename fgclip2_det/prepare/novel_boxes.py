"""Boxes of novel classes in a training file, however the class is written there.

Names are compared without case, underscores, blanks and hyphens, in all languages of
the categories. Where no category has the name, the built-in lists' other names of the
class count (:func:`.other_names`): 'Sofa' is the novel 'couch'. A category that is a
base class of the evaluation, or says so before or after a slash, is none of the novel
ones, whatever it is also called: of LVIS's two classes named 'bow', one is rare.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from fgclip2_det.coco.entries import names_of
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError
from fgclip2_det.vocabulary.name_lists import load_list
from fgclip2_det.vocabulary.synonyms import other_names, squeeze

from .image_overlap import NUM_SHOWN, CocoSide, Overlap

_NOVEL, _BASE = ('novel', 'unseen'), ('base', 'seen')


def novel_names(
    sides: Iterable[CocoSide],
    novel: Collection[str] | None = None,
    list_name: str | None = None,
) -> set[str]:
    """Names of novel classes: as given, of a built-in split, or as the files say.

    Args:
        sides: files whose categories may have ``split`` ('novel', or Detic's 'unseen').
        novel: names; None: not given.
        list_name: of :func:`.load_list` with a split: 'ov_coco' or 'ov_lvis'.
    """
    if novel is not None:
        return set(novel)
    if list_name is not None:
        return set(_of_list(list_name, novel=True))
    return _of_split(sides, _NOVEL)


def base_names(
    sides: Sequence[CocoSide], names: Collection[str], list_name: str | None = None
) -> set[str]:
    """Names of the classes of an evaluation that are not novel.

    Args:
        sides: the training file, then that of the evaluation.
        names: of the novel classes.
        list_name: as of :func:`novel_names`.
    """
    if list_name is not None:
        return set(_of_list(list_name, novel=False))
    own = _Categories(sides[1].categories)
    novel = {id(category) for name in names for category in own.meant_by(name)}
    others = {n for c in sides[1].categories if id(c) not in novel for n in _names(c)}
    return others | _of_split(sides, _BASE)


def check_novel_names(sides: Sequence[CocoSide], names: Iterable[str]) -> None:
    """Refuse given names that no category of either file can mean.

    Raises:
        ValueError: naming the first, and what it is perhaps meant to be.
    """
    tables = [_Categories(side.categories) for side in sides]
    for name in names:
        if any(table.meant_by(name) for table in tables):
            continue
        known = {
            normalize_name(other): other
            for side in sides
            for category in side.categories
            for other in _names(category)
        }
        close = get_close_matches(normalize_name(name), known, 1)
        meant = (
            f'did you mean {known[close[0]]!r}?' if close else 'correct or remove it'
        )
        raise InputError(
            f'the novel class {name!r} is a category of neither {sides[0].path} nor '
            f'{sides[1].path}; {meant}'
        )


def check_novel_annotations(
    train: CocoSide,
    val: CocoSide,
    names: Collection[str],
    base: Collection[str] = (),
) -> Overlap:
    """Boxes of novel classes in the training file.

    Args:
        train, val: the two files.
        names: of the novel classes, in any language.
        base: names of other classes of the evaluation.
    """
    overlap = Overlap('novel_annotations')
    if not names:
        overlap.note = (
            'not checked: no novel classes are known; give --novel or --split'
        )
        return overlap
    words = _Words.of(names, val)
    base_words = {squeeze(name) for name in base}
    titles, matched = {}, set()
    for category in train.categories:
        if meant := words.meant_by(_names(category), base_words):
            matched |= meant
            titles[category['id']] = _title(category, min(meant))
    overlap.total = sum(count for count, _ in train.boxes_of_category.values())
    for i, (count, images) in train.boxes_of_category.items():
        if i in titles:
            overlap.count += count
            shown = ', '.join(map(str, list(images)[:2]))
            overlap.first.append(f'{titles[i]}: {count} (image {shown})')
    overlap.first = overlap.first[:NUM_SHOWN]
    overlap.leaks = overlap.count > 0
    overlap.note = (
        f'boxes of novel classes in training, which has categories for {len(matched)} '
        f'of {len(names)} novel names'
    )
    return overlap


@dataclass(frozen=True)
class _Words:
    """Squeezed words -> the novel names that are written so, and called so as well."""

    written: Mapping[str, set[str]]
    called: Mapping[str, set[str]]

    @classmethod
    def of(cls, names: Iterable[str], val: CocoSide) -> '_Words':
        written: dict[str, set[str]] = {}
        called: dict[str, set[str]] = {}
        categories = _Categories(val.categories)
        for name in names:
            meant = categories.meant_by(name)
            for text in {name, *(n for category in meant for n in _names(category))}:
                written.setdefault(squeeze(text), set()).add(name)
                for other in other_names(text):
                    called.setdefault(squeeze(other), set()).add(name)
        return cls(written, called)

    def meant_by(self, texts: Iterable[str], base: Collection[str]) -> set[str]:
        """Novel names of a category; base classes' words are none of theirs."""
        texts = list(texts)
        own = {squeeze(text) for text in texts}
        if exact := _union(self.written, own):
            return exact
        parts = {squeeze(part) for text in texts for part in text.split('/')}
        if (own | parts) & set(base):
            return set()
        others = {squeeze(other) for text in texts for other in other_names(text)}
        return _union(self.called, own) | _union(self.written, others)


def _union(table: Mapping[str, set[str]], words: Iterable[str]) -> set[str]:
    return set().union(*(table.get(word, ()) for word in words))


class _Categories:
    """Categories of a file by their squeezed names, and by what else they are called.

    Args:
        categories: entries of the file.
    """

    def __init__(self, categories: Iterable[dict]) -> None:
        self.written: dict[str, list[dict]] = {}
        self.called: dict[str, list[dict]] = {}
        for category in categories:
            names = _names(category)
            others = {o for name in names for o in other_names(name)}
            for table, texts in ((self.written, names), (self.called, others)):
                for word in {squeeze(text) for text in texts}:
                    table.setdefault(word, []).append(category)

    def meant_by(self, name: str) -> list[dict]:
        """Those with the name, or else with another name of the class."""
        own = squeeze(name)
        if own in self.written:
            return self.written[own]
        words = {squeeze(other) for other in other_names(name)}
        found = [c for word in words for c in self.written.get(word, ())]
        return found + self.called.get(own, [])


def _names(category: Mapping) -> tuple[str, ...]:
    return tuple(name for name in names_of(category) if isinstance(name, str))


def _title(category: Mapping, name: str) -> str:
    """Name in the training file, and the novel one where that is written otherwise."""
    own = _names(category)
    return own[0] if name in own else f'{own[0]} ({name})'


def _of_list(list_name: str, novel: bool) -> list[str]:
    listed = load_list(list_name)
    rows = zip(listed.names, listed.chinese, listed.novel, strict=True)
    chosen = [names for *names, is_novel in rows if is_novel == novel]
    # a novel class is one name; a base class is known by each of its own
    return [n for names in chosen for n in names[: 1 if novel else 2] if n is not None]


def _of_split(sides: Iterable[CocoSide], splits: Collection[str]) -> set[str]:
    return {
        name
        for side in sides
        for category in side.categories
        if category.get('split') in splits and isinstance(name := category['name'], str)
    }
