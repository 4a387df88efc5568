"""yapf, which MMEngine formats configs with, imported beside other processes.

yapf 0.43.0 keeps two pickles of its own in the user's cache folder and makes them anew
after an installation. It renames them before they are written to the end: of several
processes that start a training, one may read an empty file.
"""

from __future__ import annotations

import pickle
import time

from platformdirs import user_cache_dir

from fgclip2_det.io import InputError

_PAUSE = 0.1  # seconds


def import_yapf(attempts: int = 50) -> None:
    """Import yapf, again where its cache was not written to the end.

    Args:
        attempts: how often, a tenth of a second apart.

    Raises:
        InputError: the cache stays damaged, as after a process that was killed.
        ImportError: there is no yapf.
    """
    damage: Exception | None = None
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE)
        try:
            import yapf
        except (EOFError, pickle.UnpicklingError) as error:
            damage = error
        else:
            assert yapf
            return
    folder = user_cache_dir('YAPF', 'Google')
    raise InputError(
        f'yapf cannot read its cache ({damage}); remove the folder {folder}, which it '
        'makes anew'
    ) from damage
