"""Whether this process is rank 0, and printing from rank 0 alone."""

import os


def is_first_process() -> bool:
    """Whether this is rank 0, known before ``torch.distributed`` starts."""
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return all(os.environ.get(name, '0') == '0' for name in names)


def print_once(line: str) -> None:
    """Print from the first process alone."""
    if is_first_process():
        print(line)
