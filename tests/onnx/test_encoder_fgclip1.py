"""Encoders of FG-CLIP 1 and CLIP in ONNX against the same in PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fgclip2_det import FGCLIP1, load_encoder
from fgclip2_det.cli import run
from fgclip2_det.fgclip1 import FGCLIP1Config, FGCLIP1Tokenizer
from fgclip2_det.fgclip2.preprocess import patchify
from fgclip2_det.fgclip2.random_weights import init_random
from fgclip2_det.fgclip2.text import MODES
from fgclip2_det.io import InputError
from fgclip2_det.onnx import Encoder, export_encoder
from fgclip2_det.onnx.clip_graphs import ExportedCLIPText
from fgclip2_det.onnx.cubic import antialiased_cubic_weights, cubic_weights
from fgclip2_det.onnx.exporting import add_text, encoder_graphs, side_limit
from fgclip2_det.onnx.folder import DESCRIPTION
from fgclip2_det.onnx.quantizing import quantize_folder
from fgclip2_det.onnx.sessions import Session
from tests.fgclip1.test_tokenizer import TEXTS, random_texts, write_small

ROOT = Path(__file__).resolve().parents[2]
SIZES = ((96, 160), (300, 40), (16, 600))  # (height, width)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Two blocks a tower, patches of 8 pixels on a grid of 7 x 7, a trained BPE."""
    tokenizer = FGCLIP1Tokenizer.from_folder(write_small(tmp_path_factory.mktemp('b')))
    tiny = FGCLIP1Config.from_size('tiny')
    config = FGCLIP1Config(
        replace(tiny.text, vocab_size=tokenizer.vocab_size),
        replace(tiny.vision, num_hidden_layers=2, image_size=56, patch_size=8),
        projection_dim=48,
    )
    model = FGCLIP1(config, tokenizer)
    model = init_random(model, torch.Generator().manual_seed(0))
    return model.save_pretrained(tmp_path_factory.mktemp('model') / 'first')


@pytest.fixture(scope='module')
def encoder(folder) -> FGCLIP1:
    model = load_encoder(folder)
    assert isinstance(model, FGCLIP1)
    return model.requires_grad_(False)


@pytest.fixture(scope='module')
def exported(packages, folder, picture, tmp_path_factory) -> Path:
    """The encoder and a re-scoring head, exported by the command."""
    out = tmp_path_factory.mktemp('encoder') / 'out'
    options = ['--encoder', str(folder), '--max-side', '12', '--check', str(picture)]
    if find_spec('mmdet'):
        options += ['--rescore', 'geometric']
    run('export', [str(out), *options])
    return out


