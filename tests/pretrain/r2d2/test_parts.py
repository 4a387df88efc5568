"""Teacher, queues, masked texts and options of R2D2's training."""

import pytest
import torch
from torch import nn

from fgclip2_det import FGCLIP1, FGCLIP2
from pretrain.r2d2.feature_queue import FeatureQueue
from pretrain.r2d2.masked_text import MaskedTextHead, SpecialIds, hidden_states
from pretrain.r2d2.momentum_teacher import MomentumTeacher
from pretrain.r2d2.options import R2D2Losses, r2d2_losses


# ---------------------------------------------------------------------------- teacher
def test_teacher_by_hand():
    """0.9 * 1 + 0.1 * 3 = 1.2, then 0.9 * 1.2 + 0.1 * 3 = 1.38."""
    student = nn.BatchNorm1d(2)
    teacher = MomentumTeacher(student, 0.9)
    with torch.no_grad():
        student.weight.fill_(3.0)
    student.running_mean.fill_(5.0)
    for expected in (1.2, 1.38):
        teacher.update(student)
        assert teacher.module.weight.tolist() == pytest.approx([expected] * 2)
    assert teacher.module.running_mean.tolist() == [5.0, 5.0]
    assert not any(p.requires_grad for p in teacher.parameters())
    assert student.weight.requires_grad


def test_teacher_shares_what_is_frozen_and_never_trains():
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Dropout())
    student[0].requires_grad_(False)
    teacher = MomentumTeacher(student, 0.5).train()
    assert teacher.module[0].weight is student[0].weight
    assert teacher.module[1].weight is not student[1].weight
    assert teacher.training and not teacher.module[2].training
    assert student[2].training
    before = student[0].weight.clone()
    teacher.update(student)
    assert torch.equal(student[0].weight, before)
    state = teacher.state_dict()
    assert len(state) == 4
    with pytest.raises(ValueError, match=r'momentum must lie in \[0, 1\], got 1.5'):
        MomentumTeacher(student, 1.5)


# ----------------------------------------------------------------------------- queues
def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def enqueue(queue: FeatureQueue, *values: int) -> None:
    keys = torch.tensor(values, dtype=torch.long)
    queue.enqueue(rows(*map(float, values)), -rows(*map(float, values)), keys, keys + 1)


def test_queue_by_hand():
    """Room for four: 1 2 3, then 4 5 (5 takes the place of 1), then none."""
    queue = FeatureQueue(4, 1, decay=0.5)
    assert len(queue.entries().image) == 0
    enqueue(queue, 1, 2, 3)
    found = queue.entries()
    assert found.image[:, 0].tolist() == [1, 2, 3] == (-found.text[:, 0]).tolist()
    assert found.image_keys.tolist() == [1, 2, 3]
    assert found.text_keys.tolist() == [2, 3, 4]
    assert found.weights.tolist() == [1, 1, 1]
    enqueue(queue, 4, 5)
    found = queue.entries()
    assert found.image_keys.tolist() == [5, 2, 3, 4]
    assert found.weights.tolist() == [1, 0.5, 0.5, 1]
    enqueue(queue)
    assert queue.entries().weights.tolist() == [0.5, 0.25, 0.25, 0.5]


def test_queue_of_a_batch_larger_than_it():
    queue = FeatureQueue(2, 1)
    enqueue(queue, 1, 2, 3, 4, 5)
    assert sorted(queue.entries().image_keys.tolist()) == [4, 5]
    enqueue(queue, 6)
    assert sorted(queue.entries().image_keys.tolist()) == [5, 6]


def test_queue_goes_on_from_its_state():
    queue, other = FeatureQueue(3, 1), FeatureQueue(3, 1)
    enqueue(queue, 1, 2)
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        enqueue(each, 3, 4)
    for mine, theirs in zip(queue.entries(), other.entries(), strict=True):
        assert torch.equal(mine, theirs)
    for options in (dict(size=0), dict(size=1, decay=0.0)):
        with pytest.raises(ValueError, match=r'room for 1 pair|decay must lie'):
            FeatureQueue(dims=1, **options)


