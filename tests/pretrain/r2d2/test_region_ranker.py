"""Training of a region ranker: candidates, losses, what stays frozen, two processes."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor

from fgclip2_det import FGCLIP2
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.runner import build_runner
from fgclip2_det.engine.start import prepare_training
from fgclip2_det.models.name_ranker import NameRanker
from fgclip2_det.ranker import Ranker
from pretrain.data import AlignmentCollate
from pretrain.r2d2.kept_regions import KeptRegions
from pretrain.r2d2.kept_texts import KeptTexts
from pretrain.r2d2.region_ranker import FGCLIP2RegionRanker
from pretrain.r2d2.region_texts import RegionTexts, draw_candidates
from tests.pretrain.conftest import make_sample
from tests.pretrain.model_steps import gradients, step
from tests.processes import fork_two

ROOT = Path(__file__).resolve().parents[3]
SPLITS = (2, 5)  # samples of the first process, of 6


def model_of(encoder: Path, **options) -> FGCLIP2RegionRanker:
    sizes = dict(num_hidden_layers=1, region_grid=2)
    return FGCLIP2RegionRanker(dict(pretrained=encoder), sizes, **options).train()


def batch_of(first: int = 0, last: int = 6):
    """The fourth and the last sample have no box."""
    samples = [make_sample(n, (2, 1, 4, 0, 3, 0)[n], 3) for n in range(6)]
    return AlignmentCollate(max_num_patches=12)(samples[first:last])


def texts_by_hand(batch) -> tuple[list[set], list[set]]:
    """Keys of the true texts and of the own hard negatives of each region."""
    keys = batch.box_keys.tolist()
    true = [{keys[i]} for i in batch.phrase_index.tolist()]
    own = [set() for _ in true]
    for region, row in zip(batch.true_keys.tolist(), range(len(true)), strict=True):
        true[row] |= {key for key in region if key in keys}
    for region, index in zip(
        batch.hard_region.tolist(), batch.hard_index.tolist(), strict=True
    ):
        true[region].add(keys[index[0]])
        own[region] |= {keys[i] for i in index[1:] if i >= 0}
    return true, [ours - right for ours, right in zip(own, true, strict=True)]


def test_texts_of_regions():
    batch = batch_of()
    texts = RegionTexts.of(batch)
    keys = texts.keys.tolist()
    assert keys == sorted(set(batch.box_keys.tolist()))
    for key, ids in zip(batch.box_keys.tolist(), batch.box_ids, strict=True):
        assert torch.equal(texts.ids[keys.index(key)], ids)
    true, own = texts_by_hand(batch)
    for row in range(len(true)):
        assert {keys[i] for i in texts.true[row].nonzero()[:, 0]} == true[row]
        assert {keys[i] for i in texts.own[row].nonzero()[:, 0]} == own[row]


def table(true: list[list[int]], own: list[list[int]], count: int) -> RegionTexts:
    marks = []
    for rows in (true, own):
        mark = torch.zeros(len(rows), count, dtype=torch.bool)
        for row, columns in enumerate(rows):
            mark[row, columns] = True
        marks.append(mark)
    return RegionTexts(torch.zeros(count, 4), torch.arange(count), *marks)


@pytest.mark.parametrize('own_share', [0.0, 0.4, 1.0])
def test_candidates_are_drawn_from_the_similarities(own_share):
    """Frequencies of 4,000 draws against the chances by hand."""
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(1, 6, generator=generator).repeat(4000, 1)
    texts = table([[1, 4]] * 4000, [[0, 5]] * 4000, 6)
    columns, valid = draw_candidates(cosines, texts, 2, 0.5, own_share, seed=3)
    assert valid.all() and columns.shape == (4000, 3)
    chances = (cosines[0] / 0.5).exp()
    others = torch.tensor([1, 0, 1, 1, 0, 1]) * chances
    own = torch.tensor([1, 0, 0, 0, 0, 1]) * chances
    wanted = own_share * own / own.sum() + (1 - own_share) * others / others.sum()
    found = columns[:, 1:].flatten().bincount(minlength=6) / 8000
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)
    first = columns[:, 0].bincount(minlength=6) / 4000
    torch.testing.assert_close(
        first, torch.tensor([0, 0.5, 0, 0, 0.5, 0]), atol=0.03, rtol=0
    )


def test_nothing_to_draw():
    """A region for which every text is true; no own hard negatives; no texts at all."""
    texts = table([[0, 1, 2], [2]], [[], []], 3)
    columns, valid = draw_candidates(torch.zeros(2, 3), texts, 2, 1.0, 1.0, seed=0)
    assert valid.tolist() == [[True, False, False], [True, True, True]]
    assert columns[1, 0] == 2 and set(columns[1, 1:].tolist()) <= {0, 1}
    columns, valid = draw_candidates(
        torch.zeros(2, 0), table([[], []], [[], []], 0), 2, 1.0, 0.5, seed=0
    )
    assert not valid.any() and columns.shape == (2, 3)


def losses_by_hand(model: FGCLIP2RegionRanker, batch) -> tuple[Tensor, Tensor]:
    """Region by region, one candidate at a time."""
    encoder, texts = model.encoder, RegionTexts.of(batch)
    with torch.no_grad():
        _, maps = encoder.encode_grids(batch.images)
        pooled = encoder.region_features(batch.images, batch.bboxes, True)
        embeds = encoder.encode_text(texts.ids, 'box', True)
        columns, valid = draw_candidates(
            torch.cat(pooled) @ embeds.T, texts, model.num_negatives, model.temperature,
            model.own_share, seed=(model.seed << 40) + int(model.step),
        )  # fmt: skip
    assert valid.all()
    boxes = [(i, box) for i, own in enumerate(batch.bboxes) for box in own]
    matching, weights, choice = 0, 0, []
    for (image, box), row in zip(boxes, columns.tolist(), strict=True):
        size = batch.images.image_sizes[image].tolist()
        region = model.ranker.regions(maps[image], size, box[None])
        odds = []
        for place, column in enumerate(row):
            tokens, _ = encoder.text_tokens(texts.ids[column : column + 1], 'box')
            logits = model.ranker(region, tokens.detach()[None])
            target, weight = torch.tensor([int(place == 0)]), 2.0 if place == 0 else 1.0
            parts = [F.cross_entropy(part[0], target) for part in logits]
            matching, weights = matching + weight * sum(parts) / 2, weights + weight
            odds.append(sum(part[0, 0, 1] - part[0, 0, 0] for part in logits) / 2)
        choice.append(-torch.stack(odds).log_softmax(0)[0])
    return matching / weights, torch.stack(choice).mean()


def test_losses_are_those_by_hand(small_encoder):
    model, batch = model_of(small_encoder, matching=0.3, choice=0.7), batch_of()
    matching, choice = losses_by_hand(model, batch)
    wanted = torch.autograd.grad(
        0.3 * matching + 0.7 * choice, model.ranker.parameters()
    )
    found = model(batch)
    torch.testing.assert_close(
        found['loss_matching'], 0.3 * matching, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(found['loss_choice'], 0.7 * choice, rtol=1e-4, atol=1e-5)
    (found['loss_matching'] + found['loss_choice']).backward()
    for parameter, grad in zip(model.ranker.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('seed', [2**24, 2**31 - 1, 2**32 - 1])
def test_any_seed_draws(small_encoder, seed):
    models = [model_of(small_encoder, seed=seed) for _ in range(2)]
    for _ in range(2):
        first, second = (step(model, batch_of()) for model in models)
        assert first['loss_choice'] == second['loss_choice']
    assert first['loss_choice'].isfinite()


def test_the_encoder_stays_and_is_in_no_checkpoint(small_encoder):
    model = model_of(small_encoder)
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    step(model, batch_of())
    assert all(p.grad is not None for p in model.ranker.parameters())
    assert not any(p.requires_grad for p in model.encoder.parameters())
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(before[name], weight)
    assert all(name.startswith(('ranker.', 'step')) for name in model.state_dict())
    assert int(model.step) == 1
    other = model_of(small_encoder)
    other.load_state_dict(model.state_dict())
    assert float(other(batch_of())['loss_choice'].detach()) == pytest.approx(
        float(model(batch_of())['loss_choice'].detach())
    )


def test_a_batch_without_boxes_reaches_every_weight(small_encoder):
    model, batch = model_of(small_encoder), batch_of(3, 4)
    losses = model(batch)
    total = losses['loss_matching'] + losses['loss_choice']
    assert float(total.detach()) == 0
    total.backward()
    assert all(p.grad is not None for p in model.ranker.parameters())


def test_texts_are_read_once(small_encoder):
    model, batch = model_of(small_encoder), batch_of()
    texts, kept = RegionTexts.of(batch), KeptTexts()
    rows = kept(model.encoder, texts.ids, texts.keys)
    states, mask = model.encoder.text_tokens(texts.ids, 'box')
    length = states.shape[1]
    torch.testing.assert_close(
        kept.states[rows][:, :length] * mask[..., None], states * mask[..., None],
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip
    torch.testing.assert_close(
        kept.embeds[rows], model.encoder.encode_text(texts.ids, 'box', True),
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip
    count = len(kept.states)
    assert torch.equal(kept(model.encoder, texts.ids[:2], texts.keys[:2]), rows[:2])
    assert len(kept.states) == count
    small = KeptTexts(max_values=1)
    for part in (slice(0, 2), slice(1, 4)):
        again = small(model.encoder, texts.ids[part], texts.keys[part])
        torch.testing.assert_close(
            small.embeds[again], kept.embeds[rows[part]], atol=1e-5, rtol=1e-4
        )
    assert len(small.states) == 3


def regions_anew(model: FGCLIP2RegionRanker, batch) -> tuple[Tensor, Tensor]:
    parts = model._read_regions(batch.images, batch.bboxes)
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def test_images_are_read_once(small_encoder):
    """Kept, new, of other boxes and of other pixels in one batch; then without room."""
    model, first, both = model_of(small_encoder), batch_of(0, 3), batch_of(0, 5)
    read: list[int] = []

    def counted(images, bboxes):
        read.append(len(bboxes))
        return model._read_regions(images, bboxes)

    for kept, counts in (
        (KeptRegions(), [3, 2, 1, 1]),
        (KeptRegions(max_values=0), [3, 5, 4, 4]),  # one has no boxes
    ):
        read.clear()
        kept(first, counted)
        moved = dataclasses.replace(both, bboxes=[*both.bboxes])
        moved.bboxes[1] = both.bboxes[1] * 0.9
        pixels = both.images.pixel_values.clone()
        pixels[2, 0] += 0.1
        images = dataclasses.replace(both.images, pixel_values=pixels)
        turned = dataclasses.replace(both, images=images)
        for batch in (both, moved, turned):
            found, wanted = kept(batch, counted), regions_anew(model, batch)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        assert read == counts


def test_an_image_is_the_same_beside_others(small_encoder):
    """Padding to the largest neighbour does not count; twice in a batch is once."""
    model = model_of(small_encoder)
    one, other, third = (
        Image.effect_noise(size, 90).convert('RGB')
        for size in ((40, 30), (64, 16), (48, 48))
    )
    kept, read = KeptRegions(), []

    def counted(images, bboxes):
        read.append(len(bboxes))
        return model._read_regions(images, bboxes)

    box = torch.tensor([[2.0, 2, 20, 12]])
    for pictures in ([one, other], [third, one], [one, third, one]):
        images = model.encoder.preprocess(pictures, 12)
        batch = SimpleNamespace(images=images, bboxes=[box] * len(pictures))
        found, wanted = kept(batch, counted), regions_anew(model, batch)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert read == [2, 1]
    assert kept._num_values == 3 * sum(x[:1].numel() for x in found)


def test_kept_tokens_give_the_same_losses(small_encoder):
    model, batch = model_of(small_encoder).eval(), batch_of()  # eval: the same draw
    first, second = model(batch), model(batch)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value)


# ------------------------------------------------------------------- two processes
def numbers(encoder: Path, first: int, last: int) -> dict:
    model = model_of(encoder)
    losses = [step(model, batch_of(first, last)) for _ in range(2)]
    return dict(losses=losses, gradients=gradients(model))


def work(encoder: Path, folder: Path) -> None:
    dist.init_process_group('gloo')
    rank = dist.get_rank()
    for split in SPLITS:
        first, last = ((0, split), (split, 6))[rank]
        torch.save(numbers(encoder, first, last), folder / f'{split}_{rank}.pt')
    dist.destroy_process_group()


def test_two_processes_are_one(small_encoder, tmp_path):
    """With the split at 5 the second one has no region."""
    fork_two(work, small_encoder, tmp_path)
    one = numbers(small_encoder, 0, 6)
    for split in SPLITS:
        two = [torch.load(tmp_path / f'{split}_{rank}.pt') for rank in range(2)]
        for number, losses in enumerate(one['losses']):
            for name, value in losses.items():
                mean = sum(part['losses'][number][name] for part in two) / 2
                torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-5)
        for name, grad in one['gradients'].items():
            mean = (two[0]['gradients'][name] + two[1]['gradients'][name]) / 2
            torch.testing.assert_close(mean, grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_negatives=0), 'num_negatives must be at least 1'),
        (dict(temperature=0.0), 'temperature must be more than 0'),
        (dict(own_share=1.5), r'own_share must lie in \[0, 1\]'),
        (dict(matching=0.0, choice=0.0), 'not both 0'),
    ],
)
def test_bad_options(small_encoder, options, message):
    with pytest.raises(ValueError, match=message):
        model_of(small_encoder, **options)


def test_it_only_trains(small_encoder):
    with pytest.raises(ValueError, match="mode must be 'loss'"):
        model_of(small_encoder)(batch_of(), 'predict')
    assert isinstance(model_of(small_encoder).ranker, Ranker)


def test_two_steps_of_the_config_and_what_reads_the_result(tmp_path, monkeypatch):
    """The folder that a run leaves ranks names in re-scoring."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    init_default_scope('mmdet')
    threads = torch.get_num_threads()
    cfg = load_config(
        ROOT / 'configs/pretrain/ranker_tiny_ovshapes.py',
        work_dir=str(tmp_path / 'run'),
    )
    cfg.merge_from_dict({
        'train_cfg.max_iters': 2, 'param_scheduler': [],
        'train_dataloader.batch_size': 2,
        'train_dataloader.dataset.num_images': 8,
        'train_dataloader.dataset.data_root': str(tmp_path / 'data'),
        'default_hooks.logger.interval': 1, 'default_hooks.checkpoint.interval': 2,
    })  # fmt: skip
    prepare_training(cfg)
    runner = build_runner(cfg)
    runner.train()
    groups = runner.optim_wrapper.param_groups
    torch.set_num_threads(threads)
    # two layers of eight matrices of attention and two of the MLP
    assert sum(len(g['params']) for g in groups if g['muon']) == 2 * 10
    assert runner.iter == 2
    saved = torch.load(tmp_path / 'run' / 'iter_2.pth')['state_dict']
    assert saved['step'] == 2
    assert all(name.startswith(('ranker.', 'step')) for name in saved)
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    names = ['red circle', '蓝色星形']
    reader = NameRanker.load(tmp_path / 'run' / 'ranker', encoder, encoder, names, 5)
    assert reader.ranker.config.sides == 'text' and len(reader.texts.states) == 2
