"""The detector: vocabulary, batching, training, what it refuses."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.fgclip2 import separable_roi_align

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red circle', 'blue square', '绿色星形']


def build(**options):
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    # random weights that are trained along: everything has gradients
    cfg.model.backbone.encoder = dict(size='tiny', seed=0)
    cfg.model.backbone.frozen_stages = -1
    cfg.model.roi_head.region_loss_weight = 1.0
    cfg.merge_from_dict(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def detector():
    model = build()
    # confident enough to give detections without training
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    return model.eval()


def data(*sizes, labels=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for h, w in sizes:
        inputs.append(
            torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
        )
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(h, w), ori_shape=(h * 2, w * 2), scale_factor=(0.5, 0.5),
                img_path='image.jpg', img_id=0,
            )
        )  # fmt: skip
        if labels is not None:
            boxes = torch.tensor([[8.0, 8, 40, 50], [50, 20, 90, 60]])[: len(labels)]
            sample.gt_instances = InstanceData(
                bboxes=boxes, labels=torch.tensor(labels).long()
            )
            sample.ignored_instances = InstanceData(
                bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
            )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@torch.no_grad()
def test_batch_of_two_is_two_of_one(detector):
    detector.set_vocabulary(NAMES)
    sizes = [(96, 160), (128, 64)]
    together = detector.test_step(data(*sizes))
    images = data(*sizes)['inputs']
    for i, size in enumerate(sizes):
        single = data(size)
        single['inputs'] = [images[i]]
        (alone,) = detector.test_step(single)
        joint = together[i].pred_instances
        assert len(joint) == len(alone.pred_instances) > 0
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(
                joint[key], alone.pred_instances[key], atol=1e-3, rtol=1e-3
            )


@torch.no_grad()
def test_vocabulary_changes_and_weights_do_not(detector):
    before = {name: p.clone() for name, p in detector.named_parameters()}
    for names in (
        ['red circle'],
        ['红色 星形', 'blue ring', 'dog', 'cat', 'cup'],
        NAMES,
    ):
        vocabulary = detector.set_vocabulary(names)
        (sample,) = detector.test_step(data((96, 160)))
        labels = sample.pred_instances.labels
        assert len(labels)
        assert 0 <= labels.min() <= labels.max() < len(names)
        assert vocabulary.names == names
        assert detector.dataset_meta['classes'] == tuple(names)
    for name, parameter in detector.named_parameters():
        assert torch.equal(parameter, before[name]), name


@torch.no_grad()
def test_permuted_names_permute_labels(detector):
    detector.set_vocabulary(NAMES)
    (first,) = detector.test_step(data((96, 160)))
    detector.set_vocabulary(NAMES[::-1])
    (second,) = detector.test_step(data((96, 160)))
    a, b = first.pred_instances, second.pred_instances
    torch.testing.assert_close(a.scores, b.scores, atol=1e-5, rtol=1e-4)
    assert (2 - b.labels == a.labels).float().mean() > 0.99  # equal scores may swap


def test_embeddings_are_the_encoders(detector):
    detector.set_vocabulary(NAMES)
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    expected = encoder.encode_text([*NAMES, 'background'], 'box', normalize=True)
    torch.testing.assert_close(detector.classifier.text_embeds, expected)


def test_parts_of_names(detector):
    """The config's, wherever names have them, in words or as a vocabulary."""
    detector.parts = {'Blue square': ['blue', 'square'], 'dog': ['fur']}
    try:
        detector.set_vocabulary(NAMES)
        embeds = detector.classifier.text_embeds.clone()
        whole = Vocabulary(NAMES, parts={'blue square': ['blue', 'square']})
        encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(embeds[:3], whole.embed(encoder))
        detector.set_vocabulary(Vocabulary(NAMES))
        assert torch.equal(detector.classifier.text_embeds, embeds)
        detector.set_vocabulary(Vocabulary(NAMES, parts={}))  # says that it has none
        assert (detector.classifier.text_embeds[1] - embeds[1]).abs().max() > 1e-3
    finally:
        detector.parts = None


