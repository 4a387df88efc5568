"""Tiny forms of the detectors of ``configs/swap``, for tests of these configs."""

import copy
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip  (before mmdet: it brings the ops)
from mmcv.ops import multi_scale_deform_attn as attention
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'configs' / 'swap'
ALL_NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
NAMES = [name for name in ALL_NAMES if '_fgclip1-' not in name]
FIRST_VERSION = [name for name in ALL_NAMES if '_fgclip1-' in name]
SIZES = [(96, 160), (128, 96)]  # h, w; batches are 128 x 160
CLASSES = ('red cup', 'black cat')
WORDS = '[PAD] [UNK] [CLS] [SEP] [MASK] . black cat red cup'
SMALL = {
    'num_classes': 2,
    'num_layers': 1,  # of the DETRs' encoders and decoders, 6 before
    'num_queries': 12,  # 100, 300 or 900 before
    'num_dn_queries': 4,
    'num': 16,  # RoIs sampled for training, 512 before
    'nms_pre': 50,  # boxes per level, 1000 and more before
    'max_per_img': 12,
    'max_per_image': 12,
    'score_thr': 0.0,  # untrained scores are near 0.01
    'fc_out_channels': 64,  # 1024 before
    'feedforward_channels': 64,
    'embed_dim': 64,  # of Grounding DINO's fusion, 1024 before
    'num_convs': 1,  # of mask heads, 4 before
    'stacked_convs': 1,
    'num_csp_blocks': 1,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Maps this small gain nothing from threads."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(autouse=True)
def attention_op(monkeypatch) -> None:
    """Deformable attention goes through mmcv's op, as it does on a GPU."""
    monkeypatch.setattr(attention, 'multi_scale_deformable_attn_pytorch', attend)


def attend(value, shapes, locations, weights) -> torch.Tensor:
    """The op, called as mmcv's module calls it."""
    sizes = shapes.prod(1)
    return attention.MultiScaleDeformableAttnFunction.apply(
        value, shapes, sizes.cumsum(0) - sizes, locations, weights, 64
    )


def make_bert(folder: Path) -> str:
    """A BERT of one layer that knows the names of the classes."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, vocab_size=16,
    )  # fmt: skip
    model = transformers.BertModel(config, add_pooling_layer=False)
    model.save_pretrained(folder)
    (folder / 'vocab.txt').write_text(WORDS.replace(' ', '\n'), encoding='utf-8')
    vocab = str(folder / 'vocab.txt')
    transformers.BertTokenizerFast(vocab=vocab).save_pretrained(folder)
    return str(folder)


@functools.cache
def loaded(path: Path) -> Config:
    init_default_scope('mmdet')
    return Config.fromfile(path)


def load(name: str) -> Config:
    return copy.deepcopy(loaded(FOLDER / name))


def first_neck(model: ConfigDict) -> ConfigDict:
    neck = model.get('neck', {})
    return neck[0] if isinstance(neck, list) else neck


def shrink(config: dict | list, widths: dict[int, int]) -> None:
    """Puts small numbers and widths wherever a nested config has large ones."""
    for key, value in enumerate(config) if isinstance(config, list) else config.items():
        if isinstance(value, dict | list):
            shrink(value, widths)
        elif key in SMALL:
            config[key] = SMALL[key]
        elif value == 'SyncBN':  # needs a GPU
            config[key] = 'BN'
        elif type(value) is int:
            config[key] = widths.get(value, value)


def tiny(cfg: Config, bert_folder: str) -> ConfigDict:
    """The model of a config around the tiny encoder, with two classes."""
    model = cfg.model
    is_transformer = 'positional_encoding' in str(model)  # 256 is in their code too
    is_first = model.backbone.type == 'FGCLIP1ViT'
    width = 96 if is_first else 128
    shrink(model, {768: width} | ({} if is_transformer else {256: 64}))
    model.backbone.encoder = dict(size='tiny', version=1) if is_first else 'tiny'
    if 'out_indices' in model.backbone:
        model.backbone.out_indices = (0, 1, 2, 3)
    if model.type == 'GroundingDINO':
        model.language_model.name = bert_folder
        model.bbox_head.num_classes = 256  # tokens of a sentence
    if model.type == 'Mask2Former':
        for head in (model.panoptic_head, model.panoptic_fusion_head):
            head.update(num_things_classes=2, num_stuff_classes=0)
        model.panoptic_head.loss_cls.class_weight = [1.0, 1.0, 0.1]
        model.train_cfg.num_points = 64
        (augment,) = model.data_preprocessor.batch_augments
        augment.size = (128, 192)
    return model


def build(model: ConfigDict, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    built = MODELS.build(copy.deepcopy(model))
    built.init_weights()
    return built


def build_on_meta(model: ConfigDict, bert_folder: str, monkeypatch) -> nn.Module:
    model.backbone.encoder = model.backbone.encoder.pretrained.split('fg-clip2-')[1]
    if 'language_model' in model:  # transformers reads no weights onto the meta device
        transformers = pytest.importorskip('transformers', reason='needs transformers')

        def without_weights(folder, config, **options):
            return transformers.BertModel(config, **options)

        monkeypatch.setattr(transformers.BertModel, 'from_pretrained', without_weights)
        model.language_model.name = bert_folder
    with torch.device('meta'):
        return MODELS.build(model)


def batch(with_masks: bool) -> dict:
    """Two images of different size, a rectangle on each."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for label, (h, w) in enumerate(SIZES):
        image = torch.randint(0, 256, (3, h, w), generator=generator)
        inputs.append(image.to(torch.uint8))
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(h, w), ori_shape=(h, w), scale_factor=(1.0, 1.0),
                text=CLASSES, custom_entities=True,
            )
        )  # fmt: skip
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8, 60, 70]]),
            labels=torch.tensor([label]),
        )
        if with_masks:
            mask = np.zeros((1, h, w), np.uint8)
            mask[:, 8:70, 8:60] = 1
            sample.gt_instances.masks = BitmapMasks(mask, h, w)
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def flat(parameters: dict[str, nn.Parameter]) -> torch.Tensor:
    return torch.cat([x.detach().flatten() for x in parameters.values()])


