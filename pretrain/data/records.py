"""Parsing of a record into a training sample."""

import math
import os
import posixpath
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from fgclip2_det.io import InputError
from pretrain.data.record_files import RecordStore, language_of, read_records

__all__ = [
    'RecordStore',
    'Sample',
    'check_record',
    'image_path',
    'read_records',
    'to_sample',
]

EXPRS = ('random', 'short', 'long')
ANN_CHOICES = ('random', 'first')
_MAX_DIGITS = 10  # of the number of a negative
_FAR = 1.0  # a box may reach this far outside, in image sides; then it is in pixels


@dataclass
class Sample:
    """One image with its texts; all texts are lower-case.

    Attributes:
        image: RGB.
        language: 'en' or 'zh'.
        short: short caption, or None.
        long: long caption, or None.
        bboxes: (n, 4) float32 xyxy in pixels of ``image``, inside it.
        phrases: n texts, the one that is to be matched with each box.
        hard_positives: n texts or None; None where there are no negatives.
        hard_negatives: n lists of texts, each false of the box in one attribute.
        true_texts: n pairs (short_expr, long_expr), None where one is missing.
        num_bad: number of records that were skipped before this one.
        window: (side, u, v): the image counts as a part of a side x side grid of
            patches, u of the free rows and v of the free columns from its top left
            corner, both in [0, 1); None: it is the whole grid.
        image_id: equal for samples of the same image, or of the same box of it; None:
            it is like no other.
    """

    image: Image.Image
    language: str
    short: str | None
    long: str | None
    bboxes: np.ndarray
    phrases: list[str]
    hard_positives: list[str | None]
    hard_negatives: list[list[str]]
    true_texts: list[tuple[str | None, str | None]]
    num_bad: int = 0
    window: tuple[int, float, float] | None = None
    image_id: str | None = None


@dataclass
class Annotation:
    """A box of a record: normalised xyxy within 0 to 1, and its texts."""

    bbox: tuple[float, float, float, float]
    short: str | None
    long: str | None
    hard: list[tuple[str, list[str]]]  # (positive, negatives), at most one per length


def to_sample(
    record: dict,
    image: Image.Image,
    rng: np.random.Generator,
    *,
    expr: str = 'random',
    max_anns: int | None = 4,
    ann_choice: str = 'random',
    short_prefix: str = '',
    name: str = 'record',
    folder: str = '',
) -> Sample:
    """Sample of a record, with a phrase drawn for each box.

    Args:
        record: as in FineHARD (spec D.2), optionally with ``long_expr_negs``.
        image: the image, in the size in whose pixels boxes are returned.
        rng: of all choices.
        expr: which text of a box is its phrase: 'random' (the paper's way),
            'short' or 'long'; the other one where it is missing.
        max_anns: boxes kept at most; 4 in the released code, None for all.
        ann_choice: 'random', or 'first' as in the released code.
        short_prefix: put before English short captions; the released code has
            'a photo of '.
        name: of the record, for messages.
        folder: of the record's images, part of the sample's ``image_id``.

    Raises:
        ValueError: naming record and entry if it is not of this form, or a box has
            no area inside the image.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2; spec D.2. Unlike there, the
    hard positive is lower-case as its negatives are, Chinese records keep their
    boxes, and any number of negatives will do.
    """
    language = language_of(record)
    short = _text(record.get('short_caption'), f'{name}: short_caption')
    if short and language == 'en':
        short = short_prefix.lower() + short
    anns = read_annotations(record, name)
    if max_anns is not None and len(anns) > max_anns:
        kept = range(max_anns) if ann_choice == 'first' else np.sort(
            rng.choice(len(anns), max_anns, replace=False)
        )  # fmt: skip
        anns = [anns[i] for i in kept]
    hard = [_draw(ann.hard, rng) if ann.hard else (None, []) for ann in anns]
    sides = np.array([image.width, image.height] * 2)
    bboxes = np.array([ann.bbox for ann in anns]).reshape(-1, 4) * sides
    return Sample(
        image=image,
        language=language,
        short=short,
        long=_text(record.get('caption'), f'{name}: caption'),
        bboxes=bboxes.astype(np.float32),
        phrases=[_phrase(ann, expr, rng) for ann in anns],
        hard_positives=[positive for positive, _ in hard],
        hard_negatives=[negatives for _, negatives in hard],
        true_texts=[(ann.short, ann.long) for ann in anns],
        image_id=f'{folder}/{path}' if (path := record.get('f_path')) else None,
    )


def check_options(
    expr: str, max_anns: int | None, ann_choice: str, short_prefix: str
) -> dict:
    """The options of :func:`to_sample` as a dict; ValueError for an unknown one."""
    if expr not in EXPRS:
        raise InputError(f'expr must be one of {EXPRS}, got {expr!r}')
    if ann_choice not in ANN_CHOICES:
        raise InputError(f'ann_choice must be one of {ANN_CHOICES}, got {ann_choice!r}')
    whole = isinstance(max_anns, int) and not isinstance(max_anns, bool)
    if max_anns is not None and not (whole and max_anns >= 0):
        raise InputError(f'max_anns must be None or 0 or more, got {max_anns!r}')
    if not isinstance(short_prefix, str):
        raise InputError(f'short_prefix must be a string, got {short_prefix!r}')
    return dict(
        expr=expr,
        max_anns=max_anns,
        ann_choice=ann_choice,
        short_prefix=short_prefix,
    )


