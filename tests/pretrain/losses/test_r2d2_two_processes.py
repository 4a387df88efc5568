"""Two gloo processes give the value and the gradients of one, for R2D2's losses.

Both go through all cases and all ways to split eight pairs, also such that one of them
has none, and leave their numbers in a file.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.ranker import MatchLogits
from pretrain.losses import (
    draw_negatives,
    feature_guided_loss,
    mask_tokens,
    masked_language_loss,
    matching_loss,
    next_centre,
    pre_ranking_loss,
    target_guided_loss,
)
from pretrain.r2d2.feature_queue import FeatureQueue
from tests.processes import fork_two

SPLITS = (3, 1, 8, 0)  # pairs of the first process, of 8
IMAGE_KEYS = torch.tensor([0, 1, 0, -1, 2, 3, 3, 4])
TEXT_KEYS = torch.tensor([5, 6, 7, 6, -1, 8, 9, 9])
NAMES = ('images', 'texts', 'teacher_images', 'teacher_texts')
TEMPERATURE = 0.2


def make_leaves() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = dict.fromkeys(NAMES, (8, 5)) | dict(matches=(8, 3, 2), words=(8, 6))
    leaves = {
        name: torch.randn(shape, generator=draw, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    leaves['temperature'] = torch.tensor([TEMPERATURE], dtype=torch.float64)
    return {name: x.requires_grad_() for name, x in leaves.items()}


def make_part(leaves: dict[str, Tensor], first: int, last: int) -> dict[str, Tensor]:
    part = {name: F.normalize(leaves[name], dim=1)[first:last] for name in NAMES}
    part |= {name: leaves[name][first:last] for name in ('matches', 'words')}
    own = slice(first, last)
    keys = dict(image_keys=IMAGE_KEYS[own], text_keys=TEXT_KEYS[own])
    return part | keys | dict(temperature=leaves['temperature'])


def pre_ranking(part: dict[str, Tensor], with_texts: bool = True) -> Tensor:
    return pre_ranking_loss(
        part['images'], part['texts'], part['temperature'], part['image_keys'],
        part['text_keys'] if with_texts else None,
    )  # fmt: skip


def target_guided(part: dict[str, Tensor], **options) -> Tensor:
    """Against a queue of the same pairs, of which the last three are kept."""
    queue = FeatureQueue(3, 5).double()
    teacher = part['teacher_images'], part['teacher_texts']
    keys = part['image_keys'], part['text_keys']
    queue.enqueue(*teacher, *keys)
    return target_guided_loss(
        part['images'], part['texts'], *teacher, part['temperature'], *keys,
        queue=queue.entries(), **options,
    )  # fmt: skip


def ranking(part: dict[str, Tensor], double_softmax: bool) -> Tensor:
    targets = (part['image_keys'][:, None] + torch.arange(3)) % 2 == 0
    valid = part['text_keys'][:, None] != torch.tensor([6, 7, 9])
    logits = MatchLogits(part['matches'], part['matches'].flip(1))
    return matching_loss(logits, targets, (1, 2), double_softmax, valid)


def masked_words(part: dict[str, Tensor]) -> Tensor:
    """As many hidden tokens as a text's key says: some processes have none."""
    told = part['text_keys'] > 6
    return masked_language_loss(part['words'][told], part['image_keys'][told] + 1)


def features(part: dict[str, Tensor], form: str) -> Tensor:
    centre = next_centre(part['teacher_texts'], torch.zeros(5, dtype=torch.float64))
    return feature_guided_loss(
        part['texts'], part['teacher_texts'], form=form, centre=centre
    )


CASES = {
    'pre_ranking': pre_ranking,
    'pre_ranking_images': lambda part: pre_ranking(part, with_texts=False),
    'target_guided': target_guided,
    'target_guided_softmax': lambda part: target_guided(part, weighting='softmax'),
    'ranking': lambda part: ranking(part, False),
    'ranking_double': lambda part: ranking(part, True),
    'masked_words': masked_words,
    'features_cosine': lambda part: features(part, 'cosine'),
    'features_distribution': lambda part: features(part, 'distribution'),
    'sum': lambda part: pre_ranking(part) + target_guided(part) + ranking(part, False),
}


def results(first: int, last: int) -> dict[str, np.ndarray]:
    """Value and gradients of each case; the draws; the queue."""
    actual = {}
    for name, case in CASES.items():
        leaves = make_leaves()
        loss = case(make_part(leaves, first, last))
        loss.backward()
        actual[f'{name}/loss'] = loss.detach().numpy()
        for leaf, x in leaves.items():
            grad = torch.zeros_like(x) if x.grad is None else x.grad
            actual[f'{name}/{leaf}'] = grad.numpy()
    part = make_part(make_leaves(), first, last)
    embeds = part['images'], part['texts'], TEMPERATURE
    keys = part['image_keys'], part['text_keys']
    for seed in range(3):
        drawn = draw_negatives(*embeds, *keys, seed=seed)
        actual[f'draw/{seed}'] = torch.stack(drawn, 1).numpy()
    own = draw_negatives(*embeds, *keys, seed=0, among='process')
    actual['own'] = torch.stack(own, 1).numpy()
    ids = 100 + torch.arange(80).reshape(8, 10)[first:last]
    masked = mask_tokens(ids, ids > 104, 4, (5, 50), seed=1, rate=0.5)
    actual['draw/tokens'] = torch.cat(masked, 1).numpy()
    queue = FeatureQueue(5, 5).double()
    for _ in range(2):
        queue.enqueue(part['teacher_images'], part['teacher_texts'], *keys)
    state = queue.state_dict().items()
    return actual | {f'queue/{name}': x.numpy() for name, x in state}


def work(folder: Path) -> None:
    """One of the two processes."""
    dist.init_process_group('gloo')
    rank = dist.get_rank()
    for split in SPLITS:
        first, last = ((0, split), (split, 8))[rank]
        np.savez(folder / f'{split}_{rank}.npz', **results(first, last))
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def alone():
    return results(0, 8)


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    """Numbers of both processes for every split."""
    folder = tmp_path_factory.mktemp('processes')
    fork_two(work, folder)
    return {
        split: [dict(np.load(folder / f'{split}_{rank}.npz')) for rank in range(2)]
        for split in SPLITS
    }


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('case', CASES)
def test_mean_over_processes_is_one_process(alone, together, case, split):
    names = [name for name in alone if name.startswith(f'{case}/')]
    assert len(names) == 8
    assert alone[f'{case}/loss'] > 0
    for name in names:
        mean = (together[split][0][name] + together[split][1][name]) / 2
        np.testing.assert_allclose(mean, alone[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('split', SPLITS)
def test_draws_do_not_depend_on_the_split(alone, together, split):
    names = [name for name in alone if name.startswith('draw/')]
    assert len(names) == 4
    for name in names:
        both = np.concatenate([part[name] for part in together[split]])
        np.testing.assert_array_equal(both, alone[name])


@pytest.mark.parametrize('split', SPLITS)
def test_own_negatives_stay_within_a_process(together, split):
    for part, rows in zip(
        together[split], (range(split), range(split, 8)), strict=True
    ):
        drawn = part['own']
        assert len(drawn) == len(rows)
        assert set(drawn.ravel().tolist()) <= {-1, *rows}


@pytest.mark.parametrize('split', SPLITS)
def test_queues_are_the_same_everywhere(alone, together, split):
    names = [name for name in alone if name.startswith('queue/')]
    assert len(names) == 7
    for name in names:
        for part in together[split]:
            np.testing.assert_allclose(part[name], alone[name], rtol=1e-12)
