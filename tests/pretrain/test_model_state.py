"""The training model's state: the threshold of CMR, and its frozen parts."""

import pytest
import torch

from tests.pretrain.model_steps import (
    step,
    without_gradient,
)


@pytest.mark.parametrize(
    ('preset', 'shape'), [('paper', (3,)), ('default', (3,)), ('released', ())]
)
def test_threshold_is_part_of_the_state(make_model, make_batch, preset, shape):
    """A fresh model's has no length yet; it takes the saved one and goes on alike."""
    first, batch = make_model(preset, cmr_clamp=None), make_batch()
    start = step(first, batch)
    state = first.state_dict()
    assert state['cmr_threshold'].shape == shape
    assert state['cmr_threshold'].abs().max() > 0
    resumed = make_model(preset, cmr_clamp=None)
    resumed.load_state_dict(state)
    assert torch.equal(resumed.cmr_threshold, first.cmr_threshold)
    after = [step(model, batch) for model in (first, resumed)]
    assert after[0] == after[1]
    assert after[0]['loss_cmr'] != start['loss_cmr']
    assert torch.equal(resumed.cmr_threshold, first.cmr_threshold)
    fresh = make_model(preset).state_dict()
    first.load_state_dict(fresh)
    assert first.cmr_threshold.shape == ()


def test_threshold_of_another_length_is_restored(make_model, make_batch):
    few, many = make_model(), make_model()
    step(few, make_batch(negatives=2))
    step(many, make_batch(negatives=5))
    assert (few.cmr_threshold.shape, many.cmr_threshold.shape) == ((2,), (5,))
    few.load_state_dict(many.state_dict())
    assert torch.equal(few.cmr_threshold, many.cmr_threshold)


def test_threshold_is_the_last_steps_gap(make_model, make_batch):
    """tau_k = mean over regions of p - n_k (equation 3), used at the next step."""
    model, batch = make_model('paper'), make_batch()
    outputs = model(batch)
    regions = torch.cat(
        model.encoder.region_features(batch.images, batch.bboxes, normalize=True)
    )
    texts = model.encoder.encode_text(batch.box_ids, 'box', normalize=True)
    gaps = [[], [], []]
    for region, (positive, *negatives) in zip(
        batch.hard_region, batch.hard_index, strict=True
    ):
        for k, negative in enumerate(negatives):
            if negative >= 0:
                gap = regions[region] @ (texts[positive] - texts[negative])
                gaps[k].append(gap.item())
    assert [len(each) for each in gaps] == [3, 3, 2]
    expected = torch.tensor([sum(each) / len(each) for each in gaps])
    actual = model.cmr_threshold
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    assert outputs['cmr_threshold'] == actual.mean()


def test_evaluating_leaves_the_threshold(make_model, make_batch):
    model = make_model().eval()
    model(make_batch())
    assert model.cmr_threshold.shape == () and model.cmr_threshold == 0


def trainable(model) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_stage_1_freezes_what_it_does_not_reach(make_model, make_batch):
    """Dense and box heads, both temperatures of regions; nothing else."""
    model = make_model('paper', stage=1)
    names = {name for name, _ in model.named_parameters()}
    frozen = names - trainable(model)
    assert {name.split('.')[1] for name in frozen if name.startswith('encoder.')} == {
        'dense_feature_head',
        'boxtext_head',
    }
    assert {name for name in frozen if not name.startswith('encoder.')} == {
        'logit_scale_finegraind',
        'logit_scale_hardneg',
    }
    outputs = step(model, make_batch())
    assert set(outputs) == {'loss_short', 'loss_long'}
    assert without_gradient(model) == []


def test_stage_2_trains_everything_but_the_dead_probe(make_model):
    for preset in ('released', 'default'):
        model = make_model(preset)
        names = {name for name, _ in model.named_parameters()}
        assert names - trainable(model) == {'encoder.dense_feature_head.probe'}


@pytest.mark.parametrize(
    'changes',
    [
        dict(stage=1, long=0),
        dict(stage=1, short=0),
        dict(short=0, long=0),
        dict(fgv=0, fgt=0, cmr=0),
        dict(short=0, long=0, fgv=0, fgt=0, cmr=0),
        dict(fgv=0, fgt=0, tic=0),
        dict(fgt=0, tic=0, cmr=0),
        dict(fgv=0, fgt=0, tic=0, itc=1),
    ],
    ids=str,
)
def test_any_choice_of_terms_trains_what_it_reaches(make_model, make_batch, changes):
    """No parameter waits for a gradient, and none that gets one is frozen."""
    model = make_model('paper', **changes)
    free = make_model('paper', **changes).requires_grad_(True)
    for each in (model, free):
        step(each, make_batch())
    assert without_gradient(model) == []
    reached = {name for name, p in free.named_parameters() if p.grad is not None}
    assert reached - trainable(model) == set()


def test_frozen_weights_stay(make_model, make_batch):
    model = make_model('paper', stage=1)
    before = model.encoder.boxtext_head.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    step(model, make_batch())
    optimizer.step()
    assert torch.equal(model.encoder.boxtext_head.weight, before)
