"""The training model: its total, what learns, missing captions, its state."""

import copy

import pytest
import torch
import torch.nn.functional as F

from fgclip2_det import FGCLIP1
from fgclip2_det.fgclip1 import FGCLIP1Config, FGCLIP1TextConfig, FGCLIP1VisionConfig
from fgclip2_det.fgclip1.tokenizer import FGCLIP1Tokenizer
from fgclip2_det.fgclip2.random_weights import init_random
from fgclip2_det.ranker import MatchLogits, Ranker
from pretrain import losses
from pretrain.data.collate import AlignmentCollate
from pretrain.r2d2.alignment import R2D2Alignment
from tests.pretrain.conftest import make_sample
from tests.pretrain.model_steps import gradients, step, without_gradient

ALL = dict(preset='pre_training', pre_ranking=0.5, queue_size=6, mask_rate=0.5)


@pytest.fixture
def make_model(small_encoder):
    """make_model(model options, loss options) on the small encoder."""

    def make(model=None, ranker=None, **changes) -> R2D2Alignment:
        sizes = dict(num_hidden_layers=1) | (ranker or {})
        encoder = dict(pretrained=small_encoder)
        return R2D2Alignment(encoder, changes, sizes, **(model or {})).train()

    return make


@pytest.fixture(scope='module')
def first_version(tmp_path_factory):
    """Folder of a small FG-CLIP 1: 4 x 4 patches of 16 pixels."""
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
    return encoder.save_pretrained(tmp_path_factory.mktemp('first'))


def with_images(samples, *names):
    for sample, name in zip(samples, names, strict=True):
        sample.image_id = name
    return samples


# ------------------------------------------------------------------------- the total
def slow_ranking(model, samples, batch) -> torch.Tensor:
    """Each pair and its negatives one by one, from public methods."""
    encoder, mode = model.encoder, model.captions
    captions = [getattr(sample, mode) for sample in samples]
    images = encoder.encode_image(batch.images, normalize=True)
    texts = encoder.encode_text(captions, mode, normalize=True)
    seed = model._seed_of('negatives')
    drawn = losses.draw_negatives(images, texts, 0.07, batch.image_keys, seed=seed)
    tokens, mask = encoder.image_tokens(batch.images)

    def logits(image: int, text: int) -> MatchLogits:
        words, is_word = encoder.text_tokens([captions[text]], mode)
        return model.ranker(
            tokens[image][mask[image]][None], words[None], is_word[None]
        )

    weighted, weights = torch.zeros(()), 0
    for i in range(len(samples)):
        pairs = [(i, i, 1), (i, int(drawn.text[i]), 0), (int(drawn.image[i]), i, 0)]
        for image, text, label in pairs:
            if min(image, text) < 0:
                continue
            for part in logits(image, text).parts:
                term = F.cross_entropy(part[0], torch.tensor([label]))
                weighted = weighted + (1 + label) * term / 2
            weights += 1 + label
    return weighted / weights


@pytest.mark.parametrize('captions', ['short', 'long'])
def test_total_is_the_weighted_sum(make_model, make_samples, captions):
    """Against losses called by hand; the grids, hence the tokens, differ, and two
    pairs show the same image."""
    samples = with_images(make_samples(), 'a', 'b', 'a', None)
    batch = AlignmentCollate(max_num_patches=12)(samples)
    assert batch.image_keys[0] == batch.image_keys[2] != batch.image_keys[1]
    assert batch.image_keys[3] == -1 and not batch.images.patch_mask.all()
    model = make_model(dict(captions=captions), pre_ranking=2.0, ranking=0.5)
    expected = slow_ranking(model, samples, batch)
    outputs = model(batch)
    torch.testing.assert_close(
        outputs['loss_ranking'], 0.5 * expected, rtol=1e-4, atol=1e-6
    )
    encoder = model.encoder
    texts = [getattr(sample, captions) for sample in samples]
    plain = losses.pre_ranking_loss(
        encoder.encode_image(batch.images, normalize=True),
        encoder.encode_text(texts, captions, normalize=True),
        torch.tensor(0.07),
        batch.image_keys,
    )
    torch.testing.assert_close(
        outputs['loss_pre_ranking'], 2 * plain, rtol=1e-4, atol=1e-6
    )
    assert set(outputs) == {'loss_pre_ranking', 'loss_ranking', 'temperature'}
    total, logged = model.parse_losses(outputs)
    torch.testing.assert_close(total, expected * 0.5 + plain * 2, rtol=1e-4, atol=1e-6)
    assert 'temperature' in logged and not logged['loss'].requires_grad


