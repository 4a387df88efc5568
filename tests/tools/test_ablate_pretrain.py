"""tools/ablate_pretrain.py: a real run of two steps, and sweeps whose trainings are
played by copies of a small model."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import FGCLIP2

from .test_train_test import expect_error

STAGES = ['stage2-crops', 'stage2']
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def start(tmp_path_factory) -> Path:
    return FGCLIP2.from_size('tiny').save_pretrained(tmp_path_factory.mktemp('start'))


@pytest.fixture
def sweep(run_tool, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """sweep('--seeds', 0) in work dir 'sweep', evaluated on four images."""

    def run(*words: object) -> tuple[int, str, str]:
        given = ['--work-dir', tmp_path / 'sweep', '--data-root', tmp_path / 'data']
        return run_tool('ablate_pretrain', *given, '--num-images', 4, *words)

    return run


@pytest.fixture
def trainings(monkeypatch, start) -> list[list[str]]:
    """Commands that were started; each makes the model that it was to train."""
    seen = []

    def play(command: list[str], **_) -> subprocess.CompletedProcess:
        seen.append(command)
        if 'lr=broken' in ' '.join(command):
            return subprocess.CompletedProcess(command, 3)
        work_dir = Path(command[command.index('--work-dir') + 1])
        shutil.copytree(start, work_dir / 'model')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, 'run', play)
    return seen


def options_of(command: list[str]) -> dict[str, str]:
    words = command[command.index('--cfg-options') + 1 :]
    return dict(word.split('=', 1) for word in words)


def test_commands(sweep, trainings, start, tmp_path):
    """Nothing is trained or written; the second config takes the first one's model."""
    words = ['--start', start, '--dry-run', '--length', 0.5, '--seeds', 3]
    code, out, err = sweep(*words, '--variants', 'w/o CMR, TIC', 'stage 1 only')
    assert code == 0, err
    assert not trainings and not (tmp_path / 'sweep').exists()
    assert 'run 1 of 2: w/o CMR, TIC, seed 3' in out
    commands = [shlex.split(line) for line in out.splitlines() if 'train.py' in line]
    assert len(commands) == len(STAGES)
    folders = [
        tmp_path / 'sweep/wo-cmr-tic/seed3' / f'fgclip2_tiny_{stage}_ovshapes'
        for stage in STAGES
    ]
    starts = [start, folders[0] / 'model']
    for command, folder, model in zip(commands, folders, starts, strict=True):
        assert command[2].endswith(f'configs/pretrain/{folder.name}.py')
        assert command[3:8] == ['--work-dir', str(folder), '--resume', '--seed', '3']
        options = options_of(command)
        assert options['model.encoder.pretrained'] == str(model)
        assert options['model.losses.cmr'] == options['model.losses.tic'] == '0.0'
        assert options['train_dataloader.sampler.seed'] == '3'
        assert options['param_scheduler.0.end'] in (
            '25',
            '50',
        )  # 50 and 100 at length 1


