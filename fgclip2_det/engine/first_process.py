"""Printing from rank 0 only."""

import os


def is_first_process() -> bool:
    """Whether this is rank 0; also works before ``torch.distributed`` starts."""
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return all(os.environ.get(name, '0') == '0' for name in names)


def print_once(line: str) -> None:
    """Print a line in the first process only."""
    if is_first_process():
        print(line)
