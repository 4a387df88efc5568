"""The training model: its total, its memory savers, missing parts, precision."""

import pytest
import torch

from fgclip2_det.fgclip2.preprocess import preprocess
from pretrain import losses
from pretrain.data.collate import AlignmentCollate, text_key
from pretrain.model import FGCLIP2Alignment
from tests.pretrain.model_steps import (
    gradients,
    step,
    without_gradient,
)

WEIGHTS = {  # as published; as released (spec D.2); as measured
    'paper': dict(short=1, long=1, fgv=0.1, fgt=0.5, tic=0.1, cmr=0.4),
    'released': dict(short=1, long=1, fgv=0.2, fgt=1.5, itc=0.3, tic=0.1, cmr=0.2),
    'default': dict(short=0.1, long=0.1, fgv=1, fgt=0.5, tic=0.1, cmr=0.4),
}
REGION_TERMS = {'loss_fgv', 'loss_fgt', 'loss_itc', 'loss_tic', 'loss_cmr'}


def plain_losses(model, samples, preset: str) -> dict[str, torch.Tensor]:
    """Every term from the encoder's public methods: images one by one, every text
    as often as it occurs."""
    encoder = model.encoder
    singles = [preprocess([sample.image], 12) for sample in samples]
    images = torch.cat([encoder.encode_image(p, normalize=True) for p in singles])
    terms = {}
    for mode in ('short', 'long'):
        captions = [getattr(sample, mode) for sample in samples]
        keys = torch.tensor([text_key(caption) for caption in captions])
        terms[mode] = losses.sigmoid_loss(
            images,
            encoder.encode_text(captions, mode, normalize=True),
            encoder.logit_scale,
            encoder.logit_bias,
            text_keys=keys,
            same_text='positive' if preset == 'default' else 'negative',
        )
    regions = torch.cat(
        [
            encoder.region_features(single, [sample.bboxes], normalize=True)[0]
            for single, sample in zip(singles, samples, strict=True)
        ]
    )
    phrases = [phrase for sample in samples for phrase in sample.phrases]
    truths = [pair for sample in samples for pair in sample.true_texts]
    keys = torch.tensor([text_key(phrase) for phrase in phrases])
    texts = encoder.encode_text(phrases, 'box', normalize=True)
    terms['fgv'] = losses.region_text_loss(
        regions,
        texts,
        torch.arange(len(phrases)),
        keys,
        model.logit_scale_finegraind,
        true_keys=torch.tensor([[text_key(t) for t in pair] for pair in truths]),
        form='distinct' if preset == 'default' else 'identity',
    )
    terms['tic'] = losses.tic_loss(
        texts,
        text_keys=keys,
        similar='zero' if preset == 'released' else 'remove',
        reduction='sum' if preset == 'paper' else 'mean',
    )
    return terms | plain_hard_losses(model, samples, regions, preset)


def plain_hard_losses(model, samples, regions, preset: str) -> dict[str, torch.Tensor]:
    rows, owners, texts = [], [], []
    for sample in samples:
        start = sum(len(s.phrases) for s in samples[: samples.index(sample)])
        for k, positive in enumerate(sample.hard_positives):
            if positive:
                group = [positive, *sample.hard_negatives[k]]
                rows.append(range(len(texts), len(texts) + len(group)))
                texts += group
                owners.append(start + k)
    width = max(map(len, rows))
    index = torch.tensor([[*row] + [-1] * (width - len(row)) for row in rows])
    embeds = model.encoder.encode_text(texts, 'box', normalize=True)
    hard = regions, embeds, torch.tensor(owners), index
    scale = model.logit_scale_hardneg
    positive, negative, valid = losses.hard_cosines(*hard)
    if preset == 'released':
        positive, negative = positive * scale.exp(), negative * scale.exp()
    form = 'binary' if preset == 'paper' else 'softmax'
    return dict(
        fgt=losses.hard_negative_loss(*hard, scale, form=form),
        itc=losses.hard_contrastive_loss(*hard, scale),
        cmr=losses.cmr_loss(positive, negative, valid, 0.0),
    )


