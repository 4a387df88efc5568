"""tools/train.py and tools/test.py as a user calls them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import cli
from tests.processes import fork_one


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / 'metrics.json').read_text())


def expect_error(done: tuple[int, str, str], message: str):
    code, _, err = done
    assert code == 2
    assert message in err
    assert err.count('error: ') == 1 and 'Traceback' not in err
    assert err.splitlines()[-1].startswith('error: ')


def test_train_then_test(write_config, run_tool, tmp_path):
    """One run leaves metrics, pictures and a checkpoint that tests to the same."""
    config, work_dir = write_config(), tmp_path / 'run'
    options = ['--cfg-options', 'train_cfg.max_epochs=2']
    code, out, err = run_tool('train', config, '--work-dir', work_dir, *options)
    assert code == 0, err
    metrics = read_metrics(work_dir)
    assert all(isinstance(value, float) for value in metrics.values())
    assert 'coco/bbox_mAP_50' in out.rsplit('metrics:', 1)[0]
    assert str(work_dir / 'detections.png') in out
    assert Image.open(work_dir / 'detections.png').width > 900
    assert len(list((work_dir / 'vis').glob('*.png'))) == 4

    tested, shown = tmp_path / 'tested', tmp_path / 'shown'
    paths = ['--work-dir', tested, '--show-dir', shown]
    code, _, err = run_tool('test', config, work_dir / 'epoch_2.pth', *paths)
    assert code == 0, err
    assert read_metrics(tested) == metrics
    assert len(list((shown / 'vis').glob('*.png'))) == 4

    broken = tmp_path / 'broken.pth'
    whole = (work_dir / 'epoch_2.pth').read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    expect_error(run_tool('test', config, broken), 'is not a readable checkpoint')
    options = ['--cfg-options', 'model.backbone.base_channels=4']
    done = run_tool('test', config, work_dir / 'epoch_2.pth', *options)
    expect_error(done, 'does not fit the model of the config')

    before = sorted(path.name for path in work_dir.iterdir())
    options = ['--cfg-options', 'model.bbox_head.num_classes=3']
    for resume in ([], ['--resume']):
        done = run_tool('train', config, '--work-dir', work_dir, *options, *resume)
        expect_error(done, 'model.bbox_head.num_classes is 3 here but 2 there')
    assert sorted(path.name for path in work_dir.iterdir()) == before

    shutil.copy(broken, work_dir / 'epoch_2.pth')
    done = run_tool('train', config, '--resume', work_dir / 'epoch_2.pth')
    expect_error(done, f'the newest complete one is {work_dir / "epoch_1.pth"}')
    code, out, err = run_tool('train', config, '--work-dir', work_dir, '--resume')
    assert code == 0, err
    assert f'{work_dir / "epoch_2.pth"} is not a readable checkpoint' in out
    assert f'is {work_dir / "epoch_1.pth"}: resuming from that one' in out
    assert read_metrics(work_dir) == metrics


def test_resume_of_nothing_starts_and_a_second_start_asks(
    write_config, run_tool, tmp_path
):
    """Checkpoints of a training are not replaced without a word, nor are those taken
    for the new one's that it has not come to yet."""
    config = write_config()
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    code, out, err = run_tool('train', config, '--resume', *options)
    assert code == 0, err
    assert 'nothing to resume in work_dirs/tiny: training starts at epoch 0' in out
    work_dir = tmp_path / 'work_dirs' / 'tiny'
    first = read_metrics(work_dir)
    expect_error(
        run_tool('train', config, *options),
        'work_dirs/tiny holds the checkpoints of an earlier training (epoch_1.pth); '
        'continue it with --resume, replace it with --overwrite, or choose another',
    )
    shutil.copy(work_dir / 'epoch_1.pth', work_dir / 'epoch_9.pth')
    assert run_tool('train', config, '--overwrite', *options)[0] == 0
    assert read_metrics(work_dir) == first
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_1.pth']
    done = run_tool('train', config, '--overwrite', '--resume')
    expect_error(done, '--overwrite starts anew and --resume goes on; give one')
    done = run_tool('train', config, '--resume', '--seed', 5)
    expect_error(done, 'was trained with seed 0, not 5')

    content = torch.load(work_dir / 'epoch_1.pth')
    for part in ('param_schedulers', 'optimizer'):
        del content[part]
        torch.save(content, work_dir / 'epoch_1.pth')
        done = run_tool('train', config, '--resume', work_dir / 'epoch_1.pth')
        words = f'epoch_1.pth holds no state of the {part.replace("_", " ")}, so its'
        expect_error(done, words)


