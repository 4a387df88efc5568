"""Detectors in shards: every number is that of one process, checkpoints included."""

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import STRATEGIES, init_default_scope
from torch import distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from fgclip2_det import cli
from fgclip2_det.engine.runner import leave_process_group
from fgclip2_det.engine.start import prepare_test
from fgclip2_det.engine.strategies import (
    FGCLIP2FSDPStrategy,
    gather_state,
    share_state,
    wrap_blocks,
)
from fgclip2_det.fgclip2.layers import EncoderLayer
from tests.processes import fork_two, torchrun

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / 'tools' / 'train.py'


def small_net() -> nn.Module:
    """A block of its own unit, a frozen layer and odd sizes; the last is trained."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(5, 8), EncoderLayer(8, 12, 2, 1e-6), nn.Linear(8, 7), nn.Linear(7, 3)
    )
    net[0].requires_grad_(False)
    return net


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = small_net()

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x, None) if i == 1 else layer(x)
        return x


def groups(net: nn.Module) -> list[dict]:
    """Two, the second in the other order."""
    named = dict(net.named_parameters())
    biases = [p for name, p in named.items() if name.endswith('bias')]
    others = [p for name, p in named.items() if not name.endswith('bias')]
    return [dict(params=biases), dict(params=others[::-1], weight_decay=0.2)]


def in_two_processes() -> None:
    dist.init_process_group('gloo')
    for strategy in ('SHARD_GRAD_OP', 'FULL_SHARD', 'NO_SHARD'):
        check_states(dist.get_rank(), strategy)
    leave_process_group()
    end = time.monotonic() + 1800
    while any('gloo' in name for name in own_threads()):  # a joined one is still listed
        assert time.monotonic() < end
        time.sleep(0.01)


def own_threads() -> set[str]:
    names = set()
    for path in Path('/proc/self/task').glob('*/comm'):
        with suppress(OSError):  # it has just ended
            names.add(path.read_text().strip())
    return names


def check_states(rank: int, strategy: str) -> None:
    """AdamW's state against that of a plain copy, both ways."""
    plain, net = Net(), Net()
    wrapped = FullyShardedDataParallel(
        net,
        device_id=torch.device('cpu'),
        use_orig_params=True,
        sharding_strategy=getattr(
            torch.distributed.fsdp.ShardingStrategy, strategy
        ),
        auto_wrap_policy=wrap_blocks,
    )  # fmt: skip
    first = torch.optim.AdamW(groups(plain), lr=1e-2)
    second = torch.optim.AdamW(groups(wrapped), lr=1e-2)
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))

    def train(steps: int) -> None:
        for _ in range(steps):
            for model, optimizer in ((plain, first), (wrapped, second)):
                model(x).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()

    train(3)
    shapes = {
        name: p.shape
        for group in first.param_groups
        for p in group['params']
        for name, other in plain.named_parameters()
        if other is p
    }
    state = second.state_dict()['state']
    whole = gather_state(state, list(shapes.values()))
    expected = first.state_dict()['state']
    if rank == 0:
        assert whole.keys() == expected.keys()
        for i, values in expected.items():
            for key, value in values.items():
                torch.testing.assert_close(whole[i][key], value, msg=f'{i} {key}')
    else:
        assert whole == {}

    params = [p for group in second.param_groups for p in group['params']]
    shares = share_state(expected, params, shapes)
    for i, values in shares.items():
        for key, value in values.items():
            torch.testing.assert_close(value, state[i][key], msg=f'{i} {key}')
    with pytest.raises(ValueError, match='indices of 22 parameters'):
        share_state({'layers.0.bias': {}}, params, shapes)
    wrong = {0: {'exp_avg': torch.zeros(99)}}
    with pytest.raises(ValueError, match=r"'exp_avg' of .* is \(99,\)"):
        share_state(wrong, params, shapes)
    with pytest.raises(ValueError, match='one value per weight, such as AdamW'):
        gather_state({0: {'rows': torch.zeros(1)}}, list(shapes.values()))


@pytest.mark.slow
def test_optimizer_in_one_piece():
    fork_two(in_two_processes)


TINY = """
_base_ = r'{root}/configs/ovshapes/ovd_fgclip2_finetuned.py'
model = dict(
    backbone=dict(frozen_stages=2),
    train_cfg=dict(
        rpn=dict(sampler=dict(type='OpenVocabSeededSampler')),
        rcnn=dict(sampler=dict(type='OpenVocabSeededSampler'))))
train_dataloader = dict(batch_size=2)
# always clips; eps: no sign of a rounding error becomes a whole step
optim_wrapper = dict(optimizer=dict(eps=1e-3), clip_grad=dict(max_norm=0.5))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=3))
train_cfg = dict(max_epochs=2, val_interval=1)
"""
SHARDED = """
strategy = dict(
    type='FGCLIP2FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel', sharding_strategy='SHARD_GRAD_OP',
        auto_wrap_policy='fgclip2_det.engine.strategies.wrap_blocks',
        sync_module_states=True, use_orig_params=True))
runner_type = 'FlexibleRunner'
"""
DATA = ['num_train=12', 'num_val=4', 'image_size=96', 'max_num_patches=64']
DATA += ['train_dataloader.dataset.pipeline.3.prob=0.0']  # flips differ by process