# ----------------------------------------------------------------------- masked texts
def test_special_ids():
    """Gemma's mask is the fifth piece; CLIP's vocabulary ends with start and end."""
    second, first = FGCLIP2.from_size('tiny'), FGCLIP1.from_size('tiny')
    special = SpecialIds.of(second)
    assert (special.mask, special.fixed, special.words) == (4, (0, 1), (5, 2048))
    ids = second.tokenize(['a red circle'], 'short')
    count = second.tokenizer.count('a red circle')
    assert special.maskable(ids)[0].tolist() == [True] * (count - 1) + [False] * (
        65 - count
    )
    special = SpecialIds.of(first)
    assert (special.mask, special.fixed, special.words) == (512, (512, 513), (0, 512))
    assert int(special.maskable(first.tokenize('abc', 'short')).sum()) == 3
    assert SpecialIds.of(second, 9).mask == 9
    with pytest.raises(ValueError, match='mask_id must be below the 2048 tokens'):
        SpecialIds.of(second, 2048)
    second.tokenizer = None
    with pytest.raises(ValueError, match='need the tokenizer of the encoder'):
        SpecialIds.of(second)


@pytest.mark.parametrize('kind', [FGCLIP1, FGCLIP2])
def test_states_belong_to_their_tokens(kind):
    """State j + 1 is that of token j: only its own word moves it without attention to
    others, so each layer's attention is silenced."""
    encoder = kind.from_size('tiny', generator=torch.Generator().manual_seed(0))
    for name, parameter in encoder.text_model.encoder.named_parameters():
        if 'attn' in name:
            nn.init.zeros_(parameter)
    ids = encoder.tokenize(['ab cd ef', 'ab'], 'short')
    special = SpecialIds.of(encoder)
    place = int(special.maskable(ids)[0].nonzero()[1, 0])
    changed = ids.clone()
    changed[0, place] = special.mask
    with torch.no_grad():
        states, other = (encoder.text_tokens(x, 'short')[0] for x in (ids, changed))
    moved = (states != other).any(-1)
    assert moved.nonzero().tolist() == [[0, place + 1]]
    targets = torch.full_like(ids, -1)
    targets[0, place] = ids[0, place]
    found, words = hidden_states(states, targets)
    assert torch.equal(found, states[0, place + 1][None])
    assert words.tolist() == [int(ids[0, place])]


def test_word_head_starts_small():
    """Rows of length 30: logits of deviation about 1, and a gradient for the table."""
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(500, 64, generator=draw) * 30 / 8
    table.requires_grad_()
    head = MaskedTextHead(table)
    logits = head(torch.randn(20, 64, generator=draw), table)
    assert logits.shape == (20, 500)
    assert float(logits.detach().std()) == pytest.approx(1, abs=0.1)
    logits.sum().backward()
    assert table.grad is not None
    assert head(torch.zeros(0, 64), table).shape == (0, 500)


# ---------------------------------------------------------------------------- options
def test_presets():
    assert r2d2_losses() == R2D2Losses()
    fine, whole = r2d2_losses('fine_tuning'), r2d2_losses('pre_training')
    assert (fine.pre_ranking, fine.ranking, fine.has_teacher) == (1, 1, False)
    assert not fine.has_masked_text and fine.has_ranker and not fine.double_softmax
    assert whole.has_teacher and whole.has_masked_text and not whole.pre_ranking
    assert r2d2_losses(class_weights=[1, 3]).class_weights == (1, 3)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(preset='paper'), "preset must be one of .*'paper'"),
        (dict(rank=1), r"unknown \['rank'\]"),
        (dict(ranking=-1), 'ranking must be a number'),
        (dict(mlm=True), 'mlm must be a number'),
        (dict(pre_ranking=0, ranking=0), 'all weights are 0'),
        (dict(alpha=1.5), r'alpha must be a number in \[0, 1\]'),
        (dict(temperature=0.7), r'temperature must be a number in \[0.001, 0.5\]'),
        (dict(queue_size=0), 'queue_size must be a whole number of 1 or more'),
        (dict(mask_id=-1), 'mask_id must be a whole number'),
        (dict(queue_decay=0), 'queue_decay must be a number'),
        (dict(negatives='rank'), "negatives must be one of .*'rank'"),
        (dict(weighting='sum'), "weighting must be one of .*'sum'"),
        (dict(feature_form='l1'), "feature_form must be one of .*'l1'"),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        r2d2_losses(**changes)
