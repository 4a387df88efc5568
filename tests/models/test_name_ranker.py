"""Names ranked inside detection, against one box and one name at a time."""

import copy
import json

import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary
from fgclip2_det.models.fusion import OpenVocabGeometricFusion, OpenVocabRankingFusion
from fgclip2_det.models.image_memory import ImageMemory
from fgclip2_det.models.name_ranker import NameRanker
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.ranker import Ranker, Ranking, ranked_cosines
from fgclip2_det.ranker.match import match_log_odds
from fgclip2_det.vocabulary.competitors import Competitors

NAMES = ['red circle', '蓝色星形', 'ring', 'a small green triangle beside a cup']
BOXES = torch.tensor([[4.0, 4, 40, 44], [0, 0, 96, 64], [50, 20, 90, 60]])
SCORES, LABELS = torch.tensor([0.9, 0.5, 0.6]), torch.tensor([0, 3, 1])


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope='module')
def ranker(encoder) -> Ranker:
    options = dict(reads='region', num_hidden_layers=1, region_grid=3)
    ranker = Ranker.for_encoder(encoder, torch.Generator().manual_seed(1), **options)
    for head in (ranker.text_head, ranker.image_head):
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(2))
    return ranker.eval()


@pytest.fixture(scope='module')
def image() -> Image.Image:
    return Image.effect_noise((96, 64), 90).convert('RGB')


def odds_of(encoder, ranker, image, box: Tensor, name: str) -> float:
    with torch.no_grad():
        _, (states,) = encoder.encode_grids(encoder.preprocess(image))
        tokens, _ = encoder.text_tokens([name])
        logits = ranker(ranker.regions(states, (64, 96), box[None]), tokens[None])
    return float(match_log_odds(logits))


def similarity(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows).softmax(1)


@pytest.mark.parametrize('k', [1, 2, 4, 9])
def test_a_re_scored_image_by_hand(encoder, ranker, image, k):
    """Rule w ** 1: the softmax of cosines / T + 0.7 x log-odds, where a name beyond the
    first k has the lowest log-odds of these."""
    vocabulary = Vocabulary(NAMES)
    embeds = vocabulary.embed(encoder)
    fusion = OpenVocabRankingFusion(1.0, None, 0.2, num_ranked=k, ranking_weight=0.7)
    reader = NameRanker(ranker, encoder, encoder, NAMES, k)
    rescore = PredictionRescorer(encoder, embeds, fusion, ranker=reader)
    found = rescore(image, BOXES, SCORES, LABELS)
    with torch.no_grad():
        (regions,) = encoder.region_features(encoder.preprocess(image), [BOXES], True)
    rows = []
    for box, region in zip(BOXES, regions, strict=True):
        cosines = (embeds @ region).tolist()
        best = sorted(range(4), key=lambda i: -cosines[i])[:k]
        odds = {i: odds_of(encoder, ranker, image, box, NAMES[i]) for i in best}
        lowest = min(odds.values())
        rows.append(
            [c / 0.2 + 0.7 * odds.get(i, lowest) for i, c in enumerate(cosines)]
        )
    wanted = similarity(rows)[torch.arange(3), LABELS]
    torch.testing.assert_close(found.scores, wanted, atol=1e-4, rtol=1e-3)


def test_weight_0_is_the_geometric_mean(encoder, ranker, image):
    embeds = Vocabulary(NAMES).embed(encoder)
    reader = NameRanker(ranker, encoder, encoder, NAMES, 3)
    for mode in ('keep', 'box', 'joint'):
        ranked = PredictionRescorer(
            encoder, embeds, OpenVocabRankingFusion(num_ranked=3, ranking_weight=0.0),
            mode, ranker=reader,
        )  # fmt: skip
        plain = PredictionRescorer(encoder, embeds, OpenVocabGeometricFusion(), mode)
        given = image, BOXES, SCORES, LABELS
        torch.testing.assert_close(ranked(*given).scores, plain(*given).scores)
        assert torch.equal(ranked(*given).labels, plain(*given).labels)


