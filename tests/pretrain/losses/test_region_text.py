"""Both forms of the region-phrase loss against hand-made numbers and loops."""

import pytest
import torch
import torch.nn.functional as F

from pretrain.losses import region_text_loss

# 5 regions; 6 texts, of which 1 and 4 have one key and 5 is nobody's phrase
PHRASES = torch.tensor([0, 1, 4, 2, 0])
KEYS = torch.tensor([10, 11, 12, 13, 11, 14])
# 12, a phrase, is true of region 0, 14, no phrase, of region 3, 99, of which there is
# no embedding, of region 1; regions 2, 3 and 4 name their own phrase too
TRUE = torch.tensor([[12, -1], [99, -1], [11, 11], [12, 14], [10, 11]])
KNOWN = {0: {12}, 1: {99}, 3: {14}, 4: {11}}


def make(dim=4):
    """5 regions, 6 texts (equal where keys are), a log scale, all leaves."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(11, dim, generator=draw, dtype=torch.float64)
    regions, texts = F.normalize(rows, dim=1).split([5, 6])
    texts[4] = texts[1]
    scale = torch.tensor([0.9], dtype=torch.float64)
    return [x.clone().requires_grad_() for x in (regions, texts, scale)]


def loop_identity(regions, texts, scale):
    total = 0
    for k, phrase in enumerate(PHRASES):
        row = torch.stack([regions[k] @ texts[p] for p in PHRASES])
        column = torch.stack([region @ texts[phrase] for region in regions])
        for cosines in (row, column):
            logits = scale[0].exp() * cosines
            total = total - (logits[k] - logits.logsumexp(0))
    return total / (2 * len(PHRASES))


def loop_distinct(regions, texts, scale, known):
    own = KEYS[PHRASES].tolist()
    text = {key: texts[KEYS.tolist().index(key)] for key in set(own)}

    def log_sum(pairs):
        logits = [scale[0].exp() * (regions[k] @ text[key]) for k, key in pairs]
        return torch.stack(logits).logsumexp(0)

    total, everyone = 0, range(len(own))
    for k, key in enumerate(own):
        allowed = [(k, t) for t in text if t not in known.get(k, ())]
        total = total - log_sum([(k, key)]) + log_sum(allowed)
        right = [(j, key) for j in everyone if own[j] == key]
        allowed = [(j, key) for j in everyone if key not in known.get(j, ())]
        total = total - log_sum(right) + log_sum(allowed)
    return total / (2 * len(own))


@pytest.mark.parametrize(
    ('form', 'expected'), [('identity', 0.7584781), ('distinct', 0.3048208)]
)
def test_shared_phrase_by_hand(form, expected):
    """Regions e0, e0, e1 with the phrases e0, e0, e1; scale e^0.

    ``identity``: rows of logits (1, 1, 0), (1, 1, 0), (0, 0, 1), the same both ways:
    log(2e + 1) - 1 = 0.8619948 and log(e + 2) - 1 = 0.5514447, in the mean
    (2 * 0.8619948 + 0.5514447) / 3 = 0.7584781.
    ``distinct``: region to text log(e + 1) - 1 = 0.3132617 for each region; text e0
    to regions log(2e + 1) - log(2e) = 0.1688476 for two of them, text e1
    log(e + 2) - 1 = 0.5514447: (0.3132617 + 0.8891400 / 3) / 2 = 0.3048208.
    """
    regions = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    index, keys = torch.tensor([0, 0, 1]), torch.tensor([7, 8])
    texts, scale = torch.eye(2), torch.zeros(1)
    loss = region_text_loss(regions, texts, index, keys, scale, form=form)
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_other_true_text_by_hand():
    """Regions e0, e1 with phrases e0, e1; e1 is true of region 0 as well.

    Region 0 has one text left: 0. Region 1: log(e + 1) - 1 = 0.3132617. Text e0 to
    both regions: 0.3132617; text e1 to region 1 alone, because region 0 is no wrong
    answer: 0. (0.3132617 + 0.3132617) / 4 = 0.1566309.
    """
    index, eye = torch.arange(2), torch.eye(2)
    true = torch.tensor([[0, 1], [-1, -1]])
    loss = region_text_loss(eye, eye, index, index, torch.zeros(1), true_keys=true)
    torch.testing.assert_close(loss, torch.tensor(0.1566309))


def both(form, true):
    """The loss of fresh inputs, the loop's, and the inputs of each."""
    inputs, again = make(), make()
    loss = region_text_loss(
        *inputs[:2], PHRASES, KEYS, inputs[2], true_keys=true, form=form
    )
    if form == 'identity':
        return loss, loop_identity(*again), inputs, again
    known = {} if true is None else KNOWN
    return loss, loop_distinct(*again, known), inputs, again


