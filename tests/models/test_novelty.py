"""Weights by the distance from training, of a detector and of its export."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.onnx.fusion_graph import novelty_weights

CHINESE, ENGLISH = '红色正方形; 橙色圆形', 'red square; orange circle'


@pytest.fixture(scope='module')
def detector():
    """The embedded one, with names weighed by novelty."""
    inferencer = OpenVocabInferencer(device='cpu')
    inferencer.model.keep_text_encoder = True
    inferencer.model.roi_head.fusion = MODELS.build(dict(type='OpenVocabNoveltyFusion'))
    return inferencer.model


def weights(detector, names: str) -> list[float]:
    vocabulary = detector.set_vocabulary(names)
    fusion, classifier = detector.roi_head.fusion, detector.classifier
    own = fusion.weights(len(vocabulary), None)
    graph = novelty_weights(
        fusion, classifier.class_embeds(), classifier.known, detector.trained_embeds()
    )
    torch.testing.assert_close(own, graph, rtol=0, atol=1e-6)
    return own.tolist()


def test_a_trained_name_in_another_language_is_a_trained_name(detector):
    near, far = detector.roi_head.fusion.ends
    assert weights(detector, CHINESE) == pytest.approx([near, near])
    assert weights(detector, f'{CHINESE}; zebra') == pytest.approx([near, near, far])
    assert weights(detector, f'{ENGLISH}; zebra') == pytest.approx([near, near, far])


def test_without_a_trained_name(detector):
    """The distance is from the training, whichever of its names are asked for."""
    near, far = detector.roi_head.fusion.ends
    assert weights(detector, 'zebra') == pytest.approx([far])
    novel = next(
        name
        for name in ('purple star', 'red star', 'orange ring', 'purple ring')
        if name not in detector.trained_classes
    )
    alone = weights(detector, f'{novel}; zebra')
    assert near < alone[0] < far and alone[1] == pytest.approx(far)
    beside = weights(detector, f'{novel}; zebra; {ENGLISH}')
    assert beside[:2] == pytest.approx(alone)


def test_all_trained_names_need_no_other_embeddings(detector, monkeypatch):
    names = [*detector.trained_classes, 'zebra']
    monkeypatch.setattr(detector, 'trained_embeds', None)
    detector.set_vocabulary(names)
    actual = detector.roi_head.fusion.weights(len(names), None)
    near, far = detector.roi_head.fusion.ends
    expected = torch.full((len(names),), near)
    expected[-1] = far
    torch.testing.assert_close(actual, expected)


def test_names_that_the_rule_refuses_change_nothing(detector, monkeypatch):
    detector.set_vocabulary(ENGLISH)
    classifier, rule = detector.classifier, detector.roi_head.fusion
    before = classifier.class_embeds().clone(), rule.weights(2, None)

    def refuse(encoder):
        raise ValueError('no text tower')

    monkeypatch.setattr(detector, 'trained_embeds', refuse)
    with pytest.raises(ValueError, match='no text tower'):
        detector.set_vocabulary('zebra; cup; dog')
    assert detector.vocabulary.names == ENGLISH.split('; ')
    assert detector.roi_head.bbox_head.num_classes == 2
    torch.testing.assert_close(classifier.class_embeds(), before[0], rtol=0, atol=0)
    torch.testing.assert_close(
        detector.roi_head.fusion.weights(2, None), before[1], rtol=0, atol=0
    )


def test_a_rescorer_takes_the_names_of_the_training():
    fusion = MODELS.build(dict(type='OpenVocabNoveltyFusion'))
    options = dict(is_base=torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ValueError, match='no name is base'):
        PredictionRescorer(None, torch.eye(3)[:2], fusion, **options)
    trained = torch.tensor([[0.6, 0, 0.8]])
    options |= dict(trained_embeds=trained)
    PredictionRescorer(None, torch.eye(3)[:2], fusion, **options)
    near, far = fusion.ends
    expected = [near + (far - near) * 0.4, far]
    assert fusion.weights(2, None).numpy() == pytest.approx(np.array(expected))