def test_competitors_are_ranked_with_the_names(encoder, ranker, image):
    """One name with three competitors has the share that it has among four names."""
    embeds = Vocabulary(NAMES).embed(encoder)
    fusion = OpenVocabRankingFusion(1.0, num_ranked=2)
    whole = PredictionRescorer(
        encoder, embeds, fusion,
        ranker=NameRanker(ranker, encoder, encoder, NAMES, 2),
    )  # fmt: skip
    apart = torch.zeros(1, 1, dtype=torch.bool)
    world = Competitors(tuple(NAMES[1:]), embeds[1:], apart, torch.tensor([True]))
    alone = PredictionRescorer(
        encoder, embeds[:1], fusion, competitors=world,
        ranker=NameRanker(ranker, encoder, encoder, NAMES, 2),
    )  # fmt: skip
    given = image, BOXES, SCORES, torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(alone(*given).scores, whole(*given).scores)


def test_an_unranked_name_does_not_gain():
    cosines = torch.tensor([[0.5, 0.4, 0.3, 0.2]])
    ranking = Ranking(torch.tensor([[0, 1, 2]]), torch.tensor([[-5.0, -9.0, 3.0]]))
    two = ranked_cosines(cosines, ranking, 2, 0.01)
    torch.testing.assert_close(two, torch.tensor([[0.45, 0.31, 0.21, 0.11]]))
    three = ranked_cosines(cosines, ranking, 3, 0.01)
    torch.testing.assert_close(three, torch.tensor([[0.45, 0.31, 0.33, 0.11]]))
    none = Ranking(ranking.names[:0], ranking.odds[:0])
    assert ranked_cosines(cosines[:0], none, 2, 1.0).shape == (0, 4)


def test_no_boxes_one_name_many_boxes(encoder, ranker, image, monkeypatch):
    monkeypatch.setattr('fgclip2_det.models.name_ranker.PAIRS', 4)
    reader = NameRanker(ranker, encoder, encoder, NAMES[:1], 5)
    with torch.no_grad():
        _, (states,) = encoder.encode_grids(encoder.preprocess(image))
    none = reader(states, (64, 96), torch.zeros(0, 4), torch.zeros(0, 1))
    assert none.names.shape == none.odds.shape == (0, 1)
    boxes = BOXES.repeat(5, 1)
    many = reader(states, (64, 96), boxes, torch.zeros(15, 1))
    torch.testing.assert_close(many.odds[:3], many.odds[12:])
    wanted = [odds_of(encoder, ranker, image, box, NAMES[0]) for box in BOXES]
    torch.testing.assert_close(
        many.odds[:3, 0], torch.tensor(wanted), atol=1e-4, rtol=1e-3
    )


def test_a_memory_of_a_re_scorer_without_a_ranker(encoder, ranker, image):
    """And one of a re-scorer with it; the image is then not read again."""
    embeds = Vocabulary(NAMES).embed(encoder)
    plain = PredictionRescorer(encoder, embeds, OpenVocabGeometricFusion())
    ranked = PredictionRescorer(
        encoder, embeds, OpenVocabRankingFusion(),
        ranker=NameRanker(ranker, encoder, encoder, NAMES, 5),
    )  # fmt: skip
    memory, given = ImageMemory(), (BOXES, SCORES, LABELS)
    wanted = [each(image, *given).scores for each in (plain, ranked)]
    for each, scores in zip((plain, ranked), wanted, strict=True):
        torch.testing.assert_close(each(image, *given, memory).scores, scores)
    for each, scores in zip((plain, ranked), wanted, strict=True):
        torch.testing.assert_close(each(None, *given, memory).scores, scores)


def test_ranker_and_texts_go_where_the_maps_are(encoder, ranker):
    reader = NameRanker(copy.deepcopy(ranker), encoder, encoder, NAMES, 5)
    reader._follow(torch.device('meta'))
    parts = [*reader.ranker.parameters(), *reader.texts]
    assert {part.device.type for part in parts} == {'meta'}