def test_names_that_are_not_composed(detector):
    """A detector of composed names says which of a user's names it does not compose."""
    detector.parts = {'Blue square': ['blue', 'square'], 'dog': ['fur']}
    detector.trained_classes = ('red circle',)
    composed = [NAMES[0], 'blue square', 'DOG']
    shown = "'blue-square', 'cat': this detector composes .* as 'Blue square'"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            detector.set_vocabulary(composed)
            detector.set_vocabulary(Vocabulary(['cat'], parts={}))
            detector.set_vocabulary(Vocabulary(['cat'], parts={'cat': ['fur']}))
            detector.set_vocabulary(Vocabulary(['cat'], novel_classes=['cat']))
        with pytest.warns(UserWarning, match=shown):
            detector.set_vocabulary([NAMES[0], 'blue-square', 'cat'])
        with pytest.warns(UserWarning, match="'d' and 1 more: this detector"):
            detector.set_vocabulary('b. c. d. e')
    finally:
        detector.parts, detector.trained_classes = None, ()


def test_parts_of_names_in_the_config():
    parts = {'blue square': ['blue', 'square'], 'dog': ['fur']}
    model = build(**{'model.parts': parts, 'model.vocabulary': dict(names=NAMES)})
    prompts = [['red circle'], ['blue', 'square'], ['绿色星形']]
    assert model.vocabulary.prompts() == prompts


def test_trained_names_are_base(detector):
    detector.trained_classes = ('Red circle', 'cup')
    try:
        assert detector.set_vocabulary(NAMES).is_base.tolist() == [True, False, False]
        split = Vocabulary(NAMES, novel_classes=['red circle'])
        assert detector.set_vocabulary(split).is_base.tolist() == [False, True, True]
    finally:
        detector.trained_classes = ()


@pytest.mark.parametrize('names', [[], '', ' . ', ['cat', 'Cat'], ['cat', '']])
def test_bad_vocabularies(detector, names):
    with pytest.raises(ValueError, match=r'name'):
        detector.set_vocabulary(names)


@torch.no_grad()
def test_region_score_is_the_encoders(detector):
    """The dense map is pooled at the final boxes, in the resized image's pixels."""
    detector.set_vocabulary(NAMES)
    dense = torch.randn(128, 6, 10)
    boxes = torch.tensor([[0.0, 0, 160, 96], [16, 32, 64, 80]])
    cosines = detector.roi_head.region_cosines(dense, boxes)
    pooled = torch.stack([dense.mean((1, 2)), dense[:, 2:5, 1:4].mean((1, 2))])
    aligned = separable_roi_align(dense.permute(1, 2, 0), boxes / 16)[:, 0, 0]
    torch.testing.assert_close(aligned, pooled, atol=1e-5, rtol=1e-4)
    normalised = torch.nn.functional.normalize(pooled, dim=-1)
    torch.testing.assert_close(
        cosines, normalised @ detector.classifier.class_embeds().T
    )


@torch.no_grad()
def test_no_proposals(detector):
    detector.set_vocabulary(NAMES)
    meta = dict(img_shape=(96, 160), scale_factor=(1.0, 1.0))
    _, dense = detector.backbone.extract(torch.zeros(1, 3, 96, 160))
    x = detector.extract_feat(torch.zeros(1, 3, 96, 160))
    assert torch.equal(x.dense, dense)
    empty = InstanceData(bboxes=torch.zeros(0, 4))
    (actual,) = detector.roi_head.predict_bbox(
        x, [meta], [empty], detector.test_cfg.rcnn, rescale=True
    )
    assert len(actual) == 0
    assert actual.bboxes.shape == (0, 4)


@pytest.mark.slow
@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_thirty_steps_bring_the_loss_down(use_sigmoid):
    loss_cls = {'model.roi_head.bbox_head.loss_cls.use_sigmoid': use_sigmoid}
    model = build(**loss_cls).train()
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=[NAMES[1]]))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    totals = []
    for step in range(30):
        torch.manual_seed(step)
        inputs = model.data_preprocessor(
            data((96, 160), (64, 96), labels=[0, 2]), training=True
        )
        losses = model(**inputs, mode='loss')
        assert {'loss_cls', 'loss_bbox', 'loss_region'} <= set(losses)
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(float(loss))
    assert np.mean(totals[-5:]) < 0.7 * np.mean(totals[:5])


def test_frozen_encoder_gets_no_gradient():
    model = build(
        **{
            'model.backbone.frozen_stages': 4,
            'model.roi_head.region_loss_weight': 0.0,
        }
    ).train()
    model.set_vocabulary(NAMES)
    model.trained_classes = tuple(NAMES)
    model.set_vocabulary(NAMES)
    inputs = model.data_preprocessor(data((96, 160), labels=[0]), training=True)
    losses = model(**inputs, mode='loss')
    assert 'loss_region' not in losses
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)  # no unused ones for DDP


