"""Parts of names as targets: recoloured objects, labels and losses."""

import math

import pytest
import torch

from fgclip2_det import Vocabulary
from fgclip2_det.models.roi_heads.name_parts import NameParts
from tests.models.test_detector import build, data

HEAD = 'model.roi_head.bbox_head.'
NAMES = ['red cup', 'blue cup', 'red plate', 'green bowl', 'blue plate', 'green cup']
NOVEL = ['blue plate', 'green cup']
PARTS = {name: name.split() for name in NAMES}
RED_CUP, BLUE_CUP, RED_PLATE, GREEN_BOWL = range(4)
TEXTS = ['red', 'blue', 'green', 'cup', 'plate', 'bowl']


def vocabulary(names=NAMES, parts=PARTS, novel=NOVEL) -> Vocabulary:
    return Vocabulary(names, novel_classes=novel, parts=parts, check=False)


def name_parts(**options) -> NameParts:
    module = NameParts(**options)
    asked = []

    def embed(texts: Vocabulary) -> torch.Tensor:
        asked.extend(texts.names)
        return torch.zeros(len(texts), 8)

    texts = module.set_vocabulary(vocabulary(), torch.zeros(6, 8), embed)
    assert asked == TEXTS and len(texts) == 6
    return module


def test_labels_by_what_regions_look_like():
    module = name_parts()
    labels = torch.tensor([RED_CUP, RED_CUP, RED_PLATE, GREEN_BOWL, 6, BLUE_CUP])
    looks = torch.tensor([-1, BLUE_CUP, BLUE_CUP, RED_CUP, -1, RED_PLATE])
    renamed, named = module.rename(labels, looks)
    # a blue plate is novel, a red bowl no name at all: neither becomes a label
    assert renamed.tolist() == [RED_CUP, BLUE_CUP, RED_PLATE, GREEN_BOWL, 6, RED_CUP]
    assert named.tolist() == [True, True, False, False, True, True]


def test_look_at_another_place():
    module = name_parts(look=-1)
    renamed, named = module.rename(
        torch.tensor([RED_CUP, BLUE_CUP]), torch.tensor([RED_PLATE, RED_PLATE])
    )
    assert renamed.tolist() == [RED_PLATE, BLUE_CUP]
    assert named.tolist() == [True, False]


@pytest.mark.parametrize('regions', ['recolored', 'new', 'all'])
def test_loss_is_the_sum_of_softmaxes_over_places(regions):
    module = name_parts(loss_weight=0.5, regions=regions)
    torch.manual_seed(1)
    logits = torch.randn(4, 6, requires_grad=True)
    labels = torch.tensor([RED_CUP, RED_CUP, RED_PLATE, GREEN_BOWL])
    looks = torch.tensor([RED_PLATE, BLUE_CUP, BLUE_CUP, -1])
    targets = [('red', 'cup'), ('blue', 'cup'), ('blue', 'plate'), ('green', 'bowl')]
    counted = {'recolored': [0, 1, 2], 'new': [2], 'all': [0, 1, 2, 3]}[regions]
    expected = 0.0
    for row in counted:
        values = dict(zip(TEXTS, logits[row].tolist(), strict=True))
        for part, place in zip(targets[row], (TEXTS[:3], TEXTS[3:]), strict=True):
            total = sum(math.exp(values[text]) for text in place)
            expected += math.log(total) - values[part]
    loss = module.loss(logits, labels, looks)
    assert loss.item() == pytest.approx(0.5 * expected / 4, rel=1e-5)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any(1).tolist() == [row in counted for row in range(4)]


def test_loss_without_regions():
    logits = torch.zeros(0, 6, requires_grad=True)
    none = torch.zeros(0).long()
    loss = name_parts().loss(logits, none, none)
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize(
    ('parts', 'options', 'message'),
    [
        ({**PARTS, 'red cup': ['cup']}, {}, 'base name .* is made of'),
        ({'green cup': ['green', 'cup']}, {}, 'none of the base names has parts'),
        ({**PARTS, 'red cup': ['red', 'red']}, {}, "'red' stands at two places"),
        (PARTS, dict(look=2), 'no part at place 2 of lists of 2'),
        ({**PARTS, 'red plate': ['Red', 'cup']}, {}, 'are made of the same parts'),
    ],
)
def test_parts_that_do_not_fit(parts, options, message):
    with pytest.raises(ValueError, match=message):
        NameParts(**options).set_vocabulary(
            vocabulary(parts=parts), torch.zeros(6, 8), None
        )


def test_unknown_regions():
    with pytest.raises(ValueError, match='regions must be one of'):
        NameParts(regions='some')


def test_novel_names_may_have_other_parts():
    """Base names alone are compared; a novel one with three parts is no obstacle."""
    parts = {**PARTS, 'blue plate': ['blue', 'big', 'plate']}
    module = NameParts()
    module.set_vocabulary(
        vocabulary(parts=parts), torch.zeros(6, 8), lambda t: torch.zeros(len(t), 8)
    )
    assert module.index[NAMES.index('blue plate')].tolist() == [-1, -1]


