"""Which tool's layout a folder of labels has."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json
from fgclip2_det.prepare.xml_files import read_xml
from fgclip2_det.prepare.yolo import read_names

from .image_files import walk

LAYOUTS = {
    'coco': 'COCO',
    'yolo': 'YOLO',
    'voc': 'PASCAL VOC',
    'labelme': 'labelme',
    'cvat': 'CVAT for images',
    'label-studio': 'Label Studio',
    'fiftyone': 'FiftyOne',
}
_YAMLS = ('data.yaml', 'data.yml', 'dataset.yaml')
_LISTS = ('classes.txt', 'obj.names', '_darknet.labels')
_LOOKED_AT = 40  # JSON and XML files of a folder that are opened to see what they are
_PREDICTIONS = (
    'is what a detector found, not labels: there is a score and no list of classes. '
    'Compare it with labels: fgclip2-det evaluate --predictions {} --ann LABELS.json '
    '--ids stem --categories from-1'
)


@dataclass
class Found:
    """Annotation files of one layout.

    Attributes:
        layout: a key of :data:`LAYOUTS`.
        paths: the files: of COCO, Label Studio and FiftyOne the JSON, of YOLO the list
            of names, of the others every file.
        contents: what was read already.
        unread: files that could not be read, and why.
    """

    layout: str
    paths: list[Path]
    contents: dict[Path, Any] = field(default_factory=dict)
    unread: dict[Path, str] = field(default_factory=dict)


def find_layout(folder: Path, layout: str | None = None) -> Found:
    """The layout of a folder.

    Args:
        folder: with the labels at any depth.
        layout: a key of :data:`LAYOUTS` to take where there are several.

    Raises:
        InputError: there is no folder, no layout or more than one.
    """
    if not folder.is_dir():
        raise InputError(f'there is no folder {folder}; name the folder of the labels')
    paths = list(walk(folder))
    unread: dict[Path, str] = {}
    kinds: dict[str, list[Path]] = {}
    contents: dict[Path, Any] = {}
    odd: dict[str, Path] = {}
    for path, kind, content in _looked_at(paths, unread):
        if kind in LAYOUTS:
            kinds.setdefault(kind, []).append(path)
            if content is not None and kind != 'labelme':
                contents[path] = content
        elif kind:
            odd.setdefault(kind, path)
    names = [path for path in paths if _is_names_file(path, kinds)]
    if names:
        kinds['yolo'] = names
    if 'fiftyone' in kinds:  # its own data beside what it was made of
        kinds = {'fiftyone': kinds['fiftyone']}
    return _chosen(folder, kinds, layout, contents, unread, odd)


def _chosen(
    folder: Path,
    kinds: dict[str, list[Path]],
    layout: str | None,
    contents: dict[Path, Any],
    unread: dict[Path, str],
    odd: dict[str, Path],
) -> Found:
    if layout is not None and layout not in kinds:
        raise InputError(f'{folder} has no {LAYOUTS[layout]} labels{_seen(unread)}')
    if layout is None and len(kinds) > 1:
        shown = ', '.join(
            f'{LAYOUTS[kind]} ({paths[0].relative_to(folder)})'
            for kind, paths in kinds.items()
        )
        choice = '|'.join(kinds)
        raise InputError(f'{folder} has labels of several layouts: {shown}; say '
                         f'--layout {choice}')  # fmt: skip
    if not kinds:
        for kind, path in odd.items():
            raise InputError(f'{path} {kind.format(path)}')
        raise InputError(
            f'{folder} has no labels of a known layout ({", ".join(LAYOUTS.values())})'
            f'{_seen(unread)}; name the folder that the tool has written'
        )
    own = layout or next(iter(kinds))
    return Found(own, kinds[own], contents, unread)


def _seen(unread: dict[Path, str]) -> str:
    return f'; {next(iter(unread.values()))}' if unread else ''


def _looked_at(
    paths: list[Path], unread: dict[Path, str]
) -> Iterator[tuple[Path, str, Any]]:
    """JSON and XML files with their kinds; of a folder with many of them, files after
    the first ones are taken to be of the kind of those before."""
    seen: dict[tuple[Path, str], list[str]] = {}
    for path in paths:
        ending = path.suffix.lower()
        if ending not in ('.json', '.xml'):
            continue
        known = seen.setdefault((path.parent, ending), [])
        if len(known) >= _LOOKED_AT and len(set(known)) == 1:
            yield path, known[0], None
            continue
        try:
            kind, content = _kind_of_file(path)
        except InputError as error:
            unread[path] = str(error)
            continue
        known.append(kind)
        yield path, kind, content


def _kind_of_file(path: Path) -> tuple[str, Any]:
    if path.suffix.lower() == '.xml':
        root = read_xml(path)
        if root.tag == 'annotation':
            return ('voc' if _is_voc(root) else '', None)
        is_cvat = root.tag == 'annotations' and root.find('meta') is not None
        return ('cvat' if is_cvat else '', None)
    content = read_json(path)
    return kind_of(content, path), content


def _is_voc(root: ElementTree.Element) -> bool:
    """With a size, a box, or a file name and no object; LabelMe's old files have
    polygons."""
    if root.find('size') is not None or root.find('object/bndbox') is not None:
        return True
    return root.find('object') is None and bool(root.findtext('filename'))


def kind_of(content: Any, path: Path) -> str:
    """Layout of a JSON file; '' for none, a sentence for what is known not to be one.

    Args:
        content: of the file.
        path: of it; FiftyOne's is known by its name.
    """
    if isinstance(content, dict):
        keys = content.keys()
        if {'images', 'annotations', 'categories'} <= keys:
            return 'coco'
        if {'shapes', 'imagePath'} <= keys:
            return 'labelme'
        if 'samples' in keys and path.name == 'samples.json':
            return 'fiftyone'
        if {'items', 'categories', 'infos'} <= keys:
            return "is Datumaro's own format; export COCO (coco_instances) from it"
        return ''
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return ''
    first = content[0].keys()
    if {'data', 'annotations'} <= first or {'annotation_id', 'id'} <= first:
        return 'label-studio'
    if 'score' in first or 'confidence' in first:
        return _PREDICTIONS
    return ''


def _is_names_file(path: Path, kinds: dict[str, list[Path]]) -> bool:
    """Whether it lists YOLO's classes: by its name, or as a YAML file of names. Other
    layouts may have such a list beside them, so it counts alone."""
    if path.name in _YAMLS:
        return True
    if path.name in _LISTS:
        return not kinds
    return path.suffix.lower() in ('.yaml', '.yml') and not kinds and _has_names(path)


def _has_names(path: Path) -> bool:
    try:
        return bool(read_names(path))
    except InputError:
        return False