def check_record(record: dict, name: str = 'record') -> None:
    """ValueError naming the record if :func:`to_sample` could not use it."""
    for key in ('caption', 'short_caption'):
        _text(record.get(key), f'{name}: {key}')
    read_annotations(record, name)


def image_path(record: dict, name: str = 'record') -> str:
    """Path of a record's image, relative to the image root."""
    path = record.get('f_path')
    if not isinstance(path, str) or not path:
        raise InputError(f'{name}: f_path must name the image file, got {path!r}')
    return path


def image_file(
    root: str | os.PathLike, record: dict, name: str, allow_outside: bool = False
) -> str:
    """Path of a record's image.

    Args:
        root: folder that ``f_path`` is relative to.
        record: see :func:`to_sample`.
        name: of the record, for messages.
        allow_outside: whether the image may lie outside ``root``.

    Raises:
        InputError: naming the record: no path, or one that leads outside ``root``: up,
            absolute, or through a link.
    """
    path = os.path.join(root, image_path(record, name))
    if not allow_outside and not _is_inside(path, root):
        raise InputError(
            f'{name}: image {path} lies outside {root}; move it there, or say '
            'allow_outside (--allow-outside) if you trust the records'
        )
    return path


def leads_outside(path: str) -> bool:
    """Whether a relative path, as of any system, climbs above its folder."""
    path = path.replace('\\', '/')
    if path.startswith('/') or path[1:2] == ':':
        return True
    return posixpath.normpath(path).split('/')[0] == '..'


def _is_inside(path: str, root: str | os.PathLike) -> bool:
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):  # a null character: reading it says so
        return True
    own = _real(os.fspath(root))
    return real.startswith(own.rstrip(os.sep) + os.sep) or real == own


@lru_cache(maxsize=16)
def _real(root: str) -> str:
    return os.path.realpath(root)


def read_annotations(record: dict, name: str = 'record') -> list[Annotation]:
    """All boxes of a record, checked; an empty list if it has none."""
    entries = record.get('bbox_info')
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise InputError(f'{name}: bbox_info must be a list, got {entries!r}')
    return [
        _read_annotation(entry, f'{name}, box {number}')
        for number, entry in enumerate(entries)
    ]


def _read_annotation(entry: dict, name: str) -> Annotation:
    if not isinstance(entry, dict):
        raise InputError(f'{name} must be an object, got {entry!r}')
    texts = {
        length: _text(entry.get(f'{length}_expr'), f'{name}: {length}_expr')
        for length in ('short', 'long')
    }
    if not any(texts.values()):
        raise InputError(f'{name} has neither short_expr nor long_expr')
    hard = []
    for length, text in texts.items():
        negatives = _read_negatives(entry, length, name)
        # a "negative" that is true of the box, or is there twice, teaches nothing
        kept = [n for n in dict.fromkeys(negatives) if n not in texts.values()]
        if negatives and text is None:
            raise InputError(f'{name} has {length}_expr_negs but no {length}_expr')
        if kept:
            hard.append((text, kept))
    return Annotation(_read_bbox(entry.get('bbox'), name), **texts, hard=hard)


def _read_negatives(entry: dict, length: str, name: str) -> list[str]:
    """Negatives in the order of their numbers; none if the flag is 0."""
    key, flag = f'{length}_expr_negs', entry.get(f'flag_{length}_neg')
    values = entry.get(key)
    if flag is not None and not flag:
        return []
    if values is not None and not isinstance(values, dict):
        raise InputError(
            f'{name}: {key} must be an object {{"0": text}}, got {values!r}'
        )
    if flag and not values:
        raise InputError(f'{name}: flag_{length}_neg is set but {key} holds nothing')
    values = values or {}
    if all(number.isdecimal() and len(number) < _MAX_DIGITS for number in values):
        values = dict(sorted(values.items(), key=lambda item: int(item[0])))
    texts = [_text(value, f'{name}: {key} {n}') for n, value in values.items()]
    return [text for text in texts if text]


def _read_bbox(bbox: Any, name: str) -> tuple[float, float, float, float]:
    numbers = isinstance(bbox, list | tuple) and len(bbox) in (4, 5)  # 5th: score
    if not numbers or not all(_is_finite(value) for value in bbox):
        raise InputError(f'{name}: bbox must be four finite numbers, got {bbox!r}')
    if not all(-_FAR <= value <= 1 + _FAR for value in bbox[:4]):
        raise InputError(
            f'{name}: bbox {bbox} must be [x1, y1, x2, y2] divided by the width and '
            'height of the image'
        )
    x1, y1, x2, y2 = (min(max(float(value), 0.0), 1.0) for value in bbox[:4])
    if not (x2 - x1 > 1e-6 and y2 - y1 > 1e-6):
        raise InputError(
            f'{name}: bbox {bbox} has no area inside the image; expected '
            '[x1, y1, x2, y2] with x1 < x2 and y1 < y2'
        )
    return x1, y1, x2, y2


def _is_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object, name: str) -> str | None:
    """Lower-case, without spaces around it; None for nothing."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f'{name} must be a text, got {value!r}')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f'{name} is not valid Unicode: {value!r}') from error
    return value.lower().strip() or None


def _phrase(ann: Annotation, expr: str, rng: np.random.Generator) -> str:
    texts = [text for text in (ann.short, ann.long) if text]
    if len(texts) == 1:
        return texts[0]
    return _draw(texts, rng) if expr == 'random' else texts[expr == 'long']


def _draw(options: list, rng: np.random.Generator):
    return options[rng.integers(len(options))] if len(options) > 1 else options[0]
