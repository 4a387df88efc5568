"""A run's checkpoints, wherever its hook saves them and whatever it calls them."""

import os

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config

from fgclip2_det.engine.saved_checkpoints import newest_saved, saved_checkpoints
from fgclip2_det.engine.start import prepare_training
from fgclip2_det.engine.work_dir import last_checkpoint, remove_run, write_fingerprint
from fgclip2_det.models.checkpoints import newest_of, sort_by_age


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


def name_last(work_dir, path):
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / 'last_checkpoint').write_text(str(path))


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
    name_last(work_dir, path)
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
    name_last(tmp_path / 'run', tmp_path / 'b/run/iter_40.pth')
    found = [path.name for path in saved_checkpoints(tmp_path / 'run', cfg)]
    assert found == ['e2.pth', 'iter_40.pth']


def test_what_last_checkpoint_names_counts_under_any_name(tmp_path):
    """Also where the next start has lost the option that chose the place."""
    work_dir, path = tmp_path / 'run', tmp_path / 'far' / 'run' / 'my.pth'
    save(path)
    name_last(work_dir, path)
    with pytest.raises(ValueError, match=r'\(my.pth in .*far/run\); continue'):
        prepare_training(make_config(work_dir))
    remove_run(work_dir, make_config(work_dir))
    assert path.exists()  # not in a folder that this run writes to
    cfg = make_config(work_dir, default_hooks=hook(out_dir=str(tmp_path / 'far')))
    name_last(work_dir, path)
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
    save(far / 'w_2.ckpt', seconds=2)
    name_last(work_dir, far / 'w_2.ckpt')
    assert last_checkpoint(work_dir, cfg) == far / 'w_2.ckpt'
    (far / 'w_2.ckpt').write_bytes(b'cut')
    write_fingerprint(cfg)
    prepare_training(cfg, 'auto')
    assert f'resuming from {far / "w_1.ckpt"}' in capsys.readouterr().out
    assert (cfg.resume, cfg.load_from) == (True, str(far / 'w_1.ckpt'))


START = [dict(), dict(overwrite=True), dict(resume='auto')]


@pytest.mark.parametrize('start', START)
@pytest.mark.parametrize('pointer', [None, '{own}/epoch_1.pth', '/moved/epoch_3.pth'])
def test_nothing_is_done_to_what_another_training_saved(tmp_path, start, pointer):
    """Work dirs of the same name share the folder in ``out_dir``."""
    store, own = tmp_path / 'store', tmp_path / 'b' / 'run'
    save(store / 'run' / 'epoch_3.pth')
    name_last(tmp_path / 'a' / 'run', store / 'run' / 'epoch_3.pth')
    if pointer is not None:
        save(own / 'epoch_1.pth')
        name_last(own, pointer.format(own=own))
    cfg = make_config(own, default_hooks=hook(out_dir=str(store)))
    with pytest.raises(ValueError, match=f'{store}/run holds .*epoch_3.*; move them'):
        prepare_training(cfg, **start)
    assert store / 'run' / 'epoch_3.pth' not in saved_checkpoints(own, cfg)
    assert newest_saved(own, cfg) in (None, own / 'epoch_1.pth')
    remove_run(own, cfg)
    assert (store / 'run' / 'epoch_3.pth').exists()
    with pytest.raises(ValueError, match='earlier training'):  # the other one's own
        prepare_training(
            make_config(tmp_path / 'a/run', default_hooks=hook(out_dir=str(store)))
        )


def test_a_checkpoint_that_the_user_names_is_resumed(tmp_path):
    path = tmp_path / 'store' / 'run' / 'epoch_3.pth'
    save(path)
    cfg = make_config(
        tmp_path / 'run', default_hooks=hook(out_dir=str(tmp_path / 'store'))
    )
    prepare_training(cfg, str(path))
    assert (cfg.resume, cfg.load_from) == (True, str(path))


def test_an_out_dir_around_the_work_dir_is_no_other_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / 'runs' / 'run' / 'epoch_1.pth')
    cfg = make_config(tmp_path / 'runs/run', default_hooks=hook(out_dir='runs'))
    assert len(saved_checkpoints(tmp_path / 'runs/run', cfg)) == 1
    prepare_training(cfg, overwrite=True)


