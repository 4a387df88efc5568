"""COCO files: one, one a split, Roboflow's folders, exports of other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fgclip2_det.coco.annotation_file import SECTIONS, parse_coco
from fgclip2_det.coco.checks import ANNOTATION_KEYS, EntryChecker, reference_fault
from fgclip2_det.coco.entries import class_entries
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage, split_of, split_of_path
from .shapes import as_size
from .sniffing import Found

_KINDS = {'images': 'image', 'annotations': 'annotation', 'categories': 'category'}
_NEEDED = {'images': ('file_name',), 'annotations': ANNOTATION_KEYS}
_LISTS = ('neg_category_ids', 'not_exhaustive_category_ids')  # of LVIS
_NOT_BOXES = ('captions', 'panoptic', 'stuff')


def read_coco_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """All COCO files of a folder.

    Args:
        folder: of the labels.
        found: its COCO files.
        files: images that they name.
        findings: what is wrong with the entries is counted there.

    Raises:
        InputError: two files for one split.
    """
    splits = _splits(folder, found.paths)
    data = OwnData('COCO', [], [], splits)
    merge = Categories(findings)
    for split, path in splits.items():
        content = found.contents.get(path)
        content = read_json(path) if content is None else content
        near = path.parent.relative_to(folder).as_posix()
        weeded, was_whole = weed(content, path, findings)
        names = merge.of_file(path, weeded, findings)
        for box in weeded['annotations']:
            if 'area' not in box:
                findings.add('no_area', f'{path}: annotation {box["id"]}')
        data.images += _images(path, weeded, names, split, '' if near == '.' else near)
        # readers of COCO need sizes
        if not was_whole or any(image.size is None for image in data.images):
            data.files = {}
    data.categories = merge.categories
    if merge.differ or any(key is None for key in data.files):
        data.files = {}
    return data


def _splits(folder: Path, paths: list[Path]) -> dict[Any, Path]:
    """Split -> its file; None -> a single one of no split."""
    boxes = [p for p in paths if not p.stem.lower().startswith(_NOT_BOXES)]
    instances = [p for p in boxes if p.stem.lower().startswith('instances')]
    own: dict[Any, Path] = {}
    for path in instances or boxes or paths:
        name = split_of(path.stem) or split_of_path(
            path.parent.relative_to(folder).as_posix()
        )
        if name in own:
            raise InputError(
                f'{own[name]} and {path} are both of the split {name or "of no name"}; '
                'put one elsewhere, or name them train.json, val.json and test.json'
            )
        own[name] = path
    if list(own) == [None]:
        return own
    if None in own:
        raise InputError(
            f'{own[None]} is of no split, beside {next(iter(set(own) - {None}))}; name '
            'it train.json, val.json or test.json'
        )
    return {name: own[name] for name in ('train', 'val', 'test') if name in own}


def weed(content: Any, path: Path, findings: Findings) -> tuple[dict[str, Any], bool]:
    """A file without the entries that the reader of COCO refuses, which are counted.

    Returns:
        The content that is left, and whether that is all of it.

    Raises:
        InputError: naming the file, if it has no lists of entries.
    """
    options: dict[str, Any] = dict(image_keys=('file_name',), keep_outside=True)
    try:
        parse_coco(content, path, **options)
        return content, True
    except InputError:
        pass
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in SECTIONS
    ):
        parse_coco(content, path, **options)  # raises again: there is nothing to keep
    kept: dict[str, Any] = dict(content)
    ids = {}
    for key in ('images', 'categories', 'annotations'):
        checker = EntryChecker(path, _KINDS[key], _NEEDED.get(key))
        kept[key] = _passing(content[key], checker.add, key, findings)
        ids[key] = {entry['id']: entry for entry in kept[key]}
    annotations = []
    for entry in kept['annotations']:
        if fault := reference_fault(entry, ids['images'], ids['categories']):
            findings.add('no_such', f'{path}: annotation {entry["id"]}: {fault}')
        else:
            annotations.append(entry)
    kept['annotations'] = annotations
    sound = [{k: v for k, v in a.items() if k != 'area'} for a in annotations]
    parse_coco({**kept, 'annotations': sound}, path, **options)
    return kept, False


def _passing(
    entries: list, check: Callable[[Any], None], key: str, findings: Findings
) -> list:
    """Entries that pass; boxes whose id is taken get one of their own, as nothing
    refers to it."""
    kept = []
    for number, entry in enumerate(entries, 1):
        try:
            if key == 'annotations' and isinstance(entry, dict):
                # an area that is none is counted with the box, which stays
                check({k: v for k, v in entry.items() if k != 'area'})
            else:
                check(entry)
        except InputError as error:
            text, is_box = str(error), key == 'annotations'
            if is_box and text.endswith('occurs twice; ids must be unique'):
                findings.add('box_id', text)
                kept.append(entry | {'id': f'box {number}'})
                continue
            kind = 'duplicate_id' if 'occurs twice' in text else 'bad_entry'
            is_bad = is_box and ': bbox must be' in text
            findings.add('bad_box' if is_bad else kind, text)
        else:
            kept.append(entry)
    return kept


class Categories:
    """One list of classes for several files, merged by name.

    Attributes:
        categories: entries without ids.
        differ: whether the files' own lists differ, or one needs other entries.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.categories: list[dict] = []
        self.differ = False
        self._first: list[str] | None = None

    def of_file(self, path: Path, content: dict, findings: Findings) -> dict[Any, str]:
        """Category id -> name, of those that are classes."""
        classes = class_entries(path, content)
        kept = {entry['id'] for entry in classes}
        for entry in content['categories']:
            if entry['id'] not in kept:
                findings.add('root', f'{path}: {entry["name"]!r}')
        names = {entry['id']: entry['name'].strip() for entry in classes}
        if any(entry['name'] != names[entry['id']] for entry in classes):
            self.differ = True  # names are looked up without blanks
        self._compare(path, list(names.values()))
        known = {entry['name'] for entry in self.categories}
        seen: set[str] = set()
        for entry in classes:
            name = names[entry['id']]
            if name in seen:
                findings.add('same_name', f'{path}: {name!r}, category {entry["id"]}')
                self.differ = True
            elif name not in known:
                own = {k: v for k, v in entry.items() if k != 'id'}
                if own.get('split') in ('novel', 'unused'):
                    findings.add('own_split', f'{path}: {name!r}: {own["split"]}')
                self.categories.append(own | {'name': name})
            seen.add(name)
        return names

    def _compare(self, path: Path, names: list[str]) -> None:
        if self._first is None:
            self._first = names
        elif names != self._first:
            self.differ = True
            odd = sorted(set(names) ^ set(self._first))
            what = f'{odd[0]!r} is in one alone' if odd else 'another order'
            self.findings.add('order', f'{path}: {what}')


def _listed(ids: list, names: dict[Any, str]) -> list[str]:
    return [names[i] for i in ids if type(i) in (int, str) and i in names]


def _images(
    path: Path, content: dict, names: dict, split: str | None, near: str
) -> list[OwnImage]:
    own: dict[Any, OwnImage] = {}
    for entry in content['images']:
        extra = ('file_name', 'width', 'height', 'id', *_LISTS)
        own[entry['id']] = OwnImage(
            entry['file_name'],
            split,
            f'{path}: image {entry["id"]}',
            near,
            as_size(entry.get('width'), entry.get('height')),
            extra={k: v for k, v in entry.items() if k not in extra},
            classes={
                key: _listed(entry[key], names)
                for key in _LISTS
                if isinstance(entry.get(key), list)
            },
        )
    left = ('id', 'image_id', 'category_id', 'bbox')
    for entry in content['annotations']:
        if entry['category_id'] in names:
            extra = {k: v for k, v in entry.items() if k not in left}
            own[entry['image_id']].boxes.append(
                OwnBox(names[entry['category_id']], list(entry['bbox']), extra)
            )
    return list(own.values())
