"""A detector trains from cached maps as it does from images."""

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.hooks import Hook
from PIL import Image, ImageOps

from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.runner import build_runner
from tests.processes import losses_of_one_and_two

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/ovshapes/ovd_fgclip2_cached.py'


@pytest.fixture(scope='module')
def data_root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('data')


class Losses(Hook):
    def __init__(self) -> None:
        self.actual = []

    def after_train_iter(self, runner, *_, outputs=None, **__) -> None:
        self.actual.append({k: float(v.detach()) for k, v in outputs.items()})


def train(
    data_root, work_dir, folder, dtype='bfloat16', iterations=None, **options
) -> list[dict]:
    """Losses of five steps; ``folder`` None reads images."""
    small = dict(num_train=10, num_val=2, image_size=96, max_num_patches=36)
    small |= {'data_root': str(data_root), 'max_epochs': 1}
    small |= {'train_dataloader.batch_size': 2, **options}
    cfg = load_config(CONFIG, small, str(work_dir))
    (hook,) = [h for h in cfg.custom_hooks if 'FeatureCache' in h['type']]
    if folder is None:
        cfg.custom_hooks.remove(hook)
    else:
        hook.update(folder=str(folder), dtype=dtype)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint = None
    if iterations:
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
        cfg.param_scheduler = None
    runner = build_runner(cfg)
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.actual


def difference(first: list[dict], second: list[dict]) -> float:
    return max(
        abs(b[k] - a[k]) / max(abs(a[k]), 1e-3)
        for a, b in zip(first, second, strict=True)
        for k in a
        if 'loss' in k
    )


def test_cached_training_is_training_on_images(data_root, tmp_path):
    images = train(data_root, tmp_path / 'a', None)
    assert len(images) == 5
    exact = train(data_root, tmp_path / 'b', tmp_path / 'fp32', 'float32')
    assert difference(images, exact) < 1e-5
    half = train(data_root, tmp_path / 'c', tmp_path / 'bf16')
    # of other regions, where bfloat16 changes which proposals are best
    assert 0 < difference(images[:1], half[:1]) < 5e-2
    for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
        assert half[0][name] == pytest.approx(images[0][name], rel=1e-3)
    shards = sorted((tmp_path / 'bf16').iterdir())
    before = [path.stat().st_mtime_ns for path in shards]
    again = train(data_root, tmp_path / 'd', tmp_path / 'bf16')
    assert again == half  # nothing was encoded
    assert [path.stat().st_mtime_ns for path in shards] == before


def test_filling_goes_on(data_root, tmp_path):
    whole = train(data_root, tmp_path / 'a', tmp_path / 'maps')
    (path,) = (tmp_path / 'maps').iterdir()
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, 'pt') as file:
        meta, keys = file.metadata(), sorted(file.keys())
        half = [k for k in keys if not k.endswith('#info')][::2]
        kept = {k: file.get_tensor(k) for k in (*half, *(f'{k}#info' for k in half))}
    save_file(kept, path, metadata=meta)
    assert train(data_root, tmp_path / 'b', tmp_path / 'maps') == whole
    assert len(list((tmp_path / 'maps').iterdir())) == 2


