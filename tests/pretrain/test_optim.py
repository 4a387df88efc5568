"""MuonAdamW against its two parts, and the parameter groups of a model."""

import copy
import io

import pytest
import torch
from mmengine.optim import LinearLR, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from pretrain.model import FGCLIP2Alignment
from pretrain.muon import CPUMuon
from pretrain.optim import MuonAdamW

SHAPES = {'matrix': (6, 4), 'wide': (3, 9), 'bias': (6,), 'table': (5, 4), 'one': ()}
MUON = ('matrix', 'wide')


def make_parameters() -> dict[str, nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    return {n: nn.Parameter(torch.randn(s, generator=draw)) for n, s in SHAPES.items()}


def set_gradients(parameters: dict[str, nn.Parameter], step: int) -> None:
    draw = torch.Generator().manual_seed(100 + step)
    for parameter in parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def make_optimizer(parameters: dict[str, nn.Parameter]) -> MuonAdamW:
    rest = [p for name, p in parameters.items() if name not in MUON]
    groups = [
        dict(params=rest[:1], weight_decay=0.0),
        dict(params=[parameters[name] for name in MUON], lr=0.02, muon=True),
        dict(params=rest[1:]),
    ]
    return MuonAdamW(groups, lr=0.01, betas=(0.8, 0.97), eps=1e-6, weight_decay=0.3)


def test_equals_both_optimizers_run_separately():
    ours, theirs = make_parameters(), make_parameters()
    optimizer = make_optimizer(ours)
    muon = CPUMuon([theirs[name] for name in MUON], lr=0.02, weight_decay=0.3)
    rest = [p for name, p in theirs.items() if name not in MUON]
    groups = [dict(params=rest[:1], weight_decay=0.0), dict(params=rest[1:])]
    adamw = torch.optim.AdamW(
        groups, lr=0.01, betas=(0.8, 0.97), eps=1e-6, weight_decay=0.3
    )
    for step in range(5):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step()
        muon.step()
        adamw.step()
    start = make_parameters()
    for name in SHAPES:
        assert torch.equal(ours[name], theirs[name]), name
        assert not torch.equal(ours[name], start[name]), name


def test_a_saved_state_goes_on_alike():
    """Through bytes, into a fresh optimizer that has other numbers in its config."""
    ours = make_parameters()
    optimizer = make_optimizer(ours)
    for step in range(3):
        set_gradients(ours, step)
        optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = copy.deepcopy(ours)
    other = make_optimizer(resumed)
    for group in other.param_groups:
        group['lr'] *= 7  # of a schedule: the saved ones count
    other.load_state_dict(torch.load(file, weights_only=True))
    for step in range(3, 6):
        for parameters, each in ((ours, optimizer), (resumed, other)):
            set_gradients(parameters, step)
            each.step()
    for name in SHAPES:
        assert torch.equal(ours[name], resumed[name]), name
    states = [each.state_dict()['state'] for each in (optimizer, other)]
    assert states[0].keys() == states[1].keys() == set(range(len(SHAPES)))
    for number, state in states[0].items():
        for key, value in state.items():
            assert torch.equal(value, states[1][number][key]), (number, key)


def test_schedulers_move_both_parts():
    """At rate 0 nothing moves, whichever part it belongs to; then both do."""
    parameters = make_parameters()
    optimizer = make_optimizer(parameters)
    wrapper = OptimWrapper(optimizer)
    schedule = LinearLR(wrapper, start_factor=1e-9, by_epoch=False, begin=0, end=2)
    start = make_parameters()
    set_gradients(parameters, 0)
    wrapper.step()
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter, start[name], rtol=0, atol=1e-6)
    schedule.step()
    assert [group['lr'] for group in optimizer.param_groups] == [0.01, 0.02, 0.01]
    optimizer.step()
    for name, parameter in parameters.items():
        assert (parameter - start[name]).abs().max() > 1e-4, name


def test_one_kind_alone_is_fine():
    for muon in (True, False):
        parameter = nn.Parameter(torch.randn(4, 3))
        optimizer = MuonAdamW([dict(params=[parameter], muon=muon)], lr=0.1)
        parameter.grad = torch.randn(4, 3)
        before = parameter.detach().clone()
        assert optimizer.step(lambda: torch.tensor(2.0)) == 2
        assert not torch.equal(parameter, before)


def test_needs_torch_with_muon_on_other_devices(monkeypatch):
    monkeypatch.delattr(torch.optim, 'Muon')
    make_optimizer(make_parameters())
    with pytest.raises(ValueError, match=r'needs torch.optim.Muon \(PyTorch 2.9\)'):
        make_optimizer(
            {
                name: nn.Parameter(parameter.to('meta'))
                for name, parameter in make_parameters().items()
            }
        )


