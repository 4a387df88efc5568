"""configs/pretrain: the paper's arithmetic, models without memory, and two steps of
every config with a small encoder on sixteen images."""

import inspect
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine._strategy import DeepSpeedStrategy
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import (
    MODELS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    init_default_scope,
)
from safetensors.torch import load_file

import pretrain  # noqa: F401, registers the classes
from fgclip2_det import FGCLIP2
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.runner import build_runner
from fgclip2_det.engine.start import prepare_training
from pretrain.data import write_shards
from pretrain.presets import loss_preset
from tests.processes import torchrun

from .data.conftest import make_record, save_image, write_records

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'pretrain'
LEAVES = sorted(path.stem for path in CONFIGS.glob('fgclip2_*.py'))
LARGE = [name for name in LEAVES if '_tiny_' not in name]
SHARDED = [name for name in LARGE if '-fsdp' in name or '-zero2' in name]
SIZES = {'b16': 'base', 'l16': 'large', 'so16': 'so400m', 'tiny': 'tiny'}
# Section 4.1 of the paper: images a step; appendix A: images an epoch
GLOBAL_BATCH = {
    'stage1': {'b16': 61_440, 'l16': 30_720, 'so16': 18_432},
    'stage2': {'b16': 4_096, 'l16': 3_072, 'so16': 2_560},
}
NUM_IMAGES = {'stage1': 2_450_000_000, 'stage2': 24_000_000}
STEPS = 2


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope('mmdet')


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def size_of(name: str) -> str:
    return name.split('_')[1]


def per_process(cfg: Config) -> int:
    loader = cfg.train_dataloader
    return loader.dataset.get('batch_size') or loader.batch_size


# ------------------------------------------------------------------------ arithmetic
@pytest.mark.parametrize('name', LARGE)
def test_numbers_of_the_paper(name):
    """The file's name, the batch, and the steps that are an epoch belong together."""
    cfg = load(name)
    _, size, stage, title, _ = name.split('_')
    processes, images, epochs = re.match(r'(\d+)xb(\d+)-.*?(\d)e', title).groups()
    assert per_process(cfg) == int(images)
    batch = int(processes) * int(images)
    assert batch == GLOBAL_BATCH[stage][size]
    steps = math.ceil(int(epochs) * NUM_IMAGES[stage] / batch)
    assert cfg.train_cfg.max_iters == cfg.max_iters
    assert abs(cfg.max_iters - steps) <= 1
    assert cfg.model.losses.get('stage', 2) == int(stage[-1])
    assert cfg.model.losses.preset == ('released' if 'released' in title else 'paper')
    assert loss_preset(**cfg.model.losses).tic_reduction == 'mean'  # not a sum
    assert cfg.train_dataloader.collate_fn.max_num_patches == 'auto'
    assert cfg.train_dataloader.dataset.max_anns == (0 if stage == 'stage1' else 4)


@pytest.mark.parametrize('name', LARGE)
def test_learning_rate_over_a_run(name):
    """Up to 1e-6 in 300 steps (3 % as released), then down to 0 by a cosine."""
    cfg = load(name)
    if cfg.max_iters > 50_000:  # the same schedulers
        cfg.max_iters = cfg.train_cfg.max_iters = 5000
    warm_up = 1055 if 'released' in name else 300  # 0.03 * 35,157
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-6)
    schedulers = []
    for each in cfg.param_scheduler:
        each.setdefault('end', cfg.train_cfg.max_iters)  # as the runner does
        optim = dict(optimizer=optimizer)
        schedulers.append(PARAM_SCHEDULERS.build(each, default_args=optim))
    rates = []
    for _ in range(cfg.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-9)
    assert rates[warm_up] == pytest.approx(1e-6) == max(rates)
    middle = (warm_up + cfg.max_iters) // 2
    assert rates[middle] == pytest.approx(0.5e-6, rel=1e-2)
    assert 0 <= rates[-1] < 1e-12


