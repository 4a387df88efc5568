"""The training model in two gloo processes gives the losses and gradients of one."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pretrain.data import AlignmentCollate, Sample
from pretrain.r2d2.alignment import R2D2Alignment
from tests.pretrain.conftest import make_sample
from tests.pretrain.model_steps import gradients, step
from tests.processes import fork_two

SPLITS = (2, 5)  # samples of the first process, of 6
IMAGES = 'abacda'
OPTIONS = {
    'fine_tuning': dict(preset='fine_tuning', same_text=True),
    'pre_training': dict(
        preset='pre_training', pre_ranking=0.5, queue_size=7, mask_rate=0.5, alpha=0.6,
        feature_form='distribution',
    ),
}  # fmt: skip


def samples() -> list[Sample]:
    """The last has no caption, so that with the split at 5 a process has no pair; texts
    and grids differ in size, hence the number of tokens that processes exchange."""
    made = [make_sample(number, 1 + number % 4, 0) for number in range(6)]
    for sample, name in zip(made, IMAGES, strict=True):
        sample.image_id = name
    made[-1].short = None
    return made


def numbers(encoder: Path, preset: str, first: int, last: int) -> dict:
    """Losses and gradients of two steps, and the state after them."""
    model = R2D2Alignment(
        dict(pretrained=encoder), OPTIONS[preset], dict(num_hidden_layers=1)
    ).train()
    if hasattr(model, 'word_head'):
        torch.nn.init.eye_(model.word_head.dense.weight)
        torch.nn.init.zeros_(model.word_head.dense.bias)
    batch = AlignmentCollate(max_num_patches=12)(samples()[first:last])
    losses = [step(model, batch) for _ in range(2)]
    buffers = {name: x for name, x in model.named_buffers() if 'position' not in name}
    return dict(losses=losses, gradients=gradients(model), buffers=buffers)


def work(encoder: Path, folder: Path) -> None:
    """One of the two processes."""
    dist.init_process_group('gloo')
    rank = dist.get_rank()
    for split in SPLITS:
        first, last = ((0, split), (split, 6))[rank]
        for preset in OPTIONS:
            found = numbers(encoder, preset, first, last)
            torch.save(found, folder / f'{preset}_{split}_{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def together(small_encoder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('processes')
    fork_two(work, small_encoder, folder)
    return folder


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('preset', OPTIONS)
def test_two_processes_are_one(small_encoder, together, preset, split):
    one = numbers(small_encoder, preset, 0, 6)
    two = [torch.load(together / f'{preset}_{split}_{rank}.pt') for rank in range(2)]
    for number, losses in enumerate(one['losses']):
        for name, value in losses.items():
            mean = sum(part['losses'][number][name] for part in two) / 2
            torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-5)
    for name, grad in one['gradients'].items():
        mean = (two[0]['gradients'][name] + two[1]['gradients'][name]) / 2
        difference = (mean - grad).norm()
        assert difference <= 1e-3 * grad.norm() + 1e-5, name
    for name, value in one['buffers'].items():
        for part in two:
            torch.testing.assert_close(part['buffers'][name], value, msg=name)
