"""Held-out names before, during and after training."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from fgclip2_det import FGCLIP2
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.hooks.retention_hook import ZeroShotRetentionHook
from fgclip2_det.engine.retention import RetentionTest
from fgclip2_det.engine.runner import build_runner
from fgclip2_det.engine.start import prepare_training

ROOT = Path(__file__).resolve().parents[2]
LORA = ROOT / 'configs/ovshapes/ovd_fgclip2_lora.py'
SIZES = dict(num_train=8, num_val=7)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp('ovshapes'))


@pytest.fixture(scope='module')
def dataset(data_root) -> dict:
    init_default_scope('mmdet')
    options = dict(data_root=data_root, **SIZES)
    return load_config(LORA, options).val_dataloader.dataset


@pytest.fixture(scope='module')
def detector():
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    return MODELS.build(cfg.model)


@torch.no_grad()
def obvious_top1(data_root: str, split: set[str], chosen: list[str]) -> float:
    """Annotation file and images by hand, one box after the other."""
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    (folder,) = (p for p in Path(data_root).iterdir() if '8train_7val' in p.name)
    coco = json.loads((folder / 'val.json').read_text(encoding='utf-8'))
    names = {c['id']: c['name'] for c in coco['categories'] if c['split'] in split}
    texts = encoder.encode_text(chosen, 'box', normalize=True)
    right = []
    for annotation in coco['annotations']:
        name = names.get(annotation['category_id'])
        if name not in chosen:
            continue
        (image,) = (i for i in coco['images'] if i['id'] == annotation['image_id'])
        batch = encoder.preprocess(folder / 'val' / image['file_name'], 400)
        x, y, width, height = annotation['bbox']
        box = [[x, y, x + width, y + height]]
        (region,) = encoder.region_features(batch, [box], normalize=True)
        right.append(chosen[int((region @ texts.T).argmax())] == name)
    return 100 * float(np.mean(right))


@pytest.mark.parametrize('classes', ['novel', 'base', 'all', 'some'])
def test_top1_equals_an_obvious_loop(data_root, dataset, detector, classes):
    meta = RetentionTest(dataset, 'all').dataset.metainfo
    names = {
        'novel': meta['novel_classes'],
        'base': meta['base_classes'],
        'all': meta['classes'],
        'some': meta['classes'][40:60][::-1],  # in another order
    }[classes]
    test = RetentionTest(dataset, list(names) if classes == 'some' else classes)
    assert test.names == list(names)
    split = {'base', 'novel'}
    expected = obvious_top1(data_root, split, list(names))
    assert test.top1(detector) == pytest.approx(expected)
    assert expected > 50  # the encoder in the package knows them


def test_a_random_encoder_knows_nothing(dataset):
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    cfg.model.backbone.encoder = dict(size='tiny', seed=0)
    assert RetentionTest(dataset, 'all').top1(MODELS.build(cfg.model)) < 20


def test_modes_and_random_numbers_stay(dataset, detector):
    detector.train()
    detector.neck.eval()
    modes = {name: module.training for name, module in detector.named_modules()}
    torch.manual_seed(1)
    np.random.seed(1)
    state, array = torch.get_rng_state(), np.random.get_state()[1].copy()
    test = RetentionTest(dataset, max_images=2)
    assert test.top1(detector) == test.top1(detector)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == array).all()
    assert {n: m.training for n, m in detector.named_modules()} == modes
    assert not any(p.grad is not None for p in detector.parameters())


def measure_on_rank(folder: Path, rank: int, dataset: dict, detector) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    actual = [
        RetentionTest(dataset, 'all', max_images=n).top1(detector) for n in (None, 3, 1)
    ]
    (folder / f'{rank}.json').write_text(json.dumps(actual))


def test_two_processes_equal_one(dataset, detector, tmp_path):
    """Also with uneven shares, and one image for both."""
    alone = [
        RetentionTest(dataset, 'all', max_images=n).top1(detector) for n in (None, 3, 1)
    ]
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=measure_on_rank, args=(tmp_path, r, dataset, detector))
        for r in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(1800)
    assert [process.exitcode for process in processes] == [0, 0]
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == alone


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(classes='new'), "must be 'novel', 'base', 'all' or a list"),
        (dict(classes=['red square', 'dog']), "has no class 'dog'"),
        (dict(classes=[]), r'has no \[\] class'),
        (dict(max_images=0), 'max_images must be 1 or more'),
        (dict(split='train'), 'no box of 17 classes'),
        (
            dict(pipeline=[dict(type='RandomFlip', prob=0.5)]),
            'the pipeline has RandomFlip',
        ),
    ],
)
def test_bad_options(dataset, options, match):
    parts = {k: options.pop(k) for k in ('split', 'pipeline') if k in options}
    with pytest.raises(ValueError, match=match):
        RetentionTest({**dataset, **parts}, **options)


def test_bad_interval_and_model(dataset):
    with pytest.raises(ValueError, match='interval must be 0 or more, got -1'):
        ZeroShotRetentionHook(dataset, interval=-1)
    with pytest.raises(ValueError, match='needs an FGCLIP2ViT'):
        RetentionTest(dataset).top1(torch.nn.Linear(2, 2))


def train(
    data_root: str,
    work_dir: Path,
    resume: str | None = None,
    measure: bool = True,
    **more,
):
    """Four epochs of two steps, at a rate that does harm."""
    options = {'max_epochs': 4, 'optim_wrapper.optimizer.lr': 1.0, **SIZES, **more}
    options |= {'data_root': data_root, 'train_cfg.val_interval': 100}
    cfg = load_config(LORA, options, str(work_dir))
    (hook,) = (h for h in cfg.custom_hooks if h['type'] == 'ZeroShotRetentionHook')
    hook.interval = 2
    if not measure:
        cfg.custom_hooks = [h for h in cfg.custom_hooks if h is not hook]
    prepare_training(cfg, resume)
    runner = build_runner(cfg)
    runner.train()
    return runner


def read(work_dir: Path) -> dict:
    return json.loads((work_dir / 'retention.json').read_text(encoding='utf-8'))


@pytest.mark.slow
def test_a_training_and_its_resumption(data_root, tmp_path, capfd):
    whole, resumed = tmp_path / 'whole', tmp_path / 'resumed'
    runner = train(data_root, whole)
    actual = read(whole)
    records = actual['records']
    assert [(r['epoch'], r['iter']) for r in records] == [(0, 0), (2, 4), (4, 8)]
    assert len(actual['names']) == 17
    assert actual['num_images'] <= 7
    assert records[0]['top1'] > records[-1]['top1']
    assert [r['change'] for r in records] == [
        r['top1'] - records[0]['top1'] for r in records
    ]
    hub = runner.message_hub
    for name in ('top1', 'change'):
        scalar = hub.get_scalar(f'retention/{name}')
        assert scalar.data[0].tolist() == [r[name] for r in records]
    assert 'zero-shot retention: 17 names' in capfd.readouterr()[0]

    resumed.mkdir()
    for file in whole.glob('*.json'):
        if file.name != 'retention.json':
            shutil.copy(file, resumed)
    shutil.copy(whole / 'epoch_3.pth', resumed)
    train(data_root, resumed, str(resumed / 'epoch_3.pth'))
    assert read(resumed) == actual


@pytest.mark.slow
def test_measuring_changes_no_training(data_root, tmp_path):
    weights = []
    for measure in (True, False):
        work_dir = tmp_path / str(measure)
        train(data_root, work_dir, measure=measure, max_epochs=1)
        assert (work_dir / 'retention.json').exists() == measure
        checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
        weights.append(checkpoint['state_dict'])
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
