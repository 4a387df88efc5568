"""tools/train_stages.py on eight images, two steps a stage."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import FGCLIP2, cli
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from pretrain.curves import read_scalars
from pretrain.data.ovshapes import write_records
from tests.processes import fork_alone

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [
    ROOT / 'configs' / 'pretrain' / f'fgclip2_tiny_{stage}_ovshapes.py'
    for stage in ('stage1-crops', 'stage1')
]
NUM = 8


@pytest.fixture
def run_stages(run_tool, tmp_path):
    def run(*words: object) -> tuple[int, str, str]:
        options = [
            *(f'data_root={tmp_path}/ovshapes', f'num_images={NUM}', 'max_iters=2'),
            'default_hooks.logger.interval=1',
        ]
        work_dir = ['--work-dir', tmp_path / 'stages']
        return run_tool('train_stages', *words, *work_dir, '--cfg-options', *options)

    return run


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}


@pytest.mark.slow
def test_stages_follow_each_other(run_stages, tmp_path):
    """The second starts from the first one's model; started again, nothing is trained
    and only what is made of the models is made anew."""
    words = [*CONFIGS, '--out', tmp_path / 'out', '--dtype', 'bfloat16', '--seed', 5]
    code, out, err = run_stages(*words)
    assert code == 0, err
    assert f'stage 2 of 2: {CONFIGS[1]}' in out
    assert f'model: {tmp_path}/out' in out
    folders = [tmp_path / 'stages' / config.stem for config in CONFIGS]
    assert (tmp_path / 'stages' / 'curves.png').stat().st_size > 5000
    for folder in folders:
        assert [step for step, _ in read_scalars(folder)['loss']] == [1, 2]

    first, second = (FGCLIP2.from_pretrained(folder / 'model') for folder in folders)
    frozen = 'boxtext_head.weight'  # of both stages: it went through the folder
    assert torch.equal(first.state_dict()[frozen], second.state_dict()[frozen])
    trained = 'vision_model.head.probe'
    change = second.state_dict()[trained] - first.state_dict()[trained]
    assert 0 < change.abs().max() < 0.01
    result = FGCLIP2.from_pretrained(tmp_path / 'out')
    for name, value in second.state_dict().items():
        assert torch.equal(result.state_dict()[name], value.bfloat16().float()), name
    assert result.encode_text(['红色圆形']).shape == (1, 128)

    before = [times(folder) for folder in folders]
    code, _, err = run_stages(*words)
    assert code == 0, err
    assert [times(folder) for folder in folders] == before
    check_records(tmp_path / 'ovshapes', tmp_path / 'again')


def check_records(root: Path, other: Path) -> None:
    """What the stages' process wrote is what this process writes: no text depends on
    hashes or on the state of a generator."""
    [folder] = root.iterdir()
    again = generate_ovshapes(other, NUM, 1, 256, 1, extra_colors=True)
    assert again.name == folder.name
    for language in ('en', 'zh'):
        path = write_records(again, language, 1)
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.weekly
def test_processes_share_the_batch(run_stages, tmp_path):
    code, out, err = run_stages(CONFIGS[0], '--processes', 2)
    assert code == 0, err
    folder = tmp_path / 'stages' / CONFIGS[0].stem
    assert [step for step, _ in read_scalars(folder)['loss']] == [1, 2]
    shared = Config.fromfile(folder / CONFIGS[0].name)
    assert shared.train_dataloader.batch_size == 32
    assert 'GPU number: 2' in out + err


def test_a_stage_that_fails_ends_the_chain(run_stages, tmp_path, monkeypatch):
    from fgclip2_det.cli import train_stages

    def fork(command, env):  # for its interpreter see the test above
        code, _ = fork_alone(cli.run, 'train', command[2:], **env)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(train_stages.subprocess, 'run', fork)
    broken = tmp_path / 'broken.py'
    broken.write_text(
        "model, data_root = dict(type='NoSuchModel'), ''\n"
        'num_images = max_iters = 0\ndefault_hooks = dict(logger=dict(interval=9))\n'
    )
    code, out, err = run_stages(broken, CONFIGS[0])
    assert code == 2
    last = err.splitlines()[-1]
    assert last == f'error: {broken} ended with exit code 2; see its output above'
    assert 'Traceback' not in err
    assert 'stage 1 of 2' in out and 'stage 2 of 2' not in out
    assert not (tmp_path / 'stages' / CONFIGS[0].stem).exists()


def test_a_finished_stage_of_another_config(tmp_path, monkeypatch):
    """Edited, or with another start or seed: its model is not taken for this one's."""
    from fgclip2_det.cli import train_stages

    trained = []

    def play(command, **_):
        trained.append(Path(command[command.index('--work-dir') + 1]))
        FGCLIP2.from_size('tiny').save_pretrained(trained[-1] / 'model')
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(train_stages.subprocess, 'run', play)
    monkeypatch.setattr('pretrain.curves.draw_curves', lambda *_: None)
    configs = [tmp_path / f'{name}.py' for name in 'ab']
    for config in configs:
        config.write_text('model = dict(type="x")\nlr = 1\n')

    def run(*words) -> None:
        given = [*map(str, configs), '--work-dir', str(tmp_path / 'out'), *words]
        train_stages.main(train_stages.parser().parse_args(given))

    run(), run()
    assert [path.name for path in trained] == ['a', 'b']
    with pytest.raises(ValueError, match='seed is None there, 1 here'):
        run('--seed', '1')
    configs[1].write_text('model = dict(type="x")\nlr = 2\n')
    with pytest.raises(ValueError, match=r'config\.lr is 1 there, 2 here'):
        run()
    configs[1].write_text('model = dict(type="x")\nlr = 1\n')
    shutil.rmtree(tmp_path / 'out/a')
    with pytest.raises(ValueError, match='start_weights is'):  # a is trained anew
        run()
    (tmp_path / 'out/a/stage.json').unlink()
    with pytest.raises(ValueError, match='without a record of its config'):
        run()
    assert len(trained) == 3


def test_bad_input_is_one_sentence(run_stages, run_tool, tmp_path):
    for words, message in (
        (['nowhere.py'], 'there is no config nowhere.py'),
        ([CONFIGS[0], CONFIGS[0]], 'configs must have different file names, got fgcl'),
        ([CONFIGS[0], '--processes', 3], 'batch_size 64 is not divisible by --proc'),
        ([CONFIGS[0], '--processes', 0], '--processes must be at least 1, got 0'),
    ):
        code, _, err = run_stages(*words)
        assert (code, err.count('error: ')) == (2, 1)
        assert message in err
    assert not (tmp_path / 'stages').exists()
    code, _, err = run_tool('train_stages', CONFIGS[0])
    assert code == 2 and '--work-dir' in err


def test_help_shows_an_example(run_tool):
    code, out, _ = run_tool('train_stages', '--help')
    assert code == 0
    assert 'python tools/train_stages.py configs/pretrain/fgclip2_tiny_stage1' in out
