"""What rank 0 does for all processes of a training."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from fgclip2_det.io.locks import held_folder


def is_first_process() -> bool:
    """Whether this is rank 0; also works before ``torch.distributed`` starts."""
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return all(os.environ.get(name, '0') == '0' for name in names)


def print_once(line: str) -> None:
    """Print a line in the first process only."""
    if is_first_process():
        print(line)


def held_work_dir(
    work_dir: Path | str, task: str = 'training', wait: float = 0
) -> AbstractContextManager[None]:
    """A block in which no other training, or sweep, may use ``work_dir``.

    The first process of a job holds it for all of them.

    Args:
        work_dir: made when missing.
        task: what holds it, for the message that others get.
        wait: seconds for which a present holder is waited for.

    Raises:
        ValueError: another job holds it; names its process and machine.
    """
    if not is_first_process():
        return nullcontext()
    return held_folder(work_dir, task, 'or choose another --work-dir', wait)