def train_two_steps(model: nn.Module, cfg: Config, with_masks: bool) -> None:
    """With the config's own optimizer; every part must move and stay finite."""
    parts: dict[str, dict] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts.setdefault(name.split('.')[0], {})[name] = parameter
    before = {part: flat(parameters) for part, parameters in parts.items()}
    optimizer = build_optim_wrapper(model.train(), copy.deepcopy(cfg.optim_wrapper))
    for _ in range(2):
        data = model.data_preprocessor(batch(with_masks), training=True)
        loss, values = model.parse_losses(model(**data, mode='loss'))
        assert all(value.isfinite() for value in values.values()), values
        optimizer.backward(loss)
        for name, parameter in (parts['backbone'] | parts.get('neck', {})).items():
            assert parameter.grad is not None, f'{name} is trained and never used'
        optimizer.step()
        optimizer.zero_grad()
    for part, parameters in parts.items():
        after = flat(parameters)
        assert after.isfinite().all() and not after.equal(before[part]), part


@torch.no_grad()
def predict(model: nn.Module) -> list[InstanceData]:
    model.eval()
    torch.manual_seed(0)
    data = batch(with_masks=False)
    return [sample.pred_instances for sample in model.test_step(data)]


def check_predictions(actual: list[InstanceData], with_masks: bool) -> None:
    for rows, (h, w) in zip(actual, SIZES, strict=True):
        assert len(rows) > 0 and rows.scores.isfinite().all()
        assert rows.bboxes.shape == (len(rows), 4) and rows.bboxes.isfinite().all()
        limits = torch.tensor([w, h, w, h]) + 0.01
        assert (rows.bboxes >= -0.01).all() and (rows.bboxes <= limits).all()
        assert (rows.labels < 2).all()
        assert ('masks' in rows) == with_masks
        if with_masks:
            assert rows.masks.shape == (len(rows), h, w)


def check_round_trip(cfg: Config, tmp_path: Path, with_masks: bool) -> None:
    """Trains, predicts, saves and loads into a model of other random weights."""
    model = build(cfg.model, seed=0)
    train_two_steps(model, cfg, with_masks)
    actual = predict(model)
    check_predictions(actual, with_masks)
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    again = build(cfg.model, seed=1)
    again.load_state_dict(torch.load(tmp_path / 'model.pth', weights_only=True))
    for first, second in zip(actual, predict(again), strict=True):
        assert sorted(first.keys()) == sorted(second.keys())
        for key, value in first.items():
            same = value.equal if isinstance(value, torch.Tensor) else value.__eq__
            assert same(second[key]), key
