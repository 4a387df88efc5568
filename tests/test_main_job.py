"""The README's main job, made small: train, evaluate, kill, resume, test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fgclip2_det import cli
from tests.processes import fork_one, fork_two

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
KEYS = {
    f'open_vocab/{name}'
    for name in ('base_ap50', 'novel_ap50', 'all_ap50', 'agnostic_ap50')
}


def command(tool: str, work_dir: Path, data_root: Path, *words) -> list[str]:
    """A tool on eight training and four validation images, two epochs."""
    options = [
        f'data_root={data_root}', 'num_train=8', 'num_val=4', 'train_cfg.max_epochs=2'
    ]  # fmt: skip
    words = ['configs/ovd_fgclip2.py', *words, '--work-dir', work_dir]
    words += ['--cfg-options', *options]
    return [sys.executable, f'tools/{tool}.py', *map(str, words)]


def fork(tool: str, *arguments, more: str | None = None, **options) -> None:
    """The command in a copy of a process that has paid for the imports."""
    config, *words = command(tool, *arguments)[2:]
    words = [str(ROOT / config), *words, *filter(None, [more])]
    fork_one(cli.run, tool, words, **options)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('ovshapes')


@pytest.fixture(scope='module')
def trained(data_root, tmp_path_factory) -> Path:
    work_dir = tmp_path_factory.mktemp('work_dirs') / 'whole'
    done = subprocess.run(
        command('train', work_dir, data_root),
        cwd=ROOT, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for key in KEYS:
        assert key in done.stdout
    return work_dir


def metrics(work_dir: Path) -> dict:
    return json.loads((work_dir / 'metrics.json').read_text())


def test_leaves_metrics_pictures_and_a_checkpoint(trained):
    actual = metrics(trained)
    assert set(actual) >= KEYS
    assert all(-1 <= value <= 1 for value in actual.values())
    assert (trained / 'detections.png').stat().st_size > 10_000
    assert len(list((trained / 'vis').glob('*.png'))) == 4
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=False)
    assert len(checkpoint['meta']['dataset_meta']['classes']) == 65
    state = checkpoint['state_dict']
    assert state['roi_head.bbox_head.fc_cls.text_embeds'].shape == (66, 128)
    assert not any(name.startswith('text_model') for name in state)


def test_testing_the_checkpoint_gives_the_same_metrics(trained, data_root, tmp_path):
    words = command('test', tmp_path, data_root, trained / 'epoch_2.pth')
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=1800)
    assert metrics(tmp_path) == metrics(trained)


def test_chinese_names(trained, data_root, tmp_path):
    """The same checkpoint with another vocabulary in the same label order."""
    more = 'test_dataloader.dataset.language=zh'
    fork('test', tmp_path, data_root, trained / 'epoch_2.pth', more=more)
    assert set(metrics(tmp_path)) >= KEYS


def test_killed_and_resumed_equals_uninterrupted(trained, data_root, tmp_path):
    work_dir = tmp_path / 'killed'
    fork('train', work_dir, data_root, killed_at='epoch_1.pth')
    assert (work_dir / 'epoch_1.pth').is_file()
    assert not (work_dir / 'epoch_2.pth').exists()
    fork('train', work_dir, data_root, '--resume')
    assert metrics(work_dir) == metrics(trained)
    final = [
        torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']
        for folder in (trained, work_dir)
    ]
    for name, tensor in final[0].items():
        assert torch.equal(tensor, final[1][name]), name


def test_two_processes(data_root, tmp_path):
    """gloo on a CPU: trains, and evaluates every image once."""
    config, *words = command('train', tmp_path, data_root, '--launcher', 'pytorch')[2:]
    fork_two(cli.run, 'train', [str(ROOT / config), *words])
    together = metrics(tmp_path)
    assert set(together) >= KEYS
    alone = tmp_path / 'alone'
    fork('test', alone, data_root, tmp_path / 'epoch_2.pth')
    assert metrics(alone) == together
