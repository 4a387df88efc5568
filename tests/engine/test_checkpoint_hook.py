"""The new checkpoint is whole on disk before the old one goes."""

from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.fileio import get_file_backend

from fgclip2_det.engine.hooks.checkpoint_hook import OpenVocabCheckpointHook


def make_hook(folder: Path) -> OpenVocabCheckpointHook:
    hook = OpenVocabCheckpointHook(interval=1, max_keep_ckpts=1)
    hook.out_dir, hook.keep_ckpt_ids = str(folder), deque(maxlen=1)
    hook.file_backend = get_file_backend(str(folder), backend_args=hook.backend_args)
    return hook


def make_runner(folder: Path, fail: bool = False) -> SimpleNamespace:
    def save_checkpoint(out_dir, name, *args, **kwargs):
        if fail:
            raise OSError('killed while saving')
        (Path(out_dir) / name).write_bytes(b'weights')

    infos = {}
    hub = SimpleNamespace(update_info=infos.__setitem__, infos=infos)
    return SimpleNamespace(
        work_dir=str(folder),
        message_hub=hub,
        save_checkpoint=save_checkpoint,
        optim_wrapper=None,
    )


def test_a_failed_save_loses_nothing(tmp_path):
    hook, runner = make_hook(tmp_path), make_runner(tmp_path)
    hook._save_checkpoint_with_step(runner, 1, {})
    with pytest.raises(OSError, match='killed'):
        hook._save_checkpoint_with_step(make_runner(tmp_path, fail=True), 2, {})
    assert {path.name for path in tmp_path.iterdir()} == {
        'epoch_1.pth',
        'last_checkpoint',
    }
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_the_oldest_goes_once_there_are_too_many(tmp_path):
    hook, runner = make_hook(tmp_path), make_runner(tmp_path)
    for step in (1, 2, 2, 3):
        hook._save_checkpoint_with_step(runner, step, {})
        assert [path.name for path in tmp_path.glob('*.pth')] == [f'epoch_{step}.pth']
        assert runner.message_hub.infos['keep_ckpt_ids'] == [step]


def test_remote_folders_keep_their_own_backend():
    assert OpenVocabCheckpointHook().backend_args == {'backend': 'atomic_local'}
    assert OpenVocabCheckpointHook(out_dir='s3://bucket/x').backend_args is None
