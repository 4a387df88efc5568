"""``torch.compile`` of the vision tower: its own results, few programs, sentences."""

from __future__ import annotations

import copy

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters

from fgclip2_det.fgclip2 import FGCLIP2, compiling, low_precision


def programs() -> int:
    return counters['stats']['unique_graphs']


@torch.no_grad()
def test_twenty_grids_and_two_kinds_of_batches_compile_few_programs():
    """The backend that runs graphs as they are: what is counted is the same."""
    exact = FGCLIP2.from_size('tiny', towers='vision')
    model = copy.deepcopy(exact)
    torch._dynamo.reset()
    counters.clear()
    model.compile(backend='eager')
    assert model.state_dict().keys() == exact.state_dict().keys()
    first = None
    for i in range(20):
        image = torch.rand(3, 32 + 16 * (i % 7), 48 + 16 * (i % 5)) * 255
        batch = model.preprocess(image.byte())
        for a, b in zip(
            model.dense_grids(batch), exact.dense_grids(batch), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        first = programs() if first is None else first
    assert programs() == first <= 2
    images = [(torch.rand(3, 64, n) * 255).byte() for n in (96, 48)]
    batch = model.preprocess(images)  # with padding
    for a, b in zip(model.dense_grids(batch), exact.dense_grids(batch), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert programs() <= 4
    torch._dynamo.reset()


def test_what_compile_refuses(monkeypatch):
    with pytest.raises(ValueError, match='without a vision tower'):
        FGCLIP2.from_size('tiny', towers='text').compile()
    model = FGCLIP2.from_size('tiny', towers='vision')
    with pytest.raises(TypeError, match='by name'):
        model.compile(True)
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(ValueError, match=r'needs a C\+\+ compiler.*set CXX'):
        model.compile()
    model.compile(backend='eager')  # needs none
    monkeypatch.setattr(low_precision, 'has_int8_units', lambda: True)
    with pytest.raises(ValueError, match='in int8, which is slower compiled'):
        FGCLIP2.from_size('tiny').quantize_int8().compile()


def test_the_usual_compiler_by_system(monkeypatch):
    monkeypatch.delenv('CXX', raising=False)
    asked = []
    monkeypatch.setattr(compiling.shutil, 'which', asked.append)
    for system in ('linux', 'darwin', 'win32'):
        monkeypatch.setattr(compiling.sys, 'platform', system)
        assert not compiling._has_cxx()
    assert asked == ['g++', 'clang++', 'cl']
