"""Target-guided and feature-guided distillation: by hand, against slow loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from pretrain.losses import (
    QueueEntries,
    feature_guided_loss,
    next_centre,
    pre_ranking_loss,
    target_guided_loss,
)


def unit(count: int, dims: int = 4, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, dims, generator=draw, dtype=torch.float64)
    return F.normalize(rows, dim=1)


def keys(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


def queue_of(*weights: float, image_keys=(0, 9, -1), text_keys=(5, 6, -1)):
    count = len(weights)
    return QueueEntries(
        unit(count, seed=7),
        unit(count, seed=8),
        keys(*image_keys[:count]),
        keys(*text_keys[:count]),
        torch.tensor(weights, dtype=torch.float64),
    )


PAIRS = dict(
    image_embeds=unit(4),
    text_embeds=unit(4, seed=1),
    teacher_image_embeds=unit(4, seed=2),
    teacher_text_embeds=unit(4, seed=3),
    image_keys=keys(0, 1, 0, -1),
)


# ---------------------------------------------------------------------- target-guided
def softmax(scores: list[float]) -> list[float]:
    norm = sum(math.exp(score) for score in scores)
    return [math.exp(score) / norm for score in scores]


def slow_loss(queue, temperature, alpha, weighting, text_keys=None) -> float:
    """The formula of the docstring, one number at a time."""
    count, image_keys = 4, PAIRS['image_keys'].tolist()
    all_images = image_keys + queue.image_keys.tolist()
    weights = [1.0] * count + queue.weights.tolist()
    students = PAIRS['image_embeds'], PAIRS['text_embeds']
    teachers = PAIRS['teacher_image_embeds'], PAIRS['teacher_text_embeds']
    entries = queue.text, queue.image
    total = 0.0
    for student, teacher, others, more in zip(
        students, teachers, teachers[::-1], entries, strict=True
    ):
        columns = [*others, *more]
        for i in range(count):
            matches = [
                i == j or image_keys[i] == all_images[j] != -1
                for j in range(len(columns))
            ]
            if text_keys is not None:
                all_texts = text_keys + queue.text_keys.tolist()
                for j, key in enumerate(all_texts):
                    matches[j] = matches[j] or text_keys[i] == key != -1
            own, soft = (
                [
                    float(query[i] @ column) / temperature
                    + (math.log(w) if weighting == 'softmax' else 0.0)
                    for column, w in zip(columns, weights, strict=True)
                ]
                for query in (student, teacher)
            )
            own, soft = softmax(own), softmax(soft)
            for j, w in enumerate(weights):
                target = alpha * soft[j] + (1 - alpha) * matches[j] / sum(matches)
                total -= (w if weighting == 'loss' else 1) * target * math.log(own[j])
    return total / (2 * count)


def test_target_guided_by_hand():
    """One pair, one entry of weight 1/2 in the queue, temperature 1, a = 0.4. Cosines
    of the student's image with the teacher's texts 1 and 0: P = (e, 1) / (1 + e); the
    teacher's own are 0 and 1: P' = (1, e) / (1 + e). Targets 0.4 P' + 0.6 (1, 0)."""
    x, y = torch.eye(2).split(1)
    queue = QueueEntries(y, y, keys(3), keys(3), torch.tensor([0.5]))
    loss = target_guided_loss(
        x, x, y, x, torch.ones(1), keys(1), keys(1), queue, alpha=0.4
    )
    high, low = math.e / (1 + math.e), 1 / (1 + math.e)
    image = -((0.4 * low + 0.6) * math.log(high) + 0.5 * 0.4 * high * math.log(low))
    # the text sees the teacher's images (0, 1), (0, 1): everything is even
    text = -((0.4 * 0.5 + 0.6) + 0.5 * 0.4 * 0.5) * math.log(0.5)
    torch.testing.assert_close(loss, torch.tensor((image + text) / 2))


@pytest.mark.parametrize('weighting', ['loss', 'softmax', 'none'])
@pytest.mark.parametrize('text_keys', [None, [5, -1, 7, 7]])
def test_target_guided_equals_a_slow_loop(weighting, text_keys):
    queue = queue_of(1.0, 0.99, 0.5)
    loss = target_guided_loss(
        **PAIRS,
        temperature=torch.tensor(0.2),
        text_keys=None if text_keys is None else keys(*text_keys),
        queue=queue,
        alpha=0.3,
        weighting=weighting,
    )
    expected = slow_loss(queue, 0.2, 0.3, weighting, text_keys)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_labels_alone_are_pre_ranking_against_the_teacher():
    """a = 0, nothing in the queue, and the teacher is the student."""
    images, texts = unit(4), unit(4, seed=1)
    temperature, image_keys = torch.tensor(0.2), keys(0, 1, 0, -1)
    plain = pre_ranking_loss(images, texts, temperature, image_keys)
    loss = target_guided_loss(
        images, texts, images, texts, temperature, image_keys, alpha=0.0
    )
    torch.testing.assert_close(loss, plain)
    empty = target_guided_loss(
        images, texts, images, texts, temperature, image_keys, queue=queue_of(), alpha=0
    )
    torch.testing.assert_close(empty, plain)


