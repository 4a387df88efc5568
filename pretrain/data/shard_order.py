"""Order of a language's samples over shards, found place by place.

Nothing is kept per sample: a place is traced back through two shuffles of blocks to a
sample of a shard, and what a shard holds is looked up while it is in use.
"""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

_MAX_SHARDS = 64  # whose samples are known at a time, some kilobytes each
_MAX_BLOCKS = 8  # permutations that are kept


class ShardLanguages:
    """Which samples of a shard are in a language.

    Args:
        codes_of: shard -> (n,) languages of its samples.
        table: (shards, languages) numbers of samples.
    """

    def __init__(self, codes_of: Callable[[int], np.ndarray], table: np.ndarray):
        self.codes_of, self.table = codes_of, table
        self._places: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def sample(self, shard: int, language: int, number: int) -> int:
        """Place in the shard of its ``number``-th sample of a language."""
        counts = self.table[shard]
        if counts[language] == counts.sum():
            return number
        key = shard, language
        if key not in self._places:
            self._places[key] = np.flatnonzero(self.codes_of(shard) == language)
            if len(self._places) > _MAX_SHARDS:
                self._places.popitem(last=False)
        self._places.move_to_end(key)
        return int(self._places[key][number])


class LanguageOrder:
    """Samples of a language in the order of an epoch, as numbers over all shards.

    Args:
        shards: in the order that they are read in.
        languages: of their samples.
        firsts: (shards + 1,) number of the first sample of each shard.
        window: samples that are mixed, each of which moves by fewer places than this;
            0 for none.
        seed: of the mixing, with the language.
        language: which one.

    A place is mixed within blocks of half a window, and these again in blocks that are
    shifted by half a block, so that samples pass from one block to the next.
    """

    def __init__(
        self,
        shards: np.ndarray,
        languages: ShardLanguages,
        firsts: np.ndarray,
        window: int,
        seed: tuple[int, ...],
        language: int,
    ) -> None:
        self.shards, self.languages, self.language = shards, languages, language
        self.firsts, self.block, self.seed = firsts, window // 2, (*seed, language)
        self.starts = np.zeros(len(shards) + 1, np.int64)
        np.cumsum(languages.table[shards, language], out=self.starts[1:])
        self._permutations: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, place: int) -> int:
        if self.block > 1:
            place = self._source(self._source(place, self.block // 2), 0)
        at = int(np.searchsorted(self.starts, place, side='right')) - 1
        shard, number = int(self.shards[at]), place - int(self.starts[at])
        within = self.languages.sample(shard, self.language, number)
        return int(self.firsts[shard]) + within

    def _source(self, place: int, shift: int) -> int:
        """What is at a place once blocks that begin ``shift`` earlier are mixed."""
        block = (place + shift) // self.block
        start = max(block * self.block - shift, 0)
        stop = min((block + 1) * self.block - shift, len(self))
        key = shift, block
        if key not in self._permutations:
            rng = np.random.default_rng((*self.seed, *key))
            self._permutations[key] = rng.permutation(stop - start)
            if len(self._permutations) > _MAX_BLOCKS:
                self._permutations.popitem(last=False)
        self._permutations.move_to_end(key)
        return start + int(self._permutations[key][place - start])
