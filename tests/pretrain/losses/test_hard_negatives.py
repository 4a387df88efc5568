"""Hard-negative losses against hand-made numbers and loops over rows."""

import pytest
import torch
import torch.nn.functional as F

from pretrain.losses import hard_contrastive_loss, hard_cosines, hard_negative_loss

REGION = torch.tensor([2, 0, 3])
INDEX = torch.tensor([[4, 1, 0, -1], [2, -1, -1, -1], [4, 3, -1, 5]])


def make(dim=4):
    """4 regions, 6 texts, log scale, bias, all leaves."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(10, dim, generator=draw, dtype=torch.float64)
    regions, texts = F.normalize(rows, dim=1).split([4, 6])
    numbers = [torch.tensor([v], dtype=torch.float64) for v in (0.8, -0.3)]
    return [x.clone().requires_grad_() for x in (regions, texts, *numbers)]


def loop_hard(regions, texts, scale, bias, form):
    total, count = 0, 0
    for region, (first, *rest) in zip(REGION, INDEX, strict=True):
        present = [first, *(t for t in rest if t >= 0)]
        cosines = torch.stack([regions[region] @ texts[t] for t in present])
        logits = scale[0].exp() * cosines + bias[0]
        if form == 'softmax':
            total, count = total - logits[0] + logits.logsumexp(0), count + 1
        else:
            signs = torch.tensor([1.0] + [-1.0] * (len(logits) - 1))
            total = total - F.logsigmoid(signs * logits).sum()
            count += len(logits)
    return total / count


def loop_contrastive(regions, texts, scale):
    positives = [texts[t] for t in INDEX[:, 0]]
    negatives = [texts[t] for t in INDEX[:, 1:].flatten() if t >= 0]
    chosen = [regions[r] for r in REGION]
    total = 0
    for h, region in enumerate(chosen):
        row = torch.stack([region @ t for t in positives + negatives])
        column = torch.stack([r @ positives[h] for r in chosen])
        for cosines in (row, column):
            logits = scale[0].exp() * cosines
            total = total - logits[h] + logits.logsumexp(0)
    return total / (2 * len(chosen))


@pytest.mark.parametrize(
    ('form', 'expected'), [('softmax', 0.3604338), ('binary', 0.4652159)]
)
def test_by_hand(form, expected):
    """Region e0 and texts e0, e1, -e0, scale e^0: cosines 1, 0, -1.

    Row (e0; e1, none): softmax log(e + 1) - 1 = 0.3132617; row (e0; e1, -e0):
    log(e + 1 + 1/e) - 1 = 0.4076060; the mean is 0.3604338.
    Binary: softplus(-1) + softplus(0) = 1.0064089 for the first row, softplus(-1) =
    0.3132617 more for the second: 2.3260795 over 5 texts.
    """
    texts = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    index = torch.tensor([[0, 1, -1], [0, 1, 2]])
    inputs = torch.tensor([[1.0, 0]]), texts, torch.zeros(2).long(), index
    loss = hard_negative_loss(*inputs, torch.zeros(1), form=form)
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_bias_by_hand():
    """Logits 2 and 1 with bias 1: (softplus(-2) + softplus(1)) / 2 =
    (0.1269280 + 1.3132617) / 2; a softmax does not see a bias."""
    inputs = (
        torch.eye(2)[:1],
        torch.eye(2),
        torch.zeros(1).long(),
        torch.tensor([[0, 1]]),
    )
    scale, bias = torch.zeros(1), torch.ones(1)
    loss = hard_negative_loss(*inputs, scale, bias, form='binary')
    torch.testing.assert_close(loss, torch.tensor(0.7200949))
    loss = hard_negative_loss(*inputs, scale, bias)
    torch.testing.assert_close(loss, torch.tensor(0.3132617))


def test_contrastive_by_hand():
    """Regions e0, e1 with positives e0, e1 and one negative -e0; scale e^0.

    Region 0 has logits (1, 0, -1): log(e + 1 + 1/e) - 1 = 0.4076060; region 1
    (0, 1, 0): log(e + 2) - 1 = 0.5514447; each text to both regions log(e + 1) - 1 =
    0.3132617. The sum 1.5855741 over 2 * 2.
    """
    texts = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
    index = torch.tensor([[0, 2], [1, -1]])
    loss = hard_contrastive_loss(
        torch.eye(2), texts, torch.arange(2), index, torch.zeros(1)
    )
    torch.testing.assert_close(loss, torch.tensor(0.3963935))


def test_cosines_by_hand():
    """Absent negatives have cosine 0 and are not valid."""
    texts = torch.tensor([[0.6, 0.8], [0, 1]])
    index = torch.tensor([[1, 0], [0, -1]])
    positive, negative, valid = hard_cosines(
        torch.eye(2), texts, torch.tensor([1, 0]), index
    )
    torch.testing.assert_close(positive, torch.tensor([1.0, 0.6]))
    torch.testing.assert_close(negative, torch.tensor([[0.8], [0.0]]))
    assert valid.tolist() == [[True], [False]]


@pytest.mark.parametrize('form', ['softmax', 'binary'])
def test_equals_loop_with_gradients(form):
    inputs, again = make(), make()
    regions, texts, scale, bias = inputs
    loss = hard_negative_loss(regions, texts, REGION, INDEX, scale, bias, form=form)
    expected = loop_hard(*again, form)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for x, y in zip(inputs, again, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_contrastive_equals_loop_with_gradients():
    inputs, again = make()[:3], make()[:3]
    loss = hard_contrastive_loss(*inputs[:2], REGION, INDEX, inputs[2])
    expected = loop_contrastive(*again)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for x, y in zip(inputs, again, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize('form', ['softmax', 'binary', 'contrastive'])
def test_gradcheck(form):
    def loss(regions, texts, scale, bias):
        rest = (regions, texts, REGION, INDEX, scale)
        if form == 'contrastive':
            return hard_contrastive_loss(*rest) + 0 * bias.sum()
        return hard_negative_loss(*rest, bias, form=form)

    assert torch.autograd.gradcheck(loss, make(dim=3))


@pytest.mark.parametrize('form', ['softmax', 'binary'])
def test_more_absent_negatives_change_nothing(form):
    regions, texts, scale, bias = make()
    wider = F.pad(INDEX, (0, 3), value=-1)
    losses = [
        hard_negative_loss(regions, texts, REGION, index, scale, bias, form=form)
        for index in (INDEX, wider)
    ]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize('num_texts', [0, 6])
@pytest.mark.parametrize('width', [1, 4])
@pytest.mark.parametrize('form', ['softmax', 'binary', 'contrastive'])
def test_no_rows(form, width, num_texts):
    """Exactly 0, with zero gradients rather than none."""
    regions, texts, scale, _ = make()
    none = torch.zeros(0, width, dtype=torch.long)
    inputs = regions, texts[:num_texts], none[:, 0], none, scale
    if form == 'contrastive':
        loss = hard_contrastive_loss(*inputs)
    else:
        loss = hard_negative_loss(*inputs, form=form)
    loss.backward()
    assert loss == 0
    for x in (regions, texts, scale):
        assert x.grad is not None
        assert not x.grad.any()


@pytest.mark.parametrize('form', ['softmax', 'binary', 'contrastive'])
def test_bfloat16_embeddings_and_autocast_give_float32_logits(form):
    regions, texts, scale, _ = (x.detach().float() for x in make())
    half = regions.bfloat16(), texts.bfloat16()

    def run(*embeds):
        if form == 'contrastive':
            return hard_contrastive_loss(*embeds, REGION, INDEX, scale)
        return hard_negative_loss(*embeds, REGION, INDEX, scale, form=form)

    with torch.autocast('cpu', torch.bfloat16):
        loss = run(*half)
        cosines = hard_cosines(*half, REGION, INDEX)
    assert loss.dtype == cosines[0].dtype == cosines[1].dtype == torch.float32
    assert loss == run(*(x.float() for x in half))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'text_embeds': torch.zeros(6, 3)}, r'\(T, D\), got \(4, 4\) and \(6, 3\)'),
        ({'hard_index': INDEX[0]}, r'hard_index must be \(H, 1 \+ M\), got \(4,\)'),
        ({'hard_region': REGION[:2]}, r'hard_region must be \(3,\).* got \(2,\)'),
        ({'hard_region': REGION - 1}, 'hard_region must name a region in every row'),
        ({'hard_index': INDEX - 3}, 'row 1 of hard_index has no positive'),
    ],
)
@pytest.mark.parametrize('loss', [hard_negative_loss, hard_contrastive_loss])
def test_errors(loss, change, message):
    regions, texts, scale, _ = make()
    arguments = {
        'region_embeds': regions,
        'text_embeds': texts,
        'hard_region': REGION,
        'hard_index': INDEX,
        'logit_scale': scale,
    }
    with pytest.raises(ValueError, match=message):
        loss(**{**arguments, **change})


def test_unknown_form():
    regions, texts, scale, _ = make()
    with pytest.raises(ValueError, match=r"form must be one of .* got 'other'"):
        hard_negative_loss(regions, texts, REGION, INDEX, scale, form='other')
