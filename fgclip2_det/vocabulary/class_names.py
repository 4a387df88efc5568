"""Class names with aliases, prompts and split, as they are before they are embedded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fgclip2_det.coco.blanks import plain_blanks, spoken
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.name_lists import load_list
from fgclip2_det.vocabulary.names import (
    checked_parts,
    has_content,
    parse_prompts,
    parse_texts,
    parts_of,
    read_coco_names,
    read_prompts_file,
)
from fgclip2_det.vocabulary.negatives import (
    Negatives,
    NegativeTexts,
    find_negatives,
    join_negatives,
)
from fgclip2_det.vocabulary.templates import resolve_templates

if TYPE_CHECKING:
    from fgclip2_det.vocabulary.image_prompts import ImageEmbeds
    from fgclip2_det.vocabulary.placeholders import Words

_Own = TypeVar('_Own', bound='ClassNames')


class ClassNames:
    """What a :class:`.Vocabulary` is without its embeddings, and without PyTorch.

    Its arguments and errors are those of :class:`.Vocabulary`.

    Attributes:
        names: C names, the first alias of each class.
        aliases: C lists of names.
        templates: strings with '{}'.
        is_base_class: C truth values, or None without a split.
        parts: normalised name -> texts that it is composed of.
        negatives: :class:`.Negatives`, or None.
    """

    def __init__(
        self,
        names: Sequence[str | Sequence[str]],
        templates: str | Sequence[str] | None = None,
        novel_classes: Sequence[str] | None = None,
        base_classes: Sequence[str] | None = None,
        check: bool = True,
        parts: Mapping[str, Sequence[str]] | None = None,
        negatives: NegativeTexts | None = None,
        attribute_negatives: int | None = None,
        images: ImageEmbeds | None = None,
        words: Words | None = None,
    ) -> None:
        entries: Sequence[Any] = names
        of_braces: list[list[str]] = []
        if isinstance(names, str):
            prompts = parse_prompts(parse_texts(names), words)
            entries = [aliases for aliases, _ in prompts]
            of_braces = [aliases for aliases, braces in prompts if braces]
        for given in (entries, base_classes or [], novel_classes or []):
            if not isinstance(given, Sequence) or isinstance(given, str):
                raise ValueError(f'expected a list of names, got {given!r}')
        self.aliases: list[list[str]] = [
            list(n) if isinstance(n, list | tuple) else [n] for n in entries
        ]
        self._given: dict[str, Any] = dict(
            templates=templates,
            novel_classes=novel_classes,
            base_classes=base_classes,
            parts=parts,
            images=images,
        )
        self.templates = resolve_templates('raw' if templates is None else templates)
        self._check()
        if attribute_negatives is None:
            automatic = find_negatives(of_braces)
        else:
            automatic = find_negatives(self.aliases, attribute_negatives)
        self._given['negatives'] = join_negatives(negatives, automatic)
        self.names = [aliases[0] for aliases in self.aliases]
        self.is_base_class = self._split(base_classes, novel_classes)
        self.parts = checked_parts(parts or {}, self.names)
        self.negatives = Negatives.read(self.given_negatives or (), self.aliases)
        self.images = images
        if check:
            from fgclip2_det.vocabulary.name_checks import doubtful_names

            if doubts := doubtful_names(self.aliases):
                warnings.warn(doubts, stacklevel=2)

    @classmethod
    def from_list_name(
        cls: type[_Own],
        name: str,
        language: str = 'en',
        aliases: bool = False,
        templates: str | Sequence[str] | None = None,
    ) -> _Own:
        """A built-in list with its published split; see :mod:`.name_lists`.

        Args:
            name: 'coco', 'ov_coco', 'lvis', 'ov_lvis', 'objects365', 'voc',
                'openimages' or 'ram'.
            language: 'en'; 'zh'; 'both', Chinese as one more alias; 'mixed', Chinese
                in place of English where the list has it.
            aliases: with the list's other English names.
            templates: see the class.

        Raises:
            ValueError: if there is no such list or language, or no Chinese names.
        """
        given = load_list(name)
        entries = given.entries(language, aliases)
        pairs = zip(entries, given.novel, strict=True)
        novel = [entry[0] for entry, is_novel in pairs if is_novel]
        # a list without a published split leaves it open
        return cls(entries, templates, novel or None, check=False)

    @classmethod
    def from_file(cls: type[_Own], path: str | os.PathLike, **options: Any) -> _Own:
        """One class a line, aliases separated by '|', '#' before a comment line.

        Names of alternatives in braces get negatives as those of a string do, unless
        a split or ``attribute_negatives`` is given.

        Args:
            path: UTF-8 text, e.g. with the line ``sofa | couch | 沙发``.
            options: arguments of the class other than its names.

        Raises:
            ValueError: if the file is unreadable or empty; see also the class.
        """
        prompts = read_prompts_file(path)
        given = {name for name, value in options.items() if value is not None}
        if not given & {'base_classes', 'novel_classes', 'attribute_negatives'}:
            automatic = find_negatives([own for own, braces in prompts if braces])
            own = join_negatives(options.get('negatives'), automatic)
            options = {**options, 'negatives': own}
        return cls([aliases for aliases, _ in prompts], **options)

    @classmethod
    def from_coco(
        cls: type[_Own],
        ann_file: str | os.PathLike,
        language: str = 'en',
        aliases: bool = False,
        **options: Any,
    ) -> _Own:
        """The categories of a COCO or LVIS annotation file, in the file's order.

        If all of them have a ``split``, it defines the novel classes, and categories
        of split 'unused' are left out.

        Args:
            ann_file: JSON with ``categories``.
            language: as in :meth:`from_list_name`; Chinese is ``name_zh``.
            aliases: with the categories' ``synonyms``.
            options: arguments of the class other than its names.

        Raises:
            ValueError: if the file or a name is missing; see also the class.
        """
        entries, novel = read_coco_names(ann_file, language, aliases)
        if 'base_classes' not in options:
            options.setdefault('novel_classes', novel)
        return cls(entries, **options)

    def _check(self) -> None:
        if not self.aliases:
            raise ValueError(
                "a vocabulary needs at least one name, got none; e.g. ['cat', '狗']"
            )
        seen: dict[str, int] = {}
        for index, aliases in enumerate(self.aliases):
            if not aliases:
                raise ValueError(f'class {index} has an empty list of aliases')
            for name in aliases:
                if not isinstance(name, str) or not has_content(name):
                    raise ValueError(
                        f'name of class {index} must be a non-empty string, got '
                        f'{name!r}'
                    )
                other = seen.setdefault(normalize_name(name), index)
                if other != index:
                    raise ValueError(
                        f'{name!r} names both class {other} '
                        f'({self.aliases[other][0]!r}) and class {index}; '
                        f'remove one or make it an alias'
                    )

    def _split(
        self, base: Sequence[str] | None, novel: Sequence[str] | None
    ) -> list[bool] | None:
        """Whether each class is base; None when no split is given."""
        if base is None and novel is None:
            return None
        index = {normalize_name(name): i for i, name in enumerate(self.names)}
        for names in (base, novel):
            for name in names or ():
                if not isinstance(name, str) or normalize_name(name) not in index:
                    raise ValueError(
                        f'{name!r} of the base/novel split is not in the vocabulary '
                        f'({", ".join(self.names[:5])}, ...)'
                    )
        is_base = [base is None] * len(self)
        for name in base or ():
            is_base[index[normalize_name(name)]] = True
        for name in novel or ():
            row = index[normalize_name(name)]
            if base is not None and is_base[row]:
                raise ValueError(f'{self.names[row]!r} is listed as base and as novel')
            is_base[row] = False
        return is_base

    def __len__(self) -> int:
        return len(self.aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        shown = ', '.join(self.names[:4]) + (', ...' if len(self) > 4 else '')
        return f'{type(self).__name__}({len(self)} classes: {shown})'

    def resolved(
        self: _Own,
        templates: str | Sequence[str],
        trained_classes: Sequence[str],
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> _Own:
        """This vocabulary, with a detector's settings for what was left open.

        Args:
            templates: prompt templates of the detector.
            trained_classes: names with boxes in training; they are base, others novel.
            parts: of names, whether or not they are in this vocabulary.

        Returns:
            A vocabulary with a split; itself if nothing was left open.
        """
        given, missing = dict(self._given), {}
        if given['templates'] is None:
            missing['templates'] = templates
        if self.is_base_class is None:
            trained = {normalize_name(name) for name in trained_classes}
            base = [name for name in self.names if normalize_name(name) in trained]
            missing['base_classes'] = base
        own = given['parts']
        if not self.has_given_parts:
            merged = {**parts_of(self.names, parts), **(own or {})}
            if merged != own:
                missing['parts'] = merged
        if not missing:
            return self
        return type(self)(self.aliases, **{**given, **missing}, check=False)

    @property
    def has_given_parts(self) -> bool:
        """Whether parts were given, if only an empty table; the texts of classes that
        are shown alone leave those of the other names open."""
        given = self._given['parts']
        if self.images is None or not given:
            return given is not None
        shown = {normalize_name(name) for name in self.images.names}
        return any(normalize_name(name) not in shown for name in given)

    @property
    def given_negatives(self) -> NegativeTexts | None:
        """The negatives, as a new vocabulary takes them; attribute negatives too."""
        return self._given['negatives']

    def with_negatives(self: _Own, negatives: NegativeTexts) -> _Own:
        """This vocabulary with these negatives instead of its own."""
        return type(self)(
            self.aliases, **{**self._given, 'negatives': negatives}, check=False
        )

    @property
    def base_classes(self) -> list[str] | None:
        """Names with boxes in training; None without a split."""
        return self._of_split(True)

    @property
    def novel_classes(self) -> list[str] | None:
        """Names without boxes in training; None without a split."""
        return self._of_split(False)

    def _of_split(self, base: bool) -> list[str] | None:
        if self.is_base_class is None:
            return None
        pairs = zip(self.names, self.is_base_class, strict=True)
        return [name for name, own in pairs if own == base]

    def prompts(self) -> list[list[str]]:
        """Texts of every class: aliases (or parts) x templates, lower-cased as by the
        tokenizer, underscores and white space replaced by single spaces."""
        return [
            [
                prompt
                for text in self.parts.get(normalize_name(aliases[0]), aliases)
                for prompt in self._prompts_of(text)
            ]
            for aliases in self.aliases
        ]

    def _prompts_of(self, alias: str) -> list[str]:
        texts = (template.format(spoken(alias)) for template in self.templates)
        return [plain_blanks(text).lower() for text in texts]
