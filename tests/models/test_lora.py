"""Adapters: nothing at first, alone in training, folded in at the end."""

import copy
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner import load_state_dict

from fgclip2_det.models import FGCLIP2ViT
from fgclip2_det.models.backbones.lora import TARGETS, merge_lora

pytest.importorskip('peft', reason="needs peft: pip install -e '.[finetune]'")
TINY = dict(size='tiny', seed=5)


def noise_image():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 96, 160, generator=generator) * 2 - 1


def build(**options):
    return FGCLIP2ViT(TINY, **{'output': 'both', **options})


@torch.no_grad()
def maps(backbone):
    return backbone.eval()(noise_image())


def disturb(backbone, seed=1):
    """Adapters as training would leave them: B is not zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in backbone.named_parameters():
        if '.lora_B.' in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return backbone


@pytest.mark.parametrize('target', [*((t,) for t in TARGETS), ('q_proj', 'v_proj')])
def test_nothing_changes_at_first(target):
    for plain, adapted in zip(
        maps(build()), maps(build(lora=dict(target=target))), strict=True
    ):
        if 'fc1' in target:  # its GELU is a call of its own: rounding
            torch.testing.assert_close(adapted, plain, atol=1e-5, rtol=1e-4)
        else:
            assert torch.equal(adapted, plain)


def test_only_adapters_train_and_all_of_them_do():
    backbone = build(lora=dict(r=2, target=TARGETS)).train()
    assert not backbone.frozen
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in backbone.named_parameters() if '.lora_' in n}
    # A and B of: six layers in four blocks, three in the dense head
    assert len(trained) == 2 * (6 * 4 + 3)
    sum(x.sum() for x in backbone(noise_image())).backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is not None) == (name in trained), name


@pytest.mark.parametrize(
    ('options', 'blocks'),
    [
        (dict(), {'0', '1', '2', '3'}),
        (dict(frozen_stages=2), {'2', '3'}),
        (dict(output='tokens', out_indices=(0, 2)), {'0', '1', '2'}),
    ],
)
def test_blocks_with_adapters(options, blocks):
    """Neither in frozen blocks nor behind the last output, where DDP would stop."""
    backbone = build(lora={}, **options)
    names = [n for n, p in backbone.named_parameters() if p.requires_grad]
    assert {name.split('.')[3] for name in names} == blocks
    assert {name.split('.')[5] for name in names} == {'q_proj', 'v_proj'}
    sum(x.sum() for x in backbone(noise_image())).backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_a_step_changes_outputs_and_no_released_weight():
    backbone = build(lora=dict(r=4, dropout=0.1))
    before, first = copy.deepcopy(backbone.state_dict()), maps(backbone)
    trained = [p for p in backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 0.1)
    sum(x.square().mean() for x in backbone.train()(noise_image())).backward()
    optimizer.step()
    for old, new in zip(first, maps(backbone), strict=True):
        assert not torch.equal(old, new)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]) != ('.lora_B.' in name), name


def test_adapted_layer_by_hand():
    """W x + b + alpha / r * B A x, and W + alpha / r * B A once merged."""
    backbone = disturb(build(lora=dict(r=3, alpha=12)))
    layer = backbone.vision_model.encoder.layers[1].self_attn.v_proj
    a, b = layer.lora_A['default'].weight, layer.lora_B['default'].weight
    assert (a.shape, b.shape) == ((3, 128), (128, 3))
    weight = (layer.base_layer.weight.double() + 4 * b.double() @ a.double()).float()
    x = torch.randn(5, 128, generator=torch.Generator().manual_seed(2))
    expected = x @ weight.T + layer.base_layer.bias
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    merge_lora(backbone)
    merged = backbone.vision_model.encoder.layers[1].self_attn.v_proj
    torch.testing.assert_close(merged.weight, weight, atol=1e-6, rtol=1e-6)


def test_merged_equals_adapted_under_released_names():
    backbone = disturb(build(lora=dict(target=TARGETS)))
    adapted = maps(backbone)
    assert (adapted[0] - maps(build())[0]).abs().max() > 0.01
    merge_lora(backbone)
    assert list(backbone.state_dict()) == list(build().state_dict())
    for one, other in zip(maps(backbone), adapted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    plain = build()
    plain.load_state_dict(backbone.state_dict())
    assert torch.equal(maps(plain)[1], maps(backbone)[1])
    merge_lora(plain)  # without adapters: as it was
    assert torch.equal(maps(plain)[1], maps(backbone)[1])


def test_checkpoint_round_trip(tmp_path):
    backbone = disturb(build(lora={}))
    torch.save(backbone.state_dict(), tmp_path / 'adapted.pth')
    again = build(lora=dict(seed=7))
    assert not torch.equal(maps(again)[1], maps(backbone)[1])
    again.load_state_dict(torch.load(tmp_path / 'adapted.pth', weights_only=True))
    assert torch.equal(maps(again)[1], maps(backbone)[1])
    assert torch.equal(maps(copy.deepcopy(again))[1], maps(backbone)[1])  # EMA copies


@pytest.mark.parametrize('load', [load_state_dict, torch.nn.Module.load_state_dict])
def test_plain_weights_load_into_a_backbone_with_adapters(load):
    """As part of a larger model; only the adapters are missing."""
    plain = torch.nn.Sequential(FGCLIP2ViT(dict(size='tiny', seed=9), output='both'))
    adapted = torch.nn.Sequential(build(lora={}))
    state = plain.state_dict()
    names = list(state)
    load(adapted, state, strict=False)
    assert list(state) == names
    assert torch.equal(maps(adapted)[1], maps(plain)[1])


def test_seed_decides_and_global_randomness_stays():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = build(lora=dict(seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    weights = build(lora=dict(seed=1)).state_dict(), build(lora={}).state_dict()
    name = 'vision_model.encoder.layers.0.self_attn.q_proj.lora_A.default.weight'
    assert torch.equal(first.state_dict()[name], weights[0][name])
    assert not torch.equal(first.state_dict()[name], weights[1][name])


def test_gradient_checkpointing():
    grads = []
    for with_cp in (False, True):
        backbone = disturb(build(lora={}, with_cp=with_cp)).train()
        sum(x.square().mean() for x in backbone(noise_image())).backward()
        layer = backbone.vision_model.encoder.layers[0].self_attn.q_proj
        grads.append(layer.lora_A['default'].weight.grad)
    torch.testing.assert_close(*grads)
    assert grads[0].any()


def test_meta_device():
    config = dict(type='FGCLIP2ViT', encoder='base', output='both', lora={})
    with torch.device('meta'):
        backbone = MODELS.build(config)
    assert all(p.is_meta for p in backbone.parameters())
    # A and B of q and v in 12 blocks: 2 * 12 * 2 * 8 * 768
    count = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    assert count == 294_912


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(lora=8), 'lora must be None or a dict'),
        (dict(lora=dict(rank=8)), 'lora must be None or a dict'),
        (dict(lora=dict(r=0)), 'r must be a positive integer'),
        (dict(lora=dict(alpha=0)), 'alpha above 0'),
        (dict(lora=dict(dropout=1.0)), r'dropout in \[0, 1\)'),
        (dict(lora=dict(target=())), 'target must list'),
        (dict(lora=dict(target='q_proj')), 'target must list'),
        (dict(lora=dict(target=['in_proj'])), 'target must list'),
        (dict(lora={}, frozen_stages=4), 'leaves no block for lora; set frozen_stages'),
        (
            dict(lora={}, output='tokens', out_indices=(1,), frozen_stages=2),
            'last of out_indices, 1',
        ),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        build(**options)


def test_without_peft(monkeypatch):
    monkeypatch.setitem(sys.modules, 'peft', None)
    with pytest.raises(ValueError, match='pip install'):
        build(lora={})
    build()
