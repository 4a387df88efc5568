"""Faster R-CNN with text embeddings: what it trains, refuses and predicts."""

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from fgclip2_det import Vocabulary

CONFIG = Path(__file__).resolve().parents[2] / (
    'configs/rescore/faster-rcnn_r18_ovshapes.py'
)
VOCABULARY = Vocabulary(
    ['red circle', '蓝色星形', 'green ring'], novel_classes=['green ring']
)


def build():
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIG)
    cfg.model.text_encoder = dict(size='tiny')
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def batch(labels: list[int]) -> dict:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 96, 128), generator=generator).byte()
    sample = DetDataSample(
        metainfo=dict(
            img_shape=(96, 128), ori_shape=(96, 128), scale_factor=(1.0, 1.0),
            img_path='image.jpg', img_id=0,
        )
    )  # fmt: skip
    boxes = torch.tensor([[8.0, 8, 40, 50], [50, 20, 90, 60]])[: len(labels)]
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels))
    return dict(inputs=[image], data_samples=[sample])


def test_trains_on_base_names():
    model = build()
    model.set_vocabulary(VOCABULARY)
    data = model.data_preprocessor(batch([0, 1]), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    total = sum(
        sum(v) if isinstance(v, list) else v for k, v in losses.items() if 'loss' in k
    )
    total.backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert model.classifier.project.weight.grad.abs().sum() > 0
    data = model.data_preprocessor(batch([2]), True)
    with pytest.raises(
        ValueError, match="a training box of the novel class 'green ring'"
    ):
        model.loss(data['inputs'], data['data_samples'])


@torch.no_grad()
def test_scores_are_a_softmax_over_the_names_in_force():
    model = build().eval()
    torch.nn.init.normal_(model.classifier.project.weight, std=1.0)
    with pytest.raises(ValueError, match='the detector has no vocabulary'):
        model.test_step(batch([]))
    for names in (VOCABULARY, ['dog', 'cat', '黑色三角形', 'ring']):
        # as a data set's classes, which compete with each other and nothing else
        if not isinstance(names, Vocabulary):
            names = Vocabulary(names, base_classes=names, check=False)
        model.set_vocabulary(names)
        (sample,) = model.test_step(batch([]))
        actual = sample.pred_instances
        assert len(actual) > 0 and int(actual.labels.max()) < len(names)
        # one box of the head has all names, whose scores and the background's sum to 1
        boxes, of_box = actual.bboxes.unique(dim=0, return_inverse=True)
        sums = torch.zeros(len(boxes)).index_add(0, of_box, actual.scores)
        assert sums.max() <= 1 + 1e-5


def test_refuses_a_sigmoid_head():
    cfg = Config.fromfile(CONFIG)
    cfg.model.roi_head.bbox_head.loss_cls.use_sigmoid = True
    init_default_scope('mmdet')
    with pytest.raises(ValueError, match='must have use_sigmoid=False'):
        MODELS.build(cfg.model)


@torch.no_grad()
def test_nms_is_exact_at_large_labels():
    """Two thin boxes of IoU 0.54 under name 12,999, from the head to its results."""
    head = build().roi_head.bbox_head
    roi = torch.tensor([[0, 10.4, 10, 13.4, 30], [0, 11.3, 10, 14.3, 30],
                        [0, 0, 0, 1023, 767]])  # fmt: skip
    logits = torch.zeros(3, 13_001)
    logits[:, 12_999] = torch.tensor([20.0, 18.0, 16.0])
    test_cfg = ConfigDict(
        score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100
    )
    meta = dict(img_shape=(768, 1024), scale_factor=(1.0, 1.0))
    (actual,) = head.predict_by_feat(
        (roi,), (logits,), (torch.zeros(3, 4),), [meta], test_cfg, rescale=True
    )
    assert actual.labels.tolist() == [12_999] * 2
    torch.testing.assert_close(actual.bboxes, roi[[0, 2], 1:])
    (empty,) = head.predict_by_feat(
        (roi[:0],), (logits[:0],), (torch.zeros(0, 4),), [meta], test_cfg, True
    )
    assert len(empty) == 0 and empty.bboxes.shape == (0, 4)