@pytest.mark.parametrize(
    ('form', 'true'), [('identity', None), ('distinct', None), ('distinct', TRUE)]
)
def test_equals_loop_with_gradients(form, true):
    loss, expected, inputs, again = both(form, true)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    if form == 'distinct':  # which copy of one text gets the gradient is open
        for x in (inputs[1].grad, again[1].grad):
            x[1] += x[4].clone()
            x[4] = 0
    for x, y in zip(inputs, again, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize('form', ['identity', 'distinct'])
def test_gradcheck(form):
    def loss(regions, texts, scale):
        texts = texts[[0, 1, 2, 3, 1, 5]]  # copies stay copies
        options = {'true_keys': TRUE, 'form': form}
        return region_text_loss(regions, texts, PHRASES, KEYS, scale, **options)

    assert torch.autograd.gradcheck(loss, make(dim=3))


def test_text_that_is_no_phrase_has_no_part():
    regions, texts, scale = make()
    loss = region_text_loss(regions, texts, PHRASES, KEYS, scale, true_keys=TRUE)
    loss.backward()
    assert not texts.grad[[3, 5]].any()
    assert texts.grad[[0, 2]].any(1).all()


@pytest.mark.parametrize('form', ['identity', 'distinct'])
def test_order_of_regions_and_texts_is_free(form):
    regions, texts, scale = make()
    order, places = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([5, 2, 0, 1, 4, 3])
    new = region_text_loss(
        regions[order],
        texts[places],
        places.argsort()[PHRASES[order]],
        KEYS[places],
        scale,
        true_keys=TRUE[order],
        form=form,
    )
    old = region_text_loss(
        regions, texts, PHRASES, KEYS, scale, true_keys=TRUE, form=form
    )
    torch.testing.assert_close(new, old)


@pytest.mark.parametrize('form', ['identity', 'distinct'])
@pytest.mark.parametrize('num_texts', [0, 6])
def test_no_regions(form, num_texts):
    """Exactly 0, with zero gradients rather than none."""
    regions, texts, scale = make()
    none = torch.zeros(0, dtype=torch.long)
    options = {'true_keys': none.view(0, 2), 'form': form}
    few = texts[:num_texts], none, KEYS[:num_texts]
    loss = region_text_loss(regions[:0], *few, scale, **options)
    loss.backward()
    assert loss == 0
    for x in (regions, texts, scale):
        assert x.grad is not None
        assert not x.grad.any()


@pytest.mark.parametrize('form', ['identity', 'distinct'])
def test_one_region(form):
    """One region and one phrase: nothing to choose from."""
    regions, texts, scale = make()
    one = regions[:1], texts, torch.tensor([3]), KEYS, scale
    assert region_text_loss(*one, form=form) == 0


@pytest.mark.parametrize('form', ['identity', 'distinct'])
def test_bfloat16_embeddings_and_autocast_give_float32_logits(form):
    regions, texts, scale = (x.detach().float() for x in make())
    half = regions.bfloat16(), texts.bfloat16()
    rest = PHRASES, KEYS, scale
    with torch.autocast('cpu', torch.bfloat16):
        loss = region_text_loss(*half, *rest, form=form)
    assert loss.dtype == torch.float32
    assert loss == region_text_loss(*(x.float() for x in half), *rest, form=form)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'form': 'other'}, "form must be one of .* got 'other'"),
        ({'text_embeds': torch.zeros(6, 3)}, r'\(T, D\), got \(5, 4\) and \(6, 3\)'),
        ({'phrase_index': PHRASES[:4]}, r'phrase_index must be \(5,\)'),
        ({'phrase_index': PHRASES - 1}, 'phrase_index must name a text for every'),
        ({'text_keys': None}, r"'distinct' needs text_keys \(6,\), got None"),
        ({'text_keys': KEYS[:5]}, r'needs text_keys \(6,\), got \(5,\)'),
        ({'true_keys': TRUE[:4]}, r'true_keys must be \(5, n\), got \(4, 2\)'),
    ],
)
def test_errors(change, message):
    regions, texts, scale = make()
    arguments = {
        'region_embeds': regions,
        'text_embeds': texts,
        'phrase_index': PHRASES,
        'text_keys': KEYS,
        'logit_scale': scale,
    }
    with pytest.raises(ValueError, match=message):
        region_text_loss(**{**arguments, **change})
