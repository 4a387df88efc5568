"""tools/train.py --resume: longer trainings, and what is not the same training."""

import json
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

EPOCHS = """
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
    dict(type='CosineAnnealingLR', by_epoch=True, end=2, T_max=2, eta_min=1e-4,
         convert_to_iter_based=True),
    dict(type='MultiStepLR', by_epoch=True, end=2, milestones=[1], gamma=0.9)]
train_cfg.update(max_epochs=2)
default_hooks['checkpoint'].update(max_keep_ckpts=-1)
"""
ITERATIONS = """
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=1),
    dict(type='PolyLR', by_epoch=False, begin=1, end=4, eta_min=1e-4)]
train_cfg.update(max_iters=4, val_interval=4)
default_hooks['checkpoint'].update(interval=1, max_keep_ckpts=-1)
"""


@pytest.fixture
def train(write_config, run_tool, tmp_path):
    """train(config, 'folder', '--resume') -> (exit code, stdout, stderr)."""

    def run(config: Path, folder: str, *words: object) -> tuple[int, str, str]:
        return run_tool('train', config, '--work-dir', tmp_path / folder, *words)

    return run


def rates(path: Path) -> list[float]:
    """Present and initial rate in a checkpoint."""
    [group] = torch.load(path)['optimizer']['param_groups']
    return [group['lr'], group['initial_lr']]


def finish(done: tuple[int, str, str]) -> str:
    assert done[0] == 0, done[2]
    return done[1]


def refused(done: tuple[int, str, str], message: str) -> None:
    assert done[0] == 2
    assert message in done[2].splitlines()[-1], done[2]


@pytest.mark.parametrize(
    'by_epoch',
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=['epochs', 'iterations'],
)
def test_more_epochs_stretch_the_schedule(train, write_config, tmp_path, by_epoch):
    """A finished training goes on at the rate of a longer one, not at the end's; and
    is resumed again with all of its options."""
    config = write_config(by_epoch=by_epoch)
    with config.open('a') as file:
        file.write(EPOCHS if by_epoch else ITERATIONS)
    names = [f'epoch_{n}.pth' for n in (2, 3, 5)]
    length = 'train_cfg.max_epochs=5'
    if not by_epoch:
        names, length = [f'iter_{n}.pth' for n in (4, 5, 8)], 'train_cfg.max_iters=8'
    run, through = tmp_path / 'run', tmp_path / 'through'
    finish(train(config, 'run'))
    ended = rates(run / names[0])
    more = ['--cfg-options', length]
    out = finish(train(config, 'run', '--resume', *more))
    assert 'the schedule follows the training' in out
    finish(train(config, 'through', *more))
    for name in names[1:]:
        assert rates(run / name) == pytest.approx(rates(through / name), rel=1e-12)
    assert rates(run / names[1])[0] > 1.5 * ended[0]
    assert json.loads((run / 'run.json').read_text())['options'] == [[length]]

    (run / names[2]).unlink()  # killed on the way
    (run / 'last_checkpoint').write_text(names[1])
    out = finish(train(config, 'run', '--resume'))
    assert 'rates are those of' not in out
    assert rates(run / names[2]) == pytest.approx(rates(through / names[2]), rel=1e-12)


def test_another_training_is_refused(train, write_config, tmp_path):
    """Options that change it: nothing is written. With the flag they count."""
    config = write_config()
    short = ['train_cfg.max_epochs=1']
    finish(train(config, 'run', '--cfg-options', *short))
    folder = tmp_path / 'run'
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for option, message in (
        (
            'optim_wrapper.optimizer.lr=0.5',
            'optim_wrapper.optimizer.lr is 0.5 here but',
        ),
        ('param_scheduler.0.end=7', 'param_scheduler.0.end is 7 here but 20 there'),
        ('train_dataloader.dataset.ann_file=x', "ann_file is 'x' here but"),
        ('model.bbox_head.loss_cls.gamma=1', 'loss_cls.gamma is 1 here but absent'),
        ('custom_hooks.0.momentum=0.5', 'EMAHook.momentum is 0.5 here but 0.1 there'),
    ):
        done = train(config, 'run', '--resume', '--cfg-options', option)
        refused(done, message)
        assert done[2].count('--resume-with-changes') or 'another config' in done[2]
    assert before == {
        path: path.read_bytes() for path in folder.iterdir() if path.is_file()
    }
    options = ['optim_wrapper.optimizer.lr=0.5', 'model.bbox_head.loss_cls.gamma=1']
    options.append('train_cfg.max_epochs=2')
    words = ['--resume-with-changes', '--cfg-options', *options]
    out = finish(train(config, 'run', *words))
    assert 'resumed with a change: optim_wrapper.optimizer.lr is 0.5 here' in out
    assert rates(folder / 'epoch_2.pth')[1] == 0.5
    refused(
        train(config, 'run', '--resume', '--cfg-options', *short), 'max_epochs is 1'
    )


def test_other_data_are_refused(train, write_config, coco_data, tmp_path):
    """The same path, other content: fewer images, or the same number."""
    config, folder = write_config(), tmp_path / 'data'
    shutil.copytree(coco_data, folder)
    text = config.read_text().replace(str(coco_data), str(folder))
    config.write_text(text)
    path = folder / 'ann.json'
    whole = json.loads(path.read_text())
    finish(train(config, 'run', '--cfg-options', 'train_cfg.max_epochs=1'))
    more = ['--resume', '--cfg-options', 'train_cfg.max_epochs=2']

    path.write_text(json.dumps(whole | {'images': whole['images'][:2]}))
    refused(train(config, 'run', *more), '2 samples here, 4 there')
    whole['annotations'][0]['bbox'][2] += 1
    path.write_text(json.dumps(whole))
    refused(train(config, 'run', *more), 'its files have other content')
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()
    finish(train(config, 'run', *more, '--resume-with-changes'))


def test_a_failed_start_leaves_the_work_dir(train, write_config, tmp_path):
    """Neither options nor fingerprint of a start that failed come back."""
    config = write_config()
    finish(train(config, 'run', '--cfg-options', 'train_cfg.max_epochs=1'))
    kept = ('run.json', 'config_fingerprint.json', 'metrics.json', 'last_checkpoint')
    before = [(tmp_path / 'run' / name).read_bytes() for name in kept]
    words = ['--cfg-options', 'train_cfg.max_epochs=2', 'optim_wrapper.type=No']
    for resume in ([], ['--resume-with-changes']):
        assert train(config, 'run', *resume, *words)[0] == 2
        assert before == [(tmp_path / 'run' / name).read_bytes() for name in kept]
    assert not list((tmp_path / 'run').rglob('.*.tmp'))
    out = finish(train(config, 'run', '--resume'))
    assert 'options of this run: train_cfg.max_epochs=1\n' in out
    (tmp_path / 'run' / 'run.json').write_text('{}')
    refused(train(config, 'run', '--resume'), 'run.json must have the keys config')
