"""Files of ontologies: what each class of a labelling is asked for by.

A file, YAML or JSON, is data and nothing else. In full::

    classes:
      cup:
        prompts: [cup, mug, 杯子]
        negatives: [glass]
        images: ['desk.jpg:40,60,120,150']
        threshold: 0.6
      black cat: black cat
    negatives: [shadow, reflection]

or, as the ``CaptionOntology`` of autodistill, a mapping of prompts to classes::

    a ceramic mug: cup
    杯子: cup
    black cat: black cat
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import yaml

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io.text import TOO_DEEP, read_text
from fgclip2_det.vocabulary.image_prompts import parse_example
from fgclip2_det.vocabulary.names import has_content, parse_entries, read_texts
from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass
from fgclip2_det.vocabulary.texts import parse_texts

FILES = ('.yaml', '.yml', '.json')
TOP_KEYS = ('classes', 'negatives')
CLASS_KEYS = (
    'prompts', 'negatives', 'images', 'weight', 'threshold', 'review', 'name_zh',
)  # fmt: skip


def as_ontology(given: Ontology | Mapping | Sequence | str | os.PathLike) -> Ontology:
    """An ontology of a file, of its content, or of names.

    Args:
        given: a file (.yaml, .yml, .json); content as a file has it; a list of names;
            or names in a text, for :func:`.read_texts`.

    Raises:
        ValueError: naming file and entry, for anything else.
    """
    if isinstance(given, Ontology):
        return given
    if isinstance(given, Mapping):
        return parse_ontology(given, 'the ontology', Path())
    if isinstance(given, str | os.PathLike):
        text = os.fspath(given)
        if text.lower().endswith(FILES):
            return read_ontology(text)
        given = read_texts(text)
    if not isinstance(given, Sequence):
        raise ValueError(_no_names(given))
    groups = [[each] if isinstance(each, str) else each for each in given]
    for group in groups:
        if not isinstance(group, list | tuple) or not group:
            raise ValueError(_no_names(given))
        if not all(isinstance(name, str) for name in group):
            raise ValueError(_no_names(given))
    return Ontology(tuple(OntologyClass(group[0], tuple(group)) for group in groups))


def _no_names(given: object) -> str:
    return (
        "expected names such as 'black cat; 白色杯子', a list of them, a file or an "
        f'ontology, got {short_repr(given)}'
    )


def read_ontology(path: str | os.PathLike) -> Ontology:
    """The ontology of a YAML or JSON file; images are relative to its folder.

    Values are words as they are written: ``no`` and ``007`` are names.

    Raises:
        ValueError: naming file and entry: no such file, a key that is there twice or
            is not known, and as in :class:`Ontology`.
    """
    text = read_text(path)
    json_file = Path(path).suffix.lower() == '.json'
    try:
        content = _json(text) if json_file else yaml.load(text, _Loader)
    except _TwiceError as error:
        raise ValueError(f'{path}: {error}; join the two') from error
    except (ValueError, yaml.YAMLError) as error:
        kind = 'JSON' if json_file else 'YAML'
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path} cannot be read as {kind} ({reason})') from error
    except RecursionError as error:
        raise ValueError(f'{path} cannot be read: {TOO_DEEP}') from error
    return parse_ontology(content, str(path), Path(path).parent)


class _TwiceError(ValueError):
    """A key that occurs twice in a mapping."""


class _Loader(yaml.BaseLoader):
    """Builds str, list and dict alone, and refuses a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key.value, str)]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                line = node.value[number][0].start_mark.line + 1
                raise _TwiceError(f'line {line}: {key!r} is there twice')
        return super().construct_mapping(node, deep)


def _json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise _TwiceError(f'{key!r} is there twice')
        return dict(pairs)

    return json.loads(text, object_pairs_hook=unique)


def parse_ontology(content: Any, source: str, folder: Path) -> Ontology:
    """:func:`read_ontology` of parsed content; images are relative to ``folder``."""
    if isinstance(content, Mapping) and _is_captions(content):
        return _of_captions(content, source)
    if not isinstance(content, Mapping) or not isinstance(
        content.get('classes'), Mapping | list
    ):
        raise ValueError(
            f"{source} must have 'classes', a mapping of class to prompts, or be a "
            f'mapping of prompt to class, got {short_repr(content)}'
        )
    _check_keys(source, content, TOP_KEYS)
    classes = content['classes']
    if isinstance(classes, Mapping):
        entries = list(classes.items())
    else:
        entries = [_named(source, number, each) for number, each in enumerate(classes)]
    return Ontology(
        tuple(_class(source, name, each, folder) for name, each in entries),
        _negatives(source, content.get('negatives')),
        source,
    )


def _is_captions(content: Mapping) -> bool:
    """Whether it is prompt: class, texts on both sides."""
    return bool(content) and all(isinstance(each, str) for each in content.values())


def _of_captions(content: Mapping, source: str) -> Ontology:
    prompts: dict[str, list[str]] = {}
    for prompt, name in content.items():
        if not str(prompt).strip() or not name.strip():
            raise ValueError(
                f'{source}: expected a prompt and its class, got {prompt!r}: {name!r}'
            )
        own = prompts.setdefault(name.strip(), [])
        own += _prompts(f'{source}: class {name!r}', [str(prompt)])
    return Ontology(
        tuple(OntologyClass(name, tuple(own)) for name, own in prompts.items()),
        source=source,
    )


