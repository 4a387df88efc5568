"""The tests on released weights, run on random ones of the released layout."""

import json
import runpy
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.reproduce.releases import ENCODERS, Release

checks = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('checks.py'))))


def write_sparse(path: Path, shapes: dict[str, tuple]) -> None:
    """A safetensors file of such tensors that takes no room: its values are a hole."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = dict(dtype='F32', shape=list(shape), data_offsets=[start, end])
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.parametrize('size', ['base', 'large', 'so400m'])
def test_released_sizes(size, tmp_path):
    """Names, shapes and counts of the whole file are those of the model."""
    release = ENCODERS[f'fgclip2-{size}']
    model = FGCLIP2.from_size(size, device='meta')
    shapes = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    folder = release.folder(tmp_path)
    assert release.fault(folder) == 'missing'
    folder.mkdir(parents=True)
    write_sparse(folder / 'model.safetensors', shapes)
    (folder / 'config.json').touch()
    assert release.fault(folder) == 'missing: tokenizer.json or tokenizer.model'
    (folder / 'tokenizer.model').touch()
    assert release.fault(folder) == ''
    del shapes['boxtext_head.bias']
    write_sparse(folder / 'model.safetensors', shapes)
    count = len(shapes)
    assert release.fault(folder) == f'wrong: {count} tensors, expected {count + 1}'
    with open(folder / 'model.safetensors', 'r+b') as file:
        file.truncate(10_000_000)
    assert 'model.safetensors is truncated' in release.fault(folder)


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """FGCLIP2_WEIGHTS with a small model at the place of base."""
    folder = ENCODERS['fgclip2-base'].folder(tmp_path)
    generator = torch.Generator().manual_seed(0)
    FGCLIP2.from_size('tiny', generator=generator).save_pretrained(folder)
    monkeypatch.setenv('FGCLIP2_WEIGHTS', str(tmp_path))
    return folder


def test_strict_loads_and_values(small, released):
    folder = released(ENCODERS['fgclip2-base'])
    assert folder == small
    encoder = FGCLIP2.from_pretrained(folder)
    checks.assert_encoder(encoder)
    image = Image.new('RGB', (64, 48), (200, 30, 30))
    texts = ['a red circle', '红色圆形']
    batch = encoder.preprocess([image])
    with torch.no_grad():
        expected = encoder(batch, texts, 'short')[0]
    torch.testing.assert_close(checks.global_logits(encoder, image, texts), expected)
    shares = checks.softmax_of_boxes(
        encoder, image, [[0.0, 0, 20, 20], [5.0, 5, 60, 40]], 'red circle'
    )
    assert shares.shape == (2,) and abs(shares.sum() - 1) < 1e-6


def test_capital_letters_are_kept():
    tokenizer = FGCLIP2Tokenizer.from_folder(checks.GEMMA)
    checks.assert_table(tokenizer)
    small, large = checks.ids_as_written(tokenizer, ['a cat', 'A cat'], 8)
    assert small.tolist() == tokenizer('A cat', 8)[0].tolist() != large.tolist()


def test_a_tensor_more_or_less(small):
    path = small / 'model.safetensors'
    tensors = load_file(path)
    save_file(tensors | {'more': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='more is unexpected'):
        FGCLIP2.from_pretrained(small)
    del tensors['boxtext_head.bias']
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r'boxtext_head\.bias is missing'):
        FGCLIP2.from_pretrained(small)


def test_another_content(small):
    """A digest is compared only where one is known."""
    release = Release('qihoo360/fg-clip2-base', 10, files=(), sha256='0' * 64)
    assert release.fault(small) == (
        'wrong: model.safetensors has another SHA-256 than 000000000000...'
    )


def test_what_to_get_is_named(small, released, monkeypatch):
    """Also in short form: FOLDER/fg-clip2-base without its owner."""
    with pytest.raises(pytest.skip.Exception) as info:
        released(ENCODERS['fgclip2-so400m'])
    for part in ('https://huggingface.co/qihoo360/fg-clip2-so400m', '4.62 GB',
                 'Apache-2.0', 'hf download', 'FGCLIP2_WEIGHTS=FOLDER'):  # fmt: skip
        assert part in str(info.value)
    short = small.parents[1] / 'fg-clip2-base'
    small.rename(short)
    assert released(ENCODERS['fgclip2-base']) == short
    monkeypatch.delenv('FGCLIP2_WEIGHTS')
    with pytest.raises(pytest.skip.Exception, match='with qihoo360/fg-clip2-base'):
        released(ENCODERS['fgclip2-base'])
