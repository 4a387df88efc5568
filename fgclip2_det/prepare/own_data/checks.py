"""Labels against their image files, and class names against each other."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from reprlib import repr as short_repr

import numpy as np

from fgclip2_det.coco.checks import is_number
from fgclip2_det.coco.masks import annotation_mask_fault, encode_mask, has_no_polygon
from fgclip2_det.io import InputError
from fgclip2_det.io.threads import thread_map
from fgclip2_det.prepare.near_duplicates import difference_hash, duplicate_groups
from fgclip2_det.vocabulary.name_checks import check_names

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage

FEW = 10  # boxes of a class
THINNEST = 1e-4  # pixels; COCO files that are written have four digits
THINNEST_MASK = 4  # pixels of both sides of a box whose mask covers some
_PIXEL = 1.0  # by which rounding may move a side
_SPELLING = ('duplicate', 'plural', 'shared')
_NO_WORD = re.compile(
    r'((class|object|obj|label|item|cls|id)[\s_-]*)?\d*', re.IGNORECASE
)


def check_images(data: OwnData, files: ImageFiles, findings: Findings) -> None:
    """Find the file of each image and compare sizes and boxes with it.

    Images without a readable file and boxes that no reader takes are left out, and
    counted; boxes are clipped to their image.
    """
    kept, seen = [], {}
    for image in data.images:
        if not _has_file(image, files, findings):
            continue
        path = image.path or ''
        try:
            size = files.size(path)
        except InputError as error:
            findings.add('bad_image', str(error))
            continue
        other = seen.setdefault((path, image.split), image)
        if other is not image:
            findings.add('twice', f'{image.where} and {other.where}: {path}')
        _check_size(image, size, findings)
        image.boxes = list(_good_boxes(image, size, findings))
        if not image.boxes:
            findings.add('no_boxes', image.where)
        kept.append(image)
    named = {image.path for image in data.images}
    for path in files.paths:
        if path not in named:
            findings.add('no_labels', path)
    data.images = kept


def drop_bad_names(data: OwnData, findings: Findings) -> None:
    """Leave out classes whose name cannot be written, and boxes of them."""
    bad = {name for name in data.names if not _is_text(name)}
    if not bad:
        return
    data.categories = [c for c in data.categories if c['name'] not in bad]
    for image in data.images:
        for box in image.boxes:
            if box.name in bad:
                findings.add('bad_entry', f'{image.where}: a box of {box.name!r}')
        image.boxes = [box for box in image.boxes if box.name not in bad]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return bool(name.strip())


def _has_file(image: OwnImage, files: ImageFiles, findings: Findings) -> bool:
    if image.path is None:
        paths = files.find(image.name, image.near, image.split)
        if len(paths) > 1:
            findings.add('two_images', f'{image.where}: {" or ".join(paths[:3])}')
            return False
        if not paths:
            findings.add('no_image', f'{image.where}: {image.name}')
            return False
        image.path = paths[0]
    return True


def _check_size(image: OwnImage, size: tuple[int, int], findings: Findings) -> None:
    if image.size is not None and image.size != size:
        turned = image.size == size[::-1]
        says = 'says {:g} x {:g}'.format(*image.size)
        text = f'{image.where} {says}, {image.path} has {size[0]} x {size[1]}'
        findings.add('turned_size' if turned else 'size', text)
    image.size = size


def _good_boxes(
    image: OwnImage, size: tuple[int, int], findings: Findings
) -> Iterable[OwnBox]:
    seen: set[tuple] = set()
    for box in image.boxes:
        text = f'{image.where}: {box.name!r} {_listed(box.bbox)}'
        kind = _fault(box.bbox, size)
        if kind is not None:
            findings.add(kind, text)
            continue
        if fault := _mask_fault(box, size):
            findings.add('bad_mask', f'{text}: {fault}')
            del box.extra['segmentation']
        elif _covers_nothing(box, size):
            findings.add('empty_mask', text)
            del box.extra['segmentation']
        area = box.extra.get('area', 1)
        if not (is_number(area) and area > 0):
            findings.add('area', f'{text}: {short_repr(area)}')
            del box.extra['area']
        crosses = _clip(box, size)
        if min(box.bbox[2:]) < THINNEST:
            findings.add('empty_box', text)
            continue
        if crosses:
            findings.add('crossing', text)
        key = (box.name, *(round(side, 1) for side in box.bbox))
        if key in seen:
            findings.add('same_box', text)
        seen.add(key)
        if box.extra.get('iscrowd') or box.extra.get('ignore'):
            findings.add('crowd', text)
        yield box


def _fault(bbox: list, size: tuple[int, int]) -> str | None:
    if len(bbox) != 4 or not all(map(is_number, bbox)) or min(bbox[2:]) < 0:
        return 'bad_box'
    x, y, w, h = bbox
    if w == 0 or h == 0:
        return 'empty_box'
    if x >= size[0] or y >= size[1] or x + w <= 0 or y + h <= 0:
        return 'outside'
    return None


def _mask_fault(box: OwnBox, size: tuple[int, int]) -> str | None:
    """What is wrong with a mask, where there is one."""
    mask = box.extra.get('segmentation')
    if 'segmentation' not in box.extra or has_no_polygon(mask):
        return None
    entry = {'segmentation': mask, 'bbox': box.bbox}
    return annotation_mask_fault(entry, {'width': size[0], 'height': size[1]})


def _covers_nothing(box: OwnBox, size: tuple[int, int]) -> bool:
    """Whether a mask has no pixel, as of a polygon that goes around twice, though its
    box is not thin."""
    mask = box.extra.get('segmentation')
    if not mask or has_no_polygon(mask) or min(box.bbox[2:]) < THINNEST_MASK:
        return False
    from pycocotools import mask as mask_utils  # for masks alone

    return int(mask_utils.area(encode_mask(mask, size[1], size[0]))) == 0


def _clip(box: OwnBox, size: tuple[int, int]) -> bool:
    """Clip a box to its image; whether it left it by a pixel or more."""
    x, y, w, h = box.bbox
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + w, size[0]), min(y + h, size[1])
    beyond = max(left - x, top - y, x + w - right, y + h - bottom)
    if beyond > 0:
        box.bbox = [left, top, right - left, bottom - top]
        box.extra.pop('area', None)
    return beyond >= _PIXEL


def _listed(bbox: list) -> str:
    return ' '.join(f'{v:g}' if is_number(v) else str(v) for v in bbox)


def check_classes(data: OwnData, findings: Findings) -> None:
    """Names that are nearly one, say nothing, or have few boxes or none."""
    counts = Counter(box.name for image in data.images for box in image.boxes)
    for finding in check_names([[name] for name in data.names]):
        if finding.kind in _SPELLING:
            findings.add('spelling', finding.message)
    for name in data.names:
        if _NO_WORD.fullmatch(name.strip()) or (len(name) == 1 and name.isascii()):
            findings.add('no_word', repr(name))
        if not counts[name]:
            findings.add('never', repr(name))
        elif counts[name] < FEW:
            findings.add('few', f'{name!r}: {counts[name]}')


def group_images(
    data: OwnData,
    files: ImageFiles,
    findings: Findings,
    bar: Callable[[Iterable], Iterable] = iter,
    max_distance: int = 4,
) -> list[list[OwnImage]]:
    """Images that nearly look alike, in groups; images that cannot be decoded are left
    out of the data.

    Args:
        data: images with files.
        files: of them.
        findings: bad images are counted there, and those of one split that look alike.
        bar: wraps the images, to show progress.
        max_distance: bits of 64 in which hashes may differ, see
            :mod:`.near_duplicates`.
    """
    paths = list(dict.fromkeys(image.path or '' for image in data.images))
    hashes = np.zeros((len(paths), 64), dtype=bool)
    flat = np.zeros(len(paths), dtype=bool)
    bad: set[str] = set()

    def one(path: str) -> np.ndarray | InputError | None:
        try:
            return difference_hash(files.full(path))
        except InputError as error:
            return error

    with thread_map(one, paths, 4) as results:
        for i, bits in enumerate(bar(results)):
            if isinstance(bits, InputError):
                findings.add('bad_image', str(bits))
                bad.add(paths[i])
            flat[i] = bits is None or isinstance(bits, InputError)
            if not flat[i]:
                hashes[i] = bits
    data.images = [image for image in data.images if image.path not in bad]
    of_path = defaultdict(list)
    for image in data.images:
        of_path[image.path].append(image)
    groups = [
        [image for i in group for image in of_path[paths[i]]]
        for group in duplicate_groups(hashes, flat, max_distance)
    ]
    grouped = {image.path for group in groups for image in group}
    groups += [g for p, g in of_path.items() if len(g) > 1 and p not in grouped]
    for group in groups:
        per_split = Counter(image.split for image in group)
        for split, count in per_split.items():
            if count > 1:
                own = [image.path or '' for image in group if image.split == split]
                if len(set(own)) > 1:
                    findings.add('near', ' = '.join(own[:3]), count - 1)
    return groups
