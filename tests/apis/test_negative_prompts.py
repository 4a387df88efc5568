"""Names that compete and are not reported, through every kind of system."""

import json

import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, Vocabulary, cli
from fgclip2_det.models.open_softmax import open_softmax


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module')
def picture() -> Image.Image:
    """A red circle and a blue square."""
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((60, 80, 140, 160), fill='red')
    canvas.rectangle((160, 20, 220, 80), fill='blue')
    return image


def test_softmax_with_columns_of_some_names():
    """p_c = e^l_c / sum of e^l over what competes, one sum after the other."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 3, generator=generator)
    others = torch.randn(5, 4, generator=generator)
    apart = torch.rand(3, 5, generator=generator) > 0.5  # two of the others
    apart[:, :3].fill_diagonal_(False)
    found = open_softmax(logits, others, apart)
    for n in range(5):
        powers = torch.cat([logits[n], others[n]]).double().exp()
        for c in range(3):
            total = sum(float(powers[j]) for j in range(7) if j >= 5 or not apart[c, j])
            assert float(found[n, c]) == pytest.approx(float(powers[c]) / total, 1e-5)


def reference(model, regions, names: list[str], negatives: dict[str, list[str]]):
    """(n, C) fused scores before calibration, name by name."""
    head = model.classifier
    tower = model._text_source()
    silent = list(model.competitors(
        Vocabulary(names, check=False), head.class_embeds(), model.trained_classes,
        lambda texts: texts.embed(tower), None).names)  # fmt: skip
    columns = []
    for name in names:
        texts = [*names, *silent]
        texts += [text for text in negatives[name] if text not in texts]
        embeds = Vocabulary(texts, check=False).embed(tower)
        background = Vocabulary(['background']).embed(tower)
        logits = regions.det_embeds @ torch.cat([embeds, background]).T
        det = (logits * head.logit_scale.exp()).softmax(1)[:, texts.index(name)]
        cosines = regions.dense_embeds @ embeds.T
        fusion = model.roi_head.fusion
        sim = (cosines / fusion.temperature).softmax(1)[:, texts.index(name)]
        weight = fusion.alpha if name in model.trained_classes else fusion.beta
        columns.append(det ** (1 - weight) * sim**weight)
    return torch.stack(columns, 1)


@pytest.mark.parametrize(
    'negatives',
    [
        'purple ring; striped red circle',
        {'red circle': ['striped red circle'], 'blue square': ['purple ring', 'cat']},
    ],
)
def test_scores_of_the_detector(inferencer, picture, negatives, monkeypatch):
    names, kept = ['red circle', 'blue square'], []
    head = inferencer.model.roi_head
    own = head.score_regions
    monkeypatch.setattr(
        head, 'score_regions', lambda *args: (kept.append(args[0]), own(*args))[1]
    )
    calibrated = []
    monkeypatch.setattr(
        head,
        'calibration',
        lambda scores, is_base: (calibrated.append(scores), scores)[1],
    )
    inferencer(picture, names, negatives=negatives)
    by_name = negatives
    if isinstance(negatives, str):
        by_name = dict.fromkeys(names, negatives.split('; '))
    wanted = reference(inferencer.model, kept[0], names, by_name)
    torch.testing.assert_close(calibrated[0], wanted, atol=1e-5, rtol=1e-4)


def best(results, name: str) -> float:
    found = results[0]
    rows = [s for s, n in zip(found.scores, found.labels, strict=True)
            if found.classes[int(n)] == name]  # fmt: skip
    return max(map(float, rows), default=0.0)


def test_a_wrong_name_gives_way_to_what_is_there(inferencer, picture):
    """Nothing but the names competes: 'pink circle' takes the red one."""
    model = inferencer.model
    kept, model.competitors = model.competitors, None
    try:
        alone = best(inferencer(picture, 'pink circle'), 'pink circle')
        negatives = 'red circle; blue square'
        against = inferencer(picture, 'pink circle', negatives=negatives)
        assert alone > 0.9 and best(against, 'pink circle') < 0.1
        assert set(against[0].classes) == {'pink circle'}  # negatives are not reported
        assert best(inferencer(picture, 'pink circle'), 'pink circle') == alone
    finally:
        model.competitors = kept
        inferencer.set_vocabulary('ring')


def test_a_negative_of_another_name_leaves_the_others_as_they_are(inferencer, picture):
    names = 'red circle; blue square'
    plain = inferencer(picture, names)
    own = inferencer(picture, names, negatives={'red circle': 'striped red circle'})
    assert best(own, 'red circle') < best(plain, 'red circle')
    assert best(own, 'blue square') == pytest.approx(best(plain, 'blue square'), 1e-6)


def test_negatives_need_names_and_a_detector_that_compares_them(inferencer, picture):
    with pytest.raises(ValueError, match='negatives need names; pass texts'):
        inferencer(picture, negatives='shadow')
    system = inferencer.system
    system.own_classes = ('cat',)
    try:
        with pytest.raises(ValueError, match='the detector has fixed classes; leave'):
            inferencer(picture, 'cat', negatives='shadow')
    finally:
        system.own_classes = None


def test_the_command(inferencer, picture, tmp_path, monkeypatch, capsys):
    from fgclip2_det.cli import detect

    monkeypatch.setattr(detect, 'build', lambda args: inferencer)
    picture.save(tmp_path / 'a.png')
    words = ['detect', str(tmp_path / 'a.png'), '--names', 'red circle; blue square']
    cli.main([*words, '--out', str(tmp_path / 'out'), '--score-thr', '0.01',
              '--not', 'shadow', '--not', 'red circle=striped red circle'])  # fmt: skip
    content = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert content['classes'] == ['red circle', 'blue square']
    given = {'*': ['shadow'], 'red circle': ['striped red circle']}
    wanted = inferencer(picture, 'red circle; blue square', 0.01, negatives=given)[0]
    scores = [float(score) for score in wanted.scores]
    assert [
        box['score'] for box in content['images'][0]['detections']
    ] == pytest.approx(scores, abs=1e-4)
    with pytest.raises(SystemExit):
        cli.main(['detect', str(tmp_path / 'a.png'), '--not', 'shadow'])
    assert '--not belongs to --names' in capsys.readouterr().err


def test_attribute_prompts(inferencer, picture):
    found = inferencer(picture, '{red|blue} {circle|square}')
    classes = ('red circle', 'red square', 'blue circle', 'blue square')
    assert found[0].classes == classes
    negatives = Vocabulary(list(classes), attribute_negatives=8)
    wanted = inferencer(picture, negatives)
    assert torch.equal(found[0].scores, wanted[0].scores)
    assert {n for n in classes if best(found, n) > 0.3} == {'red circle', 'blue square'}
    competitors = inferencer.model.classifier.competitors
    inferencer(picture, list(classes))
    assert len(inferencer.model.classifier.competitors) < len(competitors)