def train(config: Path, work_dir: Path, *more: object) -> list[str]:
    """Words of a training in several processes."""
    words = [config, '--work-dir', work_dir, '--verbose', *more]
    words += ['--launcher', 'pytorch', '--cfg-options', *DATA]
    return [str(word) for word in words]


def write(path: Path, text: str) -> Path:
    path.write_text(text.replace('{root}', str(ROOT)))
    return path


def assert_same_training(actual: Path, expected: Path) -> None:
    """Weights, both moments, step, rates and names, to rounding."""
    first, second = (torch.load(path) for path in (actual, expected))
    assert first.keys() == second.keys()
    assert first['state_dict'].keys() == second['state_dict'].keys()
    for name, value in second['state_dict'].items():
        torch.testing.assert_close(
            first['state_dict'][name], value, rtol=1e-4, atol=1e-5, msg=name
        )
    optimizers = first['optimizer'], second['optimizer']
    groups = [optimizer['param_groups'] for optimizer in optimizers]
    assert groups[0] == groups[1]
    states = [optimizer['state'] for optimizer in optimizers]
    assert states[0].keys() == states[1].keys()
    for i, values in states[1].items():
        assert values.keys() == states[0][i].keys()
        for key, value in values.items():
            size = 1e-3 * float(value.abs().max())  # of keys' biases: only rounding
            atol = max(size, 1e-18 if key == 'exp_avg_sq' else 1e-10)
            torch.testing.assert_close(
                states[0][i][key], value, rtol=1e-3, atol=atol, msg=f'{i} {key}'
            )
    assert first['param_schedulers'] == second['param_schedulers']
    for key in ('epoch', 'iter', 'seed'):
        assert first['meta'][key] == second['meta'][key]


@pytest.mark.slow
def test_shards_train_and_resume(tmp_path):
    """To the end, as DDP does; shards go on from DDP's checkpoint and end where they
    would have. Their own checkpoint is DDP's, so that others go on from it alike."""
    plain = write(tmp_path / 'plain.py', TINY)
    shards = write(tmp_path / 'shards.py', TINY + SHARDED)
    root = dict(OVSHAPES_ROOT=str(tmp_path))
    fork_two(cli.run, 'train', train(plain, tmp_path / 'ddp'), **root)
    torchrun([TRAIN, *train(shards, tmp_path / 'fsdp')], **root)  # as it is typed
    whole = tmp_path / 'ddp' / 'epoch_2.pth'
    for epoch in ('epoch_1.pth', 'epoch_2.pth'):
        assert_same_training(tmp_path / 'fsdp' / epoch, tmp_path / 'ddp' / epoch)
    words = train(shards, tmp_path / 'again', '--resume', tmp_path / 'ddp/epoch_1.pth')
    log = fork_two(cli.run, 'train', words, **root)
    assert 'resumed epoch: 1, iter: 3' in log
    assert (tmp_path / 'again' / 'metrics.json').is_file()
    assert_same_training(tmp_path / 'again' / 'epoch_2.pth', whole)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(state_dict_cfg='local'), "state_dict_cfg must be 'full', got 'local'"),
        (dict(model_wrapper=None), 'use_orig_params=True, got None'),
    ],
)
def test_what_the_strategy_refuses(options, message):
    wrapper = dict(model_wrapper=dict(use_orig_params=True))
    with pytest.raises(ValueError, match=re.escape(message)):
        FGCLIP2FSDPStrategy(**(wrapper | options))


def test_one_process_is_told_how_to_start():
    strategy = FGCLIP2FSDPStrategy(model_wrapper=dict(use_orig_params=True))
    with pytest.raises(ValueError, match='torchrun --nproc-per-node N'):
        strategy._wrap_model(small_net())


def test_a_test_needs_no_shards(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/ovshapes/ovd_fgclip2_fsdp.py')
    torch.save({'state_dict': {}}, tmp_path / 'x.pth')
    prepare_test(cfg, str(tmp_path / 'x.pth'))
    assert not {'runner_type', 'strategy'} & set(cfg)


@pytest.mark.parametrize('name', ['fsdp', 'zero2'])
def test_configs_name_strategies_that_exist(name):
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / f'configs/ovshapes/ovd_fgclip2_{name}.py')
    strategy = cfg.strategy
    assert cfg.runner_type == 'FlexibleRunner'
    if name == 'fsdp':
        built = STRATEGIES.build(strategy)
        assert isinstance(built, FGCLIP2FSDPStrategy)
        return
    assert STRATEGIES.get(strategy.type).__name__ == 'DeepSpeedStrategy'
    assert strategy.zero_optimization.stage == 2 and not strategy.bf16.enabled
    assert cfg.optim_wrapper.type == 'DeepSpeedOptimWrapper'
    assert 'clip_grad' not in cfg.optim_wrapper