def test_variables_reach_their_places():
    """One option for a folder or a length, whatever was made of it in the config."""
    changes = dict(weights='a/start', data_root='b/data', max_iters=7)
    cfg = load_config(CONFIGS / 'fgclip2_b16_stage2_16xb256-1e_finehard.py', changes)
    assert cfg.model.encoder.pretrained == 'a/start'
    assert cfg.train_cfg.max_iters == 7
    dataset = cfg.train_dataloader.dataset
    assert (dataset.ann, dataset.image_root) == ('b/data/jsonfiles', 'b/data/images')
    cfg = load_config(CONFIGS / f'{LARGE[0]}.py', dict(weights='a/start'))
    assert cfg.model.encoder.siglip2 == 'a/start'
    name = 'fgclip2_b16_stage2_16xb256-1e_finehard-shards.py'
    cfg = load_config(CONFIGS / name, dict(data_root='b/data', tokenizer='c/gemma'))
    assert cfg.train_dataloader.dataset.shards == 'b/data'
    assert cfg.train_dataloader.collate_fn.tokenizer == 'c/gemma'


# -------------------------------------------------------------------- without memory
@pytest.fixture
def on_meta(monkeypatch) -> None:
    """Encoders without memory, for weights that are not here."""

    def build(**encoder):
        chosen = {key for key in ('siglip2', 'pretrained', 'size') if key in encoder}
        assert len(chosen) == 1
        return FGCLIP2.from_size(build.size, device='meta')

    monkeypatch.setattr('pretrain.model.build_for_training', build)
    return build


@pytest.mark.parametrize('name', LEAVES)
def test_builds_without_memory(name, on_meta):
    """Every weight that is trained is in the optimizer, with the script's numbers."""
    cfg, on_meta.size = load(name), SIZES[size_of(name)]
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    registering = {'fgclip2_det.registration', 'pretrain.registration'}
    assert registering <= set(cfg.custom_imports.imports)
    if size_of(name) == 'tiny':
        return
    assert model.encoder.vision_model.encoder.gradient_checkpointing
    assert model.encoder.text_model.encoder.gradient_checkpointing
    wrapper = build_optim_wrapper(model, plain_optimizer(cfg.optim_wrapper))
    groups = wrapper.optimizer.param_groups
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for group in groups for p in group['params']} == trained
    assert {group['lr'] for group in groups} == {1e-6}
    assert {group['weight_decay'] for group in groups} == {0.0, 0.001}
    assert {(group['betas'], group['eps']) for group in groups} == {((0.9, 0.98), 1e-6)}
    stage1 = model.preset.regions is False
    assert model.encoder.boxtext_head.weight.requires_grad is not stage1


def plain_optimizer(cfg: dict) -> dict:
    """The optimizer of a config, in a wrapper that needs no GPU."""
    return dict(constructor=cfg['constructor'], optimizer=cfg['optimizer'])


@pytest.mark.parametrize('name', [name for name in LARGE if '-zero2' in name])
def test_deepspeed_strategy_takes_the_config(name):
    """DeepSpeed itself need not be here: names of the strategy's arguments, and the
    keys of DeepSpeed's own documentation."""
    cfg = load(name)
    known = inspect.signature(DeepSpeedStrategy.__init__).parameters
    strategy = dict(cfg.strategy)
    assert strategy.pop('type') == 'DeepSpeedStrategy'
    assert set(strategy) <= set(known)
    assert strategy['zero_optimization']['stage'] == 2
    assert cfg.optim_wrapper.type == 'DeepSpeedOptimWrapper'
    assert set(inspect.signature(OPTIM_WRAPPERS.get(cfg.optim_wrapper.type)).parameters
               ) == {'optimizer'}  # fmt: skip