@pytest.mark.parametrize(
    'content',
    [
        lambda path: dict(load_from=path),
        lambda path: dict(model=dict(init_cfg=dict(type='x', checkpoint=path))),
        lambda path: dict(model=dict(parts=[dict(pretrained=path)])),
    ],
)
@pytest.mark.parametrize('name', ['best_coco_epoch_2.pth', 'link.pth'])
def test_overwrite_keeps_what_the_training_starts_from(
    tmp_path, monkeypatch, content, name
):
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / 'run' / 'best_coco_epoch_2.pth'
    save(saved)
    (tmp_path / 'run' / 'link.pth').symlink_to(saved)
    cfg = make_config(tmp_path / 'run', **content(f'run/{name}'))
    with pytest.raises(ValueError, match=f'would remove run/{name}, which .*; move it'):
        prepare_training(cfg, overwrite=True)
    assert saved.exists()
    prepare_training(make_config(tmp_path / 'run', **content('a.pth')), overwrite=True)


@pytest.mark.parametrize(
    ('shard', 'is_checkpoint'),
    [
        ('rank0.pth', True), ('.metadata', True), ('mp_rank_00_model_states.pt', True),
        ('bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt', True),
        ('notes.txt', False), ('epoch_1.pth', False), ('7/rank0.pth', False),
        ('7/mp_rank_00_model_states.pt', False), ('latest', False),
    ],
)  # fmt: skip
def test_only_folders_of_shards_are_removed(tmp_path, shard, is_checkpoint):
    """A work dir, of shards as well, is no checkpoint; nor is a folder of notes."""
    work_dir = tmp_path / 'run'
    path = work_dir / '2024' / shard
    path.parent.mkdir(parents=True)
    path.touch()
    save(tmp_path / 'linked' / 'rank0.pth')
    (work_dir / '5').symlink_to(tmp_path / 'linked')
    remove_run(work_dir, make_config(work_dir, default_hooks=hook(filename_tmpl='{}')))
    assert (work_dir / '2024').exists() != is_checkpoint
    assert not (work_dir / '5').is_symlink()
    assert (tmp_path / 'linked' / 'rank0.pth').exists()


@pytest.mark.parametrize(
    ('options', 'kept', 'removed'),
    [
        (dict(filename_tmpl='w_{}.pth'), 'epoch_1.pth', 'w_2.pth'),
        (dict(filename_tmpl='w_{}.pth'), 'best_of_all.pth', 'best_coco_w_2.pth'),
        (dict(by_epoch=False), 'epoch_1.pth', 'iter_20.pth'),
        (dict(), 'iter_20.pth', 'epoch_1.pth'),
        (dict(), 'epoch_of_mine.pth', 'best_coco_epoch_1.pth'),
    ],
)
def test_elsewhere_only_names_of_the_hook_count(tmp_path, options, kept, removed):
    work_dir, far = tmp_path / 'run', tmp_path / 'far' / 'run'
    for name in (kept, removed):
        save(far / name)
        save(work_dir / name)
    name_last(work_dir, far / removed)
    options = hook(out_dir=str(tmp_path / 'far'), **options)
    remove_run(work_dir, make_config(work_dir, default_hooks=options))
    assert (far / kept).exists() and not (far / removed).exists()


def test_checkpoints_of_the_same_time_have_one_order(tmp_path):
    """Sets of paths have another order in each process."""
    names = ['epoch_9.pth', 'best_b_epoch_10.pth', 'epoch_10.pth', 'epoch_11-0123abcd']
    for name in names[:3]:
        save(tmp_path / name)
    save(tmp_path / f'{names[3]}.pth')
    save(tmp_path / 'epoch_1.pth', seconds=2)
    for orders in (names[:3], names[2::-1]):
        paths = [tmp_path / name for name in orders]
        assert [path.name for path in sort_by_age(paths)] == names[:3]
        assert newest_of(paths).name == 'epoch_10.pth'
    assert sort_by_age(tmp_path.glob('*.pth'))[-1].name == 'epoch_1.pth'
    assert sort_by_age(tmp_path.glob('*.pth'))[-2].name == 'epoch_11-0123abcd.pth'


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