def test_images_without_boxes_train():
    model = build().train()
    model.set_vocabulary(Vocabulary(NAMES))
    inputs = model.data_preprocessor(data((96, 160), labels=[]), training=True)
    losses = model(**inputs, mode='loss')
    assert losses['loss_bbox'] == 0
    assert losses['loss_region'] == 0
    total, _ = model.parse_losses(losses)
    assert total.isfinite()
    total.backward()


@pytest.mark.parametrize(
    ('labels', 'match'),
    [([1], "novel class 'blue square'; load .* only_base=True"), ([7], 'label 7')],
)
def test_wrong_training_labels(labels, match):
    model = build().train()
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=['blue square']))
    inputs = model.data_preprocessor(data((96, 160), labels=labels), training=True)
    with pytest.raises(ValueError, match=match):
        model(**inputs, mode='loss')


def test_no_vocabulary():
    model = build().eval()
    with pytest.raises(ValueError, match='no vocabulary'):
        model.test_step(data((96, 160)))


def test_trained_encoder_needs_the_region_loss():
    with pytest.raises(ValueError, match='region_loss_weight'):
        build(**{'model.roi_head.region_loss_weight': 0.0})


def test_vocabulary_of_the_config():
    model = build(**{'model.vocabulary': dict(names=NAMES, novel_classes=NAMES[:1])})
    assert model.vocabulary.novel_classes == NAMES[:1]


def test_checkpoint_carries_the_embeddings(monkeypatch):
    """Setting the vocabulary of a loaded checkpoint needs no text tower."""
    saved = build()
    saved.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[:1]))
    loaded = build()
    loaded.load_state_dict(saved.state_dict())
    monkeypatch.setattr('fgclip2_det.models.encoders.build_encoder', None)
    loaded.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[:1]))
    assert torch.equal(loaded.classifier.text_embeds, saved.classifier.text_embeds)
    assert loaded.roi_head.bbox_head.num_classes == 3


def test_cached_names_need_no_text_tower(monkeypatch, tmp_path):
    encoder = dict(_delete_=True, pretrained='fgclip2_tiny')
    options = {'model.backbone.encoder': encoder}
    first = build(**options, **{'model.cache_dir': str(tmp_path)})
    first.set_vocabulary(NAMES)
    second = build(**options, **{'model.cache_dir': str(tmp_path)})
    monkeypatch.setattr(FGCLIP2, 'from_pretrained', None)
    second.set_vocabulary(NAMES)
    assert torch.equal(first.classifier.text_embeds, second.classifier.text_embeds)
    monkeypatch.undo()
    without = build(**options)
    without.set_vocabulary(NAMES)
    torch.testing.assert_close(
        without.classifier.text_embeds, first.classifier.text_embeds
    )


def test_set_vocabulary_outlives_a_load():
    """Labels index the names that were set, whatever the checkpoint held."""
    saved, loaded = build().eval(), build().eval()
    saved.trained_classes = NAMES[:2]
    saved.set_vocabulary(NAMES)
    loaded.set_vocabulary(['dog', 'cat'])
    loaded.load_state_dict(saved.state_dict())
    loaded.test_step(data((96, 160)))
    assert loaded.classifier.class_embeds().shape == (2, 128)
    assert loaded.trained_classes == tuple(NAMES[:2])
    assert loaded.set_vocabulary(NAMES).is_base.tolist() == [True, True, False]


def test_another_encoder_embeds_again(detector):
    detector.set_vocabulary(NAMES)
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(7))
    before = detector.classifier.text_embeds.clone()
    detector.set_vocabulary(NAMES, other)
    assert not torch.allclose(detector.classifier.text_embeds, before)
    build_again = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    detector.set_vocabulary(NAMES, build_again)
    torch.testing.assert_close(detector.classifier.text_embeds, before)


@torch.no_grad()
def test_bf16_autocast_keeps_cosines_in_fp32(detector):
    detector.set_vocabulary(NAMES)
    dense, boxes = torch.randn(128, 6, 10), torch.tensor([[0.0, 0, 160, 96]])
    expected = detector.roi_head.region_cosines(dense, boxes)
    with torch.autocast('cpu', torch.bfloat16):
        cosines = detector.roi_head.region_cosines(dense, boxes)
    assert cosines.dtype == torch.float32
    torch.testing.assert_close(cosines, expected)