# ---------------------------------------------------------------------- what learns
@pytest.mark.parametrize('captions', ['short', 'long'])
@pytest.mark.parametrize(
    'changes',
    [
        dict(),
        ALL,
        dict(pre_ranking=0),
        dict(ranking=0),
        dict(pre_ranking=0, ranking=0, mlm=1, mask_rate=0.5),
        dict(pre_ranking=0, ranking=0, feature_guided=1, mask_rate=0.5),
        dict(preset='pre_training', ranking=0, mlm=0, queue_size=6),
        dict(ALL, feature_form='distribution', same_text=True, negatives='process'),
        dict(double_softmax=True),
    ],
    ids=str,
)
def test_every_weight_that_learns_has_a_gradient(
    make_model, make_batch, captions, changes
):
    model = make_model(dict(captions=captions), **changes)
    outputs = step(model, make_batch())
    assert all(value.isfinite() for value in outputs.values())
    assert without_gradient(model) == []
    moved = [name for name, grad in gradients(model).items() if grad.abs().sum() > 0]
    assert moved


@pytest.mark.parametrize('sides', ['text', 'image'])
def test_one_joint_encoder(make_model, make_batch, sides):
    model = make_model(ranker=dict(sides=sides))
    step(model, make_batch())
    assert without_gradient(model) == []


@pytest.mark.parametrize('frozen', [('vision',), ('text',), ('vision', 'text')])
def test_frozen_towers(make_model, make_batch, frozen):
    model = make_model({f'freeze_{tower}': True for tower in frozen}, **ALL)
    step(model, make_batch())
    assert without_gradient(model) == []
    names = list(gradients(model))
    for tower in ('vision', 'text'):
        learns = any(name.startswith(f'encoder.{tower}_model') for name in names)
        assert learns != (tower in frozen)
    assert any(name.startswith('ranker.') for name in names)
    if len(frozen) == 2:  # the teacher is the encoder itself
        mine, theirs = model.teacher.module.parameters(), model.encoder.parameters()
        assert all(x is y for x, y in zip(mine, theirs, strict=True))


@pytest.mark.parametrize('captions', ['short', 'long'])
def test_first_version(first_version, make_samples, captions):
    collate = AlignmentCollate(version=1, grid_side=4)
    batch = collate(make_samples())
    for freeze in (False, True):
        model = R2D2Alignment(
            dict(pretrained=first_version),
            ALL,
            dict(num_hidden_layers=1),
            captions=captions,
            freeze_vision=freeze,
        ).train()
        step(model, batch)
        assert without_gradient(model) == []
        assert model.encoder.visual_projection.weight.grad is not None
        assert model.freeze_vision == freeze


def test_bfloat16_is_close(make_model, make_batch):
    batch = make_batch()
    plain, half = make_model(), make_model(dict(autocast=True))
    for name, value in step(plain, batch).items():
        other = step(half, batch)[name]
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, value, rtol=5e-2, atol=5e-2)


# ------------------------------------------------------------------ what is not there
def test_images_without_a_caption_do_not_count(make_model, make_samples):
    samples = with_images(make_samples(), 'a', 'b', 'c', 'd')
    collate = AlignmentCollate(max_num_patches=12)
    kept = collate(samples[:1] + samples[3:])
    samples[1].short = samples[2].short = None
    model = make_model(**ALL)
    model.eval()
    some, fewer = model(collate(samples)), model(kept)
    for name, value in fewer.items():
        torch.testing.assert_close(some[name], value, rtol=1e-4, atol=1e-5)


def test_no_caption_at_all(make_model, make_samples):
    """Losses are 0, and every weight is reached, as a process of several needs it."""
    samples = make_samples()
    for sample in samples:
        sample.short = None
    batch = AlignmentCollate(max_num_patches=12)(samples)
    model = make_model(**ALL)
    outputs = step(model, batch)
    assert all(v == 0 for name, v in outputs.items() if name.startswith('loss_'))
    assert without_gradient(model) == []
    assert not any(grad.any() for grad in gradients(model).values())


