"""Readers of CCMB's ICR, IQR, ICM and IQM in their released layout.

``ICR/val/long_itr_val.json`` and the like: on each line a JSON object with ``text`` and
``image_path``, and ``label`` (1 match, 0 no match) in the matching sets ICM and IQM.
Names begin with 'long' for captions (ICR, ICM) and 'short' for queries (IQR, IQM). All
four share one folder of images, in which a file has the last part of ``image_path``;
the image's id is that name without its ending.

Source: CCMB (arXiv:2205.03860), its page http://zero.so.com and the readers of
github.com/yuxie11/R2D2, ``data/``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fgclip2_det.io import InputError
from fgclip2_det.io.text import parse_json, read_text

from .caption_files import Captions

SPLITS = ('train', 'val', 'test')


class CcmbPair(NamedTuple):
    """A line.

    Attributes:
        image: name of the file; the same for all lines with the same image id.
        text: without white space around it.
        label: whether both match; True in the retrieval sets.
    """

    image: str
    text: str
    label: bool


def read_ccmb_captions(path: str | os.PathLike) -> Captions:
    """Captions or queries of ICR and IQR by image.

    Raises:
        ValueError: see :func:`read_ccmb_pairs`.
    """
    captions: Captions = {}
    for pair in read_ccmb_pairs(path, labelled=False):
        captions.setdefault(pair.image, []).append(pair.text)
    return captions


def read_ccmb_pairs(path: str | os.PathLike, labelled: bool) -> list[CcmbPair]:
    """Lines of one of the files.

    Args:
        path: of the file.
        labelled: of ICM or IQM, whose lines have a label.

    Raises:
        ValueError: naming the line: no JSON object, a missing or empty text, no image,
            a label that is neither 0 nor 1; a file without lines.
    """
    pairs: list[CcmbPair] = []
    names: dict[str, str] = {}
    for title, entry in _lines(path):
        name = PurePosixPath(_text(entry, 'image_path', title)).name
        if not name:
            raise InputError(
                f'{title}: image_path names no file, got {entry["image_path"]!r:.80}'
            )
        image = names.setdefault(PurePosixPath(name).stem, name)
        label = _label(entry, title) if labelled else True
        pairs.append(CcmbPair(image, _text(entry, 'text', title), label))
    return pairs


def split_files(path: Path) -> dict[str, Path]:
    """Files of the splits that are there, by split; ``path`` is that of one of them,
    such as ``ICR/val/long_itr_val.json``."""
    stem = path.stem.rpartition('_')[0]
    folder = path.parent.parent
    paths = {split: folder / split / f'{stem}_{split}.json' for split in SPLITS}
    return {split: one for split, one in paths.items() if one == path or one.is_file()}


def _lines(path: str | os.PathLike) -> Iterator[tuple[str, dict]]:
    """(place for messages, object) of all lines that are not blank."""
    lines = read_text(path).split('\n')
    if not any(map(str.strip, lines)):
        raise InputError(f'{path} is empty; expected one JSON object per line')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        title = f'{path} line {number}'
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise InputError(
                f'{title} is not JSON ({error}); expected one object per line'
            ) from error
        if not isinstance(entry, dict):
            raise InputError(
                f'{title}: expected an object with text and image_path, got '
                f'{line[:80]!r}'
            )
        yield title, entry


def _text(entry: dict, key: str, title: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f'{title}: {key} must be a text, got {value!r:.80}')
    return value.strip()


def _label(entry: dict, title: str) -> bool:
    value = entry.get('label')
    if not isinstance(value, int) or value not in (0, 1):
        raise InputError(
            f'{title}: label must be 1 (match) or 0 (no match), got {value!r:.80}'
        )
    return bool(value)
