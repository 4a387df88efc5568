"""The shared part equals transformers' Siglip2, outputs and gradients."""

import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2

transformers = pytest.importorskip('transformers')


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """A random Siglip2Model and our model started from its saved folder."""
    sizes = dict(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act='gelu_pytorch_tanh',
        layer_norm_eps=1e-6,
    )
    torch.manual_seed(0)
    config = transformers.Siglip2Config(
        text_config=dict(
            sizes, vocab_size=300, max_position_embeddings=64, projection_size=48,
            pad_token_id=0, bos_token_id=2, eos_token_id=1,
        ),
        vision_config=dict(sizes, num_patches=256, patch_size=16),
    )  # fmt: skip
    theirs = transformers.Siglip2Model(config).eval()
    with torch.no_grad():  # away from zero biases and unit norms
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = tmp_path_factory.mktemp('siglip2')
    theirs.save_pretrained(folder)
    return theirs, FGCLIP2.from_siglip2(folder)


@pytest.fixture(scope='module')
def batch():
    torch.manual_seed(1)
    images = [
        Image.fromarray(torch.randint(0, 256, (h, w, 3)).byte().numpy())
        for h, w in ((100, 170), (130, 60))
    ]
    return FGCLIP2.preprocess(images, max_num_patches=128)


def their_inputs(batch):
    return dict(
        pixel_values=batch.pixel_values,
        pixel_attention_mask=batch.patch_mask.int(),
        spatial_shapes=batch.grid_sizes,
    )


def gradients(output, model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    model.zero_grad()
    (output * torch.randn(output.shape, generator=generator)).sum().backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def test_image_embeddings_and_gradients(models, batch):
    theirs, ours = models
    expected = theirs.vision_model(
        batch.pixel_values, batch.patch_mask.int(), batch.grid_sizes
    ).pooler_output
    actual = ours.encode_image(batch)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    wanted, computed = gradients(expected, theirs), gradients(actual, ours)
    assert set(wanted) == set(computed)
    for name, grad in wanted.items():
        torch.testing.assert_close(computed[name], grad, atol=2e-4, rtol=1e-3, msg=name)


def test_tokens(models, batch):
    theirs, ours = models
    expected = theirs.vision_model(
        batch.pixel_values, batch.patch_mask.int(), batch.grid_sizes
    ).last_hidden_state
    actual, _ = ours.encode_tokens(batch)
    mask = batch.patch_mask
    torch.testing.assert_close(actual[mask], expected[mask], atol=1e-4, rtol=1e-4)


def test_text_embeddings_and_gradients(models):
    theirs, ours = models
    ids = torch.randint(0, 300, (3, 64), generator=torch.Generator().manual_seed(0))
    expected = theirs.text_model(ids).pooler_output
    actual = ours.encode_text(ids, 'short')
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    wanted, computed = gradients(expected, theirs), gradients(actual, ours)
    for name, grad in wanted.items():
        torch.testing.assert_close(computed[name], grad, atol=2e-4, rtol=1e-3, msg=name)


def test_logits(models, batch):
    theirs, ours = models
    ids = torch.randint(0, 300, (3, 64), generator=torch.Generator().manual_seed(0))
    expected = theirs(input_ids=ids, **their_inputs(batch)).logits_per_image
    torch.testing.assert_close(ours(batch, ids), expected, atol=1e-3, rtol=1e-3)
