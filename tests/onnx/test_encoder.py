"""Encoders in ONNX against the same in PyTorch."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip2.vision import _resampling_matrix
from fgclip2_det.io import InputError
from fgclip2_det.onnx import Encoder, export_encoder
from fgclip2_det.onnx.comparing import compare_encoders
from fgclip2_det.onnx.encoder_graphs import resampling_weights
from fgclip2_det.onnx.exporting import encoder_graphs
from fgclip2_det.onnx.folder import DESCRIPTION, ModelFolder
from fgclip2_det.onnx.sessions import Session
from fgclip2_det.onnx.tracing import write_graph

SIZES = ((96, 160), (300, 40), (16, 600))  # (height, width); the last is one row


def image_of(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize('size', [1, 2, 7, 15, 16, 17, 33, 64])
def test_resampling_weights_are_torchs(size):
    """Antialiased where the table shrinks, plain bilinear where it grows."""
    expected = _resampling_matrix(16, size)
    torch.testing.assert_close(
        resampling_weights(size, 16), expected, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('size', SIZES, ids=str)
@torch.no_grad()
def test_images_and_regions(exported_encoder, encoder, size):
    own, image = Encoder(exported_encoder), image_of(*size)
    budget = 40 if min(size) == 16 else 150
    batch = encoder.preprocess(image, budget)
    height, width = size
    boxes = np.array(
        [[0, 0, width, height], [1, 2, 9.5, 12], [3, 3, 3, 3], [-5, 0, 8, 9]],
        np.float32,
    )
    pairs = (
        (encoder.encode_image(batch)[0], own.encode_image(image, False, budget)),
        (encoder.dense_grids(batch)[0], own.dense_features(image, budget)),
        (
            encoder.region_features(batch, [boxes], True)[0],
            own.region_features(image, boxes, True, budget),
        ),
    )
    for exact, exported in pairs:
        np.testing.assert_allclose(exported, exact.numpy(), rtol=0, atol=2e-5)
    assert own.region_features(image, [], max_num_patches=budget).shape == (0, 64)


@torch.no_grad()
def test_texts_of_every_mode_in_two_languages(exported_encoder, encoder):
    own, texts = Encoder(exported_encoder), ['A red circle', '红色圆形', 'cat']
    for mode in ('short', 'box', 'long'):
        exact = encoder.encode_text(texts, mode, True).numpy()
        np.testing.assert_allclose(
            own.encode_text(texts, mode, True, batch_size=2), exact, rtol=0, atol=1e-5
        )
    np.testing.assert_array_equal(own.encode_text('cat'), own.encode_text(['cat']))
    assert own.encode_text([]).shape == (0, 64)
    with pytest.raises(InputError, match='mode must be one of'):
        own.encode_text(texts, 'tall')


@pytest.mark.parametrize('side', [1, 8])
def test_small_sides(packages, encoder, tmp_path, side):
    """Sides below those of the usual example, 6 x 10 patches."""
    graph = encoder_graphs(encoder, side)['vision.onnx']
    write_graph(graph, tmp_path / 'vision.onnx', 18)
    session = Session(tmp_path / 'vision.onnx')
    _, dense = session(dict(images=np.zeros((1, 3, 16, 16 * side), np.float32)))
    assert dense.shape == (1, 64, 1, side)


def test_a_side_that_cannot_be_exported(packages, encoder, tmp_path):
    for side in (0, -4):
        with pytest.raises(InputError, match=f'1 or more patches, got {side}'):
            export_encoder(encoder, tmp_path / 'out', max_side=side)
    assert not (tmp_path / 'out').exists()


def test_comparison(exported_encoder, encoder, picture):
    said = compare_encoders(encoder, exported_encoder, [picture])
    cosines = [float(word.rstrip(',')) for word in said.split() if word[:2] == '1.']
    assert len(cosines) == 5 and min(cosines) > 0.99999


def test_exported_programs_of_torch(exported_encoder, encoder):
    """The same graphs for torch.export, for another grid and batch."""
    program = torch.export.load(exported_encoder / 'vision.pt2')
    images = torch.rand(3, 3, 48, 128)
    with torch.no_grad():
        pooled, dense = program.module()(images=images)
    assert pooled.shape == (3, 64) and dense.shape == (3, 64, 3, 8)


def test_a_batch_is_its_images(exported_encoder):
    session = Encoder(exported_encoder)._vision
    images = np.random.default_rng(0).random((3, 3, 32, 64), np.float32)
    together = session(dict(images=images))
    alone = session(dict(images=images[2:]))
    for whole, part in zip(together, alone, strict=True):
        np.testing.assert_allclose(whole[2:], part, atol=1e-5)


def test_nothing_of_this_machine_is_written(exported_encoder):
    for file in exported_encoder.glob('*.onnx'):
        data = file.read_bytes()
        assert b'.py' not in data and b'fgclip2_det/' not in data


# ---------------------------------------------------------------------- refusals
def test_a_grid_beyond_what_was_exported(exported_encoder):
    with pytest.raises(InputError, match=r'at most 40 a side.*--max-side 41'):
        Encoder(exported_encoder).encode_image(image_of(16, 700), max_num_patches=41)


def test_boxes_that_cannot_be_pooled(exported_encoder):
    with pytest.raises(InputError, match='box 0 of image 0'):
        Encoder(exported_encoder).region_features(image_of(32, 32), [[9, 9, 2, 2]])


@pytest.mark.parametrize('opset', [17, 24])
def test_an_opset_that_cannot_be_exported(encoder, tmp_path, opset):
    with pytest.raises(InputError, match=f'opset must be 18 to .* got {opset}'):
        export_encoder(encoder, tmp_path / 'out', opset)
    assert not (tmp_path / 'out').exists()


def test_without_the_extras(encoder, exported_encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(InputError, match=r"pip install 'fgclip2_det\[onnx\]'"):
        Encoder(exported_encoder)
    monkeypatch.setitem(__import__('sys').modules, 'onnxscript', None)
    with pytest.raises(InputError, match=r"pip install 'fgclip2_det\[onnx-export\]'"):
        export_encoder(encoder, tmp_path / 'out')


@pytest.fixture
def damaged(exported_encoder, tmp_path):
    """A copy of the folder that a test may damage."""
    return shutil.copytree(exported_encoder, tmp_path / 'copy')


def test_damaged_folders(damaged):
    with pytest.raises(InputError, match='is no exported model'):
        ModelFolder(damaged / 'absent')
    whole = (damaged / DESCRIPTION).read_text(encoding='utf-8')
    content = json.loads(whole)
    for change, words in (
        (dict(kind='fgclip2_det onnx 9'), 'expected the layout'),
        (dict(max_side='40'), "max_side is '40'"),
        (dict(files={'../vision.onnx': '0'}), 'expected one of the folder'),
        (dict(text=3), 'text.lengths is None'),
    ):
        text = json.dumps(content | change)
        (damaged / DESCRIPTION).write_text(text, encoding='utf-8')
        with pytest.raises(InputError, match=words):
            ModelFolder(damaged)
    (damaged / DESCRIPTION).write_text(whole[:90], encoding='utf-8')
    with pytest.raises(InputError, match='is not valid JSON'):
        ModelFolder(damaged)


def test_damaged_graphs(damaged):
    path = damaged / 'vision.onnx'
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match='its digest differs'):
        Encoder(damaged)
    with pytest.raises(InputError, match='cannot be loaded by onnxruntime'):
        Encoder(damaged, verify=False)
    path.unlink()
    with pytest.raises(InputError, match=r'vision\.onnx is missing'):
        Encoder(damaged)


def test_what_was_not_exported(exported_encoder):
    from fgclip2_det.onnx import Detector

    with pytest.raises(InputError, match='the detector was not exported'):
        Detector(exported_encoder)
    with pytest.raises(InputError, match='this onnxruntime has no Imaginary'):
        Encoder(exported_encoder, providers=['Imaginary'])
