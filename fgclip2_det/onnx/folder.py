"""The folder of an exported model: its files and what it says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.fgclip1.tokenizer import FGCLIP1Tokenizer
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.io import InputError
from fgclip2_det.io.digests import file_digest
from fgclip2_det.io.text import check_regular, parse_json, read_text

DESCRIPTION = 'description.json'
KIND = 'fgclip2_det onnx 1'  # the layout; another number, another layout
VISION, REGIONS, TEXT = 'vision.onnx', 'regions.onnx', 'text.onnx'
DETECTOR, CANDIDATES = 'detector.onnx', 'candidates.npz'
MAX_DESCRIPTION = 1 << 24  # bytes; 21,000 names have one million
_AGAIN = 'export it again with fgclip2-det export'
_NUMBER = int | float
# key -> type, of the sections that a description may have
_SECTIONS: dict[str, dict[str, Any]] = {
    '': {'files': dict, 'versions': dict, 'embed_dims': int, 'encoder': str,
         'patch_size': int, 'max_side': int, 'opset': int},
    'text': {'lengths': dict},
    'detector': {
        'max_num_patches': int | str, 'nms_inside': bool, 'score_thr': _NUMBER,
        'iou_threshold': _NUMBER, 'max_per_img': int, 'templates': list,
        'trained_classes': list, 'calibration': dict,
    },
}  # fmt: skip


class ModelFolder:
    """An exported model's folder, checked.

    Args:
        folder: that ``fgclip2-det export`` wrote.
        verify: compare every file with the digest in the description.

    Attributes:
        path: of the folder.
        description: content of ``description.json``.

    Raises:
        InputError: a folder that is not one of these, is damaged or incomplete, or has
            the layout of another version.
    """

    def __init__(self, folder: str | os.PathLike, verify: bool = True) -> None:
        self.path = Path(folder)
        self.description = _read(self.path)
        for name, digest in self.description['files'].items():
            self._check_file(name, digest if verify else None)

    def _check_file(self, name: str, digest: str | None) -> None:
        path = self.path / name
        if Path(name).name != name or name == DESCRIPTION:
            raise InputError(
                f'{self.path / DESCRIPTION} names the file {name!r:.80}; expected one '
                f'of the folder: {_AGAIN}'
            )
        if not path.is_file():
            raise InputError(f'{path} is missing, which {DESCRIPTION} names; {_AGAIN}')
        check_regular(path)
        if digest is not None and file_digest(path) != digest:
            raise InputError(
                f'{path} is not the file that was exported: its digest differs from '
                f'that in {DESCRIPTION}; {_AGAIN}'
            )

    @property
    def version(self) -> int:
        """Of the encoder: 2, or 1 for FG-CLIP 1 and CLIP."""
        return self.description.get('version', 2)

    def tokenizer(self) -> FGCLIP2Tokenizer:
        """The tokenizer of the text tower, of its version."""
        kind = FGCLIP1Tokenizer if self.version == 1 else FGCLIP2Tokenizer
        return kind.from_folder(self.path)

    def __contains__(self, name: str) -> bool:
        return name in self.description['files']

    def __getitem__(self, key: str) -> Any:
        return self.description[key]

    def need(self, name: str, what: str) -> Path:
        """Path of a file of the export.

        Raises:
            InputError: saying that ``what`` was not exported.
        """
        if name not in self:
            raise InputError(
                f'{self.path} has no {name}: {what} was not exported; {_AGAIN}'
            )
        return self.path / name


def _read(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise InputError(
            f'{folder} is no exported model: it holds no {DESCRIPTION}; write one with '
            'fgclip2-det export'
        )
    if check_regular(path) > MAX_DESCRIPTION:
        raise InputError(f'{path} has more than {MAX_DESCRIPTION:,} bytes; {_AGAIN}')
    try:
        description = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f'{path} is not valid JSON ({error}); {_AGAIN}') from error
    kind = description.get('kind') if isinstance(description, dict) else None
    if kind != KIND:
        raise InputError(
            f'{path}: expected the layout {KIND!r}, got {kind!r:.80}; {_AGAIN} of this '
            'version'
        )
    for section, keys in _SECTIONS.items():
        content = description.get(section) if section else description
        if content is not None:
            _check_section(path, section, content, keys)
    _check_version(path, description)
    for file, section in ((TEXT, 'text'), (DETECTOR, 'detector')):
        if file in description['files'] and description.get(section) is None:
            raise InputError(
                f'{path} names {file} but has no section {section}; {_AGAIN}'
            )
    return description


def _check_version(path: Path, description: Mapping[str, Any]) -> None:
    """The version, and the grid of an encoder of version 1."""
    version = description.get('version', 2)
    if type(version) is not int or version not in (1, 2):
        raise InputError(
            f'{path}: version is {version!r:.60}, expected 2, or 1 for FG-CLIP 1 and '
            f'CLIP; {_AGAIN}'
        )
    if version == 1 and VISION in description['files']:
        _check_section(path, '', description, {'grid_side': int})
        side, most = description['grid_side'], description['max_side']
        if not 1 <= side <= most:
            raise InputError(
                f'{path}: grid_side is {side}, expected 1 to max_side, {most}; {_AGAIN}'
            )


def _check_section(path: Path, section: str, content: Any, keys: Mapping) -> None:
    for key, kind in keys.items():
        value = content.get(key) if isinstance(content, dict) else None
        right = isinstance(value, kind)
        if not right or (isinstance(value, bool) and kind is not bool):
            where = f'{section}.{key}' if section else key
            raise InputError(f'{path}: {where} is {value!r:.60}; {_AGAIN}')


def write_description(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``description.json`` with the digests of all files that are there."""
    names = sorted(file.name for file in folder.iterdir() if file.name != DESCRIPTION)
    files = {name: file_digest(folder / name) for name in names}
    text = json.dumps(dict(kind=KIND, **content, files=files), indent=1,
                      ensure_ascii=False)  # fmt: skip
    (folder / DESCRIPTION).write_text(f'{text}\n', encoding='utf-8')
