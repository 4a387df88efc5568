"""Fusion rules against numbers worked out by hand, and their common checks."""

import math

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS

from fgclip2_det.models import fusion
from fgclip2_det.models.fusion import ScoreFusion
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.models.score_calibration import ScoreCalibration

# the rule that needs a ranker is in test_name_ranker.py
OTHERS = ('ScoreFusion', 'OpenVocabRankingFusion')
RULES = [name for name in fusion.__all__ if name not in OTHERS]
DET = torch.tensor([[0.5, 0.3]])
COSINES = torch.tensor([[0.27, 0.25]])  # softmax at 0.01: (2, 0) -> 0.880797, 0.119203
SPLIT = torch.tensor([True, False])  # base, novel
A, B = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))


def build(name: str, **options) -> ScoreFusion:
    return MODELS.build(dict(type=f'OpenVocab{name}Fusion', **options))


def test_the_hand_has_the_right_softmax():
    assert pytest.approx(0.880797, abs=1e-6) == A
    assert pytest.approx(0.119203, abs=1e-6) == B


@pytest.mark.parametrize(
    ('name', 'options', 'expected'),
    [
        ('Geometric', {}, [0.663625, 0.189106]),  # roots of 0.4403985, 0.0357609
        ('Geometric', dict(alpha=0.0), [0.5, 0.3]),
        ('Geometric', dict(alpha=1.0), [A, B]),
        ('Geometric', dict(alpha=[1.0, 0.0]), [A, 0.3]),
        ('Geometric', dict(alpha=0.0, beta=0.5), [0.5, 0.189106]),
        ('Arithmetic', {}, [0.690399, 0.209602]),
        ('Arithmetic', dict(alpha=0.25), [0.595199, 0.254801]),
        ('ViLD', {}, [0.25 ** (1 / 3) * A ** (1 / 3), 0.3 ** (1 / 3) * B ** (2 / 3)]),
        ('LaMI', {}, [0.5 / 5, 0.3**0.6 * B**0.4]),
        ('LaMI', dict(novel_scale=0.5), [0.5, 0.3**0.6 * B**0.4 / 2]),
        ('LaMI', dict(novel_scale=1.0, beta=0.25), [0.5, 0.3**0.75 * B**0.25]),
        # logit(0.5) = 0, logit(0.3) = -0.847298; cos / 0.1 = 2.7 and 2.5
        (
            'Logit',
            dict(temperature=0.1),
            [1 / (1 + math.exp(-1.35)), 1 / (1 + math.exp(-0.826351))],
        ),
        (
            'Logit',
            dict(temperature=0.1, alpha=1.0, bias=-2.5),
            [1 / (1 + math.exp(-0.2)), 0.5],
        ),
        # sigmoid(0.27 / 0.03 = 9) = 0.999877, sigmoid(25 / 3) = 0.999760
        ('DetRefiner', dict(image_weight=0.0), [0.4999877, 0.339976]),
        # 0.8 d + 0.6 s, over 1.4
        ('DetRefiner', dict(image_weight=0.0, alpha=0.6), [0.714233, 0.599897]),
    ],
)
def test_by_hand(name, options, expected):
    fused = build(name, **options)(DET, COSINES, SPLIT)
    torch.testing.assert_close(
        fused, torch.tensor([expected], dtype=torch.float32), atol=2e-6, rtol=0
    )


def test_fvit_fusion_by_hand():
    """F-ViT's OV-COCO constants: 0.1 / 0.8, T = 75. Cosines 0.02 apart: softmax
    of (1.5, 0) = 0.8175745, 0.1824255. Base 0.5^0.9 * 0.8175745^0.1 = 0.5251928;
    novel 0.3^0.2 * 0.1824255^0.8 = 0.2015046."""
    fused = build('FViT')(
        torch.tensor([[0.5, 0.3]]),
        torch.tensor([[0.27, 0.25]]),
        torch.tensor([True, False]),
    )
    expected = torch.tensor([[0.5**0.9 * 0.8175745**0.1, 0.3**0.2 * 0.1824255**0.8]])
    torch.testing.assert_close(fused, expected)


