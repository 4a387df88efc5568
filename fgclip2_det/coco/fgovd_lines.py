"""FG-OVD's .jsonl files: on each line an object, its caption and hard negatives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from reprlib import repr as short_repr

from fgclip2_det.io import InputError
from fgclip2_det.io.text import parse_json, read_text


def read_fgovd_lines(path: str | os.PathLike) -> Iterator[tuple[str, dict]]:
    """Entries of a file such as ``h_attributes_llava.jsonl``, each with its place.

    Yields:
        'FILE line N' for messages, and the entry: ``width`` and ``height`` are positive
        whole numbers of pixels, ``pos_expression`` is a list of one text and
        ``neg_expression`` a list of texts, which may be empty. ``bbox`` (xywh),
        ``img_path`` and the ids are not checked.

    Raises:
        ValueError: naming the line: no JSON object, a missing key, a value of another
            type; a file without lines.

    Source: FG-OVD (arXiv:2311.17518), as FG-CLIP's authors publish it.
    """
    lines = read_text(path).split('\n')
    if not any(map(str.strip, lines)):
        raise InputError(f'{path} is empty; expected one JSON object per line')
    for number, line in enumerate(lines, 1):
        if line.strip():
            title = f'{path} line {number}'
            yield title, _parse(line, title)


def fgovd_captions(title: str, entry: dict) -> list[tuple[int | str, str]]:
    """(id, caption) of an entry of :func:`read_fgovd_lines`, the true one first.

    Raises:
        ValueError: naming the line: an id is missing or is neither a number nor a
            string, or there are more ids or fewer than captions.
    """
    negatives = entry.get('neg_category_ids')
    ids = [
        entry.get('category_id'),
        *(negatives if isinstance(negatives, list) else ()),
    ]
    ids_of_all = [entry.get('image_id'), *ids]
    if not isinstance(negatives, list) or not {*map(type, ids_of_all)} <= {int, str}:
        raise InputError(
            f'{title} is not an object of FG-OVD: it needs image_id, category_id and a '
            'list neg_category_ids, whole numbers or strings, got '
            f'{short_repr(ids_of_all)}'
        )
    texts = [*entry['pos_expression'], *entry['neg_expression']]
    if len(ids) != len(texts):
        raise InputError(f'{title} has {len(ids)} ids for {len(texts)} captions')
    return list(zip(ids, texts, strict=True))


def _parse(line: str, title: str) -> dict:
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise InputError(f'{title} is not JSON: {error}') from error
    if not isinstance(entry, dict):
        raise InputError(f'{title} must be a JSON object, got {line[:80]!r}')
    size = entry.get('width'), entry.get('height')
    if not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(f'{title}: width and height must be pixels, got {size}')
    positive = _texts(entry, 'pos_expression', title)
    if len(positive) != 1:
        raise InputError(f'{title}: pos_expression must be one text, got {positive}')
    _texts(entry, 'neg_expression', title)
    return entry


def _texts(entry: dict, key: str, title: str) -> list[str]:
    value = entry.get(key)
    if not isinstance(value, list) or not all(
        isinstance(text, str) and text.strip() for text in value
    ):
        raise InputError(f'{title}: {key} must be a list of texts, got {value!r:.80}')
    return value
