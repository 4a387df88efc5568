"""Class names of a detector and their text embeddings."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fgclip2_det.coco.blanks import plain_blanks, spoken
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary.embedding import TextSource, embed_groups, fingerprint
from fgclip2_det.vocabulary.name_checks import check_names
from fgclip2_det.vocabulary.name_lists import load_list
from fgclip2_det.vocabulary.names import (
    checked_parts,
    has_content,
    parse_texts,
    parts_of,
    read_coco_names,
    read_names_file,
)
from fgclip2_det.vocabulary.negatives import (
    NUM_NEGATIVES,
    Negatives,
    NegativeTexts,
    find_negatives,
    join_negatives,
)
from fgclip2_det.vocabulary.templates import resolve_templates
from fgclip2_det.vocabulary.texts import expand_prompts, has_braces

if TYPE_CHECKING:
    from fgclip2_det.vocabulary.image_prompts import ImageEmbeds

__all__ = ['Vocabulary', 'fingerprint', 'normalize_name', 'parse_texts']


class Vocabulary:
    """Names in label order, with aliases, prompts and the base/novel split.

    Args:
        names: C entries, each one name or a list of aliases (the first is shown).
            English and Chinese may be mixed.
        templates: a named set ('raw', 'photo', 'imagenet80', 'chinese') or a list of
            strings with '{}'. None: a detector's own, 'raw' elsewhere.
        novel_classes: names without boxes in training; the others are base.
        base_classes: the base names instead of the novel ones. If neither is given,
            ``is_base`` is None, and a detector takes the names that it was trained on
            as base.
        check: warn once about the findings of ``check_names``.
        parts: texts that a name is composed of, ``{'white rook': ['white', 'rook']}``;
            names may share them. The name is then embedded as the mean of its parts,
            so that what training learns about a part applies to every name that has
            it. Names without parts are embedded as usual. None: the detector's own
            parts, if it has any.
        negatives: names that compete for boxes and are not reported, for all names
            ('shadow; reflection' or a list) or as a mapping name -> negatives. A
            vocabulary that has some is a user's, whether or not it has a split.
        attribute_negatives: how many negatives each name gets that differ in one
            attribute word, as 'blue cup' from 'red cup'. None: 8 for a string with
            alternatives in braces ('red {cup|plate}'), 0 otherwise.
        images: classes that are shown; see :meth:`.ImageEmbeds.vocabulary`.

    Attributes:
        is_base: (C,) bool, or None without a split.
        negatives: :class:`.Negatives`, or None.

    Raises:
        ValueError: for no names, an empty name, names that are equal up to case,
            spaces and underscores, a split, parts or negatives of unknown classes,
            parts that are not a list of strings, or negatives that are names as well.

    Example:
        >>> vocabulary = Vocabulary(['cat', '狗', ['sofa', 'couch']])
        >>> vocabulary.embed(FGCLIP2.from_size('tiny')).shape
        torch.Size([3, 128])
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
    ) -> None:
        entries: Sequence[Any] = (
            expand_prompts(parse_texts(names)) if isinstance(names, str) else names
        )
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
            braces = isinstance(names, str) and has_braces(names)
            attribute_negatives = NUM_NEGATIVES if braces else 0
        automatic = find_negatives(self.aliases, attribute_negatives)
        self._given['negatives'] = join_negatives(negatives, automatic)
        self.names = [aliases[0] for aliases in self.aliases]
        self.is_base = self._split(base_classes, novel_classes)
        self.parts = checked_parts(parts or {}, self.names)
        self.negatives = Negatives.read(self.given_negatives or (), self.aliases)
        self.images = images
        if check:
            self._warn()

    @classmethod
    def from_list_name(
        cls,
        name: str,
        language: str = 'en',
        aliases: bool = False,
        templates: str | Sequence[str] | None = None,
    ) -> Vocabulary:
        """A built-in list with its published split; see :mod:`.name_lists`.

        Args:
            name: 'coco', 'ov_coco', 'lvis', 'ov_lvis', 'objects365', 'voc' or
                'openimages'.
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
    def from_file(cls, path: str | os.PathLike, **options: Any) -> Vocabulary:
        """One class a line, aliases separated by '|', '#' before a comment line.

        Args:
            path: UTF-8 text, e.g. with the line ``sofa | couch | 沙发``.
            options: arguments of the class other than its names.

        Raises:
            ValueError: if the file is unreadable or empty; see also the class.
        """
        return cls(read_names_file(path), **options)

    @classmethod
    def from_coco(
        cls,
        ann_file: str | os.PathLike,
        language: str = 'en',
        aliases: bool = False,
        **options: Any,
    ) -> Vocabulary:
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

    def _warn(self) -> None:
        findings = check_names(self.aliases)
        if findings:
            more = f' (and {len(findings) - 3} more)' if len(findings) > 3 else ''
            listed = '; '.join(finding.message for finding in findings[:3])
            warnings.warn(f'doubtful names: {listed}{more}', stacklevel=3)

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
    ) -> Tensor | None:
        """(C,) bool, True = base; None when no split is given."""
        if base is None and novel is None:
            return None
        index = {normalize_name(name): i for i, name in enumerate(self.names)}
        for names in (base, novel):
            for name in names or ():
                if normalize_name(name) not in index:
                    raise ValueError(
                        f'{name!r} of the base/novel split is not in the vocabulary '
                        f'({", ".join(self.names[:5])}, ...)'
                    )
        is_base = torch.full((len(self),), base is None)
        if base is not None:
            is_base[[index[normalize_name(name)] for name in base]] = True
        if novel is not None:
            rows = [index[normalize_name(name)] for name in novel]
            if base is not None and is_base[rows].any():
                both = self.names[rows[int(is_base[rows].nonzero()[0])]]
                raise ValueError(f'{both!r} is listed as base and as novel')
            is_base[rows] = False
        return is_base

    def __len__(self) -> int:
        return len(self.aliases)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        shown = ', '.join(self.names[:4]) + (', ...' if len(self) > 4 else '')
        return f'Vocabulary({len(self)} classes: {shown})'

    def resolved(
        self,
        templates: str | Sequence[str],
        trained_classes: Sequence[str],
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> Vocabulary:
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
        if self.is_base is None:
            trained = {normalize_name(name) for name in trained_classes}
            base = [name for name in self.names if normalize_name(name) in trained]
            missing['base_classes'] = base
        if given['parts'] is None:
            missing['parts'] = parts_of(self.names, parts)
        if not missing:
            return self
        return Vocabulary(self.aliases, **{**given, **missing}, check=False)

    @property
    def given_negatives(self) -> NegativeTexts | None:
        """The negatives, as a new vocabulary takes them; attribute negatives too."""
        return self._given['negatives']

    def with_negatives(self, negatives: NegativeTexts) -> Vocabulary:
        """This vocabulary with these negatives instead of its own."""
        return Vocabulary(
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

    def known_split(self) -> Tensor:
        """(C,) bool, True = base, of a vocabulary that has a split.

        Raises:
            ValueError: it has none.
        """
        if self.is_base is None:
            raise ValueError(
                f'{self!r} has no base/novel split; give base_classes or novel_classes'
            )
        return self.is_base

    def _of_split(self, base: bool) -> list[str] | None:
        if self.is_base is None:
            return None
        chosen = (self.is_base == base).tolist()
        return [name for name, own in zip(self.names, chosen, strict=True) if own]

    @property
    def class_of_alias(self) -> Tensor:
        """(A,) int64, the class of each row of :meth:`embed_aliases`."""
        counts = torch.tensor([len(aliases) for aliases in self.aliases])
        return torch.arange(len(self)).repeat_interleave(counts)

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

    def embed(
        self,
        encoder: FGCLIP2 | str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int = 256,
    ) -> Tensor:
        """Text embeddings in 'box' mode, averaged over aliases and templates.

        Every prompt is normalised, averaged over its class and normalised again.

        Args:
            encoder: has a text tower and a tokenizer; or a folder or hub id, whose
                text tower is loaded only if the cache lacks the embeddings.
            cache_dir: folder of safetensors files, keyed by encoder and prompts;
                no disk cache when None.
            batch_size: prompts per batch.

        Returns:
            (C, D) float32 on the encoder's device (the CPU for a folder),
            L2-normalised.

        Raises:
            ValueError: a prompt beyond the token limit; a damaged cache file; a
                folder without text tower or tokenizer.

        Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2; CLIP's prompt
        ensembling (arXiv:2103.00020), section 3.1.4.
        """
        source = TextSource(encoder)
        embeds = embed_groups(source, self.prompts(), cache_dir, batch_size)
        if self.images is None:
            return embeds
        return self.images.mixed(embeds, self.names, source.fingerprint())

    def embed_aliases(
        self,
        encoder: FGCLIP2 | str | os.PathLike,
        cache_dir: str | os.PathLike | None = None,
        batch_size: int = 256,
    ) -> Tensor:
        """One embedding per alias, the mean over templates; for scores by the best
        alias, through :func:`.embedding.class_cosines`.

        Args and errors are those of :meth:`embed`.

        Returns:
            (A, D) float32, L2-normalised; row a belongs to ``class_of_alias[a]``.
        """
        groups = [self._prompts_of(alias) for group in self.aliases for alias in group]
        return embed_groups(TextSource(encoder), groups, cache_dir, batch_size)