def _named(source: str, number: int, entry: Any) -> tuple[str, Any]:
    """Name and the rest of an entry of a list."""
    if isinstance(entry, str):
        return entry, entry
    if not isinstance(entry, Mapping) or not isinstance(entry.get('name'), str):
        raise ValueError(
            f"{source}: entry {number} of 'classes' (from 0) must be a name or have a "
            f"'name', got {short_repr(entry)}"
        )
    return entry['name'], {key: own for key, own in entry.items() if key != 'name'}


def _class(source: str, name: Any, entry: Any, folder: Path) -> OntologyClass:
    """One class: its prompts alone, or a mapping of :data:`CLASS_KEYS`."""
    where = f'{source}: class {name!r}'
    if not isinstance(name, str):
        raise ValueError(f'{where}: a name must be a text; put it in quotes')
    if entry is None or isinstance(entry, str | list):
        entry = {'prompts': entry or ()}
    if not isinstance(entry, Mapping):
        raise ValueError(f'{where} must be prompts or keys, got {short_repr(entry)}')
    _check_keys(where, entry, CLASS_KEYS)
    chinese = entry.get('name_zh')
    if chinese is not None and not isinstance(chinese, str):
        raise ValueError(f'{where}: name_zh must be a text, got {short_repr(chinese)}')
    threshold, review = (
        _number(where, key, entry.get(key)) for key in ('threshold', 'review')
    )
    if threshold is not None and review is not None and review > threshold:
        raise ValueError(
            f'{where}: review {review:g} is above threshold {threshold:g}; exchange '
            'them'
        )
    weight = _number(where, 'weight', entry.get('weight'))
    if weight == 0:
        raise ValueError(f'{where}: weight must be above 0; leave the images out')
    return OntologyClass(
        name.strip(),
        tuple(_prompts(where, entry.get('prompts') or ())),
        _negatives(where, entry.get('negatives')),
        _examples(where, entry.get('images'), folder),
        0.5 if weight is None else weight,
        threshold,
        review,
        chinese or None,
    )


def _prompts(where: str, given: Any) -> list[str]:
    """Texts; one with '|' or braces is several."""
    texts = parse_texts(given) if isinstance(given, str) else given
    if not isinstance(texts, Sequence) or not all(
        isinstance(text, str) and has_content(text) for text in texts
    ):
        raise ValueError(
            f'{where}: prompts must be texts such as [cup, 杯子], got '
            f'{short_repr(given)}'
        )
    try:
        found = [alias for group in parse_entries(texts) for alias in group]
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
    if not all(map(has_content, found)):
        raise ValueError(f"{where}: empty prompt beside '|' in {short_repr(given)}")
    different: dict[str, str] = {}
    for text in found:
        different.setdefault(normalize_name(text), text)
    return list(different.values())


def _negatives(where: str, given: Any) -> tuple[str, ...]:
    if given is None or given == '':
        return ()
    texts = parse_texts(given) if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not all(
        isinstance(text, str) and has_content(text) for text in texts
    ):
        raise ValueError(
            f'{where}: negatives must be texts such as [shadow, 倒影], got '
            f'{short_repr(given)}'
        )
    return tuple(texts)


def _examples(where: str, given: Any, folder: Path) -> tuple:
    """Pairs of path and box."""
    if given is None or given == '':
        return ()
    entries = [given] if isinstance(given, str) else given
    if not isinstance(entries, list | tuple):
        raise ValueError(f'{where}: images must be a list, got {short_repr(given)}')
    return tuple(_example(where, each, folder) for each in entries)


def _example(where: str, entry: Any, folder: Path) -> tuple[str, tuple[float, ...]]:
    source, box = None, None
    if isinstance(entry, str):
        try:
            _, (source, box) = parse_example(f'{entry}=class')
        except ValueError:
            source = None
    elif isinstance(entry, Mapping) and entry.keys() == {'image', 'box'}:
        source, box = entry['image'], _floats(entry['box'])
    if not isinstance(source, str) or box is None or len(box) != 4:
        raise ValueError(
            f"{where}: an image is written 'desk.jpg:x1,y1,x2,y2', or as image and box "
            f'(four numbers), got {short_repr(entry)}'
        )
    return str(folder / source), tuple(box)


def _floats(values: Any) -> list[float] | None:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        return None


def _number(where: str, key: str, value: Any) -> float | None:
    """A share in [0, 1] that YAML's words or JSON's numbers say."""
    if value is None or value == '':
        return None
    numbers = None if isinstance(value, bool) else _floats([value])
    if numbers is None or not 0 <= numbers[0] <= 1:
        raise ValueError(
            f'{where}: {key} must be a number from 0 to 1, got {short_repr(value)}'
        )
    return numbers[0]


def _check_keys(where: str, entry: Mapping, known: Sequence[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(
                f'{where}: unknown key {short_repr(key)}; known are {", ".join(known)}'
            )
