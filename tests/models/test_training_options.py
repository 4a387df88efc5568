"""Detectors with federated, hard-name and TIC losses, and with masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.structures import InstanceData

from fgclip2_det.engine.runner import leave_process_group
from tests.models.test_detector import ROOT, build, data
from tests.processes import fork_two

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


def masked_detector():
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
    return model.train()


def test_masks_train_and_predict():
    model = masked_detector()
    batch = data((96, 160), labels=[0, 1])
    (sample,) = batch['data_samples']
    drawn = np.zeros((2, 96, 160), np.uint8)
    drawn[0, 8:50, 8:40] = drawn[1, 20:60, 50:90] = 1
    sample.gt_instances.masks = BitmapMasks(drawn, 96, 160)
    actual = losses(model, batch)
    assert actual['loss_mask'].isfinite()
    with torch.no_grad():
        (result,) = model.eval().test_step(data((96, 160)))
    instances = result.pred_instances
    assert instances.masks.shape == (len(instances), 192, 320)  # the original's size
    assert len(instances)


def mask_loss_of_all(numbers):
    """Mask loss and gradients of three images with so many positive regions, means
    over the processes, each of which has some of the images."""
    head = masked_detector().roi_head
    random = torch.Generator().manual_seed(0)
    maps = torch.rand(len(numbers), 64, 12, 20, generator=random)
    drawn = torch.rand(len(numbers), 96, 160, generator=random) < 0.3
    corners = torch.rand(len(numbers), 5, 2, 2, generator=random)
    boxes = corners.sort(2).values.flatten(2) * torch.tensor([159, 95] * 2) + 1
    own = [0, 1, 2] if get_world_size() == 1 else [[0], [1, 2]][get_rank()]
    regions, objects = [], []
    for i in own:
        zeros = torch.zeros(numbers[i], dtype=torch.long)
        regions.append(
            SimpleNamespace(
                pos_priors=boxes[i, : numbers[i]],
                pos_assigned_gt_inds=zeros,
                pos_gt_labels=zeros,
            )
        )
        masks = BitmapMasks(drawn[i : i + 1].numpy().astype(np.uint8), 96, 160)
        objects.append(InstanceData(masks=masks))
    pyramid = (maps[own], maps[own, :, ::2, ::2])
    loss = head.mask_loss(pyramid, regions, None, objects)['loss_mask'][
        'loss_mask'
    ].sum()
    grads = torch.autograd.grad(loss, list(head.mask_head.parameters()))
    for part in (result := [loss.detach(), *grads]):
        all_reduce(part, 'mean')
    return result


def _mask_losses_of_two(cases, path):
    torch.distributed.init_process_group('gloo')
    torch.save([mask_loss_of_all(numbers) for numbers in cases], path)
    leave_process_group()


def test_mask_losses_of_two_processes_are_those_of_one(tmp_path):
    """The first process has one image, the second two; one of them has no region, or
    both; there is a single one."""
    cases = [(5, 1, 2), (4, 0, 0), (0, 3, 1), (1, 0, 0), (0, 0, 0)]
    fork_two(_mask_losses_of_two, cases, tmp_path / 'two.pt')
    for numbers, two in zip(cases, torch.load(tmp_path / 'two.pt'), strict=True):
        one = mask_loss_of_all(numbers)
        torch.testing.assert_close(two, one, atol=1e-6, rtol=1e-4)
        assert (one[0] > 0) == (sum(numbers) > 0)
