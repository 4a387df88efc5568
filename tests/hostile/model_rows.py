"""Encoder folders: config, weights, index, tokenizer."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.checkpoint import ASSETS, resolve_folder
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write


@cache
def _weights() -> dict[str, torch.Tensor]:
    return load_file(ASSETS / 'model.safetensors')


def model_folder(folder: Path) -> Path:
    """The embedded model, its weights linked."""
    out = folder / 'model'
    out.mkdir()
    for path in ASSETS.iterdir():
        if path.suffix == '.safetensors':
            (out / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copyfile(path, out / path.name)
    return out


def _config(folder: Path, change) -> object:
    """The model with another config.json."""
    out = model_folder(folder)
    config = json.loads((out / 'config.json').read_text())
    write(out, 'config.json', change(config) if callable(change) else change)
    return FGCLIP2.from_pretrained(out)


def _text(**changes):
    return lambda c: c | {'text_config': c['text_config'] | changes}


def _vision(**changes):
    return lambda c: c | {'vision_config': c['vision_config'] | changes}


CONFIGS = {
    'as written': (lambda c: c, None),
    'unknown keys': (lambda c: c | {'auto_map': {'AutoModel': 'evil.Model'}}, None),
    'empty': (b'', 'not valid JSON'),
    'list': ([], 'JSON object'),
    'number': (3, 'JSON object'),
    'cut': (b'{"text_config": {', 'not valid JSON'),
    'latin-1': ('{"é": 1}'.encode('latin-1'), 'not valid JSON'),
    '100,000 deep': (b'[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'{{"a": {DIGITS}}}', 'digits'),
    'empty object': ({}, None),
    'text_config list': (lambda c: c | {'text_config': [1]}, 'text_config'),
    'vision_config text': (lambda c: c | {'vision_config': 'x'}, 'vision_config'),
    'layers: 10 ** 9': (_vision(num_hidden_layers=10**9), 'num_hidden_layers'),
    'text layers: 10 ** 9': (_text(num_hidden_layers=10**9), 'num_hidden_layers'),
    'layers: one more': (_vision(num_hidden_layers=5), 'num_hidden_layers'),
    'layers: 0': (_vision(num_hidden_layers=0), 'num_hidden_layers'),
    'layers: -1': (_vision(num_hidden_layers=-1), 'num_hidden_layers'),
    'layers: 4.0': (_vision(num_hidden_layers=4.0), 'num_hidden_layers'),
    'layers: text': (_vision(num_hidden_layers='4'), 'num_hidden_layers'),
    'layers: null': (_vision(num_hidden_layers=None), 'num_hidden_layers'),
    'layers: true': (_vision(num_hidden_layers=True), 'num_hidden_layers'),
    'layers: list': (_vision(num_hidden_layers=[4]), 'num_hidden_layers'),
    'width: 10 ** 9': (_vision(hidden_size=10**9), 'config.json'),
    'width: list': (_vision(hidden_size=[128]), 'hidden_size'),
    'width: object': (_vision(hidden_size={}), 'hidden_size'),
    'both widths: 2 ** 40': (
        lambda c: _text(hidden_size=2**40, projection_size=2**40)(
            _vision(hidden_size=2**40)(c)
        ),
        'hidden_size',
    ),
    'towers of two widths': (_vision(hidden_size=256), 'hidden_size'),
    'mlp: 10 ** 12': (_vision(intermediate_size=10**12), 'intermediate_size'),
    'heads: 3': (_vision(num_attention_heads=3), 'not divisible'),
    'heads: 10 ** 9': (_vision(num_attention_heads=10**9), 'num_attention_heads'),
    'vocabulary: 10 ** 12': (_text(vocab_size=10**12), 'vocab_size'),
    'vocabulary: another': (_text(vocab_size=2047), 'vocab_size'),
    'positions: 10 ** 12': (_text(max_position_embeddings=10**12), 'position'),
    'long positions: 10 ** 12': (_text(longtext_len=10**12), 'longtext_len'),
    'kept positions: 10 ** 12': (_text(keep_len=10**12), 'keep_len'),
    'patches: 10 ** 12': (_vision(num_patches=10**12), 'num_patches'),
    'patches: 255': (_vision(num_patches=255), 'num_patches'),
    'patch size: 10 ** 6': (_vision(patch_size=10**6), 'patch'),
    'patch size: 8': (_vision(patch_size=8), 'patch'),
    'channels: 4': (_vision(num_channels=4), 'patch'),
    'eps: nan': (_vision(layer_norm_eps=float('nan')), 'layer_norm_eps'),
    'eps: infinite': (_vision(layer_norm_eps=float('inf')), 'layer_norm_eps'),
    'eps: negative': (_vision(layer_norm_eps=-1e-6), 'layer_norm_eps'),
    'eps: 0': (_vision(layer_norm_eps=0), 'layer_norm_eps'),
    'eps: 100': (_vision(layer_norm_eps=100.0), 'layer_norm_eps'),
    'eps: text': (_vision(layer_norm_eps='1e-6'), 'layer_norm_eps'),
    'eps: null': (_text(layer_norm_eps=None), 'layer_norm_eps'),
    'eps: true': (_text(layer_norm_eps=True), 'layer_norm_eps'),
    'eps: of 400 digits': (_text(layer_norm_eps=int('9' * 400)), 'layer_norm_eps'),
    'activation': (_text(hidden_act='relu'), 'hidden_act'),
    'activation list': (_text(hidden_act=['gelu']), 'hidden_act'),
}  # fmt: skip


def _state(folder: Path, change) -> object:
    """The model with other weights."""
    out = model_folder(folder)
    path = out / 'model.safetensors'
    tensors = change(dict(_weights()))
    path.unlink()
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    elif tensors is not None:
        save_file(tensors, path)
    return FGCLIP2.from_pretrained(out)


_NAME = 'text_model.head.weight'
_NORM = 'vision_model.post_layernorm.weight'


def _set(name: str, change):
    def changed(tensors: dict) -> dict:
        return tensors | {name: change(tensors[name].clone()).contiguous()}

    return changed


def _all(change):
    return lambda tensors: {n: change(x).contiguous() for n, x in tensors.items()}


def _one(value: float):
    def change(x: torch.Tensor) -> torch.Tensor:
        x.view(-1)[0] = value
        return x

    return change


def _claims(dtype: str, shape: list, end: int) -> bytes:
    entry = {'dtype': dtype, 'shape': shape, 'data_offsets': [0, end]}
    text = json.dumps({'dense_feature_head.probe': entry}).encode()
    return len(text).to_bytes(8, 'little') + text + bytes(64)


STATES = {
    'as written': (lambda t: t, None),
    'half precision': (_all(torch.Tensor.half), None),
    'bfloat16': (_all(torch.Tensor.bfloat16), None),
    'double': (_all(torch.Tensor.double), None),
    'missing file': (lambda t: None, 'holds no model.safetensors'),
    'empty file': (lambda t: b'', 'truncated'),
    'text': (lambda t: b'hello', 'truncated'),
    'pickle': (lambda t: b'\x80\x02}q\0.', 'truncated'),
    'zip': (lambda t: b'PK\x03\x04' + bytes(60), 'truncated'),
    'half of the file': (
        lambda t: (ASSETS / 'model.safetensors').read_bytes()[:100_000], 'truncated',
    ),
    'header of 2 ** 63 bytes': (lambda t: (2**63).to_bytes(8, 'little'), 'truncated'),
    'claims 2 ** 60 numbers': (lambda t: _claims('F32', [2**60], 2**62), 'truncated'),
    'claims a shape that overflows': (
        lambda t: _claims('F32', [2**40, 2**40], 64), 'truncated',
    ),
    'claims an unknown type': (lambda t: _claims('F99', [16], 64), 'truncated'),
    'no tensors': (lambda t: {}, 'holds no FG-CLIP 2 weights'),
    'one missing': (lambda t: {n: x for n, x in t.items() if n != _NAME}, _NAME),
    'one more': (lambda t: t | {'evil': torch.zeros(1)}, 'evil is unexpected'),
    'one of another shape': (_set(_NAME, lambda x: x[:64]), 'projection_size'),
    'one transposed and cut': (_set(_NAME, lambda x: x[:, :100]), _NAME),
    'one nan': (_set(_NAME, _one(float('nan'))), _NAME),
    'one infinite': (_set(_NAME, _one(float('-inf'))), _NAME),
    'one complex': (_set(_NAME, lambda x: x.to(torch.complex64)), _NAME),
    'one int8': (_set(_NAME, lambda x: x.to(torch.int8)), _NAME),
    'one int64': (_set(_NAME, lambda x: x.long()), _NAME),
    'one bool': (_set(_NAME, lambda x: x > 0), _NAME),
    'one uint8': (_set(_NAME, lambda x: x.to(torch.uint8)), _NAME),
    'one float8': (_set(_NAME, lambda x: x.to(torch.float8_e4m3fn)), _NAME),
    'all zero': (_all(torch.zeros_like), 'zero'),
    'one matrix all zero': (_set(_NAME, torch.zeros_like), (_NAME, 'zero')),
    'all complex': (_all(lambda x: x.to(torch.complex64)), 'complex'),
    'all int8': (_all(lambda x: x.to(torch.int8)), 'int8'),
    'one beyond half precision': (_set(_NAME, _one(1e30)), None),
    'a norm all zero': (_set(_NORM, torch.zeros_like), (_NORM, 'zero')),
    'fg-clip 1': (
        lambda t: t | {'text_filip_projection.weight': torch.zeros(1)}, 'FG-CLIP 1',
    ),
    'layer number a word': (
        lambda t: t | {'vision_model.encoder.layers.x.y': torch.zeros(1)}, 'unexpected',
    ),
    'layer number 10 ** 9': (
        lambda t: t | {f'vision_model.encoder.layers.{10**9}.y': torch.zeros(1)},
        'unexpected',
    ),
    'layer name short': (
        lambda t: t | {'vision_model.encoder.layers.': torch.zeros(1)}, 'unexpected',
    ),
}  # fmt: skip


def _index(folder: Path, content) -> object:
    """The model in a file that an index names."""
    out = model_folder(folder)
    (out / 'model.safetensors').rename(out / 'part.safetensors')
    names = dict.fromkeys(_weights(), 'part.safetensors')
    content = content(names) if callable(content) else content
    write(out, 'model.safetensors.index.json', content)
    return FGCLIP2.from_pretrained(out)


INDEX = {
    'fine': (lambda names: {'weight_map': names}, None),
    'empty': (b'', 'index'),
    'list': ([], 'index'),
    'no map': ({}, 'index'),
    'map list': ({'weight_map': []}, 'index'),
    'map empty': ({'weight_map': {}}, 'index'),
    'file number': ({'weight_map': {'a': 3}}, 'index'),
    'file list': ({'weight_map': {'a': ['b']}}, 'index'),
    'file one up': ({'weight_map': {'a': '../b.safetensors'}}, 'beside it'),
    'file absolute': ({'weight_map': {'a': '/etc/hostname'}}, 'beside it'),
    'file missing': ({'weight_map': {'a': 'gone.safetensors'}}, 'gone.safetensors'),
    'file pickled': ({'weight_map': {'a': 'config.json'}}, 'config.json'),
    '100,000 deep': (b'[' * DEEP, 'index'),
}


def _folder(folder: Path, make) -> object:
    return resolve_folder(make(folder))


FOLDERS = {
    'missing': (lambda f: f / 'gone', 'gone'),
    'a file': (lambda f: write(f, 'a.bin', b''), 'a.bin'),
    'a pipe': (lambda f: (os.mkfifo(f / 'p'), f / 'p')[1], 'expected a folder'),
    'empty text': (lambda f: '', 'expected a folder'),
    'many slashes': (lambda f: 'a/b/c', 'a/b/c'),
    'a url': (lambda f: 'https://example.org/model', 'https://example.org/model'),
    'null character': (lambda f: 'a\0b', 'expected a folder'),
    '5,000 letters': (lambda f: 'x' * 5000, 'expected a folder'),
    'one up and an id': (lambda f: '../x/y', 'expected a folder'),
    'the name of the small one': (lambda f: 'fgclip2_tiny', None),
}


# --------------------------------------------------------------------------- tokenizer
def _tokenizer(folder: Path, given) -> object:
    name, content = given
    tokenizer = FGCLIP2Tokenizer.from_folder(write(folder, name, content).parent)
    return tokenizer(['a red circle', '红色圆形'])


def _vocab(**changes) -> dict:
    """A small tokenizer.json."""
    model = {'type': 'BPE', 'vocab': {'<unk>': 0, '<eos>': 1, 'a': 2}, 'merges': [],
             'unk_token': '<unk>'}  # fmt: skip
    kept = {'version': '1.0', 'added_tokens': [], 'normalizer': None,
            'pre_tokenizer': None, 'post_processor': None, 'decoder': None,
            'truncation': None, 'padding': None, 'model': model}  # fmt: skip
    return kept | changes


def _field(number: int, data: bytes) -> bytes:
    """A protocol buffer field of bytes."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


