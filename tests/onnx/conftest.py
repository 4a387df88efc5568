"""Exports that several tests read; each is made once a process."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config, FGCLIP2Tokenizer
from fgclip2_det.fgclip2.checkpoint import ASSETS
from fgclip2_det.fgclip2.config import TextConfig, VisionConfig
from fgclip2_det.fgclip2.random_weights import init_random


@pytest.fixture(scope='session')
def packages() -> None:
    """Skips where exports cannot be made or run."""
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(name, reason=f'exports need {name}')


@pytest.fixture(scope='session')
def encoder() -> FGCLIP2:
    """One block a tower, random weights, the embedded tokenizer."""
    sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=1,
                 num_attention_heads=4)  # fmt: skip
    config = FGCLIP2Config(
        TextConfig(vocab_size=2048, projection_size=64, **sizes), VisionConfig(**sizes)
    )
    model = FGCLIP2(config, FGCLIP2Tokenizer.from_folder(ASSETS))
    return init_random(model, torch.Generator().manual_seed(0))


@pytest.fixture(scope='session')
def exported_encoder(packages, encoder, tmp_path_factory) -> Path:
    """The encoder's folder, without re-scoring heads."""
    from fgclip2_det.onnx import export_encoder

    out = tmp_path_factory.mktemp('encoder') / 'out'
    return export_encoder(encoder, out, opset=18, max_side=40, pt2=True)


@pytest.fixture(scope='session')
def picture(tmp_path_factory) -> Path:
    """Coloured shapes that the embedded detector knows, 96 x 160 pixels."""
    image = Image.new('RGB', (160, 96), 'gray')
    image.paste('red', (20, 20, 60, 60))
    image.paste('blue', (90, 30, 130, 70))
    path = tmp_path_factory.mktemp('pictures') / 'shapes.png'
    image.save(path)
    return path
