"""Division of one language's records into global batches and per-process shares."""

from collections.abc import Iterator, Sequence

import numpy as np


def batch_sizes(
    num_records: int, batch_size: int, world_size: int, drop_last: bool = False
) -> list[int]:
    """Sizes of the global batches that hold ``num_records``, each once.

    All but the last are full: ``batch_size`` for each process. What remains is a
    batch of its own if it is half a batch or more; else it and the last full batch
    are divided into two of equal size, because a contrastive loss learns little from
    a few pairs. So every process has a share of every batch, and the batches do not
    depend on how many processes share them. With ``batch_size`` 1, where halves are
    too small for that, the last batch is larger instead.

    Args:
        num_records: of the language.
        batch_size: per process.
        world_size: processes.
        drop_last: leave out what fills no batch.

    Raises:
        ValueError: if there are fewer records than processes, but not none.
    """
    full = batch_size * world_size
    count, rest = divmod(num_records, full)
    if rest == 0 or drop_last:
        return [full] * count
    if count == 0 and rest < world_size:
        raise ValueError(
            f'{num_records} records of a language cannot be shared by {world_size} '
            'processes without repeating one; use fewer processes or more records'
        )
    if count == 0 or (2 * rest >= full and rest >= world_size):
        return [full] * count + [rest]
    last = full + rest
    if last // 2 < world_size:
        return [full] * (count - 1) + [last]
    return [full] * (count - 1) + [last - last // 2, last // 2]


def share(size: int, rank: int, world_size: int) -> slice:
    """A process's part of a global batch; they differ by one at most."""
    return slice(size * rank // world_size, size * (rank + 1) // world_size)


class BatchPlaces:
    """Where the batches of :func:`batch_sizes` lie in a language's order, without a
    list of them.

    Args:
        num_records, batch_size, world_size: see there.

    Example:
        >>> places = BatchPlaces(17, 4, 2)
        >>> [places[batch] for batch in range(len(places))]
        [range(0, 8), range(8, 13), range(13, 17)]
    """

    def __init__(self, num_records: int, batch_size: int, world_size: int) -> None:
        self.full = batch_size * world_size
        self.num_full = max(num_records // self.full - 2, 0)  # the rest may differ
        rest = num_records - self.num_full * self.full
        self.tail = batch_sizes(rest, batch_size, world_size)

    def __len__(self) -> int:
        return self.num_full + len(self.tail)

    def __getitem__(self, batch: int) -> range:
        if batch < self.num_full:
            return range(self.full * batch, self.full * (batch + 1))
        number = batch - self.num_full
        first = self.full * self.num_full + sum(self.tail[:number])
        return range(first, first + self.tail[number])


def mixed_order(
    counts: Sequence[int],
    rng: np.random.Generator | None,
    start: int = 0,
    step: int = 1,
) -> Iterator[tuple[int, int]]:
    """(language, number within it) of batches, languages mixed at random.

    Batches of a language keep their order. Without a generator the languages follow
    each other. A byte per batch is kept.

    Args:
        counts: batches of each language.
        rng: of the order.
        start, step: which of all batches: ``start``, ``start + step``, ...
    """
    languages = len(counts)
    labels = np.repeat(np.arange(languages, dtype=np.uint8), counts)
    if rng is not None:
        rng.shuffle(labels)
    seen = np.array([(labels[:start] == each).sum() for each in range(languages)])
    for at in range(start, len(labels), step):
        label = int(labels[at])
        yield label, int(seen[label])
        seen += np.bincount(labels[at : at + step], minlength=languages)
