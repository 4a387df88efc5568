"""FG-CLIP 1's training: its losses, its preset, its batches and configs."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS

from fgclip2_det import FGCLIP1, load_encoder
from fgclip2_det.fgclip1 import (
    FGCLIP1Config,
    FGCLIP1TextConfig,
    FGCLIP1Tokenizer,
    FGCLIP1VisionConfig,
)
from fgclip2_det.fgclip2.random_weights import init_random
from pretrain import losses
from pretrain.data import AlignmentCollate
from pretrain.export import export_encoder
from pretrain.initialise import build_for_training, sincos_positions_2d
from pretrain.model import FGCLIP2Alignment
from pretrain.presets import PRESETS, loss_preset

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'pretrain'


# ----------------------------------------------------------------------- losses
def test_contrastive_loss_by_hand():
    """Cosines (1, 0; 0.6, 0.8), scale e^0: rows log(1 + e^-1) = 0.3132617 and
    log(1 + e^-0.2) = 0.5981389, columns log(1 + e^-0.4) = 0.5130153 and
    log(1 + e^-0.8) = 0.3711007."""
    images = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    loss = losses.contrastive_loss(images, torch.eye(2), torch.zeros(()))
    wanted = (0.3132617 + 0.5981389 + 0.5130153 + 0.3711007) / 4
    torch.testing.assert_close(loss, torch.tensor(wanted))


def test_contrastive_loss_gradients():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    scale = torch.tensor(0.7, dtype=torch.float64)
    leaves = [x.requires_grad_() for x in (*rows.clone(), scale)]

    def loss(images, texts, scale):
        images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
        return losses.contrastive_loss(images, texts, scale)

    assert torch.autograd.gradcheck(loss, leaves)
    target = torch.arange(5)
    logits = scale.exp() * F.normalize(rows[0], dim=1) @ F.normalize(rows[1], dim=1).T
    wanted = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(loss(*leaves), wanted)


@pytest.mark.parametrize('count', [0, 1])
def test_contrastive_loss_of_few(count):
    embeds = F.normalize(torch.ones(count, 4), dim=1).requires_grad_()
    loss = losses.contrastive_loss(embeds, embeds, torch.tensor(4.6))
    assert loss == 0
    loss.backward()
    assert not embeds.grad.any()


def test_captions_of_other_images():
    with pytest.raises(ValueError, match=r'a caption for each image, got \(2, 4\) and'):
        losses.contrastive_loss(torch.ones(2, 4), torch.ones(3, 4), torch.zeros(()))


def test_local_regions_are_identity_on_one_process():
    generator = torch.Generator().manual_seed(0)
    regions = F.normalize(torch.randn(6, 8, generator=generator), dim=1)
    texts = F.normalize(torch.randn(4, 8, generator=generator), dim=1)
    args = regions, texts, torch.tensor([0, 1, 1, 3, 2, 0]), None, torch.tensor(2.0)
    local = losses.region_text_loss(*args, form='local')
    torch.testing.assert_close(local, losses.region_text_loss(*args, form='identity'))
    empty = regions[:0].requires_grad_()
    args = empty, texts, torch.zeros(0).long(), None, torch.tensor(2.0)
    loss = losses.region_text_loss(*args, form='local')
    assert loss == 0
    loss.backward()


# ----------------------------------------------------------------------- preset
def test_preset_is_the_released_loss():
    """InfoNCE long + short + 0.1 regions + 0.5 eleven texts, and nothing else."""
    preset = PRESETS['fgclip1']
    weights = {n: getattr(preset, n) for n in
               ('short', 'long', 'fgv', 'fgt', 'itc', 'tic', 'cmr')}  # fmt: skip
    assert weights == dict(short=1, long=1, fgv=0.1, fgt=0.5, itc=0, tic=0, cmr=0)
    forms = preset.global_form, preset.fgv_form, preset.fgt_form, preset.same_text
    assert forms == ('softmax', 'local', 'softmax', 'negative')
    with pytest.raises(ValueError, match="same_text must be 'negative' with global"):
        loss_preset('fgclip1', same_text='positive')


# ------------------------------------------------------------------------ model
@pytest.fixture(scope='module')
def first_encoder(tmp_path_factory) -> Path:
    """Folder of a random FG-CLIP 1 of width 32, 4 x 4 patches, two blocks a tower."""
    sizes = dict(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    config = FGCLIP1Config(
        FGCLIP1TextConfig(**sizes, vocab_size=514),
        FGCLIP1VisionConfig(**sizes, image_size=64, patch_size=16),
        projection_dim=24,
    )
    encoder = FGCLIP1(config, FGCLIP1Tokenizer.of_bytes())
    init_random(encoder, torch.Generator().manual_seed(0))
    return encoder.save_pretrained(tmp_path_factory.mktemp('version_1'))


def make(folder, model=None, **changes) -> FGCLIP2Alignment:
    options = dict(region_logit_scale=2.0, hard_logit_scale=3.0) | (model or {})
    encoder = dict(pretrained=folder, logit_scale=2.5)
    return FGCLIP2Alignment(encoder, dict(preset='fgclip1', **changes), **options)


@pytest.fixture
def samples(make_samples):
    return make_samples()


def test_total_is_the_weighted_sum(first_encoder, samples):
    """Against cross entropies written out, on embeddings made one by one."""
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    model = make(first_encoder)
    outputs = model(batch)
    encoder = model.encoder
    singles = [encoder.preprocess(sample.image) for sample in samples]
    images = torch.cat([encoder.encode_image(single, True) for single in singles])
    regions = torch.cat(
        [
            encoder.region_features(single, [sample.bboxes], True)[0]
            for single, sample in zip(singles, samples, strict=True)
        ]
    )

    def symmetric(queries, texts, scale):
        logits = scale * queries @ texts.T
        own = torch.arange(len(logits))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    wanted = {}
    for mode in ('short', 'long'):
        texts = [getattr(sample, mode) for sample in samples]
        texts = encoder.encode_text(texts, mode, True)
        wanted[mode] = symmetric(images, texts, encoder.logit_scale.exp())
    phrases = [phrase for sample in samples for phrase in sample.phrases]
    texts = encoder.encode_text(phrases, 'short', True)
    wanted['fgv'] = 0.1 * symmetric(regions, texts, torch.tensor(2.0).exp())
    hard = [
        (positive, negatives)
        for sample in samples
        for positive, negatives in zip(
            sample.hard_positives, sample.hard_negatives, strict=True
        )
    ]
    terms = []
    for region, (positive, negatives) in zip(regions, hard, strict=True):
        if positive:
            texts = encoder.encode_text([positive, *negatives], 'short', True)
            logits = torch.tensor(3.0).exp() * texts @ region
            terms.append(F.cross_entropy(logits[None], torch.tensor([0])))
    wanted['fgt'] = 0.5 * torch.stack(terms).mean()
    assert set(outputs) == {f'loss_{name}' for name in wanted}
    for name, value in wanted.items():
        torch.testing.assert_close(outputs[f'loss_{name}'], value, msg=name)


@pytest.mark.parametrize('num_captions', [0, 1, 2, 4])
def test_images_without_a_caption_do_not_count(first_encoder, samples, num_captions):
    """As if they were not there; without any caption the loss is 0, and every weight
    has its gradient."""
    for sample in samples[num_captions:]:
        sample.short = None
    model, collate = make(first_encoder), AlignmentCollate(version=1, grid_side=4)
    outputs = model(collate(samples))
    wanted = 0.0
    if num_captions:
        wanted = model(collate(samples[:num_captions]))['loss_short']
    torch.testing.assert_close(outputs['loss_short'], torch.as_tensor(wanted))
    assert (outputs['loss_short'] > 0) == (num_captions > 1)
    model.parse_losses(outputs)[0].backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(
    'changes',
    [
        {}, dict(stage=1), dict(short=0, long=0), dict(long=0, fgt=0),
        dict(short=0, long=0, fgv=0),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_trained_has_a_gradient(first_encoder, samples, changes):
    model = make(first_encoder, **changes)
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    total, _ = model.parse_losses(model(batch))
    total.backward()
    wrong = [n for n, p in model.named_parameters() if p.requires_grad != (
        p.grad is not None)]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize('options', [
    dict(micro_batch_size=1), dict(gradient_checkpointing=True),
], ids=str)  # fmt: skip
def test_parts_of_a_batch_are_the_batch(first_encoder, samples, options):
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    grads = []
    for each in ({}, options):
        model = make(first_encoder, each)
        model.train()
        total, _ = model.parse_losses(model(batch))
        total.backward()
        grads.append({n: p.grad for n, p in model.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, atol=1e-5, rtol=1e-4, msg=name)


def test_a_few_steps_learn_and_are_exported(first_encoder, samples, tmp_path):
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    model = make(first_encoder).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    totals = []
    for _ in range(12):
        total, _ = model.parse_losses(model(batch))
        totals.append(float(total.detach()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < 0.7 * totals[0]
    export_encoder(model.encoder, tmp_path / 'out')
    again = load_encoder(tmp_path / 'out')
    assert type(again) is FGCLIP1
    assert torch.equal(again.logit_scale_hardneg, model.hard_scale)
    texts = ['red circle', 'blue ring']
    assert again.encode_text(texts).equal(model.encoder.encode_text(texts))


def test_frozen_texts(first_encoder, samples):
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    model = make(first_encoder, dict(freeze_text=True))
    torch.testing.assert_close(model(batch), make(first_encoder)(batch))
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert not any('text' in name for name in names)


# ---------------------------------------------------------------------- sources
def test_sources(clip_tiny, fgclip1_tiny):
    start = build_for_training(clip=clip_tiny)
    assert type(start) is FGCLIP1 and start.training
    tables = start.text_model.embeddings
    assert tables.position_embedding_res.weight.shape == (248, 64)
    random = build_for_training(size='tiny', version=1, sincos_positions=True)
    table = random.vision_model.embeddings.position_embedding.weight
    assert table[1:].equal(sincos_positions_2d(14, 96))
    for options, message in (
        (dict(pretrained=fgclip1_tiny, version=1), 'for random weights'),
        (dict(size='tiny', version=3), 'version must be 1 or 2'),
        (dict(pretrained=fgclip1_tiny, copy_heads=('box',)), 'are for FG-CLIP 2'),
        (dict(clip=clip_tiny, logit_bias=-5.0), 'are for FG-CLIP 2'),
        (dict(clip=fgclip1_tiny), 'holds FG-CLIP 1 weights'),
        (dict(clip=clip_tiny, siglip2=clip_tiny), 'exactly one of'),
    ):
        with pytest.raises(ValueError, match=message):
            build_for_training(**options)


def test_losses_of_the_other_version(first_encoder, make_model, make_batch):
    with pytest.raises(ValueError, match='logit_bias, which FG-CLIP 1 has not; take'):
        make(first_encoder, global_form='sigmoid')
    model = make_model('fgclip1')  # on FG-CLIP 2, its losses are a choice
    assert set(model(make_batch())) == {f'loss_{n}' for n in
                                        ('short', 'long', 'fgv', 'fgt')}  # fmt: skip
    assert not model.encoder.logit_bias.requires_grad


def test_batches(samples):
    batch = AlignmentCollate(version=1, grid_side=4)(samples)
    assert batch.images.pixel_values.shape == (len(samples), 16, 768)
    assert batch.budget == 16 and batch.original_images is None
    assert batch.short_ids.shape[1] == batch.box_ids.shape[1] == 77
    assert batch.long_ids.shape[1] == 248
    assert (batch.long_ids == 513).any(1).all()
    with pytest.raises(ValueError, match="must be 'auto' for version 1"):
        AlignmentCollate(version=1, max_num_patches=256)
    with pytest.raises(ValueError, match='version must be 1 or 2, got 3'):
        AlignmentCollate(version=3)


# ---------------------------------------------------------------------- configs
@pytest.mark.parametrize(
    ('name', 'size'), [('b16', 'base'), ('l14', 'large')]
)  # fmt: skip
def test_configs_of_the_script(name, size, monkeypatch):
    """8 x 512 images a step, one epoch of 12 million, 1e-6 after 200 steps; the first
    four boxes, any of their two expressions, 'a photo of ' (spec F, D.2)."""
    cfg = Config.fromfile(CONFIGS / f'fgclip1_{name}_stage2_8xb512-1e_finehard.py')

    def build(**encoder):
        assert list(encoder) == ['clip']
        return FGCLIP1.from_size(size, device='meta')

    monkeypatch.setattr('pretrain.model.build_for_training', build)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    vision, collate = model.encoder.config.vision, cfg.train_dataloader.collate_fn
    assert collate.grid_side == vision.grid_side
    assert collate.patch_size == vision.patch_size and collate.version == 1
    assert 8 * cfg.train_dataloader.batch_size * cfg.train_cfg.max_iters >= 12_000_000
    data = cfg.train_dataloader.dataset
    assert (data.max_anns, data.ann_choice, data.expr) == (4, 'first', 'random')
    assert data.short_prefix == 'a photo of '
    assert cfg.param_scheduler[0].end == cfg.param_scheduler[1].begin == 200
    assert model.preset == PRESETS['fgclip1']
    optimizer = dict(constructor=cfg.optim_wrapper.constructor,
                     optimizer=cfg.optim_wrapper.optimizer)  # fmt: skip
    groups = build_optim_wrapper(model, optimizer).optimizer.param_groups
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for group in groups for p in group['params']} == trained
    assert {group['lr'] for group in groups} == {1e-6}
    assert {group['weight_decay'] for group in groups} == {0.0, 0.001}


def test_tiny_config_trains_from_random_weights():
    cfg = Config.fromfile(CONFIGS / 'fgclip1_tiny_stage2_ovshapes.py')
    model = MODELS.build(cfg.model)
    assert type(model.encoder) is FGCLIP1
    assert cfg.train_dataloader.collate_fn == dict(type='AlignmentCollate', version=1)
    assert cfg.train_dataloader.dataset.type == 'OVShapesAlignmentDataset'
