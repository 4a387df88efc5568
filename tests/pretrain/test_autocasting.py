"""What the towers compute in: as asked for, or what the machine is fast in."""

import pytest
import torch

from fgclip2_det.fgclip2 import low_precision
from pretrain import autocasting
from pretrain.autocasting import check_autocast, tower_precision

CPU = torch.device('cpu')


def dtype_within(autocast: bool | str, device: torch.device = CPU) -> torch.dtype:
    x = torch.ones(2, 2)
    with tower_precision(autocast, device):
        return (x @ x).dtype


def test_as_asked_for():
    assert dtype_within(True) == torch.bfloat16
    assert dtype_within(False) == torch.float32


@pytest.mark.parametrize(
    ('units', 'dtype'), [(True, torch.bfloat16), (False, torch.float32)]
)
def test_auto_is_what_the_cpu_multiplies(monkeypatch, units, dtype):
    autocasting._cpu_serves.cache_clear()
    said = []
    monkeypatch.setattr(autocasting, 'has_bfloat16_units', lambda: units)
    monkeypatch.setattr(autocasting, 'print_log', lambda text, _: said.append(text))
    assert dtype_within('auto') == dtype_within('auto') == dtype
    assert len(said) == 1 and str(dtype).removeprefix('torch.') in said[0]
    autocasting._cpu_serves.cache_clear()


def test_auto_on_another_device_is_bfloat16(monkeypatch):
    monkeypatch.setattr(autocasting, '_cpu_serves', lambda: False)
    context = tower_precision('auto', torch.device('cuda'))
    assert isinstance(context, torch.autocast)
    assert context.fast_dtype == torch.bfloat16


@pytest.mark.parametrize('value', ['on', None, 1, 'AUTO'])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match="autocast must be True, False or 'auto'"):
        check_autocast(value)


@pytest.mark.parametrize(
    ('name', 'answer'),
    [('avx512_bf16', True), ('amx_bf16', True), ('bf16', True), ('avx2', False)],
)
def test_units_that_pytorch_names(monkeypatch, name, answer):
    found = {name: True, 'architecture': 'x86_64'}
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found, raising=False)
    assert low_precision.has_bfloat16_units() == answer


@pytest.mark.parametrize(
    'name', ['_is_avx512_bf16_supported', '_is_amx_tile_supported', None]
)
def test_units_of_an_older_pytorch(monkeypatch, name):
    monkeypatch.delattr(torch.cpu, 'get_capabilities', raising=False)
    for each in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.setattr(
            torch.cpu, each, lambda each=each: each == name, raising=False
        )
    assert low_precision.has_bfloat16_units() == (name is not None)
