"""COCO to ODVG, the JSONL of Grounding DINO and MM-Grounding-DINO.

A line is an image: ``{filename, height, width, detection: {instances: [{bbox, label,
category}]}}``, boxes (x1, y1, x2, y2) in pixels, labels from 0. A label map beside it
is ``{"0": "person", ...}``. Source: MMDetection's ``ODVGDataset``.

Keys of an image or annotation that ODVG does not have (ids, masks, urls) stay beside
its own; readers of ODVG ignore them, and :mod:`.odvg_to_coco` restores them. What has
a key of ODVG's own (``category`` of an annotation) is replaced by it. Crowd
boxes would be trained as objects: they are in ``detection: {crowd: [...]}``, which
readers ignore.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fgclip2_det.coco.annotation_file import stream_coco
from fgclip2_det.coco.checks import IMAGE_KEYS, outside_fault
from fgclip2_det.coco.entries import without_roots
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError
from fgclip2_det.io.json_writing import check_target, dumps, write_text_pieces

from .coco_scan import scan_coco

DIGITS = 6  # of a pixel: 0.1 + 0.2 is written 0.3, so that boxes survive a round trip


def coco_to_odvg(
    source: Path | str,
    target: Path | str,
    label_map: Path | str,
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """Write the images of a COCO or LVIS file as ODVG lines, in their order.

    Boxes of an image are in file order, labels count the categories in file order, and
    images without boxes stay. The annotations are held in memory.

    Args:
        source: COCO file.
        target: jsonl file.
        label_map: JSON file, label -> name.
        bar: wraps what is read, to show progress; the file is read twice.

    Returns:
        Numbers of ``images``, ``annotations`` and of ``crowd`` boxes among them.

    Raises:
        ValueError: naming file and entry, as ``OpenVocabCocoDataset`` does; two
            categories of one name, which a label map cannot hold.
    """
    check_target(source, target)
    scan = scan_coco(source, bar)
    _check_unique(source, scan.categories)
    categories = without_roots(source, scan.categories, set(scan.images_of_category))
    labels = {category['id']: i for i, category in enumerate(categories)}
    names = {category['id']: category['name'] for category in categories}
    images, boxes = {}, defaultdict(list)
    for key, is_entry, value in stream_coco(source, bar, image_keys=IMAGE_KEYS):
        if is_entry and key == 'images':
            images[value['id']] = value
        elif is_entry and key == 'annotations':
            boxes[value['image_id']].append(value)
    counts = {'images': 0, 'annotations': 0, 'crowd': 0}

    def lines() -> Iterator[str]:
        for image in images.values():
            detection = {'instances': []}
            for box in boxes[image['id']]:
                if fault := outside_fault(box['bbox'], image):
                    raise InputError(f'{source}: annotation {box["id"]}: {fault}')
                part = 'crowd' if box.get('iscrowd') else 'instances'
                category = box['category_id']
                entry = _to_instance(box, labels[category], names[category])
                detection.setdefault(part, []).append(entry)
                counts['annotations'] += 1
                counts['crowd'] += part == 'crowd'
            counts['images'] += 1
            record = {
                'filename': image['file_name'],
                'height': image['height'],
                'width': image['width'],
                'detection': detection,
            }
            known = (*record, 'file_name', 'grounding')
            extra = {k: v for k, v in image.items() if k not in known}
            yield dumps(record | extra) + '\n'

    write_text_pieces(target, lines())
    label_names = {str(i): category['name'] for i, category in enumerate(categories)}
    write_text_pieces(label_map, [dumps(label_names)])
    return counts


def _check_unique(source: Path | str, categories: Iterable[dict]) -> None:
    ids: dict = {}
    for category in categories:
        name = normalize_name(category['name'])
        other = ids.setdefault(name, category['id'])
        if other != category['id']:
            raise InputError(
                f'{source}: categories {other} and {category["id"]} are both named '
                f'{category["name"]!r}; names in ODVG must be unique: rename one'
            )


def _to_instance(box: dict, label: int, name: str) -> dict:
    x, y, w, h = box['bbox']
    corners = [x, y, _end(x, w), _end(y, h)]
    known = ('bbox', 'image_id', 'category_id', 'label', 'category')
    extra = {k: v for k, v in box.items() if k not in known}
    return {'bbox': corners, 'label': label, 'category': name} | extra


def _end(start: float, side: float) -> float:
    """The far end of a side; exact where rounding could put it before the start."""
    end = start + side
    return max(start, round(end, DIGITS)) if side >= 10**-DIGITS else end