@pytest.mark.parametrize('preset', WEIGHTS)
def test_total_is_the_weighted_sum(make_model, make_samples, preset):
    """Against losses called by hand on embeddings made one by one; two images share
    a phrase, the grids and the numbers of boxes and negatives differ."""
    samples = make_samples()
    batch = AlignmentCollate(max_num_patches=12)(samples)
    assert len(batch.images.grid_sizes.unique(dim=0)) > 1
    assert not batch.images.patch_mask.all() and (batch.hard_index < 0).any()
    model = make_model(preset)
    outputs = model(batch)
    expected = plain_losses(model, samples, preset)
    weights = WEIGHTS[preset]
    assert set(outputs) == {f'loss_{name}' for name in weights} | {'cmr_threshold'}
    for name, weight in weights.items():
        assert expected[name] != 0
        term = outputs[f'loss_{name}']
        torch.testing.assert_close(term, weight * expected[name], rtol=2e-5, atol=1e-6)
    total, logged = model.parse_losses(outputs)
    whole = sum(weight * expected[name] for name, weight in weights.items())
    torch.testing.assert_close(total, whole, rtol=2e-5, atol=1e-6)
    assert logged['loss'] == total and not logged['loss'].requires_grad


@pytest.mark.parametrize(
    'options',
    [
        dict(micro_batch_size=1),
        dict(micro_batch_size=3),
        dict(gradient_checkpointing=True),
        dict(micro_batch_size=2, gradient_checkpointing=True),
    ],
    ids=str,
)
def test_memory_savers_change_nothing(make_model, make_batch, options):
    batch = make_batch()
    plain, saving = make_model('released'), make_model('released', options)
    expected, actual = step(plain, batch), step(saving, batch)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-5, atol=1e-6)
    for name, grad in gradients(plain).items():
        difference = gradients(saving)[name] - grad
        assert difference.norm() <= 1e-5 * grad.norm() + 1e-6, name


def test_micro_batches_encode_so_many_at_once(make_model, make_batch):
    """Forward sees parts of 2; the loss sees the whole batch, once."""
    model, batch = make_model('paper', dict(micro_batch_size=2)), make_batch()
    sizes = {'images': [], 'texts': []}
    towers = dict(images=model.encoder.vision_model, texts=model.encoder.text_model)
    for name, tower in towers.items():
        tower.register_forward_pre_hook(
            lambda module, args, name=name: sizes[name].append(len(args[0]))
        )
    outputs = model(batch)
    assert sizes['images'] == [2, 2]
    assert max(sizes['texts']) == 2
    assert sum(sizes['texts']) == 4 + 4 + len(batch.box_ids)
    whole = make_model()(batch)['loss_short']
    torch.testing.assert_close(outputs['loss_short'], whole)


@pytest.mark.parametrize('preset', WEIGHTS)
@pytest.mark.parametrize(
    ('data', 'zero'),
    [
        (dict(boxes=(0, 0, 0)), REGION_TERMS),
        (dict(negatives=0), {'loss_fgt', 'loss_itc', 'loss_cmr'}),
        (dict(long=False), {'loss_long'}),
        (dict(boxes=(1,), negatives=0), {'loss_fgt', 'loss_itc', 'loss_cmr'}),
        (dict(boxes=(0,), long=False), REGION_TERMS | {'loss_long'}),
    ],
    ids=lambda x: str(sorted(x) if isinstance(x, set) else x),
)
def test_missing_parts_are_exact_zeros_with_gradients(
    make_model, make_batch, preset, data, zero
):
    """DistributedDataParallel waits for every gradient, whatever a process drew."""
    model = make_model(preset)
    outputs = step(model, make_batch(**data))
    for name, value in outputs.items():
        assert value.isfinite()
        assert value == 0 or name not in zero, name
    assert outputs['loss_short'] > 0
    assert without_gradient(model) == []
    assert all(grad.isfinite().all() for grad in gradients(model).values())


def test_micro_batches_of_nothing(make_model, make_batch):
    model = make_model('paper', dict(micro_batch_size=2, gradient_checkpointing=True))
    step(model, make_batch(boxes=(0, 0, 0), long=False))
    assert without_gradient(model) == []


