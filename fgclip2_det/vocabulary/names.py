"""Names from strings, text files and COCO annotation files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.coco.blanks import spoken
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.vocabulary.texts import expand_prompts, has_braces, parse_texts

ALIAS_MARK = '|'
Prompt = tuple[list[str], bool]  # aliases of a class, and whether braces stand for it


COMMENT_MARK = '#'


_LIST_ENDINGS = ('.txt', '.names', '.list', '.lst', '.csv', '.json', '.yaml', '.yml')


LANGUAGES = ('en', 'zh', 'both', 'mixed')


def parts_of(
    names: Sequence[str], parts: Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str]]:
    """The entries of a table of parts that ``Vocabulary(names)`` accepts."""
    known = {normalize_name(name) for name in names if isinstance(name, str)}
    return {
        n: texts for n, texts in (parts or {}).items() if normalize_name(n) in known
    }


def has_content(name: str) -> bool:
    """Whether the name has a letter, a digit or a symbol (emoji)."""
    return any(
        unicodedata.category(character)[0] in 'LNS' for character in spoken(name)
    )


def checked_parts(
    parts: Mapping[str, Sequence[str]], names: Sequence[str]
) -> dict[str, list[str]]:
    """Normalised name -> its parts.

    Raises:
        ValueError: for a name that is not one of ``names``, or parts that are not a
            list of texts.
    """
    known = {normalize_name(name) for name in names}
    if not isinstance(parts, Mapping):
        raise ValueError(f'parts must be name -> texts, got {parts!r:.80}')
    for name, texts in parts.items():
        if not isinstance(name, str) or normalize_name(name) not in known:
            raise ValueError(
                f'parts are given for {name!r}, which is not in the vocabulary '
                f'({", ".join(names[:5])}, ...)'
            )
        if (
            not isinstance(texts, Sequence)
            or isinstance(texts, str)
            or not texts
            or not all(isinstance(t, str) and has_content(t) for t in texts)
        ):
            raise ValueError(
                f'parts of {name!r} must be a list of texts such as '
                f"['white', 'rook'], got {texts!r}"
            )
    return {normalize_name(name): list(texts) for name, texts in parts.items()}


def read_texts(
    texts: str, words: Mapping[str, str | Sequence[str]] | None = None
) -> list[list[str]]:
    """Aliases of C classes: from a text file, if ``texts`` is the path of one.

    Args:
        texts: the path of a file for :func:`read_names_file`, or names for
            :func:`parse_texts`, each with its aliases as 'sofa|couch'.
        words: of placeholders, see :func:`.expand_prompt`.

    Raises:
        ValueError: as in these two, and for the path of a missing file.
    """
    return [aliases for aliases, _ in read_prompts(texts, words)]


def read_prompts(
    texts: str, words: Mapping[str, str | Sequence[str]] | None = None
) -> list[Prompt]:
    """:func:`read_texts`, with whether each class is one of braces."""
    path = texts.strip()
    if _is_path(path) and os.path.isfile(path):
        return read_prompts_file(path, words)
    if path.lower().endswith(_LIST_ENDINGS) and len(parse_texts(path)) == 1:
        raise ValueError(
            f'there is no file {path} of names; give one with one class a line, or '
            "names such as 'black cat. 白色杯子'"
        )
    return parse_prompts(parse_texts(texts), words)


def _is_path(text: str) -> bool:
    """Whether it is written as a path is: 'cat' alone stays a name."""
    ending = os.path.splitext(text)[1]
    return (
        '\n' not in text
        and '\0' not in text
        and (os.sep in text or (len(ending) > 1 and ' ' not in ending))
    )


def parse_aliases(line: str) -> list[str]:
    """Aliases of one class such as ``'sofa | couch | 沙发'``; the first is shown."""
    return [alias.strip() for alias in line.split(ALIAS_MARK)]


def parse_entries(
    prompts: Sequence[str], words: Mapping[str, str | Sequence[str]] | None = None
) -> list[list[str]]:
    """Aliases of C classes: one for each prompt, or for each of the names that its
    braces stand for.

    Args:
        prompts: with or without braces.
        words: of placeholders, see :func:`.expand_prompt`.

    Raises:
        ValueError: as in :func:`.expand_prompt`; braces together with aliases.
    """
    return [aliases for aliases, _ in parse_prompts(prompts, words)]


def parse_prompts(
    prompts: Sequence[str], words: Mapping[str, str | Sequence[str]] | None = None
) -> list[Prompt]:
    """:func:`parse_entries`, with whether each class is one of braces."""
    entries: list[Prompt] = []
    for prompt in prompts:
        if not has_braces(prompt):
            entries.append((parse_aliases(prompt), False))
            continue
        names = expand_prompts([prompt], words)
        if ALIAS_MARK in names[0]:
            raise ValueError(
                f'{prompt!r} has braces and aliases; write either, or the aliases as '
                'alternatives in braces'
            )
        entries += [([name], True) for name in names]
    return entries


def read_names_file(
    path: str | os.PathLike, words: Mapping[str, str | Sequence[str]] | None = None
) -> list[list[str]]:
    """Aliases of C classes from a UTF-8 text file.

    One class a line, its aliases separated by '|', or several as 'red {cup|plate}'.
    Empty lines and lines that begin with '#' are ignored.

    Args:
        path: of the file.
        words: of placeholders, see :func:`.expand_prompt`.

    Raises:
        ValueError: no such file, no UTF-8, no names, or an empty alias.
    """
    return [aliases for aliases, _ in read_prompts_file(path, words)]


def read_prompts_file(
    path: str | os.PathLike, words: Mapping[str, str | Sequence[str]] | None = None
) -> list[Prompt]:
    """:func:`read_names_file`, with whether each class is one of braces."""
    text = read_text(path)
    entries: list[Prompt] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and not line.startswith(COMMENT_MARK):
            try:
                entries += parse_prompts([line], words)
            except ValueError as error:
                raise InputError(f'{path}, line {number}: {error}') from error
            if not all(entries[-1][0]):
                raise InputError(
                    f'{path}, line {number}: expected names separated by '
                    f'{ALIAS_MARK!r}, got {line!r}; remove the empty one'
                )
    if not entries:
        raise InputError(f'{path} holds no names; expected one class a line')
    return entries


def read_coco_names(
    path: str | os.PathLike, language: str = 'en', aliases: bool = False
) -> tuple[list[list[str]], list[str] | None]:
    """Aliases of C categories of a COCO file, in the file's order.

    Args:
        path: annotation file; a category has ``name`` (or ``name_en``), perhaps
            ``name_zh``, LVIS's ``synonyms``, and ``split``.
        language: see :func:`pick_names`.
        aliases: add the ``synonyms``.

    Returns:
        The entries; and the first name of each class whose ``split`` is 'novel', or
        None unless every category has a split. Categories of split 'unused' are
        left out.

    Raises:
        ValueError: no COCO file, another split, or a name that is missing.
    """
    categories = read_coco(path, sections=('categories',)).classes()
    names = [c.get('name_en') or c['name'] for c in categories]
    splits = [c.get('split') for c in categories]
    whole = None not in splits
    strange = [s for s in splits if s not in ('base', 'novel', 'unused')]
    if whole and strange:
        raise ValueError(
            f"{path}: a split must be 'base', 'novel' or 'unused', got {strange[0]!r}"
        )
    entries, novel = [], []
    for name, category, split in zip(names, categories, splits, strict=True):
        if whole and split == 'unused':
            continue
        others = (category.get('synonyms') or []) if aliases else []
        entries.append(pick_names([name, *others], category.get('name_zh'), language))
        if split == 'novel':
            novel.append(entries[-1][0])
    return entries, novel if whole else None


def pick_names(english: Sequence[str], chinese: str | None, language: str) -> list[str]:
    """Aliases of one class in the requested language.

    Args:
        english: the name and its aliases.
        chinese: its Chinese name, or None.
        language: 'en'; 'zh'; 'both', where Chinese is one more alias; 'mixed', where
            it takes the place of English.

    Classes without a Chinese name keep English in 'both' and 'mixed'.

    Raises:
        ValueError: another language; no Chinese name for 'zh'.
    """
    if language not in LANGUAGES:
        raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
    if language == 'zh' and not chinese:
        raise ValueError(
            f"{english[0]!r} has no Chinese name; language='mixed' keeps the English "
            'one there'
        )
    if language == 'en' or not chinese:
        return list(dict.fromkeys(english))
    return [*dict.fromkeys(english), chinese] if language == 'both' else [chinese]
