"""Trainings that were interrupted between two updates end like others."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

import fgclip2_det.registration
from fgclip2_det.engine.hooks.checkpoint_hook import GRADIENTS
from fgclip2_det.engine.runner import leave_process_group
from tests.processes import fork_two

NUM_SAMPLES, NAMES = 11, ('whole', 'resumed')


class Net(BaseModel):
    """One weight gets no gradient, one that is frozen is not trained."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2), nn.Linear(2, 2)
        self.unused, self.frozen = nn.Linear(2, 2), nn.Linear(2, 2)
        self.frozen.requires_grad_(False)

    def forward(self, x, y, mode='loss'):
        return {'loss': F.cross_entropy(self.head(self.layer(x).tanh()), y)}


class Points(Dataset):
    """Each process has its own."""

    def __len__(self):
        return NUM_SAMPLES

    def __getitem__(self, index):
        own = torch.Generator().manual_seed(100 * get_rank() + index)
        return dict(x=torch.randn(3, generator=own), y=torch.tensor(index % 2))


def train(folder, counts, by_epoch=True, resume=None, load_from=None, **steps):
    """Train on; from a checkpoint, if one is given."""
    steps = steps or (dict(max_epochs=3) if by_epoch else dict(max_iters=8))
    hook = dict(type='mmdet.OpenVocabCheckpointHook', by_epoch=by_epoch, interval=1)
    wrapper = dict(type='MMDistributedDataParallel', find_unused_parameters=True)
    torch.manual_seed(0)
    runner = Runner(
        Net(),
        str(folder),
        train_dataloader=DataLoader(Points()),
        train_cfg=dict(by_epoch=by_epoch, **steps),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.1),
            clip_grad=dict(max_norm=1.0),
            accumulative_counts=counts,
        ),
        param_scheduler=dict(type='LinearLR', by_epoch=False, end=9),
        default_hooks=dict(checkpoint=hook),
        load_from=str(resume or load_from or '') or None,
        resume=resume is not None,
        launcher='pytorch' if get_world_size() > 1 else 'none',
        randomness=dict(seed=0),
        default_scope='mmdet',
        experiment_name=str(folder),
        cfg=dict(model_wrapper_cfg=wrapper | dict(device_ids=None)),
    )
    runner.train()


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def assert_equal_ends(whole, resumed):
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        assert torch.equal(weight, resumed[name]), name


@pytest.fixture(scope='module')
def interrupted(tmp_path_factory):
    """A checkpoint after 2 of the 4 iterations of the second of two updates."""
    folder = tmp_path_factory.mktemp('interrupted')
    train(folder, 4, False)
    return folder / 'iter_6.pth'


@pytest.mark.parametrize(
    ('counts', 'by_epoch'), [(1, True), (4, True), (5, True), (3, False)]
)
def test_resumed_anywhere_a_training_ends_the_same(tmp_path, counts, by_epoch):
    """Also among the last iterations, whose update is made of fewer; and a checkpoint
    holds gradients only where there are some."""
    train(tmp_path / 'whole', counts, by_epoch)
    name, steps = ('epoch', 3) if by_epoch else ('iter', 8)
    whole = weights(tmp_path / 'whole' / f'{name}_{steps}.pth')
    for step in range(1, steps):
        source = tmp_path / 'whole' / f'{name}_{step}.pth'
        done = step * (NUM_SAMPLES if by_epoch else 1) % counts
        saved = torch.load(source, weights_only=True)
        assert (GRADIENTS in saved) == (done > 0)
        if done:
            assert set(saved[GRADIENTS]['gradients'][0]) == {
                'layer.weight', 'layer.bias', 'head.weight', 'head.bias'
            }  # fmt: skip
        folder = tmp_path / f'from {step}'
        train(folder, counts, by_epoch, source)
        assert_equal_ends(whole, weights(folder / f'{name}_{steps}.pth'))
    assert GRADIENTS not in torch.load(
        tmp_path / 'whole' / f'{name}_{steps}.pth', weights_only=True
    )


def _train_two(folder):
    torch.distributed.init_process_group('gloo')
    for name, resume in zip(NAMES, (None, folder / 'whole/iter_6.pth'), strict=True):
        train(folder / name, 4, False, resume)
    leave_process_group()


def test_gradients_of_two_processes(tmp_path):
    """Each gets its own back: they are not averaged before the update."""
    text = fork_two(_train_two, tmp_path)
    saved = torch.load(tmp_path / 'whole/iter_6.pth', weights_only=True)[GRADIENTS]
    first, second = saved['gradients']
    assert not torch.equal(first['head.bias'], second['head.bias'])
    whole, resumed = (weights(tmp_path / n / 'iter_8.pth') for n in NAMES)
    assert_equal_ends(whole, resumed)
    assert 'none is lost' in text

    train(tmp_path / 'alone', 4, False, tmp_path / 'whole/iter_6.pth')
    [log] = (tmp_path / 'alone').glob('*/*.log')
    assert 'holds the gradients of 2 processes for 1: the update is' in log.read_text()


def test_another_end_changes_their_weight(tmp_path):
    """The last update of 6 iterations is of 2, each a half; of 8, each a quarter."""
    train(tmp_path / 'short', 4, False, max_iters=6)
    train(tmp_path / 'whole', 4, False)
    train(tmp_path / 'long', 4, False, tmp_path / 'short/iter_5.pth')
    whole, resumed = (weights(tmp_path / n / 'iter_8.pth') for n in ('whole', 'long'))
    assert_equal_ends(whole, resumed)


def _drop(saved):
    del saved[GRADIENTS]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (_drop, 'the checkpoint holds no gradients of them'),
        (lambda saved: saved.update({GRADIENTS: 3}), 'holds of them is no gradients'),
        (lambda saved: saved[GRADIENTS].update(counts=8), 'of 2 of 8 iterations'),
        (
            lambda saved: saved[GRADIENTS]['gradients'][0].update(x=torch.ones(1)),
            "holds a gradient of another model ('x')",
        ),
    ],
)
def test_gradients_that_are_not_those(tmp_path, interrupted, change, message):
    """One sentence says so, and the training goes on without them."""
    saved = torch.load(interrupted, weights_only=True)
    change(saved)
    torch.save(saved, tmp_path / 'changed.pth')
    train(tmp_path / 'on', 4, False, tmp_path / 'changed.pth')
    [log] = (tmp_path / 'on').glob('*/*.log')
    text = log.read_text()
    assert 'goes on after 2 of the 4 iterations of an update, and ' in text
    assert f'{message}: the update is made of the others alone' in text
    assert (tmp_path / 'on/iter_8.pth').is_file()


def test_weights_to_start_from_bring_no_gradients(tmp_path, interrupted):
    """``load_from`` without ``resume``."""
    saved = torch.load(interrupted, weights_only=True)
    ends = []
    for name in ('with', 'without'):
        torch.save(saved, tmp_path / f'{name}.pth')
        train(tmp_path / name, 4, False, load_from=tmp_path / f'{name}.pth')
        ends.append(weights(tmp_path / name / 'iter_8.pth'))
        saved.pop(GRADIENTS, None)
    assert_equal_ends(*ends)
