"""Whole runs through tools/train.py: two processes, and a run that was stopped."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image

from fgclip2_det import cli
from pretrain.curves import read_scalars
from tests.processes import fork_two

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / 'tools' / 'train.py'
NUM_RECORDS = {'en': 18, 'zh': 8}  # 5 + 2 batches of 4 an epoch, one of them smaller

CONFIG = """
_base_ = r'{root}/configs/_base_/align_runtime.py'
model = dict(
    type='FGCLIP2Alignment',
    encoder={encoder},
    losses=dict(preset='{preset}'),
    region_logit_scale=2.0, hard_logit_scale=3.0)
train_dataloader = dict(
    batch_size=4, num_workers=0,
    sampler=dict(type='BilingualSampler', infinite=True),
    batch_sampler=dict(type='BilingualBatchSampler'),
    collate_fn=dict(type='AlignmentCollate', max_num_patches=12),
    dataset=dict(
        type='AlignmentDataset', ann=r'{data}/records.json', image_root=r'{data}',
        max_anns=2))
optim_wrapper = dict(
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(type='{optimizer}', lr=5e-4, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(muon='{optimizer}' == 'MuonAdamW', new_head_lr_mult=2.0),
    clip_grad=dict(max_norm=2.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=10, val_interval=1000)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
log_processor = dict(window_size=1)
custom_hooks = {hooks}
"""


def make_record(number: int, language: str) -> dict:
    """Every third one has no boxes, every fourth no long caption, every fifth no hard
    negatives; two boxes share a phrase now and then."""
    noun = ('cat', 'dog', 'cup')[number % 3]
    if language == 'zh':
        noun = ('猫', '狗', '杯子')[number % 3]
    boxes = [
        {
            'bbox': [0.1 + 0.2 * k, 0.1, 0.5 + 0.2 * k, 0.4 + 0.05 * (number % 9)],
            'short_expr': f'{noun} {k}',
            'long_expr': f'{noun} {k} of {number}',
            'short_expr_negs': {
                str(j): f'{noun} {k} not {j}' for j in range(number % 5 and 3 + k)
            },
        }
        for k in range(3 if number % 3 else 0)
    ]
    record = {
        'f_path': f'{number % 6}.jpg',
        'short_caption': f'{noun} in picture {number % 7}',
        'bbox_info': boxes,
    }
    if number % 4:
        record['caption'] = f'a long text of {noun} in picture {number}'
    return record | ({'is_cn': True} if language == 'zh' else {})


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for number in range(6):
        size = 48 + 16 * (number % 2), 64 + 16 * (number % 3)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.jpg')
    records = [
        make_record(number, language)
        for language, count in NUM_RECORDS.items()
        for number in range(count)
    ]
    (folder / 'records.json').write_text(json.dumps(records, ensure_ascii=False))
    return folder


@pytest.fixture
def write_config(data, small_encoder, tmp_path) -> Callable[..., Path]:
    def write(name: str, **changes: object) -> Path:
        encoder = dict(pretrained=str(small_encoder))
        values = dict(root=ROOT, data=data, encoder=encoder, hooks=[]) | changes
        text = CONFIG
        for key, value in values.items():
            text = text.replace(f'{{{key}}}', str(value))
        path = tmp_path / f'{name}.py'
        path.write_text(text, encoding='utf-8')
        return path

    return write


@pytest.fixture
def train(monkeypatch, tmp_path) -> Callable[..., Path]:
    """train(config, work_dir, 'key=value', resume=False): tools/train.py in this
    process, which has paid for the imports already."""
    monkeypatch.syspath_prepend(TRAIN.parent)

    def run(config: Path, work_dir: str, *options: str, resume: bool = False) -> Path:
        folder = tmp_path / work_dir
        words = [TRAIN, config, '--work-dir', folder, *['--resume'] * resume]
        name = f'experiment_name={config.stem}_{work_dir}_{resume}'
        words += ['--verbose', '--cfg-options', name, *options]
        monkeypatch.setattr(sys, 'argv', [str(word) for word in words])
        threads = torch.get_num_threads()
        try:
            runpy.run_path(str(TRAIN), run_name='__main__')
        finally:
            torch.set_num_threads(threads)
        return folder

    return run


def load(folder: Path, name: str = 'iter_10.pth') -> dict:
    return torch.load(folder / name, weights_only=False)


def losses_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    scalars = read_scalars(folder)
    assert all(
        [step for step, _ in rows] == [*range(1, 11)] for rows in scalars.values()
    )
    return scalars


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(write_config, train, tmp_path):
    """The same global batches: every logged term of ten steps, the threshold and the
    weights agree. Some shares have no boxes, no negatives or no long captions.

    With AdamW: Muon computes its steps in bfloat16, and a gradient that differs in its
    last bit (sums over processes do) may move a weight by 1e-3 more or less.
    """
    config = write_config('processes', preset='default', optimizer='AdamW')
    one, two = train(config, 'one'), tmp_path / 'two'
    words = [str(config), '--work-dir', str(two), '--verbose', '--launcher', 'pytorch']
    words += ['--cfg-options', 'train_dataloader.batch_size=2']
    fork_two(cli.run, 'train', words)
    expected, actual = losses_of(one), losses_of(two)
    assert actual.keys() == expected.keys() >= {'loss', 'loss_cmr', 'cmr_threshold'}
    for name, rows in expected.items():
        np.testing.assert_allclose(
            actual[name], rows, rtol=1e-5, atol=1e-5, err_msg=name
        )
    first, second = load(one)['state_dict'], load(two)['state_dict']
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-4, msg=name)


def test_record_without_image_is_counted_in_the_log(
    write_config, train, data, tmp_path
):
    """One of 26 records: an epoch of 7 batches leaves out one, and goes on."""
    records = json.loads((data / 'records.json').read_text())
    records[4]['f_path'] = 'gone.jpg'
    ann = tmp_path / 'records.json'
    ann.write_text(json.dumps(records))
    hook = [dict(type='AlignmentThroughputHook', interval=1)]
    config = write_config('bad', preset='default', optimizer='AdamW', hooks=hook)
    dataset = 'train_dataloader.dataset'
    options = f'{dataset}.ann={ann}', f'{dataset}.bad_records=skip'
    folder = train(config, 'bad', *options, 'train_cfg.max_iters=7')
    (log,) = folder.glob('*/vis_data/scalars.json')
    counts = [json.loads(x).get('bad_records', 0) for x in log.read_text().splitlines()]
    assert len(counts) == 7 and sorted(counts) == counts and counts[-1] == 1


@HOOKS.register_module(force=True)
class StopHook(Hook):
    """Ends a run as a crash would, behind step 7."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 6:
            raise RuntimeError('power cut')


TINY = dict(size='tiny', seed=0, sincos_positions=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('preset', 'average'),
    [
        pytest.param('paper', False, marks=pytest.mark.weekly),  # a part of the last
        ('released', False),
        ('paper', True),
    ],
)
def test_stopped_run_resumes_exactly(write_config, train, tmp_path, preset, average):
    """In the middle of an epoch, from random weights with a whitened start: weights,
    their average, optimizer, schedule, threshold and log are those of a run that was
    not stopped."""
    hooks = [dict(type='WhitenedPatchesHook', num_batches=1)]
    if average:
        hooks.append(dict(type='EMAHook', ema_type='AlignmentEMA', momentum=0.2))
    options = dict(preset=preset, encoder=TINY, optimizer='MuonAdamW')
    config = write_config('whole', hooks=hooks, **options)
    hooks = [*hooks, dict(type='StopHook')]
    stopping = write_config('stopped', hooks=hooks, **options)
    with pytest.raises(SystemExit):
        train(stopping, 'stopped')
    stopped = tmp_path / 'stopped'
    assert sorted(path.name for path in stopped.glob('*.pth')) == [
        'iter_3.pth',
        'iter_6.pth',
    ]
    train(config, 'stopped', resume=True)
    whole = train(config, 'whole')
    first, second = load(whole), load(stopped)
    threshold = first['state_dict']['cmr_threshold']
    assert threshold.shape == (() if preset == 'released' else (5,))
    parts = ['state_dict', 'optimizer', 'param_schedulers']
    parts += ['ema_state_dict'] * average  # the weights themselves
    for part in parts:
        assert_equal(first[part], second[part], part)
    assert losses_of(stopped) == losses_of(whole)


def assert_equal(first, second, name: str) -> None:
    """Bit for bit, through nested containers."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), name
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), name
        for key, value in first.items():
            assert_equal(value, second[key], f'{name}.{key}')
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), name
        for number, pair in enumerate(zip(first, second, strict=True)):
            assert_equal(*pair, f'{name}.{number}')
    else:
        assert first == second, name
