"""Tar shards as a stream of batches."""

import warnings
from collections.abc import Iterator
from itertools import count
from logging import WARNING

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from fgclip2_det.fgclip2.image import open_image, upright
from pretrain.data.dataset import BadRecords, SampleMaker
from pretrain.data.record_files import LANGUAGES, Paths
from pretrain.data.records import Sample
from pretrain.data.shard_order import LanguageOrder
from pretrain.data.shard_plan import SPLITS, ShardPlan
from pretrain.data.shard_table import (
    ShardError,
    ShardReader,
    find_shards,
    index_entries,
    load_table,
)
from pretrain.data.shard_writer import write_shards
from pretrain.seeds import check_data_seed

__all__ = ['ShardDataset', 'write_shards']

_ITEM = 3  # tells an item's seed from others made of the same numbers
_BEYOND = r'Length of IterableDataset <pretrain\.data\.shards\.ShardDataset'


@DATASETS.register_module()
class ShardDataset(IterableDataset):
    """Batches of records packed by :func:`write_shards`, or by others as WebDataset.

    An item is one process's part of a global batch, a list of samples in one
    language, the same language in all processes. What is in it depends on the seed
    and the number of the batch, not on how many workers there are; nothing is read
    to continue after n samples. So in a config::

        dataset=dict(type='ShardDataset', shards='data/shards', batch_size=32),
        batch_size=1, sampler=None, collate_fn=dict(type='AlignmentCollate'),

    and ``custom_hooks = [dict(type='ShardProgressHook')]``, which tells it seed and
    epoch. :class:`~pretrain.data.shard_plan.ShardPlan` defines how shards and samples
    are shared and shuffled.

    Args:
        shards: see :func:`pretrain.data.shard_table.find_shards`.
        batch_size: samples per process.
        shuffle: order of the shards, then of samples within ``shuffle_buffer``.
        shuffle_buffer: samples that are mixed; each moves by fewer places than this.
        seed: of all order and drawing; None: the run's, which the hook knows (else 0).
        infinite: go on with the next epoch by itself, for iteration-based loops.
        split: 'shard', 'sample', or 'auto'.
        bad_records: 'raise' a ValueError naming shard and sample, or 'skip': the next
            sample of the language takes its place and is counted. Samples that a
            truncated shard has lost are left out of all epochs; ``num_lost`` counts
            them.
        rank, world_size: of this process; MMEngine's by default.
        **options: of :class:`pretrain.data.dataset.SampleMaker`.

    Raises:
        ValueError: for wrong options, or shards that are missing or damaged.

    Example:
        >>> loader = DataLoader(ShardDataset('data/shards', 32), batch_size=1,
        ...                     num_workers=4, collate_fn=AlignmentCollate())
    """

    def __init__(
        self,
        shards: Paths,
        batch_size: int,
        shuffle: bool = True,
        shuffle_buffer: int = 10_000,
        seed: int | None = None,
        infinite: bool = False,
        split: str = 'auto',
        bad_records: str = 'raise',
        rank: int | None = None,
        world_size: int | None = None,
        **options,
    ) -> None:
        self.make, self.bad = SampleMaker(**options), BadRecords(bad_records)
        for name, value in (
            ('batch_size', batch_size),
            ('shuffle_buffer', shuffle_buffer),
        ):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be 1 or more, got {value!r}')
        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        self.shards, self.batch_size = find_shards(shards), batch_size
        self.infinite, self.num_lost = infinite, 0
        if infinite:  # DataLoader tells at each step that an epoch has ended
            warnings.filterwarnings('ignore', _BEYOND, UserWarning)
        table = self._count_samples(bad_records)
        own_rank, own_world_size = get_dist_info()
        self.plan = ShardPlan(
            table,
            self._codes,
            batch_size,
            own_rank if rank is None else rank,
            own_world_size if world_size is None else world_size,
            shuffle_buffer if shuffle else 0,
            split,
        )
        self.has_seed = seed is not None
        first = check_data_seed(seed) if seed is not None else 0
        # shared with workers that live on from epoch to epoch
        self._state = torch.tensor([first, 0, 0]).share_memory_()

    def _count_samples(self, bad_records: str) -> np.ndarray:
        """(shards, languages) samples; tables of shards that have none are kept."""
        self.reader = ShardReader()
        counts = np.zeros((len(self.shards), len(LANGUAGES)), np.int64)
        entries = {
            path: index_entries(path) for path in {p.parent for p in self.shards}
        }
        for number, path in enumerate(self.shards):
            entry = entries[path.parent].get(path.name)
            try:
                table = load_table(path, entry)
                if entry is None or not path.with_suffix('.npy').is_file():
                    self.reader.tables[path] = table
            except ShardError as error:
                if bad_records == 'raise':
                    raise
                self.num_lost += error.num_lost
                print_log(f'left out samples: {error}', 'current', WARNING)
                table = self.reader.tables[path] = error.table
            counts[number] = np.bincount(table[:, 4], minlength=len(LANGUAGES))
        if not counts.any():
            raise ValueError(f'there are no samples in {self.shards[0]} and the others')
        return counts

    def _codes(self, shard: int) -> np.ndarray:
        """Languages of a shard's samples."""
        return self.reader.table(self.shards[shard])[:, 4]

    @property
    def metainfo(self) -> dict:
        """What MMEngine shows of a data set."""
        return dict(dataset_type=type(self).__name__)

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self._state[0])

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration reads."""
        return int(self._state[1])

    @property
    def num_shares(self) -> int | None:
        """Processes that the shards are dealt to, whose number the order depends on;
        None where all processes read all shards."""
        return self.plan.world_size if self.plan.by_shard else None

    @property
    def num_samples(self) -> int:
        """In all shards."""
        return int(self.plan.firsts[-1])

    def __len__(self) -> int:
        """Batches per epoch, in every process."""
        return self.plan.num_batches

    def set_seed(self, seed: int) -> None:
        """Of an order that is not fixed by ``seed``."""
        self._state[0] = seed

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; nothing happens if it is the current one."""
        if epoch != self.epoch:
            self._state[1:] = torch.tensor([epoch, 0])

    def skip(self, num_samples: int) -> None:
        """Skip the first samples of the current epoch, to resume.

        Args:
            num_samples: batches done times ``batch_size``; absolute, not added to an
                earlier skip. With ``infinite`` it may reach over several epochs.

        Raises:
            ValueError: if it is not a multiple of ``batch_size`` or beyond the epoch.
        """
        done, odd = divmod(num_samples, self.batch_size)
        if num_samples < 0 or odd or (done > len(self) and not self.infinite):
            raise ValueError(
                f'cannot resume after {num_samples} samples: expected a multiple of '
                f'the batch size {self.batch_size}, within the epoch of {len(self)} '
                'batches unless the data set has infinite=True'
            )
        self._state[2] = done

    def __iter__(self) -> Iterator[list[Sample]]:
        """This worker's share of the batches: every n-th of n workers."""
        worker = get_worker_info()
        number, step = (worker.id, worker.num_workers) if worker else (0, 1)
        seed, first, done = self._state.tolist()
        number += done
        for epoch in count(first) if self.infinite else [first]:
            batches = self.plan.batches(seed, epoch, number, step)
            for language, places in batches:
                yield self._read_batch(language, places, seed, epoch)
                number += step
            number -= len(self)  # of the first batch in the next epoch

    def _read_batch(
        self, language: LanguageOrder, places: range, seed: int, epoch: int
    ) -> list[Sample]:
        """Samples at some places of the order of a language's samples."""
        samples: list[Sample] = []
        for place in places:
            num_bad = 0
            for step in range(len(language)):
                try:
                    item = language[(place + step) % len(language)]
                    rng = np.random.default_rng((seed, epoch, item, _ITEM))
                    new_samples = self._read(item, rng)
                except ValueError as error:
                    self.bad.add(error)
                    num_bad += 1
                    continue
                self.bad.add_good()
                new_samples[0].num_bad = num_bad
                samples += new_samples
                break
            else:
                raise ValueError(f'none of {num_bad} samples of a language is usable')
        return samples

    def _read(self, item: int, rng: np.random.Generator) -> list[Sample]:
        shard = int(np.searchsorted(self.plan.firsts, item, side='right')) - 1
        number = item - int(self.plan.firsts[shard])
        name = f'{self.shards[shard]}, sample {number}'
        try:
            record, data = self.reader(self.shards[shard], number)
            image = _decode(data)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from error
        folder = str(self.shards[shard].parent)
        return self.make(record, image, rng, name, folder)

    @property
    def num_per_language(self) -> dict[str, int]:
        """Samples per language."""
        return dict(zip(LANGUAGES, self.plan.counts.tolist(), strict=True))


def _decode(data: bytes) -> Image.Image:
    with open_image(data) as opened:
        return upright(opened, own=True)
