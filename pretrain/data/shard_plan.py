"""Assignment of shards and samples to processes and batches."""

from collections.abc import Iterator

import numpy as np

from pretrain.data.batches import batch_sizes, mixed_order, share
from pretrain.data.record_files import LANGUAGES

SPLITS = ('auto', 'shard', 'sample')
_EVEN = 0.9  # least of the smallest share of shards, over the largest
_ORDER, _SHARDS = 0, 1  # tell the seeds of two draws apart


class ShardPlan:
    """Order of the samples of an epoch, cut into batches of one language.

    The shards of an epoch are put in random order, and samples are then mixed within
    a window that moves over them, so that few shards are in use at a time. Shares
    are made in one of two ways:

    * by shard: each process reads shards of its own, which are dealt so that shares
      are as even as can be, and go round from epoch to epoch. A language's share is
      cut into as many batches in every process, of nearly equal size.
    * by sample: all processes go through all shards, and take their parts of each
      global batch; these do not depend on the number of processes
      (:func:`pretrain.data.batches.batch_sizes`).

    'auto' is by shard if there are several processes, the smallest share is at least
    0.9 of the largest, in both languages, and gives every batch a sample; else by
    sample. Either way each sample comes once per epoch, and all processes make the
    same number of steps.

    Args:
        codes: of each shard the languages of its samples, numbers in ``LANGUAGES``.
        batch_size: samples per process.
        rank, world_size: of this process.
        window: samples to mix; 0 keeps the order of shards and samples.
        split: 'auto', 'shard' or 'sample'.

    Attributes:
        counts: samples of each language.
        by_shard: which of the two it is.
        num_batches: per epoch.

    Raises:
        ValueError: if split='shard' cannot give each process a share of every batch,
            or a language has fewer samples than there are processes.
    """

    def __init__(
        self,
        codes: list[np.ndarray],
        batch_size: int,
        rank: int,
        world_size: int,
        window: int,
        split: str = 'auto',
    ) -> None:
        self.codes, self.rank, self.world_size = codes, rank, world_size
        self.window = window
        self.firsts = np.cumsum([0, *map(len, codes)])
        table = np.array([np.bincount(c, minlength=len(LANGUAGES)) for c in codes])
        self.counts = table.sum(0)  # (languages,)
        self.lanes = _deal(table, world_size)
        self.by_shard = split != 'sample' and self._plan_lanes(table, batch_size, split)
        if not self.by_shard:
            self.lanes = [np.arange(len(codes))]
            self.sizes = [
                batch_sizes(int(n), batch_size, world_size) for n in self.counts
            ]
        self.num_batches = sum(map(len, self.sizes))

    def _plan_lanes(self, table: np.ndarray, batch_size: int, split: str) -> bool:
        """Whether shares by shard will do; sets the number of batches then."""
        shares = np.array([table[lane].sum(0) for lane in self.lanes])
        least, most = shares.min(0), shares.max(0)
        steps = -(-most // batch_size)  # per language
        possible = bool((least >= steps).all())
        if split == 'shard' and not possible:
            raise ValueError(
                f'{len(table)} shards cannot be shared by {self.world_size} processes: '
                f'a language would have {least.min()} to {most.max()} samples; use '
                "split='auto', or write smaller shards"
            )
        self.sizes = [[0] * steps for steps in steps.tolist()]
        even = self.world_size > 1 and bool((least >= _EVEN * most).all())
        return possible and (split == 'shard' or even)

    def batches(
        self, seed: int, epoch: int, start: int, step: int
    ) -> Iterator[tuple[np.ndarray, range]]:
        """Batches start, start + step, ... of this process in an epoch.

        Yields:
            All samples of the batch's language in the order of this process (numbers
            over all shards), and the places in it that make the batch.
        """
        if start >= self.num_batches:
            return
        number = (self.rank + epoch) % len(self.lanes)
        lane = self.lanes[number]
        shuffled = self.window > 0
        rng = np.random.default_rng((seed, epoch, _SHARDS, number))
        if shuffled:
            lane = rng.permutation(lane)
        samples = np.concatenate(
            [np.arange(self.firsts[i], self.firsts[i + 1]) for i in lane]
        )
        codes = np.concatenate([self.codes[i] for i in lane])
        if shuffled:
            moved = np.arange(len(samples)) + self.window * rng.random(len(samples))
            order = np.argsort(moved, kind='stable')
            samples, codes = samples[order], codes[order]
        languages = [samples[codes == code] for code in range(len(LANGUAGES))]
        common = np.random.default_rng((seed, epoch, _ORDER)) if shuffled else None
        mixed = mixed_order([len(each) for each in self.sizes], common)
        for language, batch in mixed[start::step]:
            places = self._places(language, batch, len(languages[language]))
            yield languages[language], places

    def _places(self, language: int, batch: int, num_samples: int) -> range:
        sizes = self.sizes[language]
        if self.by_shard:
            part = share(num_samples, batch, len(sizes))
            return range(part.start, part.stop)
        first = sum(sizes[:batch])
        part = share(sizes[batch], self.rank, self.world_size)
        return range(first + part.start, first + part.stop)


def _deal(table: np.ndarray, world_size: int) -> list[np.ndarray]:
    """Shards of each process: the largest first, each to whom has least so far.

    Args:
        table: (shards, languages) numbers of samples.
    """
    shares = np.zeros((world_size, table.shape[1]), np.int64)
    lanes: list[list[int]] = [[] for _ in range(world_size)]
    for shard in np.argsort(-table.max(1), kind='stable').tolist():
        language = int(table[shard].argmax())
        # least of the shard's main language, then least of all
        order = np.lexsort((shares.sum(1), shares[:, language]))
        lanes[order[0]].append(shard)
        shares[order[0]] += table[shard]
    return [np.array(lane, np.int64) for lane in lanes]