def image_of(height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


# ------------------------------------------------------------------------ images
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('budget', ['auto', 1, 30, 144])
def test_images_and_regions(exported, encoder, size, budget):
    """The model's own grid, 1 x 1, one that is smaller and one that is larger."""
    own, image = Encoder(exported), image_of(*size)
    batch = encoder.preprocess(image, budget)
    pixels = torch.from_numpy(own.preprocess(image, budget))[None]
    assert patchify(pixels, 8).equal(batch.pixel_values)
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
    for exact, exported_ in pairs:
        np.testing.assert_allclose(exported_, exact.numpy(), rtol=0, atol=2e-5)
    assert own.region_features(image, [], max_num_patches=budget).shape == (0, 48)


def test_a_grid_that_is_not_square(exported, encoder):
    """No image is one, but the graph takes it, and batches."""
    images = torch.rand(3, 3, 40, 88, generator=torch.Generator().manual_seed(0))
    pooled, dense = Encoder(exported)._vision(dict(images=images.numpy()))
    assert dense.shape == (3, 48, 5, 11)
    tower = encoder.vision_model
    x, _, _ = tower.before_last(patchify(images, 8), [(5, 11)] * 3)
    for own, exact in (
        (pooled, encoder.visual_projection(tower.pool(x))),
        (dense.reshape(3, 48, 55).transpose(0, 2, 1),
         encoder.visual_projection(tower.dense(x))),
    ):  # fmt: skip
        np.testing.assert_allclose(own, exact.numpy(), rtol=0, atol=2e-5)


@pytest.mark.parametrize('size', [1, 3, 13, 14, 24, 40])
@pytest.mark.parametrize('source', [1, 7, 14, 24])
def test_cubic_weights_are_torchs(size, source):
    line = torch.randn(1, 1, source, 1, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(line, (size, 1), mode='bicubic', align_corners=False)
    actual = cubic_weights(size, source) @ line[0, 0]
    torch.testing.assert_close(actual, wanted[0, 0], rtol=0, atol=5e-5)
    if size == source:
        assert cubic_weights(size, source).equal(torch.eye(size))


@pytest.mark.parametrize('size', [8, 14, 15, 17, 32])
@pytest.mark.parametrize('cells', [1, 3, 10])
def test_antialiased_cubic_weights_are_torchs(cells, size):
    """Patches of the input have 16 pixels. (PyTorch's own result for a map of one
    column is another one.)"""
    lines = torch.randn(1, 1, cells * 16, 2, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(
        lines, (cells * size, 2), mode='bicubic', align_corners=False, antialias=True
    )
    actual = antialiased_cubic_weights(cells, size, 16) @ lines[0, 0]
    torch.testing.assert_close(actual, wanted[0, 0], rtol=0, atol=2e-5)


# ------------------------------------------------------------------------- texts
def test_texts_of_every_mode(exported, encoder):
    """English, odd texts and over-long ones, alone and together; the same ids."""
    own, texts = Encoder(exported), [*TEXTS, *random_texts(40)]
    tokenizer = own.folder.tokenizer()
    for mode in MODES:
        ids = encoder.tokenize(texts, mode)
        np.testing.assert_array_equal(tokenizer.ids(texts, ids.shape[1]), ids.numpy())
        exact = encoder.encode_text(texts, mode).numpy()
        actual = own.encode_text(texts, mode, batch_size=7)
        np.testing.assert_allclose(actual, exact, rtol=0, atol=2e-5)
        np.testing.assert_allclose(
            own.encode_text('a cat', mode, True)[0],
            encoder.encode_text('a cat', mode, True)[0].numpy(), rtol=0, atol=1e-5,
        )  # fmt: skip
    short, long = (own.encode_text(['a photo of a cat'], m) for m in ('box', 'long'))
    assert abs(short - long).max() > 1e-2
    assert own.encode_text([]).shape == (0, 48)
    with pytest.raises(InputError, match='77 is the limit'):
        own.encode_text(['the ' * 200], truncation=False)


def test_the_graph_takes_whole_ids(exported, encoder):
    """Padded to the mode's length, as other languages may pass them."""
    own, session = Encoder(exported), Session(exported / 'text.onnx')
    ids = encoder.tokenize(['a red circle', 'cat'], 'long')
    (embeds,) = session(dict(ids=ids.numpy(), mode=np.array(2)))
    cut = own.encode_text(['a red circle', 'cat'], 'long')
    np.testing.assert_allclose(embeds, cut, rtol=0, atol=1e-5)


@torch.no_grad()
def test_texts_of_clip(clip_tiny):
    """Its long texts have its own projection and stretched positions."""
    encoder, texts = load_encoder(clip_tiny), ['A red circle', '', 'x' * 300]
    for index, mode in enumerate(MODES):
        ids = encoder.tokenize(texts, mode)
        actual = ExportedCLIPText(encoder)(ids, torch.tensor(index))
        torch.testing.assert_close(
            actual, encoder.encode_text(texts, mode), rtol=0, atol=1e-5
        )


def test_the_re_scoring_head_has_the_texts_size(exported):
    pytest.importorskip('mmdet', reason='fusion rules are in its registry')
    names = np.eye(2, 48, dtype=np.float32)
    (scores,) = Session(exported / 'rescore-geometric.onnx')(
        dict(
            boxes=np.array([[0, 0, 30, 20]], np.float32),
            image_size=np.array([40, 60], np.float32),
            dense=Encoder(exported)._encoded(image_of(40, 60), 'auto')[1],
            det_scores=np.full((1, 2), 0.5, np.float32),
            names=names,
            is_base=np.ones(2, bool),
            competitors=names[:0],
            apart=np.zeros((2, 2), bool),
            shift=np.zeros(2, np.float32),
        )
    )
    assert scores.shape == (1, 2) and np.isfinite(scores).all()


# ------------------------------------------------------------------------ folders
def test_the_description(exported):
    content = json.loads((exported / DESCRIPTION).read_text())
    keys = ('version', 'grid_side', 'max_side', 'patch_size', 'embed_dims')
    assert [content[key] for key in keys] == [1, 7, 12, 8, 48]
    assert 'bicubic' in content['pixels']
    assert content['text']['lengths'] == dict(short=77, box=77, long=248)


def test_without_pytorch(exported, picture):
    code = (
        'import sys\n'
        "for name in ('torch', 'mmdet', 'mmengine', 'mmcv', 'transformers'):\n"
        '    sys.modules[name] = None\n'
        'from fgclip2_det.onnx import Encoder\n'
        f'encoder = Encoder({str(exported)!r})\n'
        f'regions = encoder.region_features({str(picture)!r}, [[0, 0, 9, 9]])\n'
        "print(regions.shape, encoder.encode_text('cat').shape)"
    )
    path = os.pathsep.join([str(ROOT), *sys.path])
    said = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True,
        env={**os.environ, 'PYTHONPATH': path},
    ).stdout  # fmt: skip
    assert said.split('\n')[0] == '(1, 48) (1, 48)'


@pytest.mark.parametrize('method', ['dynamic', 'static'])
def test_int8(exported, picture, tmp_path, method):
    folder = shutil.copytree(exported, tmp_path / 'int8')
    done = quantize_folder(folder, method, [picture])
    assert any('fc1' in layer for layer in done.layers['vision.onnx'])
    for name in ('encode_image', 'encode_text'):
        given = picture if name == 'encode_image' else 'cat'
        one, two = (
            getattr(Encoder(f), name)(given, normalize=True) for f in (exported, folder)
        )
        assert 0.99 < float((one * two).sum()) < 1 - 1e-6


# ----------------------------------------------------------------------- refusals
def test_a_grid_beyond_what_was_exported(exported):
    with pytest.raises(
        InputError, match=r"13 x 13 patches, .* at most 12 .*'auto'.*--max-side 13"
    ):
        Encoder(exported).encode_image(image_of(16, 70), max_num_patches=170)
    with pytest.raises(InputError, match="positive integer or 'auto', got 0"):
        Encoder(exported).encode_image(image_of(16, 70), max_num_patches=0)


def test_sides_that_do_not_hold_the_models_grid(packages, encoder, tmp_path):
    with pytest.raises(InputError, match=r'max_side must be 7 or more, .* got 6'):
        export_encoder(encoder, tmp_path / 'out', max_side=6)
    assert not (tmp_path / 'out').exists()
    assert side_limit(encoder, None) == 32 and side_limit(encoder, 7) == 7
    assert encoder_graphs(encoder, 7)['vision.onnx'].outputs[0] == 'image_embeds'


def test_a_tokenizer_of_another_model(packages, encoder, tmp_path):
    other = load_encoder(encoder.save_pretrained(tmp_path / 'copy'))
    other.tokenizer = FGCLIP1Tokenizer.of_bytes()
    with pytest.raises(InputError, match=r'ends texts with the id 513, .* is read at'):
        add_text(tmp_path, other, 18)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(version=3), 'version is 3, expected 2, or 1'),
        (dict(version='1'), "version is '1'"),
        (dict(grid_side=None), 'grid_side is None'),
        (dict(grid_side=13), 'grid_side is 13, expected 1 to max_side, 12'),
    ],
    ids=str,
)
def test_descriptions_that_are_wrong(exported, tmp_path, change, words):
    folder = shutil.copytree(exported, tmp_path / 'copy')
    content = json.loads((folder / DESCRIPTION).read_text()) | change
    (folder / DESCRIPTION).write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        Encoder(folder).encode_text('cat')
