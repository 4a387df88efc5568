"""Assignment of shards and samples to processes and batches."""

from collections.abc import Callable, Iterator

import numpy as np

from pretrain.data.batches import BatchPlaces, mixed_order, share
from pretrain.data.shard_order import LanguageOrder, ShardLanguages

SPLITS = ('auto', 'shard', 'sample')
_EVEN = 0.9  # least of the smallest share of shards, over the largest
_ORDER, _SHARDS = 0, 1  # tell the seeds of two draws apart


class ShardPlan:
    """Order of the samples of an epoch, cut into batches of one language.

    The shards of an epoch are put in random order, and the samples of a language are
    then mixed within a window that moves over them, so that few shards are in use at a
    time (:class:`.LanguageOrder`). Some numbers per shard are kept, a byte per batch in
    an epoch, and nothing per sample. Shares are made in one of two ways:

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
        table: (shards, languages) numbers of samples.
        codes_of: shard -> (n,) languages of its samples, numbers in ``LANGUAGES``;
            asked for shards in use that have several.
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
        table: np.ndarray,
        codes_of: Callable[[int], np.ndarray],
        batch_size: int,
        rank: int,
        world_size: int,
        window: int,
        split: str = 'auto',
    ) -> None:
        self.rank, self.world_size, self.window = rank, world_size, window
        self.languages = ShardLanguages(codes_of, table)
        self.firsts = np.zeros(len(table) + 1, np.int64)
        np.cumsum(table.sum(1), out=self.firsts[1:])
        self.counts = table.sum(0)  # (languages,)
        self.by_shard = split != 'sample' and self._plan_lanes(table, batch_size, split)
        if not self.by_shard:
            self.lanes = [np.arange(len(table))]
            self.places = [
                BatchPlaces(n, batch_size, world_size) for n in self.counts.tolist()
            ]
            self.steps = [len(each) for each in self.places]
        self.num_batches = sum(self.steps)

    def _plan_lanes(self, table: np.ndarray, batch_size: int, split: str) -> bool:
        """Whether shares by shard will do; sets them and the number of batches then."""
        self.lanes = _deal(table, self.world_size)
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
        self.steps = steps.tolist()
        even = self.world_size > 1 and bool((least >= _EVEN * most).all())
        return possible and (split == 'shard' or even)

    def batches(
        self, seed: int, epoch: int, start: int, step: int
    ) -> Iterator[tuple[LanguageOrder, range]]:
        """Batches start, start + step, ... of this process in an epoch.

        Yields:
            The order of the batch's language in this process, and the places in it that
            make the batch.
        """
        if start >= self.num_batches:
            return
        number = (self.rank + epoch) % len(self.lanes)
        lane, common, key = self.lanes[number], None, (seed, epoch, _SHARDS, number)
        if self.window:
            lane = np.random.default_rng(key).permutation(lane)
            common = np.random.default_rng((seed, epoch, _ORDER))
        of_all = lane, self.languages, self.firsts, self.window
        orders = [LanguageOrder(*of_all, key, n) for n in range(len(self.steps))]
        for language, batch in mixed_order(self.steps, common, start, step):
            yield orders[language], self._places(language, batch, orders[language])

    def _places(self, language: int, batch: int, order: LanguageOrder) -> range:
        if self.by_shard:
            part = share(len(order), batch, self.steps[language])
            return range(part.start, part.stop)
        whole = self.places[language][batch]
        return whole[share(len(whole), self.rank, self.world_size)]


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
