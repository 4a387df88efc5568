"""A small encoder, and batches that it learns from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config, FGCLIP2Tokenizer
from fgclip2_det.fgclip2.config import TINY_VOCAB_SIZE, TextConfig, VisionConfig
from fgclip2_det.fgclip2.model import ASSETS
from fgclip2_det.fgclip2.random_weights import init_random
from pretrain.data import AlignmentBatch, AlignmentCollate, Sample
from pretrain.model import FGCLIP2Alignment

COLORS = ('red', 'blue', 'green', 'black', 'white')
SHAPES = ('circle', 'star', 'ring')


@pytest.fixture(scope='session')
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random encoder of width 32 with two blocks per tower."""
    sizes = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    config = FGCLIP2Config(
        TextConfig(**sizes, vocab_size=TINY_VOCAB_SIZE, projection_size=32),
        VisionConfig(**sizes, num_patches=16),
    )
    encoder = FGCLIP2(config, FGCLIP2Tokenizer.from_folder(ASSETS))
    init_random(encoder, torch.Generator().manual_seed(0))
    with torch.no_grad():  # words tell texts apart, and padding does not join them
        embeddings = encoder.text_model.embeddings
        embeddings.token_embedding.weight[0] = 0
        for suffix in ('', '_ori', '_res'):
            getattr(embeddings, f'position_embedding{suffix}').weight.mul_(1e-4)
    return encoder.save_pretrained(tmp_path_factory.mktemp('encoder'))


def make_sample(
    number: int, num_boxes: int, num_negatives: int, long: bool = True
) -> Sample:
    """A noise image; box k is of colour ``number + k``, the first one a circle.

    Box 0 has no negatives, box 1 has ``num_negatives``, each further one has one less.
    """
    rng = np.random.default_rng(number)
    width, height = 64 + 16 * (number % 3), 48 + 16 * (number % 2)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    corners = np.sort(rng.uniform(0, 0.9, (num_boxes, 2, 2)), axis=1)
    corners[:, 1] += 0.1
    bboxes = corners.reshape(-1, 4) * [width, height, width, height]
    names = [
        f'{COLORS[(number + k) % len(COLORS)]} {SHAPES[k % len(SHAPES)]}'
        for k in range(num_boxes)
    ]
    hard = [
        [f'{c} {n} {name}' for n in ('big', 'small') for c in COLORS][:count]
        if (count := (num_negatives - k + 1 if k and num_negatives else 0)) > 0
        else []
        for k, name in enumerate(names)
    ]
    caption = ' and '.join(f'a {name}' for name in names) or f'nothing but {number}'
    return Sample(
        image=Image.fromarray(pixels),
        language='en',
        short=caption,
        long=f'from left to right: {caption}, no. {number}' if long else None,
        bboxes=bboxes.astype(np.float32),
        phrases=names,
        hard_positives=[n if h else None for n, h in zip(names, hard, strict=True)],
        hard_negatives=hard,
        true_texts=[(name, f'striped {name}') for name in names],
    )


@pytest.fixture(scope='session')
def make_samples() -> Callable[..., list[Sample]]:
    """make_samples(boxes=(2, 0, 3), negatives=3, long=True): one per entry."""

    def make(
        boxes: tuple[int, ...] = (2, 0, 3, 1), negatives: int = 3, long: bool = True
    ) -> list[Sample]:
        return [make_sample(i, n, negatives, long) for i, n in enumerate(boxes)]

    return make


@pytest.fixture(scope='session')
def make_batch(make_samples: Callable) -> Callable[..., AlignmentBatch]:
    """make_batch(...) with the arguments of ``make_samples``; 12 patches an image."""
    collate = AlignmentCollate(max_num_patches=12)
    return lambda *args, **kwargs: collate(make_samples(*args, **kwargs))


@pytest.fixture
def make_model(small_encoder: Path) -> Callable[..., FGCLIP2Alignment]:
    """make_model(preset, model options, loss options) -> model on the small encoder."""

    def make(preset='paper', model=None, **changes) -> FGCLIP2Alignment:
        options = dict(region_logit_scale=2.0, hard_logit_scale=3.0) | (model or {})
        encoder = dict(pretrained=small_encoder, logit_scale=2.0, logit_bias=-5.0)
        return FGCLIP2Alignment(encoder, dict(preset=preset, **changes), **options)

    return make
