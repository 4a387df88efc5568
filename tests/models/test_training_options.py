"""Detectors with federated, hard-name and TIC losses, and with masks."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config

from tests.models.test_detector import ROOT, build, data

BASE = ['red circle', 'blue square', 'green star', 'red square']
HEAD = 'model.roi_head.bbox_head.'


def vocabulary(names=BASE, novel=('green star',)):
    from fgclip2_det import Vocabulary

    return Vocabulary(names, novel_classes=list(novel), check=False)


def losses(model, batch) -> dict:
    torch.manual_seed(0)
    return model(**model.data_preprocessor(batch, training=True), mode='loss')


def test_hard_names_and_tic_train():
    options = {
        HEAD + 'hard_names': dict(texts={'red circle': ['grey circle', 'red ring']}),
        HEAD + 'classifier.text_adapter': 16,
        HEAD + 'tic': dict(loss_weight=0.1, topk=2),
    }
    model = build(**options).train()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), (128, 96), labels=[0, 1])
    actual = losses(model, batch)
    assert {'loss_cls', 'loss_hard', 'loss_tic'} <= set(actual)
    plain = build(**{HEAD + 'classifier.text_adapter': 16}).train()
    plain.load_state_dict(model.state_dict())
    plain.set_vocabulary(vocabulary())
    torch.testing.assert_close(losses(plain, batch)['loss_cls'], actual['loss_cls'])

    (actual['loss_hard'] + actual['loss_tic']).backward()
    adapter = model.classifier.adapter
    assert adapter.expand.weight.grad.any()
    assert model.classifier.project.weight.grad.any()


def test_hard_texts_that_are_names():
    """They are compared as the names they are, however those are embedded."""
    parts = {'red circle': ['red', 'circle'], 'red square': ['red', 'square']}
    texts = {'red circle': ['Red  square', 'red ring'], 'red square': ['red circle']}
    model = build(
        **{HEAD + 'hard_names': dict(texts=texts, num=2), 'model.parts': parts}
    ).train()
    names = ['red circle', 'blue circle', 'red square', 'green square']
    model.set_vocabulary(vocabulary(names, ['green square']))
    index = model.roi_head.bbox_head.hard_names.index
    assert index[:, 0].tolist() == [0, 1, 2, 3]
    assert index[0].tolist() == [0, 2, 5]  # column 4 is the background's
    assert index[2].tolist() == [2, 0, -1]
    assert len(model.classifier.extra_texts) == 1


def test_other_names_other_hard_texts():
    """Exchanging the vocabulary exchanges the negatives; evaluation has none."""
    model = build(**{HEAD + 'hard_names': dict(num=2)}).train()
    model.set_vocabulary(vocabulary())
    assert model.roi_head.bbox_head.hard_names.index.shape == (4, 3)
    model.set_vocabulary(vocabulary(['cat', 'dog', 'cow', 'hen', 'pig'], ['pig']))
    index = model.roi_head.bbox_head.hard_names.index
    assert index.shape == (5, 3)
    assert index[4].tolist() == [4, -1, -1]
    assert model.eval().classifier(torch.randn(2, 256)).shape == (2, 6)


def test_tic_without_an_adapter():
    with pytest.raises(ValueError, match='text_adapter'):
        build(**{HEAD + 'tic': dict()})


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_federated_equals_regions_taken_one_by_one(use_sigmoid):
    options = {
        HEAD + 'federated': dict(image_lists=True),
        HEAD + 'loss_cls.use_sigmoid': use_sigmoid,
    }
    model = build(**options).train()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), (128, 96), labels=[0, 1])
    lists = [([3], [0]), ([2], [])]  # negative and not exhaustive, by image
    for sample, (negative, partial) in zip(batch['data_samples'], lists, strict=True):
        sample.set_metainfo(dict(neg_labels=negative, not_exhaustive_labels=partial))
    calls = []
    loss = model.roi_head.bbox_head.loss_cls
    loss.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    losses(model, batch)
    ((_, labels, _, _, counts),) = calls
    images = torch.arange(2).repeat_interleave(len(labels) // 2)
    for image, label, row in zip(images, labels.tolist(), counts, strict=True):
        searched = [{1, 3}, {0, 1}][image]  # 2 is novel
        assert set(row.nonzero()[:, 0].tolist()) == searched | ({label} - {4})


def test_masks_train_and_predict():
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    tiny = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    masks = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-mask-det_b16_sfpn.py')
    model = tiny.model
    model.roi_head.mask_head = masks.model.roi_head.mask_head
    model.roi_head.mask_roi_extractor = masks.model.roi_head.mask_roi_extractor
    model.roi_head.mask_head.update(in_channels=64, conv_out_channels=16, num_convs=1)
    model.roi_head.mask_roi_extractor.update(
        out_channels=64, featmap_strides=[8, 16], finest_scale=48
    )
    model.train_cfg.rcnn.mask_size = 28
    model.test_cfg.rcnn.update(mask_thr_binary=0.5, score_thr=0.0)
    torch.manual_seed(0)
    model = MODELS.build(model)
    model.init_weights()
    model.set_vocabulary(vocabulary())
    batch = data((96, 160), labels=[0, 1])
    (sample,) = batch['data_samples']
    drawn = np.zeros((2, 96, 160), np.uint8)
    drawn[0, 8:50, 8:40] = drawn[1, 20:60, 50:90] = 1
    sample.gt_instances.masks = BitmapMasks(drawn, 96, 160)
    actual = losses(model.train(), batch)
    assert actual['loss_mask'].isfinite()
    with torch.no_grad():
        (result,) = model.eval().test_step(data((96, 160)))
    instances = result.pred_instances
    assert instances.masks.shape == (len(instances), 192, 320)  # the original's size
    assert len(instances)