def test_many_names_are_begun_in_parts(encoder, ranker, monkeypatch):
    whole = NameRanker(ranker, encoder, encoder, NAMES, 5).texts.begun
    monkeypatch.setattr('fgclip2_det.models.name_ranker.PAIRS', 3)
    parts = NameRanker(ranker, encoder, encoder, NAMES, 5).texts.begun
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def test_what_does_not_fit(encoder, ranker):
    embeds = Vocabulary(NAMES).embed(encoder)
    reader = NameRanker(ranker, encoder, encoder, NAMES, 5)
    for fusion, given in (
        (OpenVocabGeometricFusion(), reader),
        (OpenVocabRankingFusion(), None),
    ):
        with pytest.raises(ValueError, match='a ranker belong together'):
            PredictionRescorer(encoder, embeds, fusion, ranker=given)
    with pytest.raises(ValueError, match='give a ranker'):
        OpenVocabRankingFusion()(torch.ones(1, 1), torch.zeros(1, 2))
    with pytest.raises(ValueError, match='of the same 2 boxes, got 1'):
        OpenVocabRankingFusion()(
            torch.ones(2, 1), torch.zeros(2, 2),
            ranking=Ranking(torch.zeros(1, 1).long(), torch.zeros(1, 1)),
        )  # fmt: skip
    images = Ranker.for_encoder(encoder, reads='image', num_hidden_layers=1)
    with pytest.raises(ValueError, match='expected one of regions'):
        NameRanker(images, encoder, encoder, NAMES, 5)
    with pytest.raises(ValueError, match='needs names, got none'):
        NameRanker(ranker, encoder, encoder, [], 5)
    for options in (
        dict(num_ranked=0),
        dict(num_ranked=1.5),
        dict(ranking_weight=-1.0),
    ):
        with pytest.raises(ValueError, match=r'num_ranked|ranking_weight'):
            OpenVocabRankingFusion(**options)


def test_the_inferencer_ranks_as_the_re_scorer(image, tmp_path):
    """Saved boxes of two classes, with the competitors of a user's names left out."""
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    options = dict(reads='region', num_hidden_layers=1, region_grid=3)
    made = Ranker.for_encoder(encoder, torch.Generator().manual_seed(1), **options)
    torch.nn.init.normal_(
        made.text_head.weight, generator=torch.Generator().manual_seed(2)
    )
    folder = made.save_pretrained(tmp_path / 'ranker', encoder)
    image.save(tmp_path / 'a.png')
    names = ['red circle', 'ring']
    content = dict(
        images=[dict(id=1, file_name='a.png', width=96, height=64)],
        categories=[dict(id=n, name=name) for n, name in enumerate(names, 1)],
    )
    rows = [
        dict(image_id=1, category_id=1 + k, bbox=[4, 4, 36, 40], score=s)
        for k, s in ((0, 0.8), (1, 0.4))
    ]
    for name, part in (('ann', content), ('rows', rows)):
        (tmp_path / f'{name}.json').write_text(json.dumps(part))
    given = dict(
        detector=tmp_path / 'rows.json', ann_file=tmp_path / 'ann.json',
        encoder='fgclip2_tiny', fusion='ranking', competitors=False, device='cpu',
    )  # fmt: skip
    inferencer = OpenVocabInferencer(**given, ranker=str(folder))
    (found,) = inferencer(str(tmp_path / 'a.png'))
    rescore = PredictionRescorer(
        encoder, Vocabulary(names).embed(encoder), OpenVocabRankingFusion(),
        ranker=NameRanker.load(folder, encoder, encoder, names, 5),
    )  # fmt: skip
    boxes = torch.tensor([[4.0, 4, 40, 44]] * 2)
    wanted = rescore(image, boxes, torch.tensor([0.8, 0.4]), torch.tensor([0, 1]))
    scores = dict(zip(found.labels.tolist(), found.scores.tolist(), strict=True))
    assert scores == pytest.approx(dict(enumerate(wanted.scores.tolist())), abs=1e-4)
    with pytest.raises(ValueError, match='a ranker belong together'):
        OpenVocabInferencer(**given)(str(tmp_path / 'a.png'))
