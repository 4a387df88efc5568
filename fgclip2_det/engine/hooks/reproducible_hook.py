"""Identical random numbers in a resumed and an uninterrupted run."""

from collections.abc import Iterator
from typing import Any, Protocol, cast

from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from fgclip2_det.datasets.seeding import SeededIndex, seed_everything


@HOOKS.register_module()
class OpenVocabReproducibleHook(Hook):
    """Make a run's random numbers depend on (seed, rank, step), not on its history.

    MMEngine's checkpoints have no state of the random generators, and its workers get
    the same seed in every epoch, so that augmentations repeat. With this hook

    * the random generators are seeded with (seed, rank, iteration) before each step;
    * they are seeded with (seed, rank, epoch, position in the epoch) before each sample
      is loaded, also in persistent workers. The number of workers makes no difference;
    * a run that resumes at a step where an evaluation is due evaluates first, since it
      may have been interrupted between checkpoint and evaluation.

    Resuming is then exact, bit for bit on a CPU, from checkpoints at the end of an
    epoch (or at any iteration of an iteration-based loop). The samples of an
    ``IterableDataset`` are not seeded. Transforms that mix in images of earlier draws
    (``CachedMosaic``, ``CachedMixUp``) keep them in the process that loads the data, so
    that resuming and the number of workers change their pictures; a warning names them.

    Example:
        >>> custom_hooks = [dict(type='OpenVocabReproducibleHook')]
    """

    priority = 'LOWEST'  # after the CheckpointHook, whose state save_best reads

    def before_train(self, runner: Runner) -> None:
        """Make the data loader pass a seed with every index."""
        self.seed, self.rank = runner.seed, get_rank()
        loop = runner.train_loop
        if names := caching_transforms(loop.dataloader.dataset):
            runner.logger.warning(
                f'{", ".join(names)} of the training pipeline mix in images of earlier '
                'draws, which no checkpoint holds: their pictures are others after a '
                'resume and with another num_workers, so that neither is exact'
            )
        self.counter = _count_draws(loop.dataloader, self.seed, self.rank)
        if isinstance(loop, IterBasedTrainLoop):  # its iterator has the old sampler
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)
        if _is_evaluation_due(runner):
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the random numbers drawn between steps, and set the epoch."""
        seed_everything(self.seed, self.rank, runner.epoch)
        if self.counter is not None:
            self.counter.set_epoch(runner.epoch)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed dropout, sampling of boxes and stochastic depth of the step."""
        seed_everything(self.seed, self.rank, runner.iter, 0)


def caching_transforms(dataset: Any) -> list[str]:
    """Names of the transforms of a data set, wrapped or not, that keep images of one
    draw for later ones."""
    inner = getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)])
    steps = _steps(getattr(dataset, 'pipeline', None))
    names = [type(step).__name__ for step in steps if hasattr(step, 'results_cache')]
    names += [n for each in inner if each is not None for n in caching_transforms(each)]
    return list(dict.fromkeys(names))


def _steps(step: Any) -> Iterator[Any]:
    """A transform and all those inside it."""
    if isinstance(step, list | tuple):
        for each in step:
            yield from _steps(each)
    elif step is not None:
        yield step
        yield from _steps(getattr(step, 'transforms', None))


class DrawCounter:
    """Wrapper of a sampler that attaches a seed to every index.

    All other attributes are those of the wrapped sampler.

    Args:
        sampler: any sampler; calls of ``skip(n)`` (MMEngine's resume) are counted.
        seed: seed of the run.
        rank: rank of this process.
        can_skip: whether n batches take n * batch size indices, as MMEngine's resume
            assumes; if not, there is no ``skip``, and it goes batch by batch.
    """

    def __init__(
        self, sampler: Any, seed: int, rank: int, can_skip: bool = True
    ) -> None:
        self.sampler, self.seed, self.rank = sampler, seed, rank
        self.epoch = self.skipped = 0
        if can_skip and hasattr(sampler, 'skip'):
            self.skip = self._skip

    def __iter__(self) -> Iterator[SeededIndex]:
        for number, index in enumerate(self.sampler, self.skipped):
            index = SeededIndex(index)
            index.draw = (self.seed, self.rank, self.epoch, number, 1)
            yield index

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        if name == 'skip':  # the sampler's own would not be counted
            raise AttributeError(name)
        return getattr(self.__dict__['sampler'], name)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch here and in the sampler."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _skip(self, num_samples: int) -> None:
        self.skipped = num_samples
        self.sampler.skip(num_samples)


class SeededDataset(Dataset):
    """Wrapper of a dataset that seeds each sample by its :class:`SeededIndex`;
    attributes are read from and assigned to the wrapped dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self.__dict__['dataset'] = dataset

    def __getitem__(self, index: int) -> Any:
        if isinstance(index, SeededIndex):
            seed_everything(*index.draw)
        return self.dataset[int(index)]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # pickle looks these up before there is a dataset
            raise AttributeError(name)
        return getattr(self.__dict__['dataset'], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


class _HasSampler(Protocol):
    """A data loader or a batch sampler."""

    sampler: Any


def _count_draws(loader: DataLoader, seed: int, rank: int) -> DrawCounter | None:
    """Wrap a data loader's sampler and dataset in place; None if it has no sampler."""
    if isinstance(loader.dataset, IterableDataset):
        return None
    batches = loader.batch_sampler
    holder = cast(_HasSampler, loader if batches is None else batches)
    if isinstance(holder.sampler, DrawCounter):
        return holder.sampler
    # others, as those by aspect ratio, hold indices back for later batches
    even = batches is None or type(batches) is BatchSampler
    even = even or getattr(holder.sampler, 'skips_batches', False)
    counter = DrawCounter(holder.sampler, seed, rank, even)
    if batches is not None:
        holder.sampler = counter
    # DataLoader forbids assigning these two once built; no iterator exists yet
    loader.__dict__.update(sampler=counter, dataset=SeededDataset(loader.dataset))
    return counter


def _is_evaluation_due(runner: Runner) -> bool:
    """Whether this run resumes at a step after which an evaluation is due."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        step, last = loop.epoch, loop.max_epochs
    elif isinstance(loop, IterBasedTrainLoop):
        step, last = loop.iter, loop.max_iters
    else:
        return False
    if step == 0 or step < loop.val_begin or runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    return step % loop.val_interval == 0 or step == last
