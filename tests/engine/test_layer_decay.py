"""Layer-wise learning rates against a rule written out by hand."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from fgclip2_det.models import FGCLIP2ViT, RegionTextClassifier


class Detector(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        encoder = dict(size='tiny', seed=0)
        self.backbone = FGCLIP2ViT(encoder, output='both', **options)
        self.neck = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.fc_cls = RegionTextClassifier(4, 4)


def rates(model: nn.Module, **options) -> dict[str, tuple[float, float]]:
    """(rate, weight decay) by parameter."""
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor='FGCLIP2LayerDecayOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
            clip_grad=dict(max_norm=1.0),
            paramwise_cfg=options,
        ),
    )
    actual = {
        parameter: (group['lr'], group['weight_decay'])
        for group in wrapper.param_groups
        for parameter in group['params']
    }
    assert wrapper.clip_grad_kwargs == dict(max_norm=1.0)
    return {n: actual[p] for n, p in model.named_parameters() if p.requires_grad}


def test_rates_and_weight_decay():
    actual = rates(Detector(), decay_rate=0.5, backbone_lr_mult=0.1)
    tower = 'backbone.vision_model'
    blocks = f'{tower}.encoder.layers'  # the tiny tower has four
    expected = {
        'neck.0.weight': (1.0, 0.1),
        'neck.0.bias': (1.0, 0.0),
        'neck.1.weight': (1.0, 0.0),
        'fc_cls.project.weight': (1.0, 0.1),
        'fc_cls.logit_scale': (1.0, 0.0),
        'fc_cls.logit_bias': (1.0, 0.0),
        f'{tower}.post_layernorm.weight': (0.1, 0.0),
        f'{blocks}.3.mlp.fc1.weight': (0.05, 0.1),
        f'{blocks}.0.mlp.fc1.weight': (0.1 * 0.5**4, 0.1),
        f'{blocks}.0.layer_norm1.weight': (0.1 * 0.5**4, 0.0),
        f'{tower}.embeddings.patch_embedding.weight': (0.1 * 0.5**5, 0.1),
        f'{tower}.embeddings.position_embedding.weight': (0.1 * 0.5**5, 0.0),
    }
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value), name
    dense = [n for n in actual if n.startswith('backbone.dense_feature_head')]
    assert dense
    assert all(actual[name][0] == pytest.approx(0.1) for name in dense)


def test_frozen_parameters_are_left_out():
    actual = rates(Detector(frozen_stages=3), decay_rate=0.5)
    assert not any('embeddings' in name or 'layers.2.' in name for name in actual)
    assert any('layers.3.' in name for name in actual)


@pytest.mark.parametrize('options', [dict(decay_rate=1.5), dict(decay=0.7)])
def test_bad_options(options):
    with pytest.raises(ValueError, match='decay_rate'):
        rates(Detector(), **options)


def test_another_backbone():
    model = torch.nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match='needs an FGCLIP2ViT'):
        rates(model, decay_rate=0.7)
