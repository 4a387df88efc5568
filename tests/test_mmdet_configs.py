"""MMDetection's own detectors train and predict without compiled ops."""

from collections.abc import Iterator

import pytest
import torch

pytest.importorskip('mmengine', reason='needs the mm packages')

from fgclip2_det.compat import prepare

prepare()

import mmcv._ext  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.mask import BitmapMasks  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.hub import get_config  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from fgclip2_det.compat import mmcv_ext  # noqa: E402

CONFIGS = [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'atss/atss_r50_fpn_1x_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
]
SIZE = (128, 160)  # h, w
SMALL = {
    'num_classes': 3,
    'init_cfg': None,  # no download
    'num_layers': 2,  # of the DETRs' encoders and decoders, 6 before
    'num_queries': 20,  # 300 or 900 before
    'num': 32,  # RoIs sampled for training, 512 before
    'nms_pre': 200,  # boxes per level, 1000 or 2000 before
    'max_per_img': 20,  # proposals and detections, 1000 and 100 before
    'fc_out_channels': 64,  # 1024 before
    'num_convs': 1,  # of mask heads, 4 before
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Maps this small gain nothing from threads, and lose much on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def shrink(config: dict | list) -> None:
    """Puts the values of ``SMALL`` wherever a nested config has their names."""
    for key, value in enumerate(config) if isinstance(config, list) else config.items():
        if key in SMALL:
            config[key] = SMALL[key]
        elif isinstance(value, dict | list):
            shrink(value)


def make_samples() -> list[DetDataSample]:
    """Two objects with masks on each of two images."""
    samples = []
    for shift in (0, 10):
        bboxes = torch.tensor([[10, 20, 70, 90], [60, 40, 120, 110]]) + shift
        masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, bboxes.tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        shapes = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), SIZE)
        sample = DetDataSample(metainfo={**shapes, 'scale_factor': (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=bboxes.float(),
            labels=torch.tensor([0, 2]),
            masks=BitmapMasks(masks.numpy(), *SIZE),
        )
        samples.append(sample)
    return samples


@pytest.mark.parametrize('path', CONFIGS)
def test_config_trains_and_predicts_without_compiled_ops(path: str):
    if mmcv._ext.__file__ != mmcv_ext.__file__:
        pytest.skip('this mmcv has compiled ops')
    torch.manual_seed(0)
    register_all_modules(init_default_scope=True)
    config = get_config(f'mmdet::{path}')
    shrink(config.model)
    config.model.backbone.base_channels = 16  # a quarter of ResNet-50's width
    config.model.neck.in_channels = [c // 4 for c in config.model.neck.in_channels]
    model = MODELS.build(config.model)
    model.init_weights()
    images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
    data = {'inputs': list(images), 'data_samples': make_samples()}

    weight = model.bbox_head if hasattr(model, 'bbox_head') else model.roi_head
    before = torch.nn.utils.parameters_to_vector(weight.parameters())
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    losses = model.train().train_step(data, optimizer)
    after = torch.nn.utils.parameters_to_vector(weight.parameters())
    assert losses
    assert all(value.isfinite().all() for value in losses.values()), losses
    assert after.isfinite().all()
    assert not torch.equal(before, after)

    for result in model.eval().test_step(data):
        actual = result.pred_instances
        assert actual.bboxes.shape == (len(actual.scores), 4)
        assert actual.bboxes.isfinite().all()
        assert (actual.labels < SMALL['num_classes']).all()
        if 'mask' in path:
            assert actual.masks.shape == (len(actual.scores), *SIZE)