def test_sweep_goes_on_and_tells_the_table(sweep, trainings, start, tmp_path):
    """Two variants, two seeds, two configs are eight trainings; a result that is lost
    costs an evaluation, one lost with its model its training, too."""
    words = ['--start', start, '--seeds', 0, 1, '--variants', 'full', 'w/o CMR']
    code, out, err = sweep(*words, 'stage-1-only')
    assert code == 0, err
    assert len(trainings) == 8
    results = tmp_path / 'sweep' / 'results'
    assert sorted(path.name for path in results.iterdir()) == [
        'full_seed0.json',
        'full_seed1.json',
        'stage-1-only_seed0.json',  # of one start: the same with every seed
        'wo-cmr_seed0.json',
        'wo-cmr_seed1.json',
    ]
    actual = json.loads((results / 'wo-cmr_seed1.json').read_text())
    assert (actual['variant'], actual['seed'], actual['eval_seed']) == (
        'w/o CMR',
        1,
        1000,
    )
    assert actual['metrics']['hard11/zh'] >= 0 and actual['counts']['images'] == 4
    table = (tmp_path / 'sweep' / 'ablation.md').read_text()
    assert table.strip() in out
    assert '| full | 2 |' in table and '| stage 1 only | 1 |' in table
    assert (tmp_path / 'sweep' / 'ablation.png').stat().st_size > 5000

    assert sweep(*words)[0] == 0 and len(trainings) == 8
    (results / 'full_seed1.json').unlink()
    assert sweep(*words)[0] == 0 and len(trainings) == 8
    (results / 'full_seed1.json').unlink()
    shutil.rmtree(tmp_path / 'sweep/full/seed1/fgclip2_tiny_stage2_ovshapes')
    assert sweep(*words)[0] == 0 and len(trainings) == 9
    assert json.loads((results / 'full_seed1.json').read_text())['seed'] == 1

    edited = tmp_path / 'edited'
    for config in (ROOT / 'configs/pretrain').glob('fgclip2_tiny_stage2*_ovshapes.py'):
        path = edited / 'pretrain' / config.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"_base_ = '{config}'\nclip_grad = 9\n")
    configs = [edited / f'pretrain/fgclip2_tiny_{s}_ovshapes.py' for s in STAGES]
    done = sweep(*words, '--configs', *configs)
    expect_error(done, 'full_seed0.json has different configs')
    done = sweep(*words, '--length', 0.5)
    expect_error(done, 'full_seed0.json has different options')
    (results / 'full_seed0.json').unlink()
    done = sweep(*words, '--length', 0.5)
    expect_error(done, 'seed0/settings.json has different options')
    (results / 'full_seed0.json').write_text('{')
    expect_error(sweep(*words), 'full_seed0.json cannot be read as JSON')
    assert len(trainings) == 9


def test_a_start_for_each_seed(sweep, trainings, start, tmp_path):
    """{seed} is replaced; then the untrained variant has a result for each."""
    for seed in (0, 1):
        shutil.copytree(start, tmp_path / f'start{seed}')
    words = ['--start', tmp_path / 'start{seed}', '--seeds', 0, 1]
    code, _, err = sweep(*words, '--variants', 'stage-1-only')
    assert code == 0, err
    results = (tmp_path / 'sweep' / 'results').iterdir()
    starts = {json.loads(path.read_text())['start'] for path in results}
    assert starts == {str(tmp_path / 'start0'), str(tmp_path / 'start1')}
    assert not trainings


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--start', 'nowhere'], 'there is no model in nowhere (--start)'),
        (['--variants', 'w/o X'], "there is no variant 'w/o X'; there are full, w/o"),
        (['--configs', 'nowhere.py'], 'there is no config nowhere.py'),
        (['--configs', 'a.py', 'b/a.py'], 'configs must have different file names'),
        (['--eval-seed', 1], 'trains on images of seed 1; take another --eval-seed'),
        (['--cfg-options', 'seed=1000'], 'trains on images of seed 1000'),
        (['--length', 0], 'length must be more than 0, got 0.0'),
        (
            ['--cfg-options', 'optim_wrapper.optimizer.lr=broken'],
            'a training ended with exit code 3, see its',
        ),
    ],
)
def test_bad_input_is_one_sentence(sweep, trainings, start, words, message):
    expect_error(sweep('--start', start, *words), message)


@pytest.mark.weekly
def test_two_real_steps(run_tool, start, tmp_path):
    """One loss left out, trained by the very command on eight images."""
    data = [f'data_root={tmp_path}/data', 'num_images=8']
    small = ['train_dataloader.batch_size=4', 'default_hooks.logger.interval=1']
    code, out, err = run_tool(
        'ablate_pretrain',
        *('--work-dir', tmp_path / 'sweep', '--data-root', tmp_path / 'data'),
        *('--start', start, '--num-images', 2, '--seeds', 1, '--variants', 'w/o TIC'),
        *('--length', 1e-4, '--cfg-options', *data, *small),
    )
    assert code == 0, err
    logs = [
        next((tmp_path / 'sweep/wo-tic/seed1').glob(f'*{stage}_*/*/vis_data/scal*'))
        for stage in STAGES
    ]
    lines = [
        [json.loads(line) for line in log.read_text().splitlines()] for log in logs
    ]
    assert [len(steps) for steps in lines] == [1, 1]  # 1e-4 of each is one step
    terms = {name for name in lines[1][0] if name.startswith('loss_')}
    assert terms == {f'loss_{name}' for name in ('short', 'long', 'fgv', 'fgt', 'cmr')}
    assert '| w/o TIC | 1 |' in out
