"""One meaning of names in words, in a list, as a vocabulary and through a re-scorer."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from fgclip2_det import FGCLIP2, Vocabulary

from .test_detector import NAMES, ROOT, build, data


@pytest.fixture(scope='module')
def detector():
    model = build()
    # confident enough to give detections without training
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    return model.eval()


@pytest.mark.parametrize('templates', ['raw', ['a {}', 'one {}']])
@torch.no_grad()
def test_words_lists_and_vocabularies_mean_the_same(detector, templates):
    """Split, parts and templates are the detector's; scores are equal."""
    detector.trained_classes, detector.parts = ('red circle',), {NAMES[1]: ['blue']}
    saved, detector.templates = detector.templates, templates
    try:
        scores = []
        for names in (NAMES, Vocabulary(NAMES), '. '.join(NAMES)):
            detector.set_vocabulary(['dog'])
            vocabulary = detector.set_vocabulary(names)
            assert vocabulary.base_classes == ['red circle']
            assert vocabulary.parts == {'blue square': ['blue']}
            (sample,) = detector.test_step(data((96, 160)))
            scores.append(sample.pred_instances.scores)
        assert torch.equal(scores[0], scores[1])
        assert torch.equal(scores[0], scores[2])
        own = Vocabulary(NAMES, 'raw', novel_classes=[], parts={})
        assert detector.set_vocabulary(own).is_base.all()
        (sample,) = detector.test_step(data((96, 160)))
        assert not torch.equal(sample.pred_instances.scores[:5], scores[0][:5])
    finally:
        detector.trained_classes, detector.parts = (), None
        detector.templates = saved


@torch.no_grad()
def test_names_made_of_parts_compete_unasked():
    """With what training knows of their parts: no box of one goes to another."""
    model = build().eval()
    model.trained_classes = ('a red circle', 'a blue square')
    model.parts = {
        'a red circle': ['red', 'circle'],
        'a blue square': ['blue', 'square'],
        'a red square': ['red', 'square'],
        'a blue circle': ['blue', 'circle'],
        'a green circle': ['green', 'circle'],  # green is of no trained name
    }
    model.set_vocabulary(['a red square'])
    rows = model.classifier.competitors.clone()
    model.set_vocabulary(['a red circle', 'a blue square', 'a blue circle'])
    torch.testing.assert_close(rows, model.classifier.class_embeds())


def test_a_rescorer_means_the_same():
    """Around the detector: one split and one set of parts, before and after a load."""
    saved = build()
    saved.trained_classes = NAMES[:1]
    saved.set_vocabulary(NAMES)
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    # aligned: texts of a random tower all mean the same
    cfg.model.backbone.encoder = encoder = dict(pretrained='fgclip2_tiny')
    cfg.model.parts = {'blue square': ['blue']}
    model = MODELS.build(
        dict(
            type='FGCLIP2Rescorer', detector=cfg.model, encoder=encoder,
            fusion=dict(type='OpenVocabFViTFusion'),
        )
    )  # fmt: skip
    split = [True, False, False]
    for names in (NAMES, Vocabulary(NAMES)):
        model.detector.trained_classes = ()
        assert not model.set_vocabulary(names).is_base.any()
        model.load_state_dict(saved.state_dict())
        model.refresh_vocabulary()
        assert model.vocabulary.is_base.tolist() == split
        assert model._rescorer.is_base.tolist() == split
        assert model.detector.vocabulary.is_base.tolist() == split
        prompts = [['red circle'], ['blue'], ['绿色星形']]
        assert model.vocabulary.prompts() == prompts
        assert model.detector.vocabulary.prompts() == prompts


def test_an_open_split_follows_the_checkpoint():
    """The names were set before the weights that say what was trained."""
    saved, loaded = build().eval(), build().eval()
    saved.trained_classes = NAMES[:2]
    saved.set_vocabulary(NAMES)
    for names in (NAMES, Vocabulary(NAMES)):
        loaded.trained_classes = ()
        assert not loaded.set_vocabulary(names).is_base.any()
        loaded.load_state_dict(saved.state_dict())
        loaded.check_vocabulary()
        assert loaded.vocabulary.is_base.tolist() == [True, True, False]


def test_training_without_a_split_makes_names_base():
    model = build().train()
    model.set_vocabulary(NAMES)
    inputs = model.data_preprocessor(data((96, 160), labels=[0, 2]), training=True)
    model(**inputs, mode='loss')
    assert model.trained_classes == tuple(NAMES)
    assert model.set_vocabulary([*NAMES, 'dog']).novel_classes == ['dog']


def test_another_encoder_is_for_one_vocabulary_alone(detector):
    detector.set_vocabulary(NAMES)
    before = detector.classifier.text_embeds.clone()
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(7))
    detector.set_vocabulary(NAMES, encoder=other)
    first = detector.classifier.text_embeds.clone()
    with torch.no_grad():  # the same object with other weights
        other.boxtext_head.weight[3] += 1
    detector.set_vocabulary(NAMES, encoder=other)
    assert not torch.equal(detector.classifier.text_embeds, first)
    detector.set_vocabulary(NAMES)
    torch.testing.assert_close(detector.classifier.text_embeds, before)


def test_another_encoder_outlives_a_load():
    saved, loaded = build().eval(), build().eval()
    saved.set_vocabulary(NAMES)
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(7))
    loaded.set_vocabulary(NAMES, encoder=other)
    expected = loaded.classifier.text_embeds.clone()
    loaded.load_state_dict(saved.state_dict())
    loaded.check_vocabulary()
    assert torch.equal(loaded.classifier.text_embeds, expected)
