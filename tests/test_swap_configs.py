"""MMDetection's detectors with FG-CLIP 2 as their backbone, in tiny form."""

import copy
import re

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from tests.swap_models import (  # noqa: F401  isort: skip  (fixtures; it brings the ops)
    FIRST_VERSION,
    FOLDER,
    NAMES,
    attention_op,
    build,
    build_on_meta,
    check_round_trip,
    first_neck,
    load,
    make_bert,
    one_thread,
    tiny,
)
from mmdet.registry import MODELS
from mmengine.hub import get_config

DETECTORS = (
    'faster-rcnn', 'mask-rcnn', 'cascade-mask-rcnn', 'retinanet', 'atss', 'fcos',
    'deformable-detr', 'dino', 'grounding-dino', 'rtmdet-l', 'mask2former',
)  # fmt: skip
ENCODERS = {'b16': ('base', 768), 'l16': ('large', 1024), 'so16': ('so400m', 1152)}
STRIDES = {  # of what the head gets, by the model's type
    **dict.fromkeys(['FasterRCNN', 'MaskRCNN', 'CascadeRCNN'], (4, 8, 16, 32, 64)),
    **dict.fromkeys(['RetinaNet', 'ATSS', 'FCOS'], (8, 16, 32, 64, 128)),
    **dict.fromkeys(['DeformableDETR', 'DINO', 'GroundingDINO'], (8, 16, 32, 64)),
    'RTMDet': [8, 16, 32],
    'Mask2Former': [4, 8, 16, 32],
}


@pytest.fixture(scope='module')
def bert_folder(tmp_path_factory) -> str:
    pytest.importorskip('transformers', reason='needs transformers')
    return make_bert(tmp_path_factory.mktemp('bert'))


def test_every_detector_has_every_size():
    for detector in DETECTORS:
        for size in ENCODERS:
            (name,) = [
                x for x in NAMES if x.startswith(f'{detector}_fgclip2-{size}_sfpn')
            ]
            model = load(name).model
            hub, width = ENCODERS[size]
            assert model.backbone.encoder == {'pretrained': f'qihoo360/fg-clip2-{hub}'}
            assert first_neck(model).in_channels == width


@pytest.mark.parametrize('name', [x for x in NAMES if '-b16' not in x])
def test_larger_sizes_differ_in_nothing_else(name):
    """So that what base does in tiny form below, they do too."""
    configs = load(name), load(re.sub('-(l|so)16', '-b16', name))
    for cfg in configs:
        cfg.model.backbone.encoder = 'tiny'
        first_neck(cfg.model).in_channels = 128
    assert configs[0].to_dict() == configs[1].to_dict()


def test_version_1_differs_in_the_encoder_alone():
    """So that what version 2 does in tiny form below, version 1 does too."""
    second = [name for name in NAMES if '_fgclip2-b16_sfpn_' in name]
    assert [name.replace('fgclip2', 'fgclip1') for name in second] == FIRST_VERSION
    backbone = "type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base')"
    for name, other in zip(FIRST_VERSION, second, strict=True):
        text = (FOLDER / name).read_text(encoding='utf-8')
        assert ' '.join(text.split()) == (
            f"_base_ = './{other}' model = dict( backbone=dict({backbone}) )"
        )


@pytest.mark.parametrize('name', NAMES)
def test_builds_without_memory(name, bert_folder, monkeypatch):
    """On the meta device, where released weights are not needed either."""
    cfg = load(name)
    model = cfg.model
    built = build_on_meta(model, bert_folder, monkeypatch)
    assert all(x.is_meta for x in built.backbone.parameters())
    widths = first_neck(model).get('in_channels') or model.rpn_head.in_channels
    widths = widths if isinstance(widths, list) else [widths]
    assert set(widths) == {built.backbone.embed_dims}
    assert 'fgclip2_det.registration' in cfg.custom_imports['imports']


@pytest.mark.parametrize('name', [x for x in NAMES if '-b16' in x] + [
    'retinanet_fgclip1-b16_sfpn_1x_coco.py',
    'mask-rcnn_fgclip1-b16_sfpn_1x_coco.py',
])  # fmt: skip
def test_trains_predicts_saves_and_loads(name, bert_folder, tmp_path):
    cfg = load(name)
    tiny(cfg, bert_folder)
    check_round_trip(cfg, tmp_path, with_masks='mask' in name)


@pytest.mark.parametrize('name', [x for x in NAMES if '-b16_' in x])
@torch.no_grad()
def test_strides_are_the_heads(name, bert_folder):
    """Of maps from 256 x 384 pixels, and of the anchors or points over them."""
    cfg = load(name)
    model = build(tiny(cfg, bert_folder), seed=0).eval()
    strides = list(STRIDES[cfg.model.type])
    if '_plain_' in name:
        strides = [16]
    if '_fpn_' in name:
        strides = [16, 16, 16, 16, 32]
    maps = model.extract_feat(torch.zeros(1, 3, 256, 384))
    assert [(256 // x.shape[2], 384 // x.shape[3]) for x in maps] == [
        (stride, stride) for stride in strides
    ]
    head = getattr(model, 'rpn_head', None) or getattr(model, 'bbox_head', None)
    generator = getattr(head, 'prior_generator', None)
    if cfg.model.type == 'Mask2Former':
        generator = model.panoptic_head.pixel_decoder.point_generator
    if 'DETR' not in cfg.model.type and 'DINO' not in cfg.model.type:
        assert [x if isinstance(x, int) else x[0] for x in generator.strides] == strides


def test_grounding_dino_starts_from_the_released_detector(bert_folder, monkeypatch):
    """Its weights fit all but the backbone and the neck, which share no name."""
    ours = load('grounding-dino_fgclip2-b16_sfpn_16xb4-1x_coco.py')
    base = 'mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco.py'
    theirs = get_config(f'mmdet::{base}')
    assert ours.load_from == theirs.load_from and 'swin-t' in ours.load_from
    swin = theirs.model.backbone
    swin.update(embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 1, 1])
    swin_names = {f'backbone.{name}' for name in MODELS.build(swin).state_dict()}
    theirs.model.backbone = copy.deepcopy(ours.model.backbone)
    theirs.model.encoder.num_cp = 0
    mine, released = (
        build_on_meta(model, bert_folder, monkeypatch).state_dict()
        for model in (ours.model, theirs.model)
    )
    assert swin_names and not swin_names & mine.keys()
    for name in mine.keys() | released.keys():
        if name.startswith('neck.'):
            assert (name in mine) != (name in released), name
        else:
            assert mine[name].shape == released[name].shape, name