# ----------------------------------------------------------------------------- groups
@pytest.fixture
def model(small_encoder):
    return FGCLIP2Alignment(dict(pretrained=small_encoder), dict(preset='released'))


def build(model, optimizer: dict, **paramwise) -> OptimWrapper:
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type='AlignmentOptimWrapperConstructor',
            optim_wrapper_cfg=dict(optimizer=dict(optimizer)),
            paramwise_cfg=paramwise,
        )
    )
    return constructor(model)


def options_by_name(model, wrapper: OptimWrapper) -> dict[str, dict]:
    """Parameter -> options of its group; each parameter in one group."""
    names = {id(p): name for name, p in model.named_parameters()}
    actual = [
        (names[id(p)], group)
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    ]
    assert len(dict(actual)) == len(actual)
    return dict(actual)


ADAMW = dict(type='AdamW', lr=1e-3, weight_decay=0.1)


def test_what_decays(model):
    """As released: all but LayerNorm weights and names with 'bias' (spec D.2)."""
    actual = options_by_name(model, build(model, ADAMW))
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(actual) == trainable
    decays = {name: group['weight_decay'] for name, group in actual.items()}
    for name in (
        'encoder.logit_scale',
        'logit_scale_hardneg',
        'encoder.vision_model.head.probe',
        'encoder.text_model.embeddings.token_embedding.weight',
        'encoder.vision_model.embeddings.position_embedding.weight',
        'encoder.text_model.encoder.layers.0.mlp.fc1.weight',
    ):
        assert decays[name] == 0.1, name
    for name in (
        'encoder.logit_bias',
        'encoder.text_model.encoder.layers.0.layer_norm1.weight',
        'encoder.vision_model.post_layernorm.weight',
        'encoder.dense_feature_head.layernorm.weight',
        'encoder.vision_model.head.attention.in_proj_bias',
        'encoder.boxtext_head.bias',
    ):
        assert decays[name] == 0, name
    assert sum(value == 0 for value in decays.values()) == sum(
        'bias' in name or 'norm' in name for name in trainable
    )


def test_new_heads_have_their_own_rate(model):
    wrapper = build(model, ADAMW, new_head_lr_mult=5)
    for name, group in options_by_name(model, wrapper).items():
        new = any(
            part in name
            for part in ('dense_feature_head', 'boxtext_head', 'longtext_head')
        )
        assert group['lr'] == pytest.approx(5e-3 if new else 1e-3), name


def test_muon_gets_the_matrices_of_blocks_and_pooling_heads(model):
    optimizer = dict(ADAMW, type='MuonAdamW')
    wrapper = build(model, optimizer, muon=True, muon_lr_mult=2, new_head_lr_mult=3)
    assert isinstance(wrapper.optimizer, MuonAdamW)
    actual = options_by_name(model, wrapper)
    muon = {name for name, group in actual.items() if group['muon']}
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert all(len(shapes[name]) == 2 for name in muon)
    block = 'encoder.text_model.encoder.layers.1'
    assert {f'{block}.mlp.fc2.weight', f'{block}.self_attn.q_proj.weight'} <= muon
    for head in ('vision_model.head', 'dense_feature_head'):
        assert f'encoder.{head}.attention.in_proj_weight' in muon
    blocks = 2 * 2 * 6  # towers x blocks x (q, k, v, out, fc1, fc2)
    assert len(muon) == blocks + 2 * 4  # (in_proj, out_proj, fc1, fc2) of two heads
    assert actual[f'{block}.mlp.fc2.weight']['lr'] == pytest.approx(2e-3)
    assert actual['encoder.dense_feature_head.mlp.fc1.weight']['lr'] == pytest.approx(
        6e-3
    )
    assert actual['encoder.boxtext_head.weight']['lr'] == pytest.approx(3e-3)
    assert not actual['encoder.boxtext_head.weight']['muon']


def test_frozen_weights_are_in_no_group(small_encoder):
    model = FGCLIP2Alignment(dict(pretrained=small_encoder), dict(stage=1))
    actual = options_by_name(model, build(model, ADAMW))
    assert not any('dense_feature_head' in name for name in actual)


@pytest.mark.parametrize(
    ('optimizer', 'paramwise', 'message'),
    [
        ('AdamW', dict(muon_lr=2), r"paramwise_cfg: unknown \['muon_lr'\]"),
        ('AdamW', dict(muon=True), 'muon=True needs optimizer type MuonAdamW, got Ada'),
    ],
)
def test_bad_options(model, optimizer, paramwise, message):
    with pytest.raises(ValueError, match=message):
        build(model, dict(ADAMW, type=optimizer), **paramwise)