def test_target_guided_gradcheck_and_what_has_none():
    leaves = [unit(4, seed=seed).requires_grad_() for seed in range(4)]
    leaves.append(torch.tensor(0.3, dtype=torch.float64, requires_grad=True))

    def of_the_student(images, texts):
        # the targets' temperature is the teacher's affair: it has no gradient there
        return target_guided_loss(
            images, texts, leaves[2], leaves[3], leaves[4].detach(), keys(0, 1, 0, -1),
            queue=queue_of(1.0, 0.5),
        )  # fmt: skip

    assert torch.autograd.gradcheck(of_the_student, leaves[:2])
    loss = target_guided_loss(*leaves, keys(0, 1, 0, -1), queue=queue_of(1.0, 0.5))
    loss.backward()
    assert leaves[2].grad is None and leaves[3].grad is None
    assert leaves[4].grad.abs() > 0


def test_target_guided_of_nothing_and_of_one():
    none = torch.zeros(0, 4, requires_grad=True)
    for queue in (None, queue_of(), queue_of(1.0)):
        loss = target_guided_loss(
            none, none, none, none, torch.ones(1), keys(), queue=queue
        )
        loss.backward()
        assert loss == 0
    one = [unit(1, seed=seed) for seed in range(4)]
    assert target_guided_loss(*one, torch.ones(1), keys(0)) == 0
    assert target_guided_loss(*one, torch.ones(1), keys(0), queue=queue_of(1.0)) > 0


def test_target_guided_bad_input():
    def call(**changes):
        return target_guided_loss(**(PAIRS | dict(temperature=torch.ones(1)) | changes))

    with pytest.raises(ValueError, match=r'alpha must lie in \[0, 1\], got 2'):
        call(alpha=2)
    with pytest.raises(ValueError, match=r"weighting must be one of.*'sum'"):
        call(weighting='sum')
    with pytest.raises(ValueError, match='must see the same pairs'):
        call(teacher_image_embeds=unit(3))


# --------------------------------------------------------------------- feature-guided
def test_feature_guided_by_hand():
    """Cosines 0 and 0.6: (1 + 0.4) / 2. Squares 1 + 1 and 4 + 0, two channels."""
    student = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    teacher = torch.tensor([[0.0, 1.0], [5.0, 0.0]])
    cosine = feature_guided_loss(student, teacher)
    torch.testing.assert_close(cosine, torch.tensor(0.7))
    mse = feature_guided_loss(student, teacher, form='mse')
    torch.testing.assert_close(mse, torch.tensor((2 + 4 + 16) / 4))


def test_distribution_by_hand():
    """Teacher (ln 3, 0) less the centre (0, 0), temperature 1: (3/4, 1/4). Student
    (ln 2, 0), temperature 1/2: (4/5, 1/5)."""
    student = torch.tensor([[math.log(2), 0.0]])
    teacher = torch.tensor([[math.log(3) + 2, 1.0]])
    loss = feature_guided_loss(
        student, teacher, form='distribution', centre=torch.tensor([2.0, 1.0]),
        student_temperature=0.5, teacher_temperature=1.0,
    )  # fmt: skip
    expected = -(0.75 * math.log(0.8) + 0.25 * math.log(0.2))
    torch.testing.assert_close(loss, torch.tensor(expected))


@pytest.mark.parametrize('form', ['cosine', 'mse', 'distribution'])
def test_feature_guided_gradients(form):
    student, teacher = unit(3).requires_grad_(), unit(3, seed=1).requires_grad_()
    options = dict(form=form, student_temperature=0.5, teacher_temperature=0.5)
    assert torch.autograd.gradcheck(
        lambda x: feature_guided_loss(x, teacher, **options), [student]
    )
    feature_guided_loss(student, teacher, **options).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    nothing = torch.zeros(0, 4, requires_grad=True)
    loss = feature_guided_loss(nothing, nothing, **options)
    loss.backward()
    assert loss == 0


def test_the_centre_moves_towards_the_mean():
    teacher = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    centre = next_centre(teacher, torch.tensor([10.0, 0.0]), 0.9)
    torch.testing.assert_close(centre, torch.tensor([9.2, 0.4]))
    assert torch.equal(next_centre(teacher[:0], centre), centre)


def test_feature_guided_bad_input():
    with pytest.raises(ValueError, match=r"form must be one of.*'l1'"):
        feature_guided_loss(unit(2), unit(2), form='l1')
    with pytest.raises(ValueError, match=r'\(2, 4\) and \(3, 4\)'):
        feature_guided_loss(unit(2), unit(3))
