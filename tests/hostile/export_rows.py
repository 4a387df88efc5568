"""Folders of exported models, and files of embedded names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fgclip2_det.onnx.folder import DESCRIPTION, KIND, ModelFolder
from fgclip2_det.onnx.name_embeds import NameEmbeds
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP

GOOD = dict(
    kind=KIND, files={}, versions={}, embed_dims=4, encoder='0' * 64, patch_size=16,
    max_side=40, opset=18,
)  # fmt: skip


# --------------------------------------------------------------- description.json
def _folder(folder: Path, content: object) -> object:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / DESCRIPTION).write_text(text, encoding='utf-8')
    (folder / 'vision.onnx').write_bytes(b'graph')
    return ModelFolder(folder)


FOLDERS = {
    'a description alone': (GOOD, None),
    'more keys than are known': (GOOD | dict(more=1), None),
    'a list for a description': ([GOOD], 'expected the layout'),
    'a description that is cut off': (json.dumps(GOOD)[:40], 'is not valid JSON'),
    'a deep description': ('[' * DEEP, 'nested too deeply'),
    'a layout of another version': (GOOD | dict(kind='9'), 'expected the layout'),
    'no files': ({k: v for k, v in GOOD.items() if k != 'files'}, 'files is None'),
    'text for a number': (GOOD | dict(patch_size='16'), "patch_size is '16'"),
    'a truth value for a number': (GOOD | dict(max_side=True), 'max_side is True'),
    'a file above the folder': (
        GOOD | dict(files={'../vision.onnx': '0'}),
        'expected one of the folder',
    ),
    'a file that is missing': (
        GOOD | dict(files={'regions.onnx': '0'}),
        'regions.onnx is missing',
    ),
    'a file of another export': (
        GOOD | dict(files={'vision.onnx': '0' * 64}),
        'its digest differs',
    ),
    'a detector without a section': (
        GOOD | dict(files={'detector.onnx': '0'}),
        'names detector.onnx but has no section detector',
    ),
    'a text tower without a section': (
        GOOD | dict(files={'text.onnx': '0'}, text=None),
        'names text.onnx but has no section text',
    ),
    'a detector without thresholds': (
        GOOD | dict(detector=dict(max_num_patches=400)),
        'detector.nms_inside is None',
    ),
}


# ------------------------------------------------------------------ names as .npz
def _arrays() -> dict:
    return dict(
        classes=np.array(['cat', '狗']), encoder=np.array('0' * 64),
        names=np.eye(2, 4, dtype=np.float32), is_base=np.array([True, False]),
        competitors=np.zeros((0, 4), np.float32), apart=np.zeros((2, 2), bool),
        shift=np.zeros(2, np.float32),
    )  # fmt: skip


def _names(folder: Path, change: object) -> object:
    path = folder / 'names.npz'
    if callable(change):
        change(path)
    else:
        np.savez(path, **(_arrays() | change))  # type: ignore[operator]
    names = NameEmbeds.load(path)
    names.check('0' * 64, 4, path)
    return names


def _without_a_shift(path: Path) -> None:
    np.savez(path, **{k: v for k, v in _arrays().items() if k != 'shift'})


def _huge(path: Path) -> None:
    """An archive whose directory claims four gigabytes."""
    np.savez(path, **_arrays())
    data = bytearray(path.read_bytes())
    entry = data.rfind(b'PK\1\2')
    data[entry + 24 : entry + 28] = b'\xf0\xff\xff\xff'  # its uncompressed size
    path.write_bytes(data)


NAMES = {
    'names as they are saved': ({}, None),
    'text for an archive': (lambda path: path.write_text('cat'), 'holds no names'),
    'names without a shift': (_without_a_shift, 'holds no names'),
    'pickled names': (dict(classes=np.array([{}, 'cat'], object)), 'holds no names'),
    'names of four gigabytes': (_huge, 'at most'),
    'names of another encoder': (dict(encoder=np.array('1')), 'by another encoder'),
    'names of another width': (
        dict(names=np.eye(2, 5, dtype=np.float32)),
        'names must be (2, 4)',
    ),
    'one name for a list': (dict(classes=np.array('cat')), 'holds no names'),
    'a list of encoders': (dict(encoder=np.array(['0', '1'])), 'holds no names'),
    'a number for competitors': (
        dict(competitors=np.float32(0)),
        'competitors must be (0, 4)',
    ),
    'names in float64': (dict(names=np.eye(2, 4)), 'names must be (2, 4) float32'),
    'names that are not of unit length': (
        dict(names=np.ones((2, 4), np.float32)),
        'must be L2-normalised',
    ),
    'names with NaN': (
        dict(names=np.full((2, 4), np.nan, np.float32)),
        'must be L2-normalised',
    ),
    'a shift without end': (
        dict(shift=np.full(2, np.inf, np.float32)),
        'shifts finite',
    ),
}

ROWS: list[Row] = [
    *table('export', _folder, FOLDERS),
    *table('export', _names, NAMES, 'names.npz'),
]
