"""Checkpoints are read as data: our own load, everything else is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import Tensor, nn

from fgclip2_det.compat import checkpoints


class TinyModel(BaseModel):
    """One weight; its loss is its distance to the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, *inputs: Tensor, mode: str = 'tensor') -> dict | Tensor:
        output = self.layer(torch.stack(inputs))
        return {'loss': output.square().mean()} if mode == 'loss' else output


class Malicious:
    """Creates ``path`` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def make_runner(work_dir: Path, epochs: int, resume: bool = False) -> Runner:
    loader = {
        'dataset': [torch.tensor([1.0, 2.0])] * 4,
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'pseudo_collate'},
    }
    optimizer = {'type': 'AdamW', 'lr': 0.01}
    return Runner(
        TinyModel(),
        str(work_dir),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': optimizer},
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.1},
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}},
        resume=resume,
        log_level='ERROR',
        experiment_name=f'{work_dir.name}{epochs}',
        randomness={'seed': 0},
    )


def test_a_runner_resumes_from_its_own_checkpoint(tmp_path: Path, recwarn):
    """Weights, optimizer state, scheduler and log history (HistoryBuffer)."""
    make_runner(tmp_path, epochs=2).train()
    content = CheckpointLoader.load_checkpoint(str(tmp_path / 'epoch_2.pth'))
    history = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.data[0].shape == (4,)
    assert history.min() <= history.mean() <= history.max()
    assert content['optimizer']['state']
    runner = make_runner(tmp_path, epochs=3, resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    assert not [w for w in recwarn if 'weights_only' in str(w.message)]


def test_numpy_values_load(tmp_path: Path):
    content = {
        'scalars': [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True)],
        'arrays': [np.arange(3), np.zeros((2, 2), np.float16), np.array([True])],
    }
    torch.save(content, tmp_path / 'numpy.pth')
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'numpy.pth'))
    assert loaded['scalars'] == content['scalars']
    for mine, theirs in zip(loaded['arrays'], content['arrays'], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_malicious_checkpoint_is_refused(tmp_path: Path, legacy: bool):
    path, target = tmp_path / 'evil.pth', tmp_path / 'executed'
    content = {'state_dict': {}, 'meta': Malicious(target)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r'evil\.pth holds .*it could run code'):
        load_checkpoint(nn.Linear(1, 1), str(path))
    assert not target.exists()
    torch.load(path, weights_only=False)  # the trap works
    assert target.exists()


def test_getattr_reaches_nothing_but_history_methods(tmp_path: Path):
    """HistoryBuffer needs ``getattr``; a file must not use it for anything else."""

    class Attribute:
        def __reduce__(self) -> tuple:
            return getattr, (HistoryBuffer, '__init__')

    torch.save(Attribute(), tmp_path / 'attribute.pth')
    with pytest.raises(ValueError, match=r'holds builtins\.getattr'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'attribute.pth'))
    assert checkpoints._history_method(HistoryBuffer, 'min') is HistoryBuffer.min
    with pytest.raises(pickle.UnpicklingError):
        checkpoints._history_method(torch, 'load')


@pytest.mark.parametrize('keep', [0, 10, 500])
@pytest.mark.parametrize('legacy', [False, True])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, keep: int, legacy: bool):
    path = tmp_path / 'short.pth'
    content = nn.Linear(64, 64).state_dict()
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r'short\.pth is not a readable checkpoint'):
        CheckpointLoader.load_checkpoint(str(path))


def test_downloads_are_not_unpickled_either(tmp_path: Path, monkeypatch):
    """``torch.hub`` unpickles by default; a file URL stands in for the network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    path, target = tmp_path / 'evil.pth', tmp_path / 'executed'
    torch.save(Malicious(target), path)
    with pytest.raises(ValueError, match='it could run code'):
        checkpoints.checkpoint.load_url(path.as_uri())
    assert not target.exists()


def test_installing_twice_changes_nothing():
    before = checkpoints.checkpoint.torch
    checkpoints.install()
    assert checkpoints.checkpoint.torch is before
    assert checkpoints.checkpoint.torch.nn is nn