def test_a_replaced_image_is_encoded_anew(data_root, tmp_path, monkeypatch):
    """Of the same size, under the same name, with the same time."""
    from fgclip2_det.datasets.feature_cache import FeatureCache
    from fgclip2_det.datasets.ovshapes import generate as ovshapes_generate

    first = train(data_root, tmp_path / 'a', tmp_path / 'maps', 'float32')
    path = min(data_root.rglob('train/*.jpg'))
    saved, times = path.read_bytes(), (path.stat().st_atime, path.stat().st_mtime)
    monkeypatch.setattr(ovshapes_generate, '_check_manifest', lambda *_: None)
    try:
        ImageOps.invert(Image.open(path)).save(path)
        os.utime(path, times)
        second = train(data_root, tmp_path / 'b', tmp_path / 'maps', 'float32')
    finally:
        path.write_bytes(saved)
    assert first != second
    with pytest.raises(ValueError) as error:
        FeatureCache(tmp_path / 'maps', '')
    digest = str(error.value).split('dtype (')[1].split(', here')[0]
    keys = FeatureCache(tmp_path / 'maps', digest).keys()
    new = hashlib.sha256(saved).hexdigest()
    assert len(keys) == 22 and sum(key.startswith(new) for key in keys) == 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model.backbone.frozen_stages': 2,
             'model.roi_head.region_loss_weight': 1.0},
            'frozen encoder',
        ),
        ({'model.roi_head.region_loss_weight': 1.0}, 'region_loss_weight'),
        (
            {'train_dataloader.dataset.pipeline.2': dict(type='RandomFlip', prob=0.5)},
            'would not move the maps',
        ),
        (
            {'model.data_preprocessor.batch_augments': [
                dict(type='BatchFixedSizePad', size=(96, 96))]},
            'batch_augments',
        ),
        ({'train_dataloader.dataset.split': 'val', 'num_val': 8}, 'the novel class'),
    ],
)  # fmt: skip
def test_what_is_refused(data_root, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(data_root, tmp_path / 'a', tmp_path / 'maps', **options)


def test_iterations_and_workers(data_root, tmp_path):
    """An iteration-based loop has its workers before the cache is filled."""
    options = {'iterations': 4, 'train_dataloader.num_workers': 2}
    images = train(data_root, tmp_path / 'a', None, **options)
    exact = train(data_root, tmp_path / 'b', tmp_path / 'maps', 'float32', **options)
    assert len(exact) == 4
    assert difference(images, exact) < 1e-5


def test_digest_of_an_encoder():
    from fgclip2_det.engine.hooks.feature_cache_hook import maps_digest
    from fgclip2_det.models import FGCLIP2ViT

    options = [
        dict(encoder='tiny', frozen_stages=4),
        dict(encoder='fgclip2_tiny', frozen_stages=4),
        dict(encoder='tiny', frozen_stages=4, out_indices=(1, 2)),
        dict(encoder='tiny', frozen_stages=4, window_size=2, global_blocks=(3,)),
        dict(encoder='tiny', frozen_stages=4, window_size=2, global_blocks=(2, 3)),
    ]
    digests = [maps_digest(FGCLIP2ViT(**kwargs)) for kwargs in options]
    assert len(set(digests)) == len(options)
    same = FGCLIP2ViT('tiny', output='both', frozen_stages=4)
    assert maps_digest(same) == digests[0]  # the dense head makes no cached map


@pytest.mark.parametrize('output', ['tokens', 'dense', 'both'])
def test_other_detectors_train_on_cached_tokens_alone(output):
    from fgclip2_det.engine.hooks.feature_cache_hook import _frozen_backbone
    from fgclip2_det.models import FGCLIP2ViT

    backbone = FGCLIP2ViT('tiny', output=output, frozen_stages=4)
    model = SimpleNamespace(backbone=backbone)  # one stage: no roi_head
    if output == 'tokens':
        assert _frozen_backbone(model) is backbone
        return
    with pytest.raises(ValueError, match='no dense maps'):
        _frozen_backbone(model)


def test_another_dtype(data_root, tmp_path):
    train(data_root, tmp_path / 'a', tmp_path / 'maps')
    with pytest.raises(ValueError, match='another encoder or dtype'):
        train(data_root, tmp_path / 'b', tmp_path / 'maps', 'float32')


def test_another_encoder(data_root, tmp_path):
    train(data_root, tmp_path / 'a', tmp_path / 'maps')
    other = {'model.backbone.encoder': 'tiny'}
    with pytest.raises(ValueError, match='another encoder'):
        train(data_root, tmp_path / 'b', tmp_path / 'maps', **other)


def test_another_pipeline(data_root, tmp_path):
    from fgclip2_det.engine.hooks.feature_cache_hook import FGCLIP2FeatureCacheHook

    cfg = load_config(ROOT / 'configs/ovd_fgclip2.py', dict(num_train=4, num_val=2,
                      image_size=96, data_root=str(data_root)),
                      str(tmp_path / 'a'))  # fmt: skip
    cfg.custom_hooks.append(
        dict(type='FGCLIP2FeatureCacheHook', folder=str(tmp_path / 'maps'))
    )
    with pytest.raises(ValueError, match='FGCLIP2LoadView'):
        build_runner(cfg).train()
    with pytest.raises(ValueError, match='dtype'):
        FGCLIP2FeatureCacheHook('maps', dtype='int8')


def test_two_processes(data_root, tmp_path):
    """Each fills a part; losses are those of one process."""
    words = [CONFIG, '--iterations', 2, '--batch', 4, '--cfg-options']
    words += ['num_train=10', 'num_val=2', 'image_size=128', 'max_num_patches=64']
    words += [f'data_root={data_root}']
    words += ['train_dataloader.dataset.pipeline.0.flip=False']
    maps = str(tmp_path / 'maps')
    result = losses_of_one_and_two(words, tmp_path, FEATURE_CACHE=maps)
    assert result['largest relative difference'] < 1e-5