def test_names_without_parts_are_whole_names():
    parts = {name: texts for name, texts in PARTS.items() if name != 'green bowl'}
    module = NameParts(regions='all')
    module.set_vocabulary(
        vocabulary(parts=parts), torch.zeros(6, 8), lambda t: torch.zeros(len(t), 8)
    )
    labels, looks = torch.tensor([GREEN_BOWL, RED_CUP]), torch.tensor([-1, -1])
    assert module.rename(labels, looks)[1].all()
    logits = torch.randn(2, 4, requires_grad=True)
    module.loss(logits, labels, looks).backward()
    assert logits.grad.any(1).tolist() == [False, True]


def trained(looks, **options):
    """Losses and detector of two images with a red cup and a blue one."""
    model = build(**{HEAD + 'name_parts': options}).train()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), (128, 96), labels=[RED_CUP, BLUE_CUP])
    for sample, own in zip(batch['data_samples'], looks, strict=True):
        if own is not None:
            sample.gt_instances.looks = torch.tensor(own)
    torch.manual_seed(0)
    inputs = model.data_preprocessor(batch, training=True)
    return model, model(**inputs, mode='loss')


def test_detector_trains_on_parts():
    model, losses = trained([[RED_PLATE, -1], [RED_CUP, RED_CUP]])
    losses['loss_parts'].backward()
    assert losses['loss_parts'] > 0
    assert model.classifier.project.weight.grad.any()
    assert model.eval().classifier(torch.randn(2, 256)).shape == (2, 7)


def test_unchanged_looks_are_no_looks():
    """Without recoloured objects, with their own colours and with a loss of weight 0
    the other losses are the same."""
    own = [RED_CUP, BLUE_CUP]
    _, without = trained([None, None], loss_weight=0.0, regions='all')
    _, unchanged = trained([[-1, -1], own], loss_weight=0.0, regions='all')
    plain = build().train()
    plain.set_vocabulary(vocabulary())
    torch.manual_seed(0)
    batch = data((96, 160), (128, 96), labels=own)
    actual = plain(**plain.data_preprocessor(batch, training=True), mode='loss')
    for key in ('loss_cls', 'loss_bbox'):
        torch.testing.assert_close(without[key], actual[key])
        torch.testing.assert_close(unchanged[key], actual[key])


def test_objects_without_a_name_do_not_count():
    """A red cup in the colours of a green bowl would be a novel green cup: its name is
    no target, only its box and its parts are."""
    _, kept = trained([[-1, -1], [-1, -1]], regions='all')
    model, changed = trained([[GREEN_BOWL] * 2, [GREEN_BOWL] * 2], regions='all')
    torch.testing.assert_close(changed['loss_bbox'], kept['loss_bbox'])
    assert changed['loss_parts'] != kept['loss_parts']
    # what is left of the loss on names is that of the background
    background = len(NAMES)
    seen = []
    own = model.roi_head.bbox_head.loss_cls
    plain = own.forward
    own.forward = lambda logits, labels, weights, *rest: (
        seen.append((labels, weights)) or plain(logits, labels, weights, *rest)
    )
    batch = data((96, 160), (128, 96), labels=[RED_CUP, BLUE_CUP])
    for sample in batch['data_samples']:
        sample.gt_instances.looks = torch.tensor([GREEN_BOWL] * 2)
    model(**model.data_preprocessor(batch, training=True), mode='loss')
    (labels, weights), = seen  # fmt: skip
    assert (labels != background).any()
    assert not weights[labels != background].any()
    assert weights[labels == background].all()


def test_region_loss_by_what_regions_look_like(monkeypatch):
    """The encoder's own region scores, too, learn no novel name and no wrong one."""
    from fgclip2_det.models.roi_heads import open_vocab_roi_head

    model = build(**{HEAD + 'name_parts': {}, 'model.roi_head.region_loss_weight': 1.0})
    model.train().set_vocabulary(vocabulary())
    seen = []
    plain = open_vocab_roi_head.F.cross_entropy
    monkeypatch.setattr(
        open_vocab_roi_head.F,
        'cross_entropy',
        lambda logits, labels, reduction='mean': (
            seen.append(labels) or plain(logits, labels, reduction=reduction)
        ),
    )
    for looks, expected in (
        ([-1, -1], {RED_CUP, BLUE_CUP}),
        ([BLUE_CUP, RED_PLATE], {BLUE_CUP, RED_CUP}),
        ([GREEN_BOWL, -1], {BLUE_CUP}),
    ):
        batch = data((96, 160), labels=[RED_CUP, BLUE_CUP])
        batch['data_samples'][0].gt_instances.looks = torch.tensor(looks)
        seen.clear()
        model(**model.data_preprocessor(batch, training=True), mode='loss')
        assert set(seen[-1].tolist()) == expected


