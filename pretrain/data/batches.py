"""Division of one language's records into global batches and per-process shares."""

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


def mixed_order(
    counts: list[int], rng: np.random.Generator | None
) -> list[tuple[int, int]]:
    """(language, number within it) of all batches, languages mixed at random.

    Batches of a language keep their order. Without a generator the languages follow
    each other.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    if rng is not None:
        rng.shuffle(labels)
    seen, order = [0] * len(counts), []
    for label in labels.tolist():
        order.append((label, seen[label]))
        seen[label] += 1
    return order
