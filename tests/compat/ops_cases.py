"""Losses, gradients and predictions on seeded numbers, for one kind of mmcv's ops.

``test_compiled_ops`` runs this file in several Pythons and compares what they write.

Example:
    python tests/compat/ops_cases.py fallback out.pt
"""

import copy
import importlib.util
import os
import sys
import tempfile
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
KINDS = ('fallback', 'compiled', 'torchvision')


class FallbackFirst:
    """Finds the PyTorch ops where compiled ones would be found, too."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        if name == 'mmcv._ext':
            return spec_from_file_location(
                name, ROOT / 'fgclip2_det/compat/mmcv_ext.py'
            )


def choose(kind: str) -> None:
    """Makes mmcv use these ops, before anything else is imported.

    Raises:
        SystemExit: this Python does not have them.
    """
    sys.path.insert(0, str(ROOT))
    if kind != 'compiled':
        sys.meta_path.insert(0, FallbackFirst)
    import fgclip2_det
    from fgclip2_det.compat import mmcv_ext
    from fgclip2_det.compat.ops import backends, roi_align

    if not fgclip2_det.HAS_MM:
        raise SystemExit('absent: no mm packages')
    import mmcv._ext

    has_fallback = mmcv._ext.__file__ == mmcv_ext.__file__
    if has_fallback != (kind != 'compiled'):
        raise SystemExit(f'absent: {sys.executable} has no {kind} ops')
    if kind == 'torchvision':
        if backends.torchvision_ops() is None:
            raise SystemExit('absent: torchvision does not import')
        roi_align._use_torchvision = lambda tensor: True
    elif kind == 'fallback':
        backends.torchvision_ops.cache_clear()
        backends.find_spec = lambda name: None


def swap() -> ModuleType:
    """``tests/swap_models.py``, which knows the tiny forms of the configs."""
    path = ROOT / 'tests' / 'swap_models.py'
    spec = spec_from_file_location('swap_models', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use_attention_op(tests: ModuleType) -> None:
    """As on a GPU; mmcv has no compiled op for a CPU, where it runs a formula."""
    tests.attention.multi_scale_deformable_attn_pytorch = tests.attend


def numbers(instances: list) -> dict[str, Tensor]:
    """Predictions of two images as tensors."""
    actual = {}
    for i, rows in enumerate(instances):
        for key in ('bboxes', 'scores', 'labels', 'masks'):
            if key in rows:
                actual[f'{key} {i}'] = torch.as_tensor(np.asarray(rows[key])).clone()
    return actual


def two_steps(model: nn.Module, batch: dict) -> dict[str, Tensor]:
    """Losses and gradients of two steps of SGD.

    AdamW's first step is +-lr wherever a gradient is rounding noise, so its second
    gradient would compare that noise.
    """
    from mmengine.optim import build_optim_wrapper

    torch.manual_seed(0)
    optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-4, momentum=0.9))
    optimizer, actual = build_optim_wrapper(model.train(), optim_wrapper), {}
    for step in (1, 2):
        data = model.data_preprocessor(copy.deepcopy(batch), training=True)
        loss, values = model.parse_losses(model(**data, mode='loss'))
        actual[f'losses {step}'] = torch.stack([*values.values()]).detach()
        optimizer.backward(loss)
        grads = [x.grad.flatten() for x in model.parameters() if x.grad is not None]
        actual[f'gradients {step}'] = torch.cat(grads)
        optimizer.step()
        optimizer.zero_grad()
    return actual


def swap_case(tests: ModuleType, name: str, bert: str) -> dict[str, Tensor]:
    """A detector of MMDetection, predictions first."""
    cfg = tests.load(name)
    model = tests.build(tests.tiny(cfg, bert), seed=0)
    actual = numbers(tests.predict(model))
    batch = tests.batch(with_masks='mask' in name)
    return {**actual, **two_steps(model, batch)}


def open_vocab_model(with_masks: bool) -> nn.Module:
    """Our two-stage detector, with random weights that are all trained."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    from fgclip2_det import Vocabulary

    models = ROOT / 'configs' / '_base_' / 'models'
    model = Config.fromfile(models / 'fgclip2-det_tiny_sfpn.py').model
    model.backbone.encoder, model.backbone.frozen_stages = dict(size='tiny', seed=0), -1
    model.roi_head.region_loss_weight = 1.0
    if with_masks:
        masks = Config.fromfile(models / 'fgclip2-mask-det_b16_sfpn.py').model
        head, pool = masks.roi_head.mask_head, masks.roi_head.mask_roi_extractor
        head.update(in_channels=64, conv_out_channels=16, num_convs=1)
        pool.update(out_channels=64, featmap_strides=[8, 16], finest_scale=48)
        model.roi_head.update(mask_head=head, mask_roi_extractor=pool)
        model.data_preprocessor = masks.data_preprocessor
        model.train_cfg.rcnn.mask_size = 28
        model.test_cfg.rcnn.update(mask_thr_binary=-1, score_thr=0.0)
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    # smooth: a ReLU at 0 makes a gradient of 1.4e-4 out of the last bit of one unit
    built.roi_head.bbox_head.relu = nn.SiLU()
    nn.init.normal_(built.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    names = ['red cup', 'black cat', '绿色星形']
    built.set_vocabulary(Vocabulary(names, novel_classes=names[2:]))
    return built


def open_vocab_case(tests: ModuleType, with_masks: bool) -> dict[str, Tensor]:
    model = open_vocab_model(with_masks)
    actual = numbers(tests.predict(model))
    return {**actual, **two_steps(model, tests.batch(with_masks))}


def rescorer_case(tests: ModuleType, mode: str, folder: Path) -> dict[str, Tensor]:
    """A wrapped Faster R-CNN with NMS and merging of equal labels."""
    from mmdet.registry import MODELS
    from PIL import Image

    detector = tests.tiny(tests.load('faster-rcnn_fgclip2-b16_sfpn_1x_coco.py'), '')
    nms = {} if mode == 'keep' else dict(nms_iou=0.5, merge_iou=0.7)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='FGCLIP2Rescorer', detector=detector, mode=mode,
            encoder=dict(pretrained='fgclip2_tiny'), **nms,
        )
    )  # fmt: skip
    model.detector.init_weights()
    model.set_vocabulary(list(tests.CLASSES))
    batch = tests.batch(with_masks=False)
    for i, (x, sample) in enumerate(
        zip(batch['inputs'], batch['data_samples'], strict=True)
    ):
        path = folder / f'{mode}-{i}.png'
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(path)
        sample.set_metainfo(dict(img_path=str(path)))
    with torch.no_grad():
        return numbers([x.pred_instances for x in model.eval().test_step(batch)])


