"""configs/pretrain/r2d2_*: their arithmetic, and two steps of each with a small encoder
on sixteen images; what a run leaves behind."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

import pretrain  # noqa: F401, registers the classes
from fgclip2_det import FGCLIP2, load_encoder
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.runner import build_runner
from fgclip2_det.engine.start import prepare_training
from fgclip2_det.ranker import Ranker
from pretrain.hooks import ExportRankerHook
from tests.pretrain.data.conftest import make_record, save_image, write_records

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / 'configs' / 'pretrain'
LEAVES = sorted(path.stem for path in CONFIGS.glob('r2d2_*.py'))
LARGE = [name for name in LEAVES if '_tiny_' not in name]
PAIRS = {'pretrain': 23_000_000, 'retrieval': 145_000, 'matching': 400_000}


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope('mmdet')


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def rates_of(cfg: Config, lr: float, steps: int, num_groups: int = 1) -> list[list]:
    """Learning rates of groups, the second with twice the first's, of each step."""
    groups = [
        dict(params=[torch.zeros(1, requires_grad=True)], lr=lr * (1 + number))
        for number in range(num_groups)
    ]
    optimizer = torch.optim.SGD(groups)
    schedulers = []
    for each in cfg.param_scheduler:
        each.setdefault('end', cfg.train_cfg.max_iters)  # as the runner does
        optim = dict(optimizer=optimizer)
        schedulers.append(PARAM_SCHEDULERS.build(each, default_args=optim))
    rates = []
    for _ in range(steps):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


# ------------------------------------------------------------------------ arithmetic
@pytest.mark.parametrize('name', LARGE)
def test_the_name_the_batch_and_the_steps_belong_together(name):
    cfg = load(name)
    _, _, stage, title, _ = name.split('_')
    processes, images, epochs = re.match(r'(\d+)xb(\d+)-(\d+)e', title).groups()
    assert cfg.train_dataloader.batch_size == int(images)
    steps = PAIRS[stage] * int(epochs) / (int(processes) * int(images))
    assert cfg.train_cfg.max_iters == cfg.max_iters
    assert abs(cfg.max_iters / steps - 1) < 1e-3
    assert cfg.train_dataloader.dataset.max_anns == 0
    assert cfg.model.ranker.num_hidden_layers == 6
    assert cfg.model.get('freeze_vision', False) == (stage != 'pretrain')


def test_rates_of_retrieval():
    """1e-6 up to 1e-5 in 500 steps, then a cosine down to 0."""
    cfg = load('r2d2_b16_retrieval_8xb32-20e_flickr30k-cna')
    assert cfg.optim_wrapper.optimizer.lr == 1e-5
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    rates = [rate for [rate] in rates_of(cfg, 1e-5, cfg.max_iters)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[500] == pytest.approx(1e-5) == max(rates)
    assert rates[(500 + cfg.max_iters) // 2] == pytest.approx(5e-6, rel=1e-3)
    assert 0 <= rates[-1] < 1e-11


def test_rates_of_matching_are_pytorchs():
    """Against CyclicLR, which gives every group the rate of the first."""
    cfg = load('r2d2_b16_matching_8xb64-20e_icm')
    lr, steps = cfg.optim_wrapper.optimizer.lr, 9000
    rates = rates_of(cfg, lr, steps, num_groups=2)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.05 * lr, lr, step_size_up=3125, cycle_momentum=False
    )
    for first, second in rates:
        expected = optimizer.param_groups[0]['lr']
        assert math.isclose(first, expected, rel_tol=1e-9)
        assert math.isclose(second, 2 * first, rel_tol=1e-12)
        optimizer.step()
        scheduler.step()
    assert rates[0][0] == pytest.approx(0.05 * lr) == rates[6250][0]
    assert rates[3125][0] == pytest.approx(lr)


@pytest.mark.parametrize(
    ('options', 'message'),
    [(dict(low=2), r'low must lie in \[0, 1\]'), (dict(step_size_up=0), '1 or more')],
)
def test_wrong_triangles(options, message):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match=message):
        PARAM_SCHEDULERS.build(
            dict(type='TriangularLR', **options), default_args=dict(optimizer=optimizer)
        )


