"""Files of asks, for detectors that are run elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.digests import file_digest
from fgclip2_det.io.json_writing import coco_pieces, write_text_pieces
from fgclip2_det.io.text import read_json

from .asks import Ask, check_ks

DESCRIPTION = (
    'Ask the detector once for every entry: its names alone, in one call on its image. '
    'Write a COCO result list whose rows have the ask_id (id of the entry) besides '
    'image_id, category_id, bbox (x, y, width, height in pixels) and score. '
    'category_ids are those of the names.'
)
_FIELDS = {
    'id': int,
    'image_id': int | str,
    'file_name': str | None,
    'names': list,
    'category_ids': list,
    'k': int | str,
}


def write_asks(
    path: str | os.PathLike,
    asks: Sequence[Ask],
    draw: Mapping[str, object],
    annotations: str | os.PathLike,
) -> None:
    """Write asks, one a line, whole or not at all.

    Args:
        path: JSON file.
        asks: see :func:`.draw_asks`.
        draw: how they were drawn: plain values by name, such as the seed.
        annotations: the file they were drawn from.
    """
    origin = {'file': Path(annotations).name, 'sha256': file_digest(annotations)}
    sections = {
        'description': DESCRIPTION,
        'annotations': origin,
        'draw': dict(draw),
        'asks': [asdict(ask) for ask in asks],
    }
    write_text_pieces(Path(path), coco_pieces(sections))


def read_asks(
    path: str | os.PathLike, annotations: str | os.PathLike
) -> tuple[list[Ask], dict]:
    """Asks, and how they were drawn.

    Args:
        path: of :func:`write_asks`.
        annotations: the file that they must have been drawn from, byte by byte.

    Raises:
        ValueError: no such file; asks of other annotations, with both digests; the
            first entry that is wrong.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), kind)
        for key, kind in (('annotations', dict), ('draw', dict), ('asks', list))
    ):
        raise InputError(
            f'{path} must hold "annotations", "draw" and "asks"; write it with '
            'tools/evaluate.py --protocol few-names --write-asks'
        )
    origin, own = content['annotations'], file_digest(annotations)
    if origin.get('sha256') != own:
        raise InputError(
            f'{path} asks about {origin.get("file")} with SHA-256 '
            f'{origin.get("sha256")}, but {annotations} has {own}; give the file that '
            'the asks were drawn from, or draw them again'
        )
    return [_ask(path, n, e) for n, e in enumerate(content['asks'])], content['draw']


def _ask(path: str | os.PathLike, number: int, entry: object) -> Ask:
    title = f'{path}: ask {number} (from 0)'
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise InputError(f'{title} must have {", ".join(_FIELDS)}, got {entry!r:.80}')
    for key, kind in _FIELDS.items():
        if isinstance(entry[key], bool) or not isinstance(entry[key], kind):
            raise InputError(f'{title}: {key} cannot be {entry[key]!r:.40}')
    names, ids = tuple(entry['names']), tuple(entry['category_ids'])
    for key, values, kinds in (
        ('names', names, (str,)),
        ('category_ids', ids, (int, str)),
    ):
        if not all(type(value) in kinds for value in values):
            raise InputError(f'{title}: {key} cannot be {values!r:.80}')
    if len(names) != len(ids) or len(set(ids)) < len(ids) or not ids:
        raise InputError(
            f'{title} needs a name for each of its category_ids, got {names} for {ids}'
        )
    try:
        check_ks((entry['k'],))
    except ValueError as error:
        raise InputError(f'{title}: {error}') from error
    return Ask(
        entry['id'], entry['image_id'], entry['file_name'], names, ids, entry['k']
    )
