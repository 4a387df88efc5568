"""MMEngine's loops over both data sets: epochs, seeds, and resuming exactly."""

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

from pretrain.data import write_shards


@MODELS.register_module(force=True)
class BatchRecorder(BaseModel):
    """Learns nothing and remembers which batches it saw."""

    def __init__(self) -> None:
        super().__init__(dict(type='AlignmentDataPreprocessor'))
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, batch, mode='loss'):
        assert mode == 'loss' and len(set(batch.languages)) == 1
        phrases = batch.box_keys[batch.phrase_index]
        self.seen.append((batch.short_keys.tolist(), phrases.tolist()))
        return {'loss': self.weight.sum()}


@pytest.fixture(scope='module')
def data(tmp_path_factory, record, write, save_image) -> Path:
    """16 English and 8 Chinese records with six boxes, as files and as shards."""
    folder = tmp_path_factory.mktemp('data')
    records = [record(i, 'zh' if i % 3 == 0 else 'en', 6) for i in range(24)]
    for number, each in enumerate(records):
        save_image(folder / each['f_path'], number)
    write(folder / 'records.json', records)
    write_shards(folder / 'records.json', folder, folder / 'shards', max_per_shard=5)
    return folder


def run(data, work_dir, source, by_epoch, length, workers=0, resume=False, seed=3):
    """Batches that a run saw; 6 of 4 records are an epoch."""
    common = dict(num_workers=workers, collate_fn=dict(type='AlignmentCollate'))
    if source != 'shards':
        loader = common | dict(
            dataset=dict(
                type='AlignmentDataset',
                ann=str(data / 'records.json'),
                image_root=str(data),
            ),
            batch_size=4,
            sampler=dict(type='BilingualSampler', infinite=not by_epoch),
            batch_sampler=dict(type='BilingualBatchSampler'),
        )
        hook = dict(type='OpenVocabReproducibleHook')
        hooks = [hook] if source == 'files' else []
    else:
        loader = common | dict(
            dataset=dict(
                type='ShardDataset',
                shards=str(data / 'shards'),
                batch_size=4,
                shuffle_buffer=8,
                infinite=not by_epoch,
            ),
            batch_size=1,
            sampler=None,
        )
        hooks = [dict(type='ShardProgressHook')]
    loop = dict(type='IterBasedTrainLoop', max_iters=length)
    if by_epoch:
        loop = dict(type='EpochBasedTrainLoop', max_epochs=length)
    runner = Runner.from_cfg(
        Config(
            dict(
                model=dict(type='BatchRecorder'),
                work_dir=str(work_dir),
                train_dataloader=loader,
                train_cfg=loop,
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                custom_hooks=hooks,
                default_hooks=dict(
                    checkpoint=dict(
                        type='CheckpointHook',
                        by_epoch=by_epoch,
                        interval=1 if by_epoch else 4,
                    )
                ),
                default_scope='mmdet',
                randomness=dict(seed=seed),
                resume=resume,
                experiment_name=f'{work_dir.name}_{resume}_{length}',
                log_level='ERROR',
            )
        )
    )
    runner.train()
    return runner.model.seen


@pytest.mark.parametrize('source', ['files', 'shards'])
def test_epochs_differ_and_resume(data, tmp_path, source):
    whole = run(data, tmp_path / 'a', source, True, 3)
    assert len(whole) == 18
    epochs = [whole[i : i + 6] for i in (0, 6, 12)]
    for epoch in epochs:
        assert len({key for shorts, _ in epoch for key in shorts}) == 24
    assert epochs[0] != epochs[1] != epochs[2]
    run(data, tmp_path / 'b', source, True, 1)
    rest = run(data, tmp_path / 'b', source, True, 3, workers=2, resume=True)
    assert rest == whole[6:]
    assert run(data, tmp_path / 'c', source, True, 1, seed=4) != whole[:6]


@pytest.mark.parametrize('source', ['files', 'files without hook', 'shards'])
def test_iterations_go_on_in_the_middle_of_an_epoch(data, tmp_path, source):
    whole = run(data, tmp_path / 'a', source, False, 15)
    assert whole[:6] != whole[6:12] != whole[12:]
    run(data, tmp_path / 'b', source, False, 8)
    rest = run(data, tmp_path / 'b', source, False, 15, resume=True)
    assert rest == whole[8:]
    if source == 'files without hook':  # items do not need it
        assert whole == run(data, tmp_path / 'c', 'files', False, 15)


def test_a_stream_must_fit_its_loop(data, tmp_path, monkeypatch):
    from pretrain.data import ShardDataset

    monkeypatch.setattr(ShardDataset, '__len__', lambda self: 6)
    original = ShardDataset.__init__

    def other(self, *args, infinite, **kwargs):
        original(self, *args, infinite=not infinite, **kwargs)

    monkeypatch.setattr(ShardDataset, '__init__', other)
    with pytest.raises(ValueError, match='an epoch-based loop needs infinite=False'):
        run(data, tmp_path / 'a', 'shards', True, 1)
    with pytest.raises(ValueError, match='iteration-based loop needs infinite=True'):
        run(data, tmp_path / 'b', 'shards', False, 1)