def test_with_hard_names():
    """Both have texts of their own, and neither takes the other's."""
    hard = dict(texts={'red cup': ['grey cup'], 'blue cup': ['red mug', 'blue mug']})
    options = {HEAD + 'name_parts': dict(regions='all'), HEAD + 'hard_names': hard}
    both = build(**options).train()
    both.set_vocabulary(vocabulary())
    assert len(both.classifier.extra_texts) == 3 + len(TEXTS)
    for kept in options:
        one = build(**{kept: options[kept]}).train()
        one.set_vocabulary(vocabulary())
        one.load_state_dict(both.state_dict())
        batch = data((96, 160), (128, 96), labels=[RED_CUP, BLUE_CUP])
        torch.manual_seed(0)
        alone = one(**one.data_preprocessor(batch, training=True), mode='loss')
        torch.manual_seed(0)
        together = both(**both.data_preprocessor(batch, training=True), mode='loss')
        key = 'loss_parts' if kept.endswith('name_parts') else 'loss_hard'
        torch.testing.assert_close(alone[key], together[key])


def test_other_names_outside_training():
    """Novel names alone, names without parts, and those of a checkpoint: what only
    training needs is not asked for."""
    options = {HEAD + 'name_parts': {}, 'model.parts': PARTS}
    model = build(**options).train()
    model.set_vocabulary(vocabulary(parts=None))
    batch = data((96, 160), labels=[RED_CUP, BLUE_CUP])
    model(**model.data_preprocessor(batch, training=True), mode='loss')
    expected = model.classifier.class_embeds().clone()
    model.eval()
    for names in (['green cup'], ['dog'], ['dog', 'red cup']):
        model.set_vocabulary(names)
        assert len(model.classifier.class_embeds()) == len(names)
    model.train().set_vocabulary(vocabulary(parts=None))
    loaded = build(**options).eval()
    loaded.load_state_dict(model.state_dict())
    loaded.dataset_meta = dict(
        classes=NAMES, base_classes=[n for n in NAMES if n not in NOVEL]
    )
    loaded.check_vocabulary()
    assert loaded.vocabulary.parts
    torch.testing.assert_close(loaded.classifier.class_embeds(), expected)


def test_other_names_in_training():
    model = build(**{HEAD + 'name_parts': {}}).train()
    model.set_vocabulary(vocabulary())
    assert model.roi_head.bbox_head.name_parts.index.shape == (6, 2)
    names = ['old map', 'new map', 'old bus']
    parts = {name: name.split() for name in names}
    model.set_vocabulary(vocabulary(names, parts, ['old bus']))
    assert model.roi_head.bbox_head.name_parts.index.tolist() == [
        [0, 2],
        [1, 2],
        [-1] * 2,
    ]


def test_painted_objects_without_parts():
    parts = {name: texts for name, texts in PARTS.items() if name != 'green bowl'}
    module = NameParts()
    module.set_vocabulary(
        vocabulary(parts=parts), torch.zeros(6, 8), lambda t: torch.zeros(len(t), 8)
    )
    with pytest.raises(ValueError, match='a name without parts'):
        module.loss(torch.zeros(1, 4), torch.tensor([GREEN_BOWL]), torch.tensor([0]))


def test_labels_that_were_not_taken_apart():
    model = build(**{HEAD + 'name_parts': {}}).train()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), labels=[RED_CUP, BLUE_CUP + (3 << 20)])
    with pytest.raises(ValueError, match='end its pipeline with PackOpenVocabInputs'):
        model(**model.data_preprocessor(batch, training=True), mode='loss')


def test_recolored_objects_need_name_parts():
    model = build().train()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), (128, 96), labels=[RED_CUP, BLUE_CUP])
    for sample in batch['data_samples']:
        sample.gt_instances.looks = torch.tensor([RED_CUP, RED_CUP])
    with pytest.raises(ValueError, match='RecolorObjects, whose objects do not look'):
        model(**model.data_preprocessor(batch, training=True), mode='loss')


def test_mean_over_the_regions_of_all_processes(monkeypatch):
    """Averaged over two processes with 1 and 4 regions, as gradients are, the loss is
    that of one process with all five."""
    module = name_parts(regions='all')
    torch.manual_seed(2)
    logits = torch.randn(5, 6)
    labels = torch.tensor([RED_CUP, RED_PLATE, BLUE_CUP, GREEN_BOWL, RED_CUP])
    looks = torch.tensor([BLUE_CUP, -1, -1, RED_CUP, GREEN_BOWL])
    whole = module.loss(logits, labels, looks)
    mean = 'fgclip2_det.models.losses.process_counts.reduce_mean'
    monkeypatch.setattr(mean, lambda count: torch.full_like(count, 2.5))
    shares = [
        module.loss(logits[rows], labels[rows], looks[rows])
        for rows in (slice(1), slice(1, 5))
    ]
    torch.testing.assert_close(sum(shares) / 2, whole)
