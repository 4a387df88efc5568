"""A run's checkpoints, wherever its hook saves them and whatever it calls them."""

import os

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config

from fgclip2_det.engine.saved_checkpoints import saved_checkpoints
from fgclip2_det.engine.start import prepare_training
from fgclip2_det.engine.work_dir import last_checkpoint, remove_run, write_fingerprint


def make_config(work_dir, **content) -> Config:
    hooks = [dict(type='OpenVocabRunRecordHook')]
    own = dict(work_dir=str(work_dir), custom_hooks=hooks, randomness=dict(seed=0))
    return Config(own | content)


def hook(**options) -> dict:
    return dict(checkpoint=dict(type='OpenVocabCheckpointHook', interval=1, **options))


def save(path, seconds: int = 1):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {'epoch': 1, 'iter': 2, 'seed': 0}
    torch.save({'meta': meta, 'state_dict': {}, 'optimizer': {}}, path)
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize(
    ('options', 'name'),
    [
        (dict(), '{work}/epoch_3.pth'),
        (dict(out_dir='{root}/elsewhere'), '{root}/elsewhere/run/epoch_3.pth'),
        (
            dict(out_dir='{root}/elsewhere'),
            '{root}/elsewhere/run/best_coco_epoch_3.pth',
        ),
        (dict(out_dir='{work}'), '{work}/epoch_3.pth'),
        (dict(filename_tmpl='step[{}].pth'), '{work}/step[3].pth'),
        (dict(filename_tmpl='w_{}.ckpt'), '{work}/best_coco_w_3.ckpt'),
        (dict(filename_tmpl='w_{}.ckpt'), '{work}/w_3-0123abcd.ckpt'),
        (
            dict(filename_tmpl='{}.pt', out_dir='{root}/elsewhere'),
            '{root}/elsewhere/run/3.pt',
        ),
    ],
)
def test_a_second_start_is_refused_and_overwrite_removes(tmp_path, options, name):
    work_dir = tmp_path / 'run'
    places = dict(root=tmp_path, work=work_dir)
    if 'out_dir' in options:
        options = options | {'out_dir': options['out_dir'].format(**places)}
    path = tmp_path / name.format(**places)
    others = [
        path.with_name('released.pth'), tmp_path / 'elsewhere/other/epoch_3.pth',
        tmp_path / 'elsewhere/epoch_3.pth',
    ]  # fmt: skip
    for each in (path, *others):
        save(each)
    cfg = make_config(work_dir, default_hooks=hook(**options))
    with pytest.raises(ValueError, match='holds the checkpoints of an earlier') as why:
        prepare_training(cfg)
    assert path.name in str(why.value)
    assert path.parent == work_dir or str(path.parent) in str(why.value)
    prepare_training(cfg, overwrite=True)
    remove_run(work_dir, cfg)
    assert not path.exists() and all(other.exists() for other in others)
    prepare_training(cfg)


def test_hooks_of_one_run_may_save_in_two_places(tmp_path):
    second = dict(type='CheckpointHook', by_epoch=False, out_dir=str(tmp_path / 'b'))
    cfg = make_config(
        tmp_path / 'run', default_hooks=hook(filename_tmpl='e{}.pth'),
        custom_hooks=[dict(type='EMAHook'), second],
    )  # fmt: skip
    for i, name in enumerate(('run/e2.pth', 'b/run/iter_40.pth', 'run/epoch.pth')):
        save(tmp_path / name, seconds=i + 1)
    found = [path.name for path in saved_checkpoints(tmp_path / 'run', cfg)]
    assert found == ['e2.pth', 'iter_40.pth']


def test_what_last_checkpoint_names_counts_under_any_name(tmp_path):
    """Also where the next start has lost the option that chose the place."""
    work_dir, path = tmp_path / 'run', tmp_path / 'far' / 'run' / 'my.pth'
    save(path)
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text(str(path))
    with pytest.raises(ValueError, match=r'\(my.pth in .*far/run\); continue'):
        prepare_training(make_config(work_dir))
    remove_run(work_dir, make_config(work_dir))
    assert path.exists()  # not in a folder that this run writes to
    cfg = make_config(work_dir, default_hooks=hook(out_dir=str(tmp_path / 'far')))
    (work_dir / 'last_checkpoint').write_text(str(path))
    remove_run(work_dir, cfg)
    assert not path.exists() and not (work_dir / 'last_checkpoint').exists()


@pytest.mark.parametrize('name', ['..', '.', '/', '', '\0', 'x' * 300])
def test_no_folder_is_removed_for_what_a_file_says(tmp_path, name):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'last_checkpoint').write_text(name)
    remove_run(tmp_path / 'run', make_config(tmp_path / 'run'))
    assert (tmp_path / 'run').is_dir()


def test_resuming_falls_back_to_what_lies_elsewhere(tmp_path, capsys):
    work_dir, far = tmp_path / 'run', tmp_path / 'far' / 'run'
    options = dict(out_dir=str(tmp_path / 'far'), filename_tmpl='w_{}.ckpt')
    cfg = make_config(work_dir, default_hooks=hook(**options))
    save(far / 'w_1.ckpt', seconds=1)
    assert last_checkpoint(work_dir, cfg) == far / 'w_1.ckpt'
    save(far / 'w_2.ckpt', seconds=2)
    work_dir.mkdir()
    (work_dir / 'last_checkpoint').write_text('/moved/w_2.ckpt')
    assert last_checkpoint(work_dir, cfg) == far / 'w_2.ckpt'
    (far / 'w_2.ckpt').write_bytes(b'cut')
    write_fingerprint(cfg)
    prepare_training(cfg, 'auto')
    assert f'resuming from {far / "w_1.ckpt"}' in capsys.readouterr().out
    assert (cfg.resume, cfg.load_from) == (True, str(far / 'w_1.ckpt'))


@pytest.mark.parametrize('weights', [None, 'released.pth'])
def test_resume_of_nothing_starts_from_the_weights_of_the_config(
    tmp_path, weights, capsys
):
    cfg = make_config(tmp_path / 'run', load_from=weights)
    prepare_training(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, weights)
    said = capsys.readouterr().out
    assert 'nothing to resume in' in said and 'training starts at epoch 0' in said
    assert ('from the weights of released.pth' in said) == (weights is not None)
    save(tmp_path / 'run' / 'epoch_1.pth')
    prepare_training(cfg, 'auto')
    saved = str(tmp_path / 'run' / 'epoch_1.pth')
    assert (cfg.resume, cfg.load_from) == (True, saved)