# -------------------------------------------------------------------- without memory
@pytest.mark.parametrize('name', LEAVES)
def test_builds_without_memory(name, monkeypatch):
    """Every weight that is trained is in the optimizer; biases as the config says."""
    cfg = load(name)
    size = 'tiny' if '_tiny_' in name else 'base'

    def build(**encoder):
        assert list(encoder) == ['pretrained']
        return FGCLIP2.from_size(size, device='meta')

    monkeypatch.setattr('pretrain.r2d2.alignment.build_for_training', build)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    layers = len(model.ranker.text_joint.layers)
    assert layers == (2 if size == 'tiny' else 6)
    optim = cfg.optim_wrapper
    wrapper = build_optim_wrapper(
        model,
        dict(
            constructor=optim.constructor,
            optimizer=optim.optimizer,
            paramwise_cfg=optim.get('paramwise_cfg'),
        ),
    )
    groups = wrapper.optimizer.param_groups
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for group in groups for p in group['params']} == trained
    lr = optim.optimizer.lr
    doubled = 'matching' in name
    fast = doubled or 'muon' in optim.get('paramwise_cfg', {})
    assert {group['lr'] for group in groups} == ({lr, 2 * lr} if fast else {lr})
    names = {id(p): key for key, p in model.named_parameters()}
    for group in groups:
        keys = [names[id(p)] for p in group['params']]
        if doubled:
            assert {'bias' in key for key in keys} == {group['lr'] == 2 * lr}
        if group.get('muon'):  # of the towers and of the joint encoders
            assert any(key.startswith('ranker.image_joint.layers') for key in keys)
        if any('bias' in key for key in keys):
            assert group['weight_decay'] == 0


# ------------------------------------------------------------------------- two steps
@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """Eight English and eight Chinese records of eight images."""
    folder = tmp_path_factory.mktemp('data')
    records = [make_record(i, 'zh' if i % 2 else 'en') for i in range(16)]
    for number, each in enumerate(records):
        each['f_path'] = records[number // 4 * 4 + number % 2]['f_path']
        save_image(folder / 'images' / each['f_path'], number)
    write_records(folder / 'jsonfiles' / 'records.json', records)
    return folder


@pytest.fixture
def write_small(data, small_encoder, tmp_path) -> Callable[[str], Path]:
    """A config that inherits from another: the small encoder, batches of two."""

    def write(name: str) -> Path:
        encoder = dict(_delete_=True, pretrained=str(small_encoder))
        parts = dict(
            _base_=str(CONFIGS / f'{name}.py'),
            model=dict(encoder=encoder, ranker=dict(num_hidden_layers=1)),
            train_cfg=dict(max_iters=2),
            default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=2)),
        )
        if name in LARGE:
            parts['train_dataloader'] = dict(
                batch_size=2, num_workers=0, prefetch_factor=None,
                persistent_workers=False, pin_memory=False,
                collate_fn=dict(tokenizer=None),
                dataset=dict(ann=f'{data}/jsonfiles', image_root=f'{data}/images'),
            )  # fmt: skip
            first = load(name).param_scheduler[0]
            parts['param_scheduler'] = [dict(first, end=2)]
        else:
            parts['param_scheduler'] = []
            parts['train_dataloader'] = dict(
                batch_size=2, dataset=dict(data_root=f'{tmp_path}/o', num_images=8)
            )
        if name in LARGE and load(name).model.losses.preset == 'pre_training':
            parts['model']['losses'] = dict(queue_size=5)
        text = '\n'.join(f'{key} = {value!r}' for key, value in parts.items())
        path = tmp_path / f'small_{name}.py'
        path.write_text(text, encoding='utf-8')
        return path

    return write


@pytest.mark.parametrize('name', LEAVES)
def test_two_steps(name, write_small, tmp_path, monkeypatch):
    """The ranker and the encoder that it belongs to are there, and go together."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    threads = torch.get_num_threads()
    cfg = load_config(write_small(name), work_dir=str(tmp_path / 'run'))
    prepare_training(cfg)
    runner = build_runner(cfg)
    runner.train()
    torch.set_num_threads(threads)
    assert runner.iter == 2
    assert runner.message_hub.get_scalar('train/loss').current() > 0
    encoder = load_encoder(tmp_path / 'run' / 'model')
    ranker = Ranker.from_pretrained(tmp_path / 'run' / 'ranker', encoder)
    saved = torch.load(tmp_path / 'run' / 'iter_2.pth')['state_dict']
    assert saved['step'] == 2
    for key, value in ranker.state_dict().items():
        assert torch.equal(value, saved[f'ranker.{key}']), key
    assert ranker.config.reads == 'image'
    assert set(ranker.config.encoder) == {'text', 'vision'}


def test_a_model_without_a_ranker_is_refused():
    """Before anything is trained."""
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r'needs a model with a ranker.*got Linear'):
        ExportRankerHook().before_train(runner)
