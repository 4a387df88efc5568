"""PASCAL VOC's XML files: VOCdevkit, Roboflow's folders, exports of other tools."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.prepare.xml_files import flag_of, number_of, read_xml, text_of

from .findings import Findings
from .image_files import ImageFiles, nfc
from .records import OwnBox, OwnData, OwnImage, split_of, split_of_path
from .shapes import as_size
from .sniffing import Found

_SIDES = ('xmin', 'ymin', 'xmax', 'ymax')
_SHAPES = ('polygon', 'robndbox')


def read_voc_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """All XML files of a folder.

    VOC counts pixels from 1 and includes the last one. Label Studio, Datumaro, CVAT and
    FiftyOne count from 0 and do not: their files are known by what they leave beside
    them, or by a corner at 0, and read so.
    """
    sets = _ImageSets(folder)
    images, roots = [], []
    for path in found.paths:
        try:
            root = read_xml(path)
            roots.append((path, root))
        except InputError as error:
            findings.add('unreadable', str(error))
    zero = _is_zero_based(folder, [root for _, root in roots])
    for path, root in roots:
        place = path.relative_to(folder)
        near = place.parent.as_posix()
        image = OwnImage(
            (root.findtext('filename') or '').strip() or path.stem,
            sets.split_of(path) or split_of_path(near),
            str(path),
            '' if near == '.' else near,
            _size(path, root),
        )
        _find_by_stem(image, path, files)
        for entry in root.iter('object'):
            try:
                image.boxes.append(_to_box(path, entry, 0 if zero else 1, findings))
            except InputError as error:
                findings.add('bad_entry', str(error))
        images.append(image)
    if zero:
        findings.add('origin', str(found.paths[0]), len(roots))
    names = dict.fromkeys(box.name for image in images for box in image.boxes)
    order = _labelmap(folder)
    order += [name for name in sorted(names) if name not in order]
    return OwnData('PASCAL VOC', images, [{'name': name} for name in order])


def _find_by_stem(image: OwnImage, path: Path, files: ImageFiles) -> None:
    """The file of the same stem where ``filename`` names none, as it does after images
    were renamed or converted to another format."""
    if not files.find(image.name, image.near, image.split):
        same = files.by_stem(path.stem, image.near, image.split)
        if len(same) == 1:
            image.path = same[0]


class _ImageSets:
    """Splits of the lists in ``ImageSets/Main``.

    Args:
        folder: with one such folder, or one in each of several data sets.
    """

    def __init__(self, folder: Path) -> None:
        # by folder of ImageSets: entry of a list -> split, and its last part -> splits
        self._entries: dict[Path, dict[str, str]] = {}
        self._names: dict[Path, dict[str, set[str]]] = {}
        lists = sorted(folder.rglob('ImageSets/Main/*.txt'))
        for name in ('train', 'val', 'test', 'trainval'):
            split = split_of(name) or name
            for path in (each for each in lists if each.stem == name):
                root = path.parents[2]
                entries = self._entries.setdefault(root, {})
                names = self._names.setdefault(root, {})
                for line in filter(None, map(str.strip, read_text(path).splitlines())):
                    own = entries.setdefault(nfc(line), split)
                    names.setdefault(PurePosixPath(nfc(line)).name, set()).add(own)

    def split_of(self, path: Path) -> str | None:
        """Split of an XML file: by its path below ``Annotations``, or by its name if
        that is listed once; in the lists above it, or in all if there are none."""
        root = next((each for each in path.parents if each in self._entries), None)
        if root is not None:
            below = [*path.relative_to(root).parts[1:-1], path.stem]
            if own := self._entries[root].get(nfc('/'.join(below))):
                return own
        found: set[str] = set()
        for names in self._names.values() if root is None else [self._names[root]]:
            found |= names.get(nfc(path.stem), set())
        return found.pop() if len(found) == 1 else None


def _labelmap(folder: Path) -> list[str]:
    """Classes of ``labelmap.txt``, which Datumaro and CVAT write."""
    for path in sorted(folder.rglob('labelmap.txt')):
        names = [
            line.partition(':')[0].strip() for line in read_text(path).splitlines()
        ]
        return [n for n in names if n and not n.startswith('#') and n != 'background']
    return []


def _is_zero_based(folder: Path, roots: list[ElementTree.Element]) -> bool:
    if next(folder.rglob('labelmap.txt'), None) is not None:
        return True
    for root in roots:
        if root.findtext('owner/name') == 'Label Studio':
            return True
        if root.find('path') is not None and root.findtext('segmented') == '':
            return True  # FiftyOne's template
        for side in ('xmin', 'ymin'):
            for value in root.iterfind(f'object/bndbox/{side}'):
                if (value.text or '').strip() in ('0', '0.0', '0.00'):
                    return True
    return False


def _size(path: Path, root: ElementTree.Element) -> tuple[float, float] | None:
    """Of the XML; None where it gives none, as a width of 0."""
    try:
        sides = [number_of(path, root, f'size/{k}') for k in ('width', 'height')]
    except InputError:
        return None
    return as_size(*sides)


def _to_box(
    path: Path, entry: ElementTree.Element, first: int, findings: Findings
) -> OwnBox:
    name = ' '.join(text_of(path, entry, 'name').split())
    for shape in _SHAPES:
        if entry.find(shape) is not None:
            kind = 'turned_box' if shape == 'robndbox' else 'mask'
            findings.add(kind, f'{path}: {name!r} has a {shape}')
    corners = [number_of(path, entry, f'bndbox/{side}') for side in _SIDES]
    x1, y1, x2, y2 = corners
    extra = {}
    marked = (entry.findtext('difficult') or '').strip()
    if marked and flag_of(path, entry, 'difficult') > 0:
        extra = {'iscrowd': 1, 'ignore': 1}
    bbox = [x1 - first, y1 - first, x2 - x1 + first, y2 - y1 + first]
    return OwnBox(name, bbox, extra)