# ------------------------------------------------------------------------- two steps
@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Eight English and eight Chinese records, as files and as shards."""
    folder = tmp_path_factory.mktemp('data')
    records = [make_record(i, 'zh' if i % 2 else 'en') for i in range(16)]
    for number, each in enumerate(records):
        save_image(folder / 'images' / each['f_path'], number)
    path = write_records(folder / 'jsonfiles' / 'records.json', records)
    write_shards(path, folder / 'images', folder / 'shards', max_per_shard=4)
    return folder


LOADER = dict(
    num_workers=0, prefetch_factor=None, persistent_workers=False, pin_memory=False,
    collate_fn=dict(tokenizer=None),
)  # fmt: skip
# FSDP on a CPU: MMEngine passes a GPU's number, and PyTorch's copy to the CPU crashes
CPU_PLUGIN = """
import torch
from mmengine.model import MMFullyShardedDataParallel
from mmengine.registry import MODEL_WRAPPERS
@MODEL_WRAPPERS.register_module()
class CPUFullyShardedDataParallel(MMFullyShardedDataParallel):
    def __init__(self, *args, device_id, **kwargs):
        super().__init__(*args, device_id=torch.device('cpu'), **kwargs)
"""
CPU_FSDP = """
custom_imports = dict(imports=[
    'fgclip2_det.registration', 'pretrain.registration', 'cpu_plugin'])
strategy = dict(
    model_wrapper=dict(type='CPUFullyShardedDataParallel'),
    state_dict_cfg=dict(
        _delete_=True, state_dict_type='FULL_STATE_DICT',
        state_dict_config=dict(type='FullStateDictConfig', rank0_only=True),
        optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True)))
"""


@pytest.fixture
def write_small(data, small_encoder, tmp_path) -> Callable[..., Path]:
    """write_small('fgclip2_b16_...') -> path of a config that inherits from it: the
    small encoder, batches of two, two steps."""

    def write(name: str, wrapper: str | None = None, steps: int = STEPS) -> Path:
        loader, dataset = dict(LOADER), dict(batch_size=2, shards=f'{data}/shards')
        if not name.endswith('-shards'):
            loader |= dict(batch_size=2)
            dataset = dict(ann=f'{data}/jsonfiles', image_root=f'{data}/images')
        encoder = dict(_delete_=True, pretrained=str(small_encoder))
        loop, warm_up = dict(max_iters=steps), load(name).param_scheduler[0]
        parts = dict(
            _base_=str(CONFIGS / f'{name}.py'),
            model=dict(encoder=encoder, micro_batch_size=1),
            train_dataloader=dict(loader, dataset=dataset),
            train_cfg=loop,
            param_scheduler=[dict(warm_up, end=STEPS)],
            default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=2)),
        )
        if wrapper is not None:
            optim = load(name).optim_wrapper
            optimizer = dict(optim.optimizer, lr=1e-3)
            parts['optim_wrapper'] = dict(
                _delete_=True,
                type=wrapper,
                constructor=optim.constructor,
                optimizer=optimizer,
            )
        text = '\n'.join(f'{key} = {value!r}' for key, value in parts.items())
        if '-fsdp' in name:
            (tmp_path / 'cpu_plugin.py').write_text(CPU_PLUGIN)
            text += CPU_FSDP
        path = tmp_path / f'small_{name}.py'
        path.write_text(text, encoding='utf-8')
        return path

    return write


@pytest.mark.parametrize('name', [name for name in LARGE if name not in SHARDED])
def test_two_steps(name, write_small, tmp_path, monkeypatch):
    """In bfloat16, as the config says: the CPU's autocast stands in for a GPU's."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    threads = torch.get_num_threads()
    cfg = load_config(write_small(name), work_dir=str(tmp_path / 'run'))
    prepare_training(cfg)
    runner = build_runner(cfg)
    runner.train()
    torch.set_num_threads(threads)
    assert runner.iter == STEPS
    assert type(runner.optim_wrapper).__name__ == 'AmpOptimWrapper'
    assert runner.optim_wrapper.cast_dtype is torch.bfloat16
    assert runner.message_hub.get_scalar('train/loss').current() > 0
    assert (tmp_path / 'run' / f'iter_{STEPS}.pth').is_file()
    weights = load_file(tmp_path / 'run' / 'model' / 'model.safetensors')
    saved = torch.load(tmp_path / 'run' / f'iter_{STEPS}.pth')
    assert ('ema_state_dict' in saved) == ('-ema' in name)
    for key, value in weights.items():  # the average, where there is one
        assert value.isfinite().all() and value.dtype is torch.float32
        assert torch.equal(value, saved['state_dict'][f'encoder.{key}']), key