def test_bfloat16_autocast_keeps_embeddings_and_losses_in_float32(
    make_model, make_batch, monkeypatch
):
    model, batch, seen = make_model('released'), make_batch(), []
    exact = make_model('released')(batch)

    def spy_on(name: str):
        plain = getattr(losses, name)

        def spy(first, second, *args, **kwargs):
            seen.append((name, first.detach(), second.detach()))
            return plain(first, second, *args, **kwargs)

        return spy

    for name in ('sigmoid_loss', 'region_text_loss', 'hard_negative_loss'):
        monkeypatch.setattr(losses, name, spy_on(name))
    widths = set()
    model.encoder.vision_model.encoder.layers[1].mlp.register_forward_hook(
        lambda module, args, output: widths.add(output.dtype)
    )
    with torch.autocast('cpu', torch.bfloat16):
        outputs = model(batch)
    assert widths == {torch.bfloat16}
    assert [name for name, *_ in seen].count('sigmoid_loss') == 2 and len(seen) == 4
    for _, *embeds in seen:
        for x in embeds:
            assert x.dtype == torch.float32
            assert not torch.equal(x, x.bfloat16().float())  # nor rounded on the way
            torch.testing.assert_close(x.norm(dim=1), torch.ones(len(x)))
    for name, value in outputs.items():
        assert value.dtype == torch.float32, name
        torch.testing.assert_close(value, exact[name], rtol=0.1, atol=0.1)
    model.parse_losses(outputs)[0].backward()
    assert without_gradient(model) == []


def test_bad_options(make_model, make_batch, small_encoder):
    with pytest.raises(ValueError, match='micro_batch_size must be at least 1'):
        make_model(model=dict(micro_batch_size=0))
    with pytest.raises(ValueError, match="mode must be 'loss', got 'predict'"):
        make_model()(make_batch(), mode='predict')
    with pytest.raises(ValueError, match="losses: unknown \\['fgx'\\]"):
        make_model(fgx=1.0)
    with pytest.raises(TypeError, match='unexpected keyword'):
        FGCLIP2Alignment(dict(pretrained=small_encoder), chunk=2)
    with pytest.raises(ValueError, match='box 0 of image 0'):
        batch = make_batch(boxes=(1,))
        batch.bboxes[0][:] = torch.nan
        make_model()(batch)


def test_steps_bring_the_loss_down(make_model, make_batch):
    model, batch = make_model('default'), make_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        total, _ = model.parse_losses(model(batch))
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.6 * values[0]


def test_a_frozen_text_tower_sees_each_text_once(make_model, make_samples, monkeypatch):
    """The same losses and image gradients; no text gradient; nothing embedded twice."""
    batch = AlignmentCollate(max_num_patches=12)(make_samples())
    plain, frozen = make_model(), make_model(model=dict(freeze_text=True))
    expected, seen = step(plain, batch), []
    encode = frozen._encode_texts
    monkeypatch.setattr(
        frozen, '_encode_texts', lambda ids, mode: seen.extend(ids) or encode(ids, mode)
    )
    for again in (False, True):
        frozen.zero_grad()
        frozen.cmr_threshold = plain.cmr_threshold.new_zeros(())
        actual = step(frozen, batch)
        for name, value in expected.items():
            torch.testing.assert_close(actual[name], value, rtol=1e-5, atol=1e-6)
        for name, grad in gradients(frozen).items():
            theirs = plain.get_parameter(name).grad
            torch.testing.assert_close(grad, theirs, rtol=1e-4, atol=1e-6, msg=name)
        texts = {*batch.short_keys.tolist()}, {*batch.long_keys.tolist()}
        assert len(seen) == sum(map(len, texts)) + len(batch.box_keys.unique())
        assert again or len(frozen._kept_texts) == len(seen)
    assert not any('text' in name for name in gradients(frozen))


def test_autocast_is_close_to_float32(make_model, make_samples):
    """Towers in bfloat16; losses, weights and gradients stay float32."""
    batch = AlignmentCollate(max_num_patches=12)(make_samples())
    full, low = make_model(), make_model(model=dict(autocast=True))
    dtypes = set()
    for tower in (low.encoder.vision_model, low.encoder.text_model):
        tower.encoder.layers[0].self_attn.q_proj.register_forward_hook(
            lambda module, args, out: dtypes.add(out.dtype)
        )
    expected, actual = step(full, batch), step(low, batch)
    assert actual != expected and dtypes == {torch.bfloat16}
    for name, value in actual.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], rtol=0.05, atol=0.01)
    theirs, ours = (
        torch.cat([g.flatten() for g in gradients(m).values()]) for m in (full, low)
    )
    assert ours.dtype == torch.float32
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99