def ops_case() -> dict[str, Tensor]:
    """The functions of mmcv that detectors call, on numbers of their own."""
    from mmcv import ops

    generator = torch.Generator().manual_seed(0)
    low = torch.rand(300, 2, generator=generator) * 60
    boxes = torch.cat([low, low + 5 + torch.rand(300, 2, generator=generator) * 40], 1)
    scores, labels = torch.rand(300, generator=generator), torch.arange(300) % 5
    actual = {'overlaps': ops.bbox_overlaps(boxes[:40], boxes[40:])}
    for kind in ('nms', 'soft_nms'):
        option = dict(type=kind, iou_threshold=0.5)
        actual[kind] = ops.batched_nms(boxes, scores, labels, option)[0]
    groups = ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5)
    actual['nms_match'] = torch.cat(groups)
    images = (labels % 2).float()[:, None]
    rois = torch.cat([images, boxes], 1)
    for mode in ('avg', 'max'):
        x = torch.randn(2, 8, 25, 25, generator=generator).requires_grad_()
        pooled = ops.roi_align(x, rois, 7, 0.25, 0, mode, True)
        (pooled * torch.randn(pooled.shape, generator=generator)).sum().backward()
        actual |= {f'roi_align {mode}': pooled.detach(), f'its gradient {mode}': x.grad}
    return actual


def main(kind: str, out: str) -> None:
    choose(kind)
    torch.set_num_threads(1)
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    tests, actual = swap(), {'mmcv.ops': ops_case()}
    if kind != 'compiled':
        use_attention_op(tests)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bert = tests.make_bert(folder)
        for with_masks in (False, True):
            name = 'open vocabulary' + ', masks' * with_masks
            actual[name] = open_vocab_case(tests, with_masks)
        for mode in ('keep', 'box', 'joint'):
            actual[f're-scorer, {mode}'] = rescorer_case(tests, mode, folder)
        names = os.environ.get('FGCLIP2_OPS_CONFIGS', '-b16')
        for name in tests.NAMES:
            if names in name:
                actual[name] = swap_case(tests, name, bert)
    import mmdet

    torch.save(dict(mmdet=mmdet.__version__, cases=actual), out)


if __name__ == '__main__':
    main(*sys.argv[1:])
