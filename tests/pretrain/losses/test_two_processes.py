"""Two gloo processes give the value and the gradients of one, for every loss.

Both go through all cases and all ways to split eight images, also such that one of them
has no regions or no images at all, and leave their numbers in a file.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pretrain.losses import (
    all_gather_rows,
    cmr_loss,
    contrastive_loss,
    global_sum,
    hard_contrastive_loss,
    hard_cosines,
    hard_negative_loss,
    next_threshold,
    region_text_loss,
    row_layout,
    sigmoid_loss,
    tic_loss,
)
from tests.processes import fork_two

SPLITS = (3, 1, 8, 0)  # images of the first process, of 8
REGIONS = (0, 2, 1, 3, 0, 2, 1, 1)  # of each image: none for the first alone
PHRASES = torch.tensor([0, 1, 0, 2, 3, 1, 4, 0, 2, 5])  # text of each region
# keys of texts that are true of each region; that text may be at the other process
TRUE = (
    1000
    - torch.tensor([[0, 6], [1, -1], [0, 1], [2, 7], [3, -1], [1, 2], [4, 8]] * 2)[:10]
)
TRUE[TRUE > 1000] = -1
HARD = {  # region: positive, then negatives, in all 14 texts
    0: [0, 9, 10],
    2: [6, 9],
    3: [2, 11, 12, 13],
    7: [0, 10, 11],
    9: [5, 12],
}
CAPTION_KEYS = torch.tensor([4, 5, 4, -1, 6, 5, 7, 4])
# none of the first three images has a caption: a process of one or three has none
FEW_KEYS = torch.tensor([-1, -1, -1, 8, 9, -1, 8, 7])


@dataclass
class Part:
    """What one process sees of the batch, as a collate function lays it out."""

    images: Tensor
    captions: Tensor
    caption_keys: Tensor
    few_keys: Tensor
    regions: Tensor
    texts: Tensor
    text_keys: Tensor
    phrase_index: Tensor
    true_keys: Tensor
    hard_region: Tensor
    hard_index: Tensor
    scale: Tensor
    bias: Tensor

    @property
    def hard(self) -> tuple[Tensor, ...]:
        return self.regions, self.texts, self.hard_region, self.hard_index

    @property
    def region_text(self) -> tuple[Tensor, ...]:
        return (
            *(self.regions, self.texts, self.phrase_index, self.text_keys),
            self.scale,
        )


def make_leaves() -> dict[str, Tensor]:
    """All of the batch: 8 images and captions, 10 regions, 14 texts, two numbers."""
    draw = torch.Generator().manual_seed(0)
    rows = {'images': 8, 'captions': 8, 'regions': 10, 'texts': 14}
    leaves = {
        name: torch.randn(n, 5, generator=draw, dtype=torch.float64)
        for name, n in rows.items()
    }
    leaves['texts'][13] = leaves['texts'][2] + 0.01  # a pair above TIC's threshold
    leaves['scale'] = torch.tensor([1.1], dtype=torch.float64)
    leaves['bias'] = torch.tensor([-0.4], dtype=torch.float64)
    return {name: x.requires_grad_() for name, x in leaves.items()}


def make_part(leaves: dict[str, Tensor], first: int, last: int) -> Part:
    """Images ``first`` to ``last``; the texts they need, each once, in any order."""
    unit = {n: F.normalize(x, dim=1) for n, x in leaves.items() if x.ndim == 2}
    start, stop = sum(REGIONS[:first]), sum(REGIONS[:last])
    hard = {k - start: texts for k, texts in HARD.items() if start <= k < stop}
    width = max(map(len, hard.values()), default=1)
    hard_index = torch.tensor(
        [texts + [-1] * (width - len(texts)) for texts in hard.values()],
        dtype=torch.long,
    ).view(-1, width)
    phrases = PHRASES[start:stop]
    used = torch.cat([phrases, hard_index.flatten()]).unique()
    used = used[used >= 0].flip(0)
    place = torch.full((15,), -1)  # the last one is for -1
    place[used] = torch.arange(len(used))
    return Part(
        images=unit['images'][first:last],
        captions=unit['captions'][first:last],
        caption_keys=CAPTION_KEYS[first:last],
        few_keys=FEW_KEYS[first:last],
        regions=unit['regions'][start:stop],
        texts=unit['texts'][used],
        text_keys=1000 - used,
        phrase_index=place[phrases],
        true_keys=TRUE[start:stop],
        hard_region=torch.tensor(list(hard), dtype=torch.long),
        hard_index=place[hard_index],
        scale=leaves['scale'],
        bias=leaves['bias'],
    )


def contrastive(part: Part, **options) -> Tensor:
    return contrastive_loss(part.images, part.captions, part.scale, **options)


def sigmoid(part: Part, **options) -> Tensor:
    embeds = part.images, part.captions
    options = dict(chunk_size=2, gather_size=5) | options  # two rows of each
    return sigmoid_loss(*embeds, part.scale, part.bias, **options)


def sigmoid_keys(part: Part, same_text: str) -> Tensor:
    return sigmoid(part, text_keys=part.caption_keys, same_text=same_text)


def region_text(part: Part) -> Tensor:
    return region_text_loss(*part.region_text, true_keys=part.true_keys)


def detached_when_empty(part: Part) -> Tensor:
    """A process without regions may hand over fresh tensors without a graph."""
    if not len(part.regions):
        part.regions, part.texts = torch.zeros(2, 0, 5, dtype=torch.float64)
    return region_text(part)


def tic(part: Part, **options) -> Tensor:
    keys = part.text_keys[part.phrase_index]
    return tic_loss(part.texts[part.phrase_index], text_keys=keys, topk=4, **options)


def cmr(part: Part, threshold: float | Tensor) -> Tensor:
    return cmr_loss(*hard_cosines(*part.hard), threshold)


def sum_of_all(part: Part) -> Tensor:
    """Several losses in one graph, as a training step has them."""
    return sigmoid(part) + 0.1 * region_text(part) + tic(part) + cmr(part, 0.5)


CASES = {
    'contrastive': contrastive,
    'contrastive_keys': lambda part: contrastive(part, text_keys=part.caption_keys),
    'contrastive_few': lambda part: contrastive(part, text_keys=part.few_keys),
    'sigmoid': sigmoid,
    'sigmoid_row_by_row': partial(sigmoid, gather_size=1),
    'sigmoid_at_once': partial(sigmoid, chunk_size=3, gather_size=100),
    'sigmoid_negative': lambda part: sigmoid_keys(part, 'negative'),
    'sigmoid_positive': lambda part: sigmoid_keys(part, 'positive'),
    'sigmoid_ignore': lambda part: sigmoid_keys(part, 'ignore'),
    'sigmoid_few': lambda part: sigmoid(part, text_keys=part.few_keys),
    'region_identity': lambda part: region_text_loss(
        *part.region_text, form='identity'
    ),
    'region_distinct': lambda part: region_text_loss(*part.region_text),
    'region_true': region_text,
    'region_detached': detached_when_empty,
    'hard_softmax': lambda part: hard_negative_loss(*part.hard, part.scale),
    'hard_binary': lambda part: hard_negative_loss(
        *part.hard, part.scale, part.bias, form='binary'
    ),
    'hard_contrastive': lambda part: hard_contrastive_loss(*part.hard, part.scale),
    'tic_remove': tic,
    'tic_zero': lambda part: tic(part, similar='zero'),
    'tic_sum': lambda part: tic(part, reduction='sum'),
    'cmr': lambda part: cmr(part, 0.5),
    'cmr_places': lambda part: cmr(part, torch.tensor([0.5, 0.1, 0.9])),
    'sum_of_all': sum_of_all,
}


def results(first: int, last: int) -> dict[str, np.ndarray]:
    """Value and gradients of each case, and the next thresholds, for some images."""
    actual = {}
    for name, case in CASES.items():
        leaves = make_leaves()
        loss = case(make_part(leaves, first, last))
        loss.backward()
        actual[f'{name}/loss'] = loss.detach().numpy()
        for leaf, x in leaves.items():
            grad = torch.zeros_like(x) if x.grad is None else x.grad
            actual[f'{name}/{leaf}'] = grad.numpy()
    samples = hard_cosines(*make_part(make_leaves(), first, last).hard)
    for place, previous in ((False, 7.0), (True, 7.0), (True, torch.full((4,), 7.0))):
        new = next_threshold(*samples, per_negative=place, previous=previous)
        actual[f'threshold/{place}/{torch.as_tensor(previous).ndim}'] = new.numpy()
    return actual


def work(folder: Path) -> None:
    """One of the two processes."""
    dist.init_process_group('gloo')
    rank = dist.get_rank()
    gather_checks(rank)
    for split in SPLITS:
        first, last = ((0, split), (split, 8))[rank]
        np.savez(folder / f'{split}_{rank}.npz', **results(first, last))
    dist.destroy_process_group()


def gather_checks(rank: int) -> None:
    """The collectives by themselves; a failure ends the process."""
    layout = row_layout(3 - 2 * rank, torch.device('cpu'))
    assert (layout.counts, layout.rank, layout.total) == ((3, 1), rank, 4)
    assert layout.own_rows(torch.device('cpu')).tolist() == ([0, 1, 2], [3])[rank]
    mine = torch.arange(4).split([3, 1])[rank]
    for dtype in (torch.int64, torch.bfloat16, torch.float32):
        assert all_gather_rows(mine.to(dtype), layout).tolist() == [0, 1, 2, 3]
        assert all_gather_rows(mine.to(dtype)).dtype == dtype
    # rank r weighs row i with (i + 1) (r + 1): the sum over ranks is 3 (i + 1)
    x = mine.to(torch.bfloat16).requires_grad_()
    weights = torch.arange(1, 5) * (rank + 1)
    (all_gather_rows(x) * weights).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.tolist() == [3.0 * (i + 1) for i in mine.tolist()]
    with torch.no_grad():
        assert not all_gather_rows(x).requires_grad
    assert len(all_gather_rows(x[:0])) == 0
    total = torch.tensor([1.0, 2.0]) * (rank + 1)
    assert global_sum(total).tolist() == [3.0, 6.0]
    assert total.tolist() == [1.0 + rank, 2.0 + 2 * rank]


@pytest.fixture(scope='module')
def alone():
    return results(0, 8)


@pytest.fixture(scope='module')
def together(tmp_path_factory):
    """Numbers of both processes for every split."""
    folder = tmp_path_factory.mktemp('processes')
    fork_two(work, folder)
    return {
        split: [np.load(folder / f'{split}_{rank}.npz') for rank in range(2)]
        for split in SPLITS
    }


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('case', CASES)
def test_mean_over_processes_is_one_process(alone, together, case, split):
    names = [name for name in alone if name.startswith(f'{case}/')]
    assert len(names) == 7
    assert alone[f'{case}/loss'] > 0
    for name in names:
        mean = (together[split][0][name] + together[split][1][name]) / 2
        np.testing.assert_allclose(mean, alone[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('split', SPLITS)
def test_thresholds_are_the_same_everywhere(alone, together, split):
    """Samples weigh the same wherever they are; a place without one stays at 7."""
    names = [name for name in alone if name.startswith('threshold/')]
    assert len(names) == 3
    for name in names:
        for actual in together[split]:
            np.testing.assert_allclose(actual[name], alone[name], rtol=1e-12)
    assert alone['threshold/True/0'].shape == (3,)
    assert alone['threshold/True/1'][3] == 7
