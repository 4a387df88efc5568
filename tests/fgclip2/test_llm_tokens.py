"""Tokens for a language model: LLaVA-1.5's layer, its order, each image's own grid."""

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip1.config import FGCLIP1VisionConfig
from fgclip2_det.fgclip1.preprocess import preprocess_square
from fgclip2_det.fgclip1.vision import CLIPVisionTower
from fgclip2_det.fgclip2 import FGCLIP2

KINDS = {'FG-CLIP 1': FGCLIP1, 'FG-CLIP 2': FGCLIP2}


@pytest.fixture(params=KINDS)
def encoder(request):
    return KINDS[request.param].from_size(
        'tiny', generator=torch.Generator().manual_seed(0)
    )


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize('layer', [-1, -2, -4])
def test_equal_the_outputs_of_blocks(encoder, layer):
    """Read with a hook from a pass through the whole tower."""
    batch = encoder.preprocess(noise(90, 120))
    blocks, seen = encoder.vision_model.encoder.layers, []
    hook = blocks[layer].register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        grids = batch.grid_sizes.tolist()
        encoder.vision_model(batch.pixel_values, grids)
    hook.remove()
    h, w = grids[0]
    with torch.no_grad():
        tokens, sizes = encoder.llm_tokens(batch, layer)
    torch.testing.assert_close(tokens[0], seen[0][0, : h * w])
    assert sizes == [(h, w)]


def test_equal_transformers_clip():
    """``hidden_states[-2][:, 1:]``: the class token is first there and last here."""
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=128, num_attention_heads=4)
    config = transformers.CLIPVisionConfig(
        **sizes, num_hidden_layers=3, image_size=64, patch_size=16
    )
    reference = transformers.CLIPVisionModel(config).eval()
    model = FGCLIP1.from_size('tiny')
    tower = CLIPVisionTower(FGCLIP1VisionConfig(64, 128, 3, 4, 64, 16))
    state = reference.state_dict()
    strip = {name.removeprefix('vision_model.'): x for name, x in state.items()}
    tower.load_state_dict({k: strip[k] for k in tower.state_dict()})
    model.vision_model = tower
    batch = preprocess_square([noise(64, 64), noise(64, 64, 1)], 4, 16)
    # (2, 16, 768), row, column, channel of a patch -> (2, 3, 64, 64)
    pixels = batch.pixel_values.reshape(2, 4, 4, 16, 16, 3)
    pixels = pixels.permute(0, 5, 1, 3, 2, 4).reshape(2, 3, 64, 64)
    with torch.no_grad():
        outputs = reference(pixels, output_hidden_states=True)
        tokens, grids = model.llm_tokens(batch)
    expected = outputs.hidden_states[-2][:, 1:]
    torch.testing.assert_close(torch.stack(tokens), expected, atol=1e-5, rtol=1e-4)
    assert grids == [(4, 4), (4, 4)]


@pytest.mark.parametrize('kind', KINDS)
def test_order_is_row_by_row(kind):
    """Without attention and positions, one marked patch changes its own token alone."""
    encoder = KINDS[kind].from_size('tiny')
    tower = encoder.vision_model
    with torch.no_grad():
        tower.embeddings.position_embedding.weight.zero_()
        for block in tower.encoder.layers:
            block.self_attn.out_proj.weight.zero_()
    size = (224, 224) if kind == 'FG-CLIP 1' else (160, 96)
    pixels = np.full((size[1], size[0], 3), 127, np.uint8)
    pixels[:16, -16:] = 255  # the upper right corner
    batch = encoder.preprocess(Image.fromarray(pixels), 'auto')
    with torch.no_grad():
        tokens, [(h, w)] = encoder.llm_tokens(batch)
    rest = tokens[0][(h - 1) * w]  # the lower left corner
    changed = (tokens[0] - rest).abs().amax(1) > 1e-3
    places = [divmod(i, w) for i in changed.nonzero()[:, 0].tolist()]
    assert places
    assert all(row <= h // 4 and column >= w - 1 - w // 4 for row, column in places)
    assert (0, w - 1) in places and (h - 1, 0) not in places


def test_other_grids_of_a_batch_change_nothing():
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    images = [noise(160, 90), noise(64, 200, 1), noise(48, 48, 2)]
    with torch.no_grad():
        tokens, grids = encoder.llm_tokens(encoder.preprocess(images, 128))
        for image, own, grid in zip(images, tokens, grids, strict=True):
            [alone], [size] = encoder.llm_tokens(encoder.preprocess(image, 128))
            assert size == grid and own.shape == (grid[0] * grid[1], 128)
            torch.testing.assert_close(own, alone, atol=2e-5, rtol=1e-4)


def test_gradients_reach_the_blocks_that_run(encoder):
    tokens, _ = encoder.llm_tokens(encoder.preprocess(noise(64, 64)))
    tokens[0].square().sum().backward()
    blocks = encoder.vision_model.encoder.layers
    used = [next(block.parameters()).grad is not None for block in blocks]
    assert used == [True] * (len(blocks) - 1) + [False]


@pytest.mark.parametrize('layer', [0, 1, -9, 'last', None])
def test_no_such_layer(encoder, layer):
    with pytest.raises(ValueError, match=r'layer must be an integer from -\d to -1'):
        encoder.llm_tokens(encoder.preprocess(noise(32, 32)), layer)


def test_no_vision_tower():
    encoder = FGCLIP2.from_size('tiny', towers='text')
    batch = FGCLIP2.preprocess(noise(32, 32))
    with pytest.raises(ValueError, match="load it with towers='both' or 'vision'"):
        encoder.llm_tokens(batch)