def test_fvit_limits():
    det = torch.tensor([[0.5, 0.3]])
    cosines, novel = torch.tensor([[0.3, 0.1]]), torch.tensor([False, False])
    only_det = build('FViT', alpha=0.0, beta=0.0)
    torch.testing.assert_close(only_det(det, cosines, novel), det)
    only_sim = build('FViT', alpha=1.0, beta=1.0, temperature=0.1)
    expected = (cosines * 10).softmax(-1)
    torch.testing.assert_close(only_sim(det, cosines, novel), expected)


def test_fvlm_gives_a_distribution_with_the_background():
    """Base 0.5^0.65 A^0.35, novel 0.3^0.35 B^0.65, background 0.2; over their sum."""
    base, novel = 0.5**0.65 * A**0.35, 0.3**0.35 * B**0.65
    total = base + novel + 0.2
    fused = build('FVLM')(DET, COSINES, SPLIT)
    expected = torch.tensor([[base / total, novel / total]])
    torch.testing.assert_close(fused, expected)
    assert fused.sum() < 1
    crowded = build('FVLM')(torch.tensor([[0.9, 0.8]]), COSINES, SPLIT)
    torch.testing.assert_close(crowded.sum(), torch.tensor(1.0))
    nothing = build('FVLM', alpha=0.0, beta=0.0)(
        torch.tensor([[0.0, 0.0]]), COSINES, SPLIT
    )
    assert torch.equal(nothing, torch.zeros(1, 2))


def test_fvlm_of_one_score_per_box():
    """Background 1 - d: base 0.6^0.65 A^0.35, novel 0.6^0.35 B^0.65, each beside 0.4;
    and what a score for each name gives that is 0 on all others."""
    base, novel = 0.6**0.65 * A**0.35, 0.6**0.35 * B**0.65
    rule = build('FVLM')
    fused = rule(torch.tensor([[0.6]]), COSINES, SPLIT)
    expected = torch.tensor([[base / (base + 0.4), novel / (novel + 0.4)]])
    torch.testing.assert_close(fused, expected)
    for label in range(2):
        own = torch.zeros(1, 2)
        own[0, label] = 0.6
        given = rule(own, COSINES, SPLIT)[0, label]
        torch.testing.assert_close(given, fused[0, label])
    cosines = torch.linspace(0.20, 0.24, 9)[None]
    sure = rule(torch.ones(1, 1), cosines, torch.ones(9, dtype=torch.bool))
    assert (sure.diff() > 0).all()  # the encoder still tells names apart


@pytest.mark.parametrize('count', [1, 2, 40, 1203])
@pytest.mark.parametrize('rule', [r for r in RULES if 'DetRefiner' not in r])
def test_fused_scores_rise_with_the_score_of_a_box(rule, count):
    """One score per box: the score of every name rises, be it base or novel."""
    generator = torch.Generator().manual_seed(count)
    fuse = MODELS.build(dict(type=rule))
    is_base = torch.rand(count, generator=generator) < 0.7
    is_base[0] = True
    fuse.set_names(torch.randn(count, 8, generator=generator), is_base)
    cosines = torch.rand(1, count, generator=generator) * 0.04
    det = torch.linspace(0.01, 0.99, 30)[:, None]
    scores = fuse(det, cosines.expand(30, count), is_base).double()
    assert (scores.diff(dim=0) > 0).all()


@pytest.mark.parametrize('mode', ['keep', 'box'])
def test_fvlm_of_a_rescorer_asks_the_detector(mode):
    """Equal similarities: the detector's order. One score of 0.6 on three names in
    'keep' and 'box' is the score that 'joint' gives a box with that row alone."""
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 20, 30, 30], [50, 50, 60, 60]])
    cosines = torch.tensor([[0.30, 0.29, 0.28]]).repeat(3, 1)
    scores, labels = torch.tensor([0.3, 0.6, 0.95]), torch.zeros(3, dtype=torch.long)
    is_base = torch.tensor([True, True, False])
    given = cosines, boxes, torch.arange(3), scores, labels
    rows = {}
    for one in (mode, 'joint'):
        names = torch.zeros(3, 1)
        rows[one] = PredictionRescorer(None, names, build('FVLM'), one, is_base)
        rows[one] = rows[one].fuse(*given)
    order = scores.argsort(descending=True)
    actual = rows[mode].scores[rows[mode].source.argsort()]
    assert torch.equal(actual.argsort(descending=True), order)
    joint = rows['joint'].scores[rows['joint'].source.argsort()]
    torch.testing.assert_close(actual, joint)
    det_scores = rows[mode].det_scores[rows[mode].source.argsort()]
    assert torch.equal(det_scores, scores)


