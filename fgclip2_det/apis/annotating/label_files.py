"""Label files in the formats of other tools; those that others changed are kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from fgclip2_det.apis.detections import Detections
from fgclip2_det.io.atomic import temporary_path, write_atomic
from fgclip2_det.io.json_writing import dumps
from fgclip2_det.io.text import read_json
from fgclip2_det.prepare.coco_to_odvg import coco_to_odvg
from fgclip2_det.prepare.coco_to_voc import voc_files
from fgclip2_det.prepare.coco_to_yolo import check_stems, yolo_files, yolo_name

RECORD = 'written.json'
Files = Iterable[tuple[str, bytes]]


class LabelFiles:
    """Writes files below a folder, and knows which of them it wrote.

    A file that is there already and was not written here, or was changed since, is a
    person's work: it stays, and is counted. What was written is in ``written.json``,
    by digest, and is noted before it is written, so that a kill at any moment takes
    nothing for a person's work that is not.

    Args:
        folder: of the files.
        replace: write whatever is there.

    Attributes:
        kept: files that stayed.
    """

    def __init__(self, folder: Path, replace: bool = False) -> None:
        self.folder, self.replace = folder, replace
        self.kept: list[str] = []
        path = folder / RECORD
        self._known: dict[str, list[str]] = read_json(path) if path.is_file() else {}

    def write(self, files: Files) -> None:
        """Write files of one format.

        Args:
            files: paths below the folder, with '/', and their bytes.

        Raises:
            OSError: as where no space is left.
        """
        due = {}
        for name, data in files:
            path = self.folder / name
            there = path.read_bytes() if path.is_file() else None
            if there == data:
                self._known[name] = [_digest(data)]
            elif there is None or self.replace or self._wrote(name, there):
                due[name] = data
            else:
                self.kept.append(name)
        earlier = {name: self._known.get(name, []) for name in due}
        for name, data in due.items():
            self._known[name] = [*earlier[name], _digest(data)]
        if due:
            self._note()
        for name, data in due.items():
            with temporary_path(self.folder / name) as temporary:
                temporary.write_bytes(data)
            self._known[name] = [_digest(data)]
        self._note()

    def _wrote(self, name: str, data: bytes) -> bool:
        return _digest(data) in self._known.get(name, ())

    def _note(self) -> None:
        names = sorted(self._known)
        rows = [f'{dumps(n)}: {dumps(self._known[n])}' for n in names]
        text = '{\n' + ',\n'.join(rows) + '\n}\n'
        path = self.folder / RECORD
        if not path.is_file() or path.read_bytes() != text.encode():
            write_atomic(path, text.encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def label_files(
    name: str, coco: Mapping[str, Any], images: Path, out: Path
) -> Iterator[tuple[str, bytes]]:
    """The files of one format, by their paths below ``out``.

    Args:
        name: one of :data:`.options.FORMATS`.
        coco: content of a COCO file with ``score`` in its annotations.
        images: folder of the images.
        out: where the files will be.

    Raises:
        ValueError: two images that would share one file.
    """
    if name == 'coco':
        yield 'coco.json', json_bytes(coco)
    elif name == 'odvg':
        yield from _odvg(coco)
    elif name == 'labelme':
        yield from _labelme(coco, images, out)
    else:
        files = yolo_files(coco) if name == 'yolo' else voc_files(coco)
        for path, text in files:
            yield f'{name}/{path}', text.encode()


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """JSON, a line per entry of its lists, so that versions can be compared."""
    parts = []
    for key, value in content.items():
        if isinstance(value, list) and value:
            rows = ',\n'.join(dumps(each) for each in value)
            parts.append(f'{dumps(key)}: [\n{rows}\n]')
        else:
            parts.append(f'{dumps(key)}: {json.dumps(value, ensure_ascii=False)}')
    return ('{' + ',\n'.join(parts) + '}\n').encode()


def _odvg(coco: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as name:
        source, lines, label_map = (
            Path(name, each) for each in ('coco.json', 'od.jsonl', 'label_map.json')
        )
        source.write_bytes(json_bytes(coco))
        coco_to_odvg(source, lines, label_map)
        yield 'odvg/od.jsonl', lines.read_bytes()
        yield 'odvg/label_map.json', label_map.read_bytes()


def _labelme(
    coco: Mapping[str, Any], images: Path, out: Path
) -> Iterator[tuple[str, bytes]]:
    check_stems(coco)
    classes = tuple(each['name'] for each in coco['categories'])
    boxes: dict[int, list[Mapping]] = {each['id']: [] for each in coco['images']}
    for each in coco['annotations']:
        boxes[each['image_id']].append(each)
    for image in coco['images']:
        rows = boxes[image['id']]
        xywh = torch.tensor([row['bbox'] for row in rows], dtype=torch.float64).reshape(
            -1, 4
        )
        found = Detections(
            torch.cat([xywh[:, :2], (xywh[:, :2] + xywh[:, 2:])], 1).round(decimals=2),
            torch.tensor([row.get('score', 1.0) for row in rows], dtype=torch.float64),
            torch.tensor([row['category_id'] - 1 for row in rows], dtype=torch.long),
            classes,
        )
        name = PurePosixPath(image['file_name'])
        target = f'labelme/{name.with_suffix(".json")}'
        there = os.path.relpath(
            (images / name).resolve(), (out / target).parent.resolve()
        )
        size = image['width'], image['height']
        content = found.to_labelme(there, size)
        yield target, (json.dumps(content, ensure_ascii=False, indent=1)).encode()


def link_images(out: Path, images: Path, coco: Mapping[str, Any]) -> None:
    """Images where YOLO's trainers look for them, beside ``labels``: links, or copies
    where the system has no links."""
    for image in coco['images']:
        link = out / 'yolo' / 'images' / yolo_name(image['file_name'])
        if link.is_symlink() or link.exists():
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        source = (images / image['file_name']).resolve()
        try:
            link.symlink_to(os.path.relpath(source, link.parent.resolve()))
        except NotImplementedError:
            _copy(source, link)
        except OSError as error:
            # on Windows, links are a privilege
            if getattr(error, 'winerror', None) != 1314:
                raise
            _copy(source, link)


def _copy(source: Path, target: Path) -> None:
    with temporary_path(target) as temporary:
        shutil.copyfile(source, temporary)
