"""Checks of masks, before they are passed to pycocotools.

pycocotools does not check its input. An RLE that :func:`mask_fault` accepts has as many
pixels as its image; polygons have finite coordinates. Both are safe to pass on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from reprlib import repr as short_repr
from typing import Any

from fgclip2_det.io import InputError

_MAX_SIDE = 1 << 16
_MAX_RUN = 1 << 32  # a run is 32 bits in pycocotools
_MAX_COORDINATE = 1 << 20  # pixels; a polygon's edges are walked pixel by pixel


def mask_fault(segmentation: Any, height: Any, width: Any) -> str | None:
    """What is wrong with a mask of an image, if anything.

    Args:
        segmentation: polygons ``[[x1, y1, x2, y2, ...], ...]``, or RLE ``{size: [h, w],
            counts}`` with counts as a list or as COCO's compressed text.
        height, width: of the image, in pixels.

    Returns:
        A clause such as 'polygon 0 (from 0) has 5 numbers, ...'; None for a mask that
        pycocotools can read.

    Source: pycocotools' ``maskApi.c``, ``rleFrString`` and ``rleFrPoly``.
    """
    if not (_is_pixel_count(height) and _is_pixel_count(width)):
        return (
            'a mask needs the height and width of its image, whole numbers of pixels, '
            f'got {short_repr(height)} x {short_repr(width)}'
        )
    if isinstance(segmentation, dict) and {'size', 'counts'} <= set(segmentation):
        return _rle_fault(segmentation['size'], segmentation['counts'], height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return f'segmentation must be polygons or RLE, got {short_repr(segmentation)}'
    for number, polygon in enumerate(segmentation):
        fault = _polygon_fault(polygon)
        if fault:
            return f'polygon {number} (from 0) {fault}'
    return None


def check_mask(segmentation: Any, height: Any, width: Any) -> None:
    """Raise ``ValueError`` with what :func:`mask_fault` finds."""
    fault = mask_fault(segmentation, height, width)
    if fault:
        raise InputError(fault)


def annotation_mask_fault(annotation: dict, image: dict) -> str | None:
    """:func:`mask_fault` of an annotation; one without a mask has none.

    An absent, null or empty ``segmentation`` says that there is no mask, as tools that
    annotate boxes write it.
    """
    segmentation = annotation.get('segmentation')
    if segmentation is None or segmentation == []:
        return None
    return mask_fault(segmentation, image.get('height'), image.get('width'))


def has_no_polygon(segmentation: object) -> bool:
    """Whether all polygons have fewer than three points.

    MMDetection's ``LoadAnnotations`` treats that as no mask; pycocotools does not.
    """
    return isinstance(segmentation, list) and all(
        isinstance(polygon, list) and len(polygon) in (0, 2, 4)
        for polygon in segmentation
    )


def encode_mask(segmentation: Any, height: int, width: int) -> Any:
    """Compressed RLE of polygons, of uncompressed or of compressed RLE.

    Args:
        segmentation, height, width: see :func:`mask_fault`.

    Returns:
        ``{size: [height, width], counts: bytes}``.

    Raises:
        ValueError: see :func:`mask_fault`; pycocotools has not been called then.
    """
    from pycocotools import mask as mask_utils  # for masks alone

    check_mask(segmentation, height, width)
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    counts = segmentation['counts']
    if isinstance(counts, list):
        return mask_utils.frPyObjects(segmentation, height, width)
    counts = counts.encode() if isinstance(counts, str) else counts
    return {'size': [height, width], 'counts': counts}


def decode_counts(counts: str | bytes) -> Iterator[int]:
    """Lengths of the runs of a compressed RLE, which alternate from background.

    Five bits a character, least significant first, 32 added where more follow, 48 to
    all; bit 16 of the last is the sign. From the fourth run on it is the difference to
    the run two before.

    Raises:
        ValueError: another character, a run that does not end or is out of range.
    """
    data = counts.encode('latin-1') if isinstance(counts, str) else counts
    before, last = 0, 0  # the runs two and one before this one
    value = shift = number = 0
    for byte in data:
        bits = byte - 48
        if not 0 <= bits < 64:
            raise InputError(
                f'character {chr(byte)!r} does not occur in compressed RLE'
            )
        value |= (bits & 31) << shift
        shift += 5
        if shift > 35:
            raise InputError(f'run {number} (from 0) has more than 32 bits')
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        value += before if number > 2 else 0
        if not 0 <= value < _MAX_RUN:
            raise InputError(f'run {number} (from 0) has the length {value}')
        yield value
        before, last = last, value
        value = shift = 0
        number += 1
    if shift:
        raise InputError('the last run is incomplete')


def _rle_fault(size: object, counts: object, height: int, width: int) -> str | None:
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return (
            f'mask of {short_repr(size)} pixels (height, width), its image has '
            f'{[height, width]}'
        )
    try:
        total = _total(counts)
    except (ValueError, UnicodeEncodeError) as error:
        return f'RLE counts {short_repr(counts)} cannot be read: {error}'
    if total != height * width:
        return (
            f'RLE counts are of {total} pixels, expected height x width = '
            f'{height * width}'
        )
    return None


def _total(counts: object) -> int:
    if isinstance(counts, str | bytes):
        return sum(decode_counts(counts))
    if not isinstance(counts, list):
        raise InputError('expected a list of whole numbers or text')
    for count in counts:
        if type(count) is not int or not 0 <= count < _MAX_RUN:
            raise InputError(f'{short_repr(count)} is not the length of a run')
    return sum(counts)


def _polygon_fault(polygon: object) -> str | None:
    if not isinstance(polygon, list):
        return f'must be a list of numbers, got {short_repr(polygon)}'
    if len(polygon) % 2 or len(polygon) < 6:
        return (
            f'has {len(polygon)} numbers, expected x, y of three points or more: an '
            'even number, at least 6'
        )
    if set(map(type, polygon)) <= {int, float}:  # the usual case, without a loop
        largest = max(max(polygon), -min(polygon))
        if math.isfinite(sum(polygon)) and largest <= _MAX_COORDINATE:
            return None
    for value in polygon:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or abs(value) > _MAX_COORDINATE:
            return f'must be finite numbers of pixels, got {short_repr(value)}'
    return None


def _is_pixel_count(value: object) -> bool:
    return type(value) is int and 0 < value <= _MAX_SIDE