def test_detrefiner_adds_the_image():
    """0.1 sigmoid(0.3) and 0.1 sigmoid(-0.6) with cosines of 0.009 and -0.018."""
    rule, image = build('DetRefiner'), torch.tensor([0.009, -0.018])
    without = build('DetRefiner', image_weight=0.0)(DET, COSINES)
    expected = without + torch.tensor([[0.0574443, 0.0354344]])
    torch.testing.assert_close(rule(DET, COSINES, None, image), expected)
    for actual in (None, torch.zeros(3)):
        with pytest.raises(ValueError, match=r'image_cosines must be \(2,\)'):
            rule(DET, COSINES, None, actual)


def test_geometric_order_does_not_depend_on_other_names():
    """More names make all of a box's scores smaller by one factor."""
    generator = torch.Generator().manual_seed(0)
    det = torch.rand(5, 40, generator=generator)
    cosines = torch.rand(5, 40, generator=generator) / 5
    rule = build('Geometric')
    few, many = rule(det[:, :7], cosines[:, :7]), rule(det, cosines)[:, :7]
    ratio = few / many
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    logit = build('Logit')
    torch.testing.assert_close(
        logit(det[:, :7], cosines[:, :7]), logit(det, cosines)[:, :7]
    )


@pytest.mark.parametrize('rule', RULES)
def test_every_rule(rule):
    """One score a box serves all classes; no boxes and half precision are fine; the
    rules are registered."""
    options = dict(image_weight=0.0) if 'DetRefiner' in rule else {}
    fuse = MODELS.build(dict(type=rule, **options))
    assert isinstance(fuse, ScoreFusion)
    fuse.set_names(torch.eye(2), SPLIT)
    generator = torch.Generator().manual_seed(1)
    det, cosines = torch.rand(4, 1, generator=generator), COSINES.expand(4, 2)
    fused = fuse(det, cosines, SPLIT)
    if rule != 'OpenVocabFVLMFusion':  # it sums the scores of a box
        torch.testing.assert_close(fused, fuse(det.expand(4, 2), cosines, SPLIT))
    assert fused.shape == (4, 2) and fused.dtype == torch.float32
    assert fuse(det.half(), cosines.bfloat16(), SPLIT).dtype == torch.float32
    assert fuse(det[:0], cosines[:0], SPLIT).shape == (0, 2)
    for alpha in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match='alpha must lie in'):
            MODELS.build(dict(type=rule, alpha=alpha))
    with pytest.raises(ValueError, match='temperature must be positive, got 0'):
        MODELS.build(dict(type=rule, temperature=0))
    with pytest.raises(ValueError, match=r'must be \(4, 2\) like the cosines'):
        fuse(torch.rand(4, 3), cosines, SPLIT)


@pytest.mark.parametrize('rule', RULES)
def test_scores_lie_between_0_and_1(rule):
    """Of the surest boxes, whatever the weights; calibration keeps the order."""
    for alpha in (0.0, 0.6, 1.0):
        fuse = MODELS.build(dict(type=rule, alpha=alpha))
        fuse.set_names(torch.eye(2), SPLIT)
        det, cosines = torch.tensor([[1.0, 1.0], [0.2, 0.9]]), torch.eye(2)
        image = dict(image_cosines=torch.ones(2)) if fuse.needs_image else {}
        fused = fuse(det, cosines, SPLIT, **image)
        assert (fused >= 0).all() and (fused <= 1).all()
        moved = ScoreCalibration(base=-0.5, novel=-1.0)(fused, SPLIT)
        assert torch.equal(moved.argsort(0), fused.argsort(0))


