"""Folders of a ranker: config and weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from fgclip2_det import FGCLIP2
from fgclip2_det.ranker import Ranker, RankerConfig
from tests.hostile.rows import table
from tests.hostile.text_rows import DEEP, DIGITS, write

_SIZES = dict(
    text_width=32, image_width=48, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, reads='region', region_grid=3,
)  # fmt: skip
_FILE = 'model.safetensors'


def ranker_folder(folder: Path) -> Path:
    """A small ranker of random weights."""
    torch.manual_seed(0)
    return Ranker(RankerConfig(**_SIZES)).save_pretrained(folder / 'ranker')


def _config(folder: Path, change) -> object:
    """The ranker with another config.json."""
    out = ranker_folder(folder)
    config = json.loads((out / 'config.json').read_text())
    write(out, 'config.json', change(config) if callable(change) else change)
    return Ranker.from_pretrained(out)


def _with(**changes):
    return lambda config: config | changes


CONFIGS = {
    'as written': (lambda c: c, None),
    'unknown keys': (_with(auto_map={'AutoModel': 'evil.Model'}), 'auto_map'),
    'empty': (b'', 'not valid JSON'),
    'list': ([], 'JSON object'),
    'empty object': ({}, 'expected'),
    'cut': (b'{"text_width": ', 'not valid JSON'),
    'latin-1': ('{"é": 1}'.encode('latin-1'), 'not valid JSON'),
    '100,000 deep': (b'[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'{{"a": {DIGITS}}}', 'digits'),
    'of another model': (_with(model_type='siglip2'), 'siglip2'),
    'type: list': (_with(model_type=['fgclip2_ranker']), 'expected'),
    'layers: 10 ** 9': (_with(num_hidden_layers=10**9), 'num_hidden_layers'),
    'layers: one more': (_with(num_hidden_layers=3), 'missing'),
    'layers: one less': (_with(num_hidden_layers=1), 'unexpected'),
    'layers: 0': (_with(num_hidden_layers=0), 'num_hidden_layers'),
    'layers: 2.0': (_with(num_hidden_layers=2.0), 'num_hidden_layers'),
    'layers: true': (_with(num_hidden_layers=True), 'num_hidden_layers'),
    'layers: text': (_with(num_hidden_layers='2'), 'num_hidden_layers'),
    'layers: null': (_with(num_hidden_layers=None), 'num_hidden_layers'),
    'width: 10 ** 9': (_with(text_width=10**9), 'text_width'),
    'width: another': (_with(text_width=64), 'instead of'),
    'image width: another': (_with(image_width=64), 'instead of'),
    'image width: list': (_with(image_width=[48]), 'image_width'),
    'mlp: 10 ** 12': (_with(intermediate_size=10**12), 'intermediate_size'),
    'mlp: another': (_with(intermediate_size=128), 'instead of'),
    'heads: 3': (_with(num_attention_heads=3), 'not divisible'),
    'heads: 10 ** 9': (_with(num_attention_heads=10**9), 'num_attention_heads'),
    'heads: -4': (_with(num_attention_heads=-4), 'num_attention_heads'),
    'eps: nan': (_with(layer_norm_eps=float('nan')), 'layer_norm_eps'),
    'eps: 0': (_with(layer_norm_eps=0), 'layer_norm_eps'),
    'eps: text': (_with(layer_norm_eps='1e-12'), 'layer_norm_eps'),
    'dropout: 1': (_with(dropout=1), 'dropout'),
    'dropout: nan': (_with(dropout=float('nan')), 'dropout'),
    'dropout: text': (_with(dropout='0'), 'dropout'),
    'reads: a path': (_with(reads='/etc/passwd'), 'reads'),
    'reads: list': (_with(reads=['region']), 'reads'),
    'sides: none': (_with(sides=''), 'sides'),
    'source: another': (_with(source='pixels'), 'source'),
    'grid: 10 ** 6': (_with(region_grid=10**6), 'region_grid'),
    'grid: 3.5': (_with(region_grid=3.5), 'region_grid'),
    'context: 10 ** 6': (_with(region_context=10**6), 'region_context'),
    'context: infinite': (_with(region_context=float('inf')), 'region_context'),
    'context: null': (_with(region_context=None), 'region_context'),
    'encoder: text': (_with(encoder='abc'), 'encoder'),
    'encoder: numbers': (_with(encoder={'vision': 1, 'text': 2}), 'encoder'),
    'encoder: a third tower': (_with(encoder={'audio': 'a'}), 'encoder'),
}  # fmt: skip


@cache
def _heads() -> tuple[str, str]:
    """Names of a matrix and of a norm."""
    with torch.device('meta'):
        state = Ranker(RankerConfig(**_SIZES)).state_dict()
    matrices = [name for name in state if name.endswith('fc1.weight')]
    norms = [name for name in state if 'norm' in name.lower() and 'weight' in name]
    return matrices[0], norms[0]


def _state(folder: Path, change) -> object:
    """The ranker with other weights."""
    out = ranker_folder(folder)
    path = out / _FILE
    tensors = change(load_file(path))
    path.unlink()
    if isinstance(tensors, bytes):
        path.write_bytes(tensors)
    elif tensors is not None:
        save_file(tensors, path)
    return Ranker.from_pretrained(out)


def _matrix(change):
    def changed(tensors: dict) -> dict:
        name = _heads()[0]
        return tensors | {name: change(tensors[name].clone()).contiguous()}

    return changed


def _one(value: float):
    def change(x: torch.Tensor) -> torch.Tensor:
        x.view(-1)[0] = value
        return x

    return change


STATES = {
    'weights as written': (lambda t: t, None),
    'half precision': (lambda t: {n: x.half() for n, x in t.items()}, None),
    'missing file': (lambda t: None, _FILE),
    'empty file': (lambda t: b'', _FILE),
    'pickle': (lambda t: b'\x80\x02}q\0.', _FILE),
    'no tensors': (lambda t: {}, 'missing'),
    'one missing': (lambda t: dict(list(t.items())[1:]), 'missing'),
    'one more': (lambda t: t | {'evil': torch.zeros(1)}, 'evil'),
    'one transposed and cut': (_matrix(lambda x: x[:, :5]), 'instead of'),
    'one nan': (_matrix(_one(float('nan'))), ''),
    'one infinite': (_matrix(_one(float('inf'))), ''),
    'one int8': (_matrix(lambda x: x.to(torch.int8)), ''),
    'one complex': (_matrix(lambda x: x.to(torch.complex64)), ''),
    'a matrix all zero': (_matrix(torch.zeros_like), 'zero'),
    'a norm all zero': (
        lambda t: t | {_heads()[1]: torch.zeros_like(t[_heads()[1]])}, 'zero',
    ),
}  # fmt: skip


def _use(folder: Path, what: str) -> object:
    """Other things in the place of a ranker, or of its encoder."""
    if what == 'file':
        write(folder, 'ranker', b'x')
        return Ranker.from_pretrained(folder / 'ranker')
    if what == 'nothing':
        return Ranker.from_pretrained(folder / 'ranker')
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    if what == 'encoder':
        return Ranker.from_pretrained(encoder.save_pretrained(folder / 'ranker'))
    return Ranker.from_pretrained(ranker_folder(folder), encoder)


USES = {
    'no folder': ('nothing', 'is no folder'),
    'a file': ('file', 'is no folder'),
    'the folder of an encoder': ('encoder', 'fgclip2_ranker'),
    'an encoder of other widths': ('widths', 'widths'),
}

ROWS = (
    table('ranker', _config, CONFIGS, 'ranker')
    + table('ranker', _state, STATES, 'ranker')
    + table('ranker', _use, USES, 'ranker')
)
