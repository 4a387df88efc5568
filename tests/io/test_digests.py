"""One digest for every encoder: any change is seen, the same weights are the same."""

import hashlib

import pytest
import torch
from torch import nn

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.io import digests
from fgclip2_det.io.digests import add_file, file_digest, file_state
from fgclip2_det.io.model_digests import encoder_digest


@pytest.fixture
def model() -> nn.Module:
    """Wider than a block of the checksum, with an odd rest and a scalar."""
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Embedding(300, 77), nn.LayerNorm(77), nn.Linear(77, 5))
    tower.scale = nn.Parameter(torch.zeros(()))
    return tower


def edit(weight, kind: str) -> None:
    """Change one row, one column, an order or a sign."""
    if kind == 'row':
        weight[211] = 0
    elif kind == 'column':
        weight[:, 76] += 1e-3
    elif kind == 'two rows exchanged':
        weight[[3, 200]] = weight[[200, 3]]
    elif kind == 'two columns exchanged':
        weight[:, [3, 60]] = weight[:, [60, 3]]
    elif kind == 'one bit':
        weight.view(torch.int32)[299, 76] ^= 1
    else:
        weight[17] *= -1


KINDS = ['row', 'column', 'two rows exchanged', 'two columns exchanged', 'one bit',
         'sign of a row']  # fmt: skip


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('way', ['in place', '.data', 'NumPy'])
def test_an_edit_is_seen_and_undone(model, kind, way):
    """The first way counts as a version of the tensor, the others do not."""
    before, weight = encoder_digest(model), model[0].weight
    saved = weight.detach().clone()
    with torch.no_grad():
        if way == 'NumPy':
            edit(torch.from_numpy(weight.detach().numpy()), kind)
        else:
            edit(weight if way == 'in place' else weight.data, kind)
    assert encoder_digest(model) != before
    assert encoder_digest(model.state_dict()) == encoder_digest(model)
    model.load_state_dict({**model.state_dict(), '0.weight': saved})
    assert encoder_digest(model) == before


@pytest.mark.parametrize('fused', [False, True])
def test_a_training_step_is_seen(model, fused):
    """A fused step does not raise a parameter's version."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=fused)
    actual = {encoder_digest(model)}
    for _ in range(2):
        model(torch.arange(4)).square().sum().backward()
        optimizer.step()
        actual.add(encoder_digest(model))
    assert len(actual) == 3


def test_another_tensor_in_the_place_of_an_old_one(model):
    """``.data`` goes back and forth between two tensors, or to a new one."""
    weight = model[0].weight
    first, second = weight.data, weight.data.flip(0)
    actual = []
    for data in (first, second, first, second):
        weight.data = data
        actual.append(encoder_digest(model))
    assert actual[0] == actual[2] != actual[1] == actual[3]


def test_what_counts(model):
    state = model.state_dict()
    same = encoder_digest(state)
    assert encoder_digest(dict(reversed(state.items()))) == same
    assert encoder_digest({k: v.clone() for k, v in state.items()}) == same
    others = [
        {**state, '0.weight': state['0.weight'].T.contiguous()},
        {**state, '0.weight': state['0.weight'].reshape(77, 300)},
        {**state, '0.weight': state['0.weight'].bfloat16()},
        {**state, 'scale': state['scale'].bfloat16()},  # zero in both
        {k.replace('0.', '7.'): v for k, v in state.items()},
        {k: v for k, v in state.items() if k != 'scale'},
    ]
    assert len({same, *map(encoder_digest, others)}) == 1 + len(others)
    transposed = {**state, '0.weight': state['0.weight'].T.contiguous().T}
    assert encoder_digest(transposed) == same  # strides are no values
    assert encoder_digest(state, {'heads': 4}) != encoder_digest(state, {'heads': 8})
    with pytest.raises(ValueError, match='meta device'):
        encoder_digest(nn.Linear(2, 2, device='meta'))


def test_a_second_call_hashes_no_bytes_again(model, monkeypatch):
    encoder_digest(model)
    sizes = []
    plain = digests.hashlib.sha256

    def counting(content=b''):
        sizes.append(len(content))
        return plain(content)

    monkeypatch.setattr(digests.hashlib, 'sha256', counting)
    whole = model[0].weight.nbytes
    encoder_digest(model)
    assert max(sizes) < whole
    model[0].weight.data[0, 0] += 1
    encoder_digest(model)
    assert sizes.count(whole) == 1


def test_settings_of_an_encoder():
    """Heads and the tokenizer show in no weight."""
    first, second = (
        FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0)
    )
    assert encoder_digest(first, first.settings()) == encoder_digest(
        second, second.settings()
    )
    second.tokenizer = None
    assert first.settings() != second.settings()


def test_state_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / 'a'
    path.write_bytes(b'1')
    now = path.stat().st_mtime
    monkeypatch.setattr(digests.time, 'time', lambda: now + 1)
    assert file_state(path) is None  # written just now
    monkeypatch.setattr(digests.time, 'time', lambda: now + 10_000)
    state = file_state(path)
    other = tmp_path / 'b'
    other.write_bytes(b'2')
    other.replace(path)
    assert state is not None
    assert file_state(path) not in (state, None)


@pytest.mark.parametrize('size', [0, 5, 16, 17, 40])
def test_of_a_large_file_beginning_and_end_count(tmp_path, monkeypatch, size):
    """Pieces of 4 bytes, files of more than 16 in part."""
    monkeypatch.setattr(digests, '_PIECE', 4)
    content = bytes(range(size))
    path = tmp_path / 'file'
    path.write_bytes(content)
    assert file_digest(path) == hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    add_file(digest, path, whole=16)
    part = content if size <= 16 else content[:4] + content[-4:]
    assert digest.hexdigest() == hashlib.sha256(part).hexdigest()