def test_bad_weights():
    with pytest.raises(ValueError, match=r'beta must lie in .* got 2'):
        build('ViLD', beta=2)
    with pytest.raises(ValueError, match='beta must be None where alpha has a weight'):
        build('Arithmetic', alpha=[0.5, 0.5], beta=0.1)
    with pytest.raises(ValueError, match='alpha has 3 weights, but there are 2 cl'):
        build('Geometric', alpha=[0.1, 0.2, 0.3])(DET, COSINES)
    with pytest.raises(ValueError, match=r'need is_base \(2,\), got None'):
        build('FViT')(DET, COSINES)
    with pytest.raises(ValueError, match='novel_scale must be positive, got 0'):
        build('LaMI', novel_scale=0)
    with pytest.raises(ValueError, match=r'novel_scale=5.0 needs is_base \(2,\)'):
        build('LaMI', beta=None)(DET, COSINES)
    plain = build('LaMI', alpha=0.4, beta=None, novel_scale=1)(DET, COSINES)
    assert torch.equal(plain, build('Geometric', alpha=0.4)(DET, COSINES))
    with pytest.raises(ValueError, match='det_weight must lie in'):
        build('DetRefiner', det_weight=1.1)


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('Geometric', dict(alpha='0.5'), "alpha must lie in .0, 1., got '0.5'"),
        ('Geometric', dict(alpha=[]), 'a weight for each class, got none'),
        ('Geometric', dict(alpha=None), 'alpha must lie in .* got None'),
        ('FViT', dict(alpha=True), 'alpha must lie in .* got True'),
        ('FViT', dict(temperature=math.inf), 'temperature must be a finite number'),
        ('FViT', dict(temperature='0.01'), "temperature must be a number, got '0.01'"),
        ('Logit', dict(bias=math.nan), 'bias must be a finite number, got nan'),
        ('LaMI', dict(novel_scale=math.inf), 'novel_scale must be a finite number'),
        ('Confidence', dict(gamma=math.inf), 'gamma must be a finite number'),
        ('DetRefiner', dict(image_weight='1'), "image_weight must lie in .* got '1'"),
    ],
)
def test_values_without_meaning(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


def test_weights_follow_the_distance_from_training():
    """Cosines with the nearest base name are 1, 0.6 and 0, so distances 0, 0.4, 1."""
    fuse = build('Novelty', alpha=0.2, beta=0.7)
    embeds = torch.tensor([[1.0, 0, 0], [0, 3, 0], [0.6, 0, 0.8], [0, 0, 1]])
    is_base = torch.tensor([True, True, False, False])
    fuse.set_names(embeds, is_base)
    expected = torch.tensor([0.2, 0.2, 0.2 + 0.5 * 0.4, 0.7])
    torch.testing.assert_close(fuse.weights(4, is_base), expected)
    det, cosines = torch.rand(3, 4), torch.rand(3, 4)
    plain = build('Geometric', alpha=expected.tolist())
    torch.testing.assert_close(fuse(det, cosines, is_base), plain(det, cosines))
    with pytest.raises(ValueError, match='weights are for 4 names, expected 2'):
        fuse(DET, COSINES, SPLIT)
    with pytest.raises(ValueError, match='no name is base'):
        fuse.set_names(embeds, torch.zeros(4, dtype=torch.bool))
    fuse.set_names(embeds[:2], is_base[:2])  # nothing is novel
    assert fuse.weights(2, None).tolist() == pytest.approx([0.2, 0.2])


def test_a_sure_detector_is_asked_less():
    """a = 0.5 x 0.2 ** 2 = 0.02 at d = 0.8, and 0.5 x 0.9 ** 2 = 0.405 at d = 0.1."""
    fuse = build('Confidence', alpha=0.5, gamma=2, temperature=1.0)
    actual = fuse(torch.tensor([[0.8, 0.1]]), torch.zeros(1, 2))
    expected = [0.8**0.98 * 0.5**0.02, 0.1**0.595 * 0.5**0.405]
    torch.testing.assert_close(actual, torch.tensor([expected]))
    det, cosines = torch.rand(3, 2), torch.rand(3, 2)
    plain = build('Geometric', alpha=0.3)(det, cosines)
    torch.testing.assert_close(
        build('Confidence', alpha=0.3, gamma=0)(det, cosines), plain
    )
    with pytest.raises(ValueError, match='gamma must be at least 0, got -1'):
        build('Confidence', gamma=-1)