def test_one_pair_has_no_negative(make_model, make_samples):
    batch = AlignmentCollate(max_num_patches=12)(make_samples()[:1])
    model = make_model()
    outputs = step(model, batch)
    assert outputs['loss_pre_ranking'] == 0
    image, texts = model.encoder.image_tokens(batch.images), batch.short_ids
    words, mask = model.encoder.text_tokens(texts, 'short')
    logits = model.ranker(image[0], words[:, None], mask[:, None])
    own = losses.matching_loss(logits, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(outputs['loss_ranking'], own.detach())


def test_equal_images_everywhere(make_model, make_samples):
    """All pairs match: nobody has a negative, and the pre-ranking is even."""
    samples = with_images(make_samples(), *'aaaa')
    outputs = step(make_model(), AlignmentCollate(max_num_patches=12)(samples))
    assert outputs['loss_ranking'] > 0 and outputs['loss_pre_ranking'] > 0


# ------------------------------------------------------------------------------ state
def test_steps_differ_and_repeat(make_model, make_batch):
    """Numbers are drawn by seed and step, which is in the checkpoint with teacher,
    queues and centre."""
    batch, options = make_batch(), dict(ALL, feature_form='distribution')
    model = make_model(**options)
    torch.manual_seed(1)
    first = step(model, batch)
    middle = copy.deepcopy(model.state_dict())
    assert model.step == 1 and model.queue.count == 4 and model.centre.any()
    second = step(model, batch)
    torch.manual_seed(2)  # not the generator of the whole program
    again = make_model(**options)
    for name, value in step(again, batch).items():
        if 'mlm' not in name:  # the word head's weights were drawn from it
            torch.testing.assert_close(value, first[name])
    again.load_state_dict(middle)
    for name, value in step(again, batch).items():
        torch.testing.assert_close(value, second[name])
    assert first['loss_mlm'] != second['loss_mlm']
    assert first['loss_ranking'] != second['loss_ranking']


@pytest.mark.parametrize('seed', [2**23, 2**31 - 1, 2**32 - 1])
def test_any_seed_draws(make_model, make_batch, seed):
    batch = make_batch()
    model, again = (make_model(dict(seed=seed), **ALL) for _ in range(2))
    for _ in range(2):
        found, wanted = step(model, batch), step(again, batch)
        assert all(value.isfinite() for value in found.values())
        assert found['loss_ranking'] == wanted['loss_ranking']


def test_teacher_follows_and_alpha_grows(make_model, make_batch):
    batch = make_batch()
    model = make_model(**ALL, momentum=0.5, alpha_steps=2)
    assert model._alpha() == 0
    name = 'text_model.final_layer_norm.bias'
    theirs, mine = (
        part.get_parameter(name) for part in (model.encoder, model.teacher.module)
    )
    with torch.no_grad():
        theirs.add_(1.0)
    step(model, batch)
    torch.testing.assert_close(mine, theirs - 0.5)
    assert model._alpha() == pytest.approx(0.2)
    model.eval()
    model(batch)
    torch.testing.assert_close(mine, theirs - 0.5)
    assert model.step == 1 and model.queue.count == 4
    step(model.train(), batch)
    step(model, batch)
    assert model._alpha() == pytest.approx(0.4)


def test_tokens_of_a_batch(make_model, make_batch):
    """Four images of twelve patches, and a caption of 64 or 196 positions each."""
    batch = make_batch()
    assert batch.images.pixel_values.shape[:2] == (4, 12)
    assert make_model().num_tokens(batch) == 4 * 12 + 4 * 64
    assert make_model(dict(captions='long')).num_tokens(batch) == 4 * 12 + 4 * 196


def test_temperature_is_clamped(make_model, make_batch):
    model = make_model()
    with torch.no_grad():
        model.temperature.fill_(3.0)
    assert model(make_batch())['temperature'] == 0.5


def test_thirty_steps_bring_the_loss_down(make_model, make_batch):
    batch = make_batch()
    model = make_model(**ALL, alpha_steps=100)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    totals = []
    for _ in range(30):
        optimizer.zero_grad()
        total, _ = model.parse_losses(model(batch))
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.7 * sum(totals[:5])


# -------------------------------------------------------------------------- bad input
def test_a_ranker_of_before(make_model, make_batch, small_encoder, tmp_path):
    model = make_model()
    model.ranker.save_pretrained(tmp_path / 'ranker', model.encoder)
    again = R2D2Alignment(
        dict(pretrained=small_encoder), ranker=dict(pretrained=tmp_path / 'ranker')
    )
    for name, value in model.ranker.state_dict().items():
        assert torch.equal(value, again.ranker.state_dict()[name])
    with pytest.raises(ValueError, match='has its own sizes'):
        make_model(ranker=dict(pretrained=tmp_path / 'ranker'))  # and its layers
    with pytest.raises(ValueError, match=r'trained on the tokens of another|of widths'):
        R2D2Alignment(dict(size='tiny'), ranker=dict(pretrained=tmp_path / 'ranker'))


def test_wrong_options(make_model, make_batch):
    with pytest.raises(ValueError, match='captions must be one of'):
        make_model(dict(captions='box'))
    with pytest.raises(ValueError, match="expected reads='image', got 'region'"):
        make_model(ranker=dict(reads='region'))
    with pytest.raises(ValueError, match='mlm needs the joint encoder of texts'):
        make_model(ranker=dict(sides='image'), mlm=1)
    with pytest.raises(ValueError, match="mode must be 'loss'"):
        make_model()(make_batch(), mode='predict')
    assert isinstance(make_model().ranker, Ranker)


def test_starts_from_clip(clip_tiny):
    """A folder of CLIP, which becomes FG-CLIP 1 with a ranker."""
    model = R2D2Alignment(dict(clip=clip_tiny), ranker=dict(num_hidden_layers=1))
    vision = model.encoder.config.vision
    samples = [make_sample(number, 2, 0) for number in range(3)]
    collate = AlignmentCollate(
        version=1, tokenizer=clip_tiny, grid_side=vision.grid_side,
        patch_size=vision.patch_size,
    )  # fmt: skip
    step(model.train(), collate(samples))
    assert without_gradient(model) == []