@pytest.mark.parametrize(
    ('tool', 'args', 'message'),
    [
        ('train', ['nowhere.py'], 'there is no config nowhere.py'),
        ('test', ['nowhere.py', 'x.pth'], 'there is no config nowhere.py'),
        ('test', ['tiny.py', 'x.pth'], 'there is no checkpoint x.pth'),
        ('train', ['tiny.py', '--resume', 'x.pth'], 'there is no checkpoint x.pth'),
        (
            'train',
            ['tiny.py', '--cfg-options', 'train_cfg.max_epoch=1'],
            "no 'max_epoch'; did you mean 'max_epochs'?",
        ),
        ('train', ['tiny.py', '--cfg-options', 'zzz.a=1'], "the config has no 'zzz'"),
        ('train', ['tiny.py', '--auto-scale-lr'], '--auto-scale-lr needs'),
        ('train', ['tiny.py', '--cfg-options', 'model.type=No'], 'No is not in the'),
        ('train', ['broken.py'], 'broken.py'),
    ],
)
def test_bad_input_is_one_sentence(
    write_config, run_tool, tmp_path, tool, args, message
):
    write_config()
    (tmp_path / 'broken.py').write_text('model = dict(\n')
    expect_error(run_tool(tool, *args), message)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_help_shows_an_example(run_tool, tool):
    code, out, _ = run_tool(tool, '--help')
    assert code == 0
    assert f'python tools/{tool}.py configs/ovd_fgclip2.py' in out


@pytest.mark.parametrize(
    'by_epoch',
    [True, pytest.param(False, marks=pytest.mark.weekly)],
    ids=['epochs', 'iterations'],
)
def test_killed_run_resumes_exactly(write_config, run_tool, tmp_path, by_epoch):
    """SIGKILL in the middle changes no bit, with augmentation, EMA and two workers;
    nor does it matter that the other runs load their data without workers. The run's
    options hold when it is resumed: its length is not the config's."""
    config = write_config(workers=2, by_epoch=by_epoch)
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    length = 'train_cfg.max_epochs=7' if by_epoch else 'train_cfg.max_iters=15'
    started = ['--work-dir', killed, '--seed', 3, '--cfg-options', length]
    marker = 'Epoch(train) [6]' if by_epoch else 'Iter(train) [11/15]'
    words = [str(word) for word in (config, *started)]
    fork_one(cli.run, 'train', words, killed_at=marker)

    alone = ['--cfg-options', 'train_dataloader.num_workers=0']
    alone.append('train_dataloader.persistent_workers=False')
    resume = ['--work-dir', killed, '--resume', *alone]
    code, out, err = run_tool('train', config, *resume)
    assert code == 0, err
    assert 'resumed epoch: 5, iter: 10' in out or 'resumed epoch: 0, iter: 9' in out
    assert f'options of this run: {length}\n' in out
    through = ['--work-dir', whole, '--seed', 3, *alone, length]
    code, _, err = run_tool('train', config, *through)
    assert code == 0, err

    assert read_metrics(killed) == read_metrics(whole)
    name = 'epoch_7.pth' if by_epoch else 'iter_15.pth'
    first, second = (torch.load(folder / name) for folder in (whole, killed))
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), key
    assert len(list(killed.glob('*.pth'))) == 2  # max_keep_ckpts