_SPM = (ASSETS / 'tokenizer.model').read_bytes()
_JSON, _MODEL = 'tokenizer.json', 'tokenizer.model'
TOKENIZERS = {
    'small': ((_JSON, _vocab()), None),
    'of the small model': ((_MODEL, _SPM), None),
    'none': (('other.json', {}), 'holds neither'),
    'json: empty': ((_JSON, b''), 'damaged'),
    'json: list': ((_JSON, []), 'damaged'),
    'json: no model': ((_JSON, {}), 'damaged'),
    'json: 100,000 deep': ((_JSON, b'[' * DEEP), 'damaged'),
    'json: not utf-8': ((_JSON, b'\xff\xfe'), 'damaged'),
    'json: unknown model': ((_JSON, _vocab(model={'type': 'Evil'})), 'damaged'),
    'json: ids beyond 32 bit': (
        (_JSON, _vocab(model={'type': 'BPE', 'vocab': {'a': 2**40}, 'merges': []})),
        'damaged',
    ),
    'json: id negative': (
        (_JSON, _vocab(model={'type': 'BPE', 'vocab': {'a': -1}, 'merges': []})),
        'damaged',
    ),
    'json: merges of unknown parts': (
        (_JSON, _vocab(model={'type': 'BPE', 'vocab': {'a': 0}, 'merges': ['x y']})),
        'damaged',
    ),
    'json: regular expression that is none': (
        (_JSON, _vocab(pre_tokenizer={'type': 'Split', 'pattern': {'Regex': '('},
                                      'behavior': 'Isolated', 'invert': False})),
        'damaged',
    ),
    'json: padding of its own': (
        (_JSON, _vocab(padding={'strategy': {'Fixed': 9}, 'direction': 'Right',
                                'pad_to_multiple_of': None, 'pad_id': 0,
                                'pad_type_id': 0, 'pad_token': 'a'})),
        None,
    ),
    'model: empty': ((_MODEL, b''), 'damaged'),
    'model: text': ((_MODEL, b'hello'), 'damaged'),
    'model: half': ((_MODEL, _SPM[: len(_SPM) // 2]), 'damaged'),
    'model: one byte less': ((_MODEL, _SPM[:-1]), 'damaged'),
    'model: field of 2 ** 60 bytes': ((_MODEL, b'\x0a' + _varint(2**60)), 'damaged'),
    'model: endless number': ((_MODEL, b'\xff' * 5000), 'damaged'),
    'model: no pieces': (
        (_MODEL, _field(2, b'') + _field(3, b'')), 'damaged',
    ),
    'model: piece without a text': (
        (_MODEL, _field(1, b'') + _field(2, b'\x18\x02') + _field(3, b'\x18\0')),
        'damaged',
    ),
    'model: piece not utf-8': (
        (_MODEL, _field(1, _field(1, b'\xff')) + _field(2, b'\x18\x02')
         + _field(3, b'\x18\0')),
        'damaged',
    ),
}  # fmt: skip


def _pipe(folder: Path, name: str) -> object:
    """One file of the folder is a named pipe."""
    out = model_folder(folder)
    (out / name).unlink(missing_ok=True)
    os.mkfifo(out / name)
    return FGCLIP2.from_pretrained(out)


PIPES = {
    'config is a pipe': ('config.json', 'config.json'),
    'weights are a pipe': ('model.safetensors', 'model.safetensors'),
}


def _gives_up(folder: Path, error: BaseException) -> object:
    from unittest.mock import patch

    tokenizer = FGCLIP2Tokenizer.from_folder(ASSETS)

    class Engine:
        def encode_batch(self, *args, **kwargs):
            raise error

        encode = encode_batch

    with patch.object(tokenizer, 'engine', Engine()):
        return tokenizer(['a red circle'])


class PanicException(BaseException):
    """As pyo3 raises it: no Exception."""


PANICS = {
    'the library panics': (PanicException('retry limit exceeded'), 'tokenizer'),
    'the library raises': (Exception('regex'), 'tokenizer'),
    'the library runs out of memory': (MemoryError(), 'tokenizer'),
    'the library raises a runtime error': (RuntimeError('x'), 'tokenizer'),
}
ROWS: list[Row] = [
    *table('encoder config', _config, CONFIGS, 'model'),
    *table('encoder weights', _state, STATES, 'model'),
    *table('weight index', _index, INDEX, 'model'),
    *table('model folder', _folder, FOLDERS),
    *table('tokenizer', _tokenizer, TOKENIZERS),
    *table('model pipe', _pipe, PIPES),
    *table('tokenizer gives up', _gives_up, PANICS),
]
