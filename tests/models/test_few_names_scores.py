"""Scores of few names: absent names are not found, and other names change nothing."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary
from fgclip2_det.models.fusion import OpenVocabGeometricFusion
from fgclip2_det.models.losses import OpenVocabCrossEntropyLoss
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier
from fgclip2_det.vocabulary import normalize_name
from fgclip2_det.vocabulary.competitors import Competitors, select_competitors
from fgclip2_det.vocabulary.name_lists import load_list


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module')
def image() -> Image.Image:
    """An orange circle (trained), a black circle (novel), a blue triangle (novel)."""
    image = Image.new('RGB', (256, 256), 'gray')
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 30, 90, 100), fill='orange')
    draw.ellipse((150, 40, 220, 110), fill='black')
    draw.polygon([(60, 230), (100, 160), (140, 230)], fill='blue')
    return image


def best(inferencer, image, texts) -> dict[str, float]:
    """The highest score of each name, 0 where nothing has it."""
    detections = inferencer(image, texts)[0]
    scores = dict.fromkeys(detections.classes, 0.0)
    for name, score in zip(detections.names, detections.scores.tolist(), strict=True):
        scores[name] = max(scores[name], score)
    return scores


@pytest.mark.parametrize(
    'name', ['orange circle', 'black circle', 'blue triangle', '橙色圆形', '黑色圆形']
)
def test_a_present_name_alone(inferencer, image, name: str):
    assert best(inferencer, image, [name])[name] >= 0.5


@pytest.mark.parametrize(
    'name', ['red circle', 'blue star', 'white cross', '红色正方形', 'green ring',
             'orange triangle', 'black star', 'blue circle']
)  # fmt: skip
def test_an_absent_name_alone_is_not_found(inferencer, image, name: str):
    """Some share the colour or the shape of what is there."""
    assert best(inferencer, image, [name])[name] < 0.3


def test_unrelated_names_do_not_move_a_score(inferencer, image):
    name = 'orange circle'
    alone = best(inferencer, image, [name])[name]
    others = ['green ring', '蓝色星形', 'purple arrow', 'white heart', 'a sentence']
    for count in range(1, len(others) + 1):
        several = best(inferencer, image, [name, *others[:count]])[name]
        assert abs(several - alone) <= 0.05


def test_a_name_and_its_translation_share_no_score(inferencer, image):
    alone = {n: best(inferencer, image, [n])[n] for n in ('black circle', '黑色圆形')}
    both = best(inferencer, image, list(alone))
    assert both == pytest.approx(alone, abs=1e-4)


def test_a_translation_is_scored_as_the_trained_name(inferencer, image):
    names = ['orange circle', '橙色圆形', 'black circle', '黑色圆形']
    inferencer.set_vocabulary(names)
    assert inferencer.model.classifier.known.tolist() == [True, True, False, False]
    scores = best(inferencer, image, names)
    for english, chinese in (names[:2], names[2:]):
        assert abs(scores[english] - scores[chinese]) <= 0.1  # texts have cosine 0.99


def test_classes_of_a_data_set_compete_with_each_other_alone(inferencer, image):
    """Their scores are those of the same detector without competitors."""
    model = inferencer.model
    names = ['orange circle', 'blue star']
    declared = inferencer(image, Vocabulary(names, base_classes=names))[0]
    assert not model.classifier.is_open and not len(model.classifier.competitors)
    competitors, model.competitors = model.competitors, None
    without = inferencer(image, names)[0]
    model.competitors = competitors
    inferencer.set_vocabulary(['red square'])  # others, so that names are set again
    assert len(declared) and torch.equal(declared.bboxes, without.bboxes)
    assert torch.equal(declared.scores, without.scores)
    assert best(inferencer, image, names) != best(inferencer, image, Vocabulary(
        names, base_classes=names))  # fmt: skip


def test_competitors_follow_the_names(inferencer):
    model = inferencer.model
    trained = len(model.trained_classes)
    inferencer.set_vocabulary(['red square'])  # trained
    assert len(model.classifier.competitors) == 79  # 48 trained, 32 combined, itself
    assert model.classifier.apart.shape == (1, 1)
    inferencer.set_vocabulary(['red square', '红色圆形'])
    assert len(model.classifier.competitors) == 79
    apart = model.classifier.apart  # the translation is free of red circle, and
    assert apart.tolist() == [[False, True, False], [False, False, True]]  # an outsider
    inferencer.set_vocabulary(['a striped red square'])
    assert len(model.classifier.competitors) == 80
    assert model.classifier.apart.tolist() == [[False, True]]
    assert trained == 48


def test_the_background_logit_holds_the_competitors():
    torch.manual_seed(0)
    classifier = RegionTextClassifier(16, 8, logit_scale=2.0).eval()
    texts = torch.nn.functional.normalize(torch.randn(9, 8), dim=1)
    classifier.set_embeds(texts[:4], torch.ones(3, dtype=torch.bool), '')
    x = torch.randn(5, 16)
    before = classifier(x)
    apart = torch.zeros(3, 3, dtype=torch.bool)
    classifier.set_competitors(
        Competitors(tuple('abcde'), texts[4:], apart, apart.any(1))
    )
    scores = classifier(x).softmax(1)[:, :3]
    region = torch.nn.functional.normalize(classifier.project(x), dim=1)
    logits = region @ texts.T * classifier.logit_scale.exp()
    torch.testing.assert_close(scores, logits.softmax(1)[:, :3])
    free = torch.tensor([[False, False, False, True, False],
                         [False, False, False, True, True],
                         [True, False, False, False, False]])  # fmt: skip
    classifier.set_competitors(Competitors(tuple('abcde'), texts[4:], free, free[:, 0]))
    assert classifier(x).shape == (5, 3 + 2 + 1)
    got = OpenVocabCrossEntropyLoss().scores(classifier(x), classifier.apart)
    columns = logits.exp()[:, [0, 1, 2, 4, 5, 3, 6, 7, 8]]  # a, b, the background, ...
    for label in range(3):
        rivals = [True] * 9
        rivals[:5] = (~free[label]).tolist()
        total = columns[:, torch.tensor(rivals)].sum(1)
        torch.testing.assert_close(got[:, label], columns[:, label] / total)
    classifier.train()
    assert torch.equal(classifier(x), before)  # training does not know of them


def test_a_rescored_single_name_is_no_certainty(image):
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    names, texts = ['orange circle'], ['black circle', 'blue triangle', 'green star']
    embeds, others = Vocabulary(names).embed(encoder), Vocabulary(texts).embed(encoder)
    boxes = [[20, 30, 90, 100], [150, 40, 220, 110]]
    fusion = OpenVocabGeometricFusion(alpha=1.0, temperature=0.05)
    plain = PredictionRescorer(encoder, embeds, fusion)
    assert plain(image, boxes, [0.5, 0.5], [0, 0]).scores.tolist() == [1, 1]
    competitors = select_competitors([names], embeds, texts, others)
    rescore = PredictionRescorer(encoder, embeds, fusion, competitors=competitors)
    scores = rescore(image, boxes, [0.5, 0.5], [0, 0]).scores
    batch = encoder.preprocess([image], 'auto')
    regions = encoder.region_features(batch, [torch.tensor(boxes).float()], True)[0]
    cosines = (regions @ torch.cat([embeds, others]).T).double().detach().numpy()
    powers = np.exp(cosines / 0.05)
    np.testing.assert_allclose(scores, powers[:, 0] / powers.sum(1), rtol=1e-4)
    assert scores[0] > 0.9 and scores[1] < 0.1


@pytest.fixture
def foreign(image, tmp_path):
    """A re-scorer of a detector that knows nothing of names, and its data sample."""

    @MODELS.register_module(force=True)
    class TwoBoxes(BaseDetector):
        """Both circles, each time as the first name."""

        def __init__(self):
            super().__init__()
            self.anything = torch.nn.Parameter(torch.zeros(1))

        def predict(self, batch_inputs, batch_data_samples, rescale=True):
            boxes = torch.tensor([[20.0, 30, 90, 100], [150, 40, 220, 110]])
            for sample in batch_data_samples:
                sample.pred_instances = InstanceData(
                    bboxes=boxes, scores=torch.full((2,), 0.5),
                    labels=torch.zeros(2, dtype=torch.long),
                )  # fmt: skip
            return batch_data_samples

        def set_vocabulary(self, names):
            return names

        loss = _forward = extract_feat = None

    image.save(tmp_path / 'image.png')
    meta = dict(img_path=str(tmp_path / 'image.png'), img_id=0, ori_shape=(256, 256))
    meta |= dict(img_shape=(256, 256), scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=meta)
    fusion = dict(type='OpenVocabGeometricFusion', alpha=1.0, temperature=0.05)

    def build(**options):
        return MODELS.build(
            dict(type='FGCLIP2Rescorer', detector=dict(type='TwoBoxes'), fusion=fusion,
                 encoder=dict(pretrained='fgclip2_tiny'), **options)
        )  # fmt: skip

    yield build, sample
    MODELS.module_dict.pop('TwoBoxes')


def test_a_detector_of_unknown_training_competes_with_broad_names(foreign, image):
    build, sample = foreign
    rescorer = build()
    rescorer.set_vocabulary(['orange circle'])
    (found,) = rescorer.predict(None, [sample.clone()])
    scores = found.pred_instances.scores
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    names = [*load_list('coco').names, *load_list('objects365').names]
    names = list({normalize_name(name): name for name in reversed(names)}.values())
    embeds = Vocabulary(['orange circle', *names], check=False).embed(encoder)
    batch = encoder.preprocess([image], 'auto')
    boxes = torch.tensor([[20.0, 30, 90, 100], [150, 40, 220, 110]])
    regions = encoder.region_features(batch, [boxes], True)[0]
    powers = (regions @ embeds.T / 0.05).double().exp()
    np.testing.assert_allclose(
        scores, (powers[:, 0] / powers.sum(1)).detach(), rtol=1e-3
    )
    assert scores[1] < scores[0] < 1
    none = build(competitors=False)
    none.set_vocabulary(['orange circle'])
    (found,) = none.predict(None, [sample.clone()])
    assert found.pred_instances.scores.tolist() == [1, 1]


def test_chinese_names_do_not_compete_with_their_english_ones(foreign):
    build, _ = foreign
    rescorer = build()
    rescorer.set_vocabulary(['沙发', '狗'])
    competitors = rescorer._rescorer.competitors
    sofa, dog = (set(competitors.rivals(label)) for label in (0, 1))
    assert len(sofa) > 300 and {'cat', 'dog'} < sofa and {'cat', 'couch'} < dog
    assert not {'couch', 'Couch'} & sofa and not {'dog', 'Dog'} & dog


@pytest.mark.parametrize('competitors', [False, dict(names=['ring'])])
def test_a_rescorer_compares_with_negatives(foreign, image, competitors):
    build, sample = foreign
    rescorer = build(competitors=competitors)
    names = ['orange circle', 'black circle']
    given = {'orange circle': ['red circle'], '*': ['gray star']}
    rescorer.set_vocabulary(names, negatives=given)
    (found,) = rescorer.predict(None, [sample.clone()])
    texts = [*names, 'red circle', 'gray star', *(['ring'] if competitors else [])]
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    embeds = Vocabulary(texts, check=False).embed(encoder)
    boxes = torch.tensor([[20.0, 30, 90, 100], [150, 40, 220, 110]])
    regions = encoder.region_features(encoder.preprocess([image]), [boxes], True)[0]
    powers = (regions @ embeds.T / 0.05).double().exp()
    torch.testing.assert_close(
        found.pred_instances.scores.double(), powers[:, 0] / powers.sum(1), rtol=1e-4,
        atol=1e-6,
    )  # fmt: skip
    rescorer.set_vocabulary(names)  # and without them again
    (found,) = rescorer.predict(None, [sample.clone()])
    powers = powers[:, [0, 1, 4] if competitors else [0, 1]]
    torch.testing.assert_close(
        found.pred_instances.scores.double(), powers[:, 0] / powers.sum(1), rtol=1e-4,
        atol=1e-6,
    )  # fmt: skip
