"""ODVG, the JSONL of Grounding DINO and MM-Grounding-DINO, to COCO.

:mod:`.coco_to_odvg` describes a line. The other kind of line, ``grounding`` (a caption
with regions), has no classes: it is refused, or left out and counted.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fgclip2_det.coco.annotation_file import stream_coco
from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import check_file, stream_lines
from fgclip2_det.io.json_writing import check_target, coco_pieces, write_text_pieces
from fgclip2_det.io.text import parse_json, read_text

from .coco_to_odvg import DIGITS

_RECORD_KEYS = ('filename', 'height', 'width', 'detection')


def odvg_to_coco(
    source: Path | str,
    label_map: Path | str,
    target: Path | str,
    like: Path | str | None = None,
    skip_grounding: bool = False,
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """Write ODVG lines as a COCO file, in their order, one line at a time in memory.

    Ids that all lines or boxes have are kept; else they count from 1. A category id is
    its label, unless ``like`` says otherwise. Sides of boxes are rounded to a millionth
    of a pixel, if they are not shorter.

    Args:
        source: jsonl file.
        label_map: JSON file, label -> name.
        target: COCO file.
        like: COCO file with a category for each name, which gives the categories.
        skip_grounding: leave lines with ``grounding`` out; refused otherwise.
        bar: wraps what is read, to show progress; the file is read three times.

    Returns:
        Numbers of ``images``, ``annotations`` and ``grounding`` lines left out.

    Raises:
        ValueError: naming file and line: no ``detection``, a size that is not
            positive, a box that is not four finite numbers in order, a label that the
            map lacks or names differently, ids that occur twice or only now and then.
    """
    check_target(source, target)
    names = _read_label_map(label_map)
    categories = _categories(names, label_map, like)
    ids = {label: entry['id'] for label, entry in zip(names, categories, strict=True)}
    counts = {'images': 0, 'annotations': 0, 'grounding': 0}
    image_ids, box_ids = _Ids(source, 'image'), _Ids(source, 'annotation')
    for number, record in bar(stream_lines(source)):
        if 'grounding' in record:
            if not skip_grounding:
                raise InputError(
                    f'{source}: line {number} has a caption with regions (grounding), '
                    'which has no classes; leave such lines out with --skip-grounding'
                )
            counts['grounding'] += 1
            continue
        _check_record(f'{source}: line {number}', record, names)
        image_ids.see(number, record)
        for box in _boxes(record):
            box_ids.see(number, box)
        counts['images'] += 1
        counts['annotations'] += len(_boxes(record))

    def records() -> Iterator[tuple[int, dict]]:
        lines = (record for _, record in bar(stream_lines(source)))
        return enumerate((r for r in lines if 'grounding' not in r), 1)

    def images() -> Iterator[dict]:
        for i, record in records():
            extra = {k: v for k, v in record.items() if k not in _RECORD_KEYS}
            yield extra | {
                'id': image_ids.get(record, i),
                'file_name': record['filename'],
                'height': record['height'],
                'width': record['width'],
            }

    def annotations() -> Iterator[dict]:
        total = 0
        for i, record in records():
            for box in _boxes(record):
                total += 1
                entry = _to_annotation(box)
                yield entry | {
                    'id': box_ids.get(box, total),
                    'image_id': image_ids.get(record, i),
                    'category_id': ids[box['label']],
                }

    sections = {'images': images(), 'annotations': annotations()}
    pieces = coco_pieces(sections | {'categories': categories})
    write_text_pieces(target, pieces)
    return counts


class _Ids:
    """Ids that entries have, or numbers from 1 where none has one."""

    def __init__(self, path: Path | str, kind: str) -> None:
        self.path, self.kind, self.seen, self.total = path, kind, set(), 0

    def see(self, number: int, entry: dict) -> None:
        self.total += 1
        if 'id' in entry:
            if type(entry['id']) not in (int, str) or entry['id'] in self.seen:
                raise InputError(
                    f'{self.path}: line {number}: {self.kind} id {entry["id"]!r} '
                    'must be a number or a string that occurs once'
                )
            self.seen.add(entry['id'])
        if len(self.seen) not in (0, self.total):
            raise InputError(
                f'{self.path}: line {number}: {self.kind} ids must be on all or on none'
            )

    def get(self, entry: dict, number: int) -> int | str:
        return entry['id'] if self.seen else number


def _boxes(record: dict) -> list[dict]:
    return [
        *record['detection'].get('instances', ()),
        *record['detection'].get('crowd', ()),
    ]


def _to_annotation(box: dict) -> dict:
    x1, y1, x2, y2 = box['bbox']
    w, h = _side(x1, x2), _side(y1, y2)
    extra = {k: v for k, v in box.items() if k not in ('bbox', 'label', 'category')}
    return {'bbox': [x1, y1, w, h], 'area': w * h, 'iscrowd': 0} | extra


def _side(start: float, end: float) -> float:
    """Rounded, unless nothing would be left of it."""
    return round(end - start, DIGITS) or end - start


def _read_label_map(path: Path | str) -> dict[int, str]:
    text = read_text(check_file(path, 'label map'))
    try:
        given = parse_json(text)
        names = {int(label): name for label, name in given.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f'{path} must be a JSON object of label: name, {{"0": "person"}} ({error})'
        ) from error
    wrong = [n for n in names.values() if not isinstance(n, str) or not n.strip()]
    if wrong or len(set(names.values())) < len(names) or len(names) < len(given):
        raise InputError(
            f'{path}: names must be strings that are not blank, labels and names each '
            'of them once'
        )
    return names


def _categories(
    names: dict[int, str], label_map: Path | str, like: Path | str | None
) -> list[dict]:
    """Categories in the order of the labels of the map."""
    if like is None:
        return [{'id': label, 'name': name} for label, name in names.items()]
    pieces = stream_coco(like, sections=('categories',))
    entries = [v for key, is_entry, v in pieces if is_entry and key == 'categories']
    by_name = {entry['name']: entry for entry in entries}
    for label, name in names.items():
        if name not in by_name:
            raise InputError(
                f'{like} has no category {name!r}, label {label} of {label_map}; give '
                'the file it was made from'
            )
    return [by_name[name] for name in names.values()]


def _check_record(where: str, record: dict, names: dict[int, str]) -> None:
    detection = record.get('detection')
    name = record.get('filename')
    named = isinstance(name, str) and name.strip()
    if not named or not isinstance(detection, dict):
        raise InputError(f"{where} needs a 'filename' and 'detection' (an object)")
    for key in ('height', 'width'):
        if not is_number(record.get(key)) or not record[key] > 0:
            raise InputError(
                f'{where}: {key} must be positive, got {record.get(key)!r:.80}'
            )
    for part in ('instances', 'crowd'):
        if not isinstance(detection.get(part, []), list):
            raise InputError(f'{where}: {part} must be a list of boxes')
    for i, box in enumerate(_boxes(record)):
        _check_box(f'{where}: box {i} (from 0)', box, names)


def _check_box(where: str, box: object, names: dict[int, str]) -> None:
    if not isinstance(box, dict) or not _is_corners(box.get('bbox')):
        raise InputError(
            f'{where} must have a bbox of x1 <= x2, y1 <= y2, finite, got {box!r:.200}'
        )
    label = box.get('label')
    if type(label) is not int or label not in names:
        raise InputError(
            f'{where}: label {label!r} is not in the label map; give its own map'
        )
    if box.get('category', names[label]) != names[label]:
        raise InputError(
            f'{where} is {box["category"]!r}, but its label {label} is '
            f'{names[label]!r} in the label map; give the map of this file'
        )


def _is_corners(bbox: object) -> bool:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return False
    if not all(map(is_number, bbox)):
        return False
    return bbox[0] <= bbox[2] and bbox[1] <= bbox[3]
