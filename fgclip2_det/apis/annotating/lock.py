"""One process at a time in a folder of labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.leftovers import remove_of_dead
from fgclip2_det.io.locks import held_folder


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep others of this block out of a folder, which is made when missing.

    Temporary files that a killed process left in the folder are removed.

    Raises:
        ValueError: another process has the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'{folder} cannot be written ({error}); name another folder with --out'
        ) from error
    with held_folder(folder, 'labelling', 'or take another --out'):
        remove_of_dead(folder)
        yield
