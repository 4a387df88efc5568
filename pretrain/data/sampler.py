"""Sampling of single-language batches that do not depend on the number of processes."""

from collections.abc import Iterator, Sized
from itertools import count
from logging import WARNING

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from fgclip2_det.datasets.seeding import SeededIndex
from pretrain.data.batches import batch_sizes, mixed_order, share
from pretrain.data.record_files import LANGUAGES
from pretrain.seeds import check_data_seed

_ITEM = 2  # tells an item's seed from others made of the same numbers


@DATA_SAMPLERS.register_module()
class BilingualSampler(Sampler):
    """The order of a run: which records of which language form which batch.

    It belongs to a :class:`BilingualBatchSampler`, which knows the batch size::

        sampler=dict(type='BilingualSampler'),
        batch_sampler=dict(type='BilingualBatchSampler'),

    An epoch's global batches depend on (seed, epoch) alone; ``world_size`` processes
    take one part of each, so that their parts in the order of ranks are the batch of
    one process. Every record comes once per epoch, none is repeated
    (:func:`pretrain.data.batches.batch_sizes` has the rule for the last ones).
    Indices carry (seed, epoch, record), so that what a data set draws for an item does
    not depend on rank or worker either.

    Args:
        dataset: with ``languages``, an (N,) array of 'en' and 'zh'.
        shuffle: in each epoch; False keeps the order of the data set, English
            first.
        seed: one for all processes; drawn and shared when None.
        infinite: go on with the next epoch by itself, for iteration-based loops.
        rank, world_size: of this process; MMEngine's by default.

    Raises:
        ValueError: if the data set has no ``languages``, or others, or the seed is
            negative.
    """

    skips_batches = True  # skip(n) is of whole batches, which this sampler makes

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        infinite: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        languages = getattr(dataset, 'languages', None)
        if languages is None:
            raise ValueError(
                f'{type(dataset).__name__} has no languages; BilingualSampler needs '
                "dataset.languages, one of 'en', 'zh' for each record"
            )
        languages = np.asarray(languages)
        self.members = [np.flatnonzero(languages == name) for name in LANGUAGES]
        num_languages = sum(map(len, self.members))
        if num_languages != len(dataset):
            raise ValueError(
                f'{len(dataset)} records, but {num_languages} languages that are '
                "'en' or 'zh'"
            )
        own_rank, own_world_size = get_dist_info()
        self.rank = own_rank if rank is None else rank
        self.world_size = own_world_size if world_size is None else world_size
        self.seed = sync_random_seed() if seed is None else check_data_seed(seed)
        self.dataset, self.shuffle, self.infinite = dataset, shuffle, infinite
        self.epoch = self._skipped = 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        raise ValueError(
            'BilingualSampler yields whole batches; add '
            "batch_sampler=dict(type='BilingualBatchSampler') to the data loader"
        )

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; nothing happens if it is the current one."""
        if epoch != self.epoch:
            self.epoch, self._skipped = epoch, 0

    def skip(self, num_samples: int) -> None:
        """Skip the first samples of the current epoch, to resume.

        Args:
            num_samples: batches done times the batch size, as MMEngine counts
                samples of a process; absolute, not added to an earlier skip. With
                ``infinite`` it may reach over several epochs.
        """
        if num_samples < 0:
            raise ValueError(f'num_samples must be 0 or more, got {num_samples}')
        self._skipped = num_samples

    def sizes(self, batch_size: int, drop_last: bool = False) -> list[list[int]]:
        """Sizes of the global batches of each language in one epoch."""
        return [
            batch_sizes(len(members), batch_size, self.world_size, drop_last)
            for members in self.members
        ]

    def batches(self, batch_size: int, drop_last: bool) -> Iterator[list[SeededIndex]]:
        """This process's parts of the global batches, from where it shall start."""
        sizes = self.sizes(batch_size, drop_last)
        per_epoch = sum(map(len, sizes))
        done, odd = divmod(self._skipped, batch_size)
        if odd or (done > per_epoch and not self.infinite):
            raise ValueError(
                f'cannot resume after {self._skipped} samples: expected a multiple of '
                f'the batch size {batch_size}, within the epoch of {per_epoch} batches '
                'unless the sampler has infinite=True'
            )
        if not per_epoch:
            return
        passed, start = divmod(done, per_epoch) if self.infinite else (0, done)
        first = self.epoch + passed
        for epoch in count(first) if self.infinite else [first]:
            yield from self._epoch_batches(epoch, sizes, start)
            start = 0

    def _epoch_batches(
        self, epoch: int, sizes: list[list[int]], start: int
    ) -> Iterator[list[SeededIndex]]:
        rng = np.random.default_rng((self.seed, epoch)) if self.shuffle else None
        members = self.members if rng is None else [
            rng.permutation(members) for members in self.members
        ]  # fmt: skip
        ends = [np.cumsum(each) for each in sizes]
        order = mixed_order([len(each) for each in sizes], rng, start)
        for language, number in order:
            end, size = ends[language][number], sizes[language][number]
            batch = members[language][end - size : end]
            part = batch[share(size, self.rank, self.world_size)]
            yield [_seeded(index, self.seed, epoch) for index in part.tolist()]


@DATA_SAMPLERS.register_module()
class BilingualBatchSampler(Sampler):
    """Batches of :class:`BilingualSampler`, all of one language.

    Args:
        sampler: the order.
        batch_size: records per process and batch. The last ones of a language make
            smaller batches.
        drop_last: leave these out; their number is logged.

    Raises:
        ValueError: if a language has fewer records than there are processes.

    Example:
        >>> batches = BilingualBatchSampler(BilingualSampler(data, seed=0), 32)
        >>> loader = DataLoader(data, batch_sampler=batches, collate_fn=...)
    """

    def __init__(
        self, sampler: BilingualSampler, batch_size: int, drop_last: bool = False
    ) -> None:
        if not hasattr(sampler, 'batches'):
            raise ValueError(
                "BilingualBatchSampler needs sampler=dict(type='BilingualSampler'), "
                f'got {type(sampler).__name__}'
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f'batch_size must be 1 or more, got {batch_size!r}')
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        sizes = sampler.sizes(batch_size, drop_last)
        self._length = sum(map(len, sizes))
        self.num_dropped = len(sampler) - sum(map(sum, sizes))
        if not self._length:
            raise ValueError(
                f'{len(sampler)} records fill no batch of {batch_size} for each of '
                f'{sampler.world_size} processes; lower batch_size'
            )
        if self.num_dropped:
            print_log(
                f'{self.num_dropped} of {len(sampler)} records are left out in each '
                'epoch (drop_last)',
                'current',
                WARNING,
            )

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        return self.sampler.batches(self.batch_size, self.drop_last)

    def __len__(self) -> int:
        """Batches per epoch, in every process."""
        return self._length


def _seeded(index: int, seed: int, epoch: int) -> SeededIndex:
    """An index that brings an item's random numbers along."""
    index = SeededIndex(index)
    index.draw = (seed, epoch, int(index), _ITEM)
    return index