def train_in_two(config: Path, work_dir: Path, *words: str) -> str:
    """The log of both processes."""
    launch = [ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir]
    launch += ['--launcher', 'pytorch', *words]
    paths = os.pathsep.join([str(config.parent), *filter(None, sys.path)])
    return torchrun(launch, PYTHONPATH=paths, DS_ACCELERATOR='cpu')


def trained(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / 'model' / 'model.safetensors')


@pytest.mark.weekly
def test_fsdp_is_ddp_and_resumes(write_small, tmp_path):
    """The same weights after four steps, with checkpoints within micro-batches; and a
    checkpoint in one piece that a run goes on from. (The saved moments of AdamW are
    compared in tests/engine/test_strategies.py.)"""
    sharded = 'fgclip2_b16_stage2_16xb256-fsdp-1e_finehard'
    config = write_small(sharded, 'OptimWrapper', 4)
    train_in_two(config, tmp_path / 'fsdp')
    plain = write_small(sharded.replace('-fsdp', ''), 'OptimWrapper', 4)
    train_in_two(plain, tmp_path / 'ddp')
    first, second = trained(tmp_path / 'fsdp'), trained(tmp_path / 'ddp')
    assert first.keys() == second.keys()
    for name, value in first.items():  # keys' biases have no gradient but rounding
        atol = 1e-3 if name.endswith(('k_proj.bias', 'in_proj_bias')) else 1e-6
        torch.testing.assert_close(value, second[name], rtol=0, atol=atol, msg=name)

    last, whole = (tmp_path / 'fsdp' / f'iter_{step}.pth' for step in (4, 2))
    actual, expected = torch.load(last), torch.load(tmp_path / 'ddp' / last.name)
    assert actual['state_dict'].keys() == expected['state_dict'].keys()
    last.unlink()
    (tmp_path / 'fsdp' / 'last_checkpoint').write_text(str(whole))
    log = train_in_two(config, tmp_path / 'fsdp', '--resume')
    assert 'resumed epoch: 0, iter: 2' in log
    losses = [
        float(re.search(r'Iter\(train\) \[3/4\].* loss: ([\d.]+)', text).group(1))
        for text in (log, read_log(tmp_path / 'ddp'))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)  # weights, threshold, data


def read_log(folder: Path) -> str:
    return next(folder.glob('*/*.log')).read_text()


def test_deepspeeds_checkpoint_is_a_folder(write_small, tmp_path, monkeypatch):
    """It is resumed without being read here; and its wrapper is not exchanged."""
    path = write_small('fgclip2_b16_stage2_16xb256-zero2-1e_finehard')
    cfg = load_config(path, work_dir=str(tmp_path / 'run'))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    with pytest.raises(ValueError, match='--amp is not for DeepSpeed'):
        prepare_training(cfg, amp=True)
    folder = tmp_path / 'run' / 'iter_2.pth'
    folder.mkdir(parents=True)
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(folder))
    prepare_training(cfg, resume='auto')
    assert cfg.resume and cfg.load_from == str(folder)


@pytest.mark.slow
def test_deepspeed_trains_and_resumes(write_small, tmp_path):
    """Where DeepSpeed is installed: four steps, and the last two of them again."""
    pytest.importorskip('deepspeed', reason='needs deepspeed')
    config = write_small('fgclip2_b16_stage2_16xb256-zero2-1e_finehard', steps=4)
    folder = tmp_path / 'run'
    train_in_two(config, folder)
    whole = trained(folder)
    assert {value.dtype for value in whole.values()} == {torch.bfloat16}
    (folder / 'iter_4.pth').rename(tmp_path / 'iter_4.pth')
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_2.pth'))
    train_in_two(config, folder, '--resume')
    for name, value in trained(folder).items():  # two updates of 1e-6, and rounding
        torch.testing.assert_close(value, whole[name], rtol=2**-7, atol=5e-6, msg=name)
