"""Where training starts from."""

import math

import pytest
import torch
from torch import nn

from fgclip2_det.fgclip2 import FGCLIP2
from pretrain.export import export_encoder
from pretrain.initialise import (
    HEADS,
    build_for_training,
    sincos_positions_2d,
    whiten_patches,
)


def state_of(encoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (build_for_training(size='tiny', seed=s) for s in (1, 1, 2))
    states = [state_of(encoder) for encoder in (first, again, other)]
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert any(not torch.equal(states[0][n], states[2][n]) for n in states[0])
    assert first.training and all(p.requires_grad for p in first.parameters())


def test_random_tokens_start_larger_than_positions():
    """Standard deviations 0.5 and 0.1; texts are less alike than with equal ones."""
    texts = ['red circle', 'blue star', '黑色箭头', 'a green ring and a white cross']
    plain = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    ours = build_for_training(size='tiny', seed=0)
    tables = ours.text_model.embeddings
    assert tables.token_embedding.weight.std().item() == pytest.approx(0.5, rel=0.02)
    for suffix in ('', '_ori', '_res'):
        table = getattr(tables, f'position_embedding{suffix}')
        assert table.weight.std().item() == pytest.approx(0.1, rel=0.05)
    likeness = []
    for encoder in (plain, ours):
        with torch.no_grad():
            embeds = encoder.encode_text(texts, 'box', normalize=True)
        likeness.append((embeds @ embeds.T).fill_diagonal_(0).sum() / 12)
    assert likeness[1] < likeness[0]


def test_weights_of_a_folder(small_encoder):
    expected = state_of(FGCLIP2.from_pretrained(small_encoder))
    encoder = build_for_training(pretrained=small_encoder)
    assert encoder.training
    assert all(torch.equal(v, expected[n]) for n, v in state_of(encoder).items())
    changed = build_for_training(
        pretrained=small_encoder, logit_scale=2.5, logit_bias=-7.0, copy_heads=('box',)
    )
    assert (changed.logit_scale.item(), changed.logit_bias.item()) == (2.5, -7.0)
    differs = {
        name
        for name, value in state_of(changed).items()
        if not torch.equal(value, expected[name])
    }
    assert differs == {'logit_scale', 'logit_bias', 'boxtext_head.weight'}


@pytest.mark.parametrize('head', HEADS)
def test_heads_start_as_copies_of_the_global_ones(small_encoder, head):
    """Copies, not the same tensors: they part with the first step."""
    target, source = HEADS[head]
    encoder = build_for_training(pretrained=small_encoder, copy_heads=[head])
    pairs = zip(
        encoder.get_submodule(target).parameters(),
        encoder.get_submodule(source).parameters(),
        strict=True,
    )
    for copy, original in pairs:
        assert torch.equal(copy, original)
        assert copy.data_ptr() != original.data_ptr()
    others = [HEADS[name] for name in HEADS if name != head]
    for target, source in others:
        weights = [encoder.get_submodule(name) for name in (target, source)]
        first, second = (next(iter(part.parameters())) for part in weights)
        assert not torch.equal(first, second)


def test_siglip2_weights(small_encoder, tmp_path):
    """SigLIP 2 holds the shared tensors alone; the rest comes from them."""
    encoder = FGCLIP2.from_pretrained(small_encoder)
    folder = export_encoder(encoder, tmp_path / 'fgclip2')
    from safetensors.torch import load_file, save_file

    ours = ('dense_feature_head', 'boxtext_head', 'longtext_head')
    tensors = {
        name: value
        for name, value in load_file(folder / 'model.safetensors').items()
        if not name.startswith(ours)
        and not name.endswith(('_ori.weight', '_res.weight'))
    }
    save_file(tensors, folder / 'model.safetensors')
    started = build_for_training(siglip2=folder)
    assert torch.equal(started.boxtext_head.weight, encoder.text_model.head.weight)
    probe = started.dense_feature_head.attention.in_proj_weight
    assert torch.equal(probe, encoder.vision_model.head.attention.in_proj_weight)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(),
            r"exactly one of \['size', 'pretrained', 'siglip2', 'clip'\], got none",
        ),
        (dict(size='tiny', pretrained='x'), r"got \['size', 'pretrained'\]"),
        (dict(size='tiny', copy_heads=('dens',)), r"copy_heads may hold .*\['dens'\]"),
        (dict(size='huge'), 'size must be one of'),
        (dict(pretrained='nowhere'), 'found neither at nowhere'),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        build_for_training(**options)


# --------------------------------------------------------------------------- positions
def test_positions_tell_row_and_column():
    """Cell (r, c) of 4 x 4: first half of the channels is a function of r, the second
    of c; channel 0 is a/2 sin(r), channel D/4 its cosine."""
    table = sincos_positions_2d(4, 16).view(4, 4, 16)
    assert torch.equal(table[1, 0, :8], table[1, 3, :8])
    assert torch.equal(table[0, 2, 8:], table[3, 2, 8:])
    assert table[3, 0, 0] == pytest.approx(0.5 * math.sin(3))
    assert table[3, 1, 4] == pytest.approx(0.5 * math.cos(3))
    assert table[0, 2, 8] == pytest.approx(0.5 * math.sin(2))
    slowest = 0.5 * math.sin(3 * 100 ** (-3 / 4))
    assert table[3, 0, 3] == pytest.approx(slowest)
    distances = torch.cdist(table.flatten(0, 1), table.flatten(0, 1))
    assert distances.fill_diagonal_(9).min() > 0.3
    with pytest.raises(ValueError, match='multiple of 4, got 6'):
        sincos_positions_2d(4, 6)


def test_positions_enter_the_encoder(small_encoder):
    encoder = build_for_training(pretrained=small_encoder, sincos_positions=True)
    table = encoder.vision_model.embeddings.position_embedding.weight
    assert torch.equal(table, sincos_positions_2d(4, 32)) and table.requires_grad


# --------------------------------------------------------------------------- whitening
def test_whitened_patches_are_isotropic():
    """Patches of 24 correlated values with a mean: the first half of the outputs has
    mean 0 and covariance 0.25 I, the second half is its negative."""
    draw = torch.Generator().manual_seed(0)
    mixing = torch.randn(24, 24, generator=draw)
    patches = torch.randn(4000, 24, generator=draw) @ mixing + 3.0
    projection = nn.Linear(24, 16)
    whiten_patches(projection, patches)
    with torch.no_grad():
        outputs = projection(patches)
    half = outputs[:, :8]
    torch.testing.assert_close(outputs[:, 8:], -half, rtol=0, atol=1e-5)
    torch.testing.assert_close(half.mean(0), torch.zeros(8), rtol=0, atol=1e-4)
    covariance = half.T @ half / len(half)
    torch.testing.assert_close(covariance, 0.25 * torch.eye(8), rtol=0, atol=5e-3)
    leading = torch.linalg.eigh(torch.cov(patches.T)).eigenvectors[:, -8:]
    outside = projection.weight[:8] - projection.weight[:8] @ leading @ leading.T
    assert outside.norm() < 1e-3 * projection.weight.norm()


def test_whitening_needs_patches():
    with pytest.raises(ValueError, match='8 patches are too few for 8 directions'):
        whiten_patches(nn.Linear(24, 16), torch.randn(8, 24))


def test_whitening_constant_patches_stays_finite():
    projection = nn.Linear(24, 16)
    whiten_patches(projection, torch.eye(24)[:1].expand(20, -1) + 1e-3)
    assert projection.weight.isfinite().all()
