"""Import this before mmcv or mmdet: it applies the patches of :mod:`..compat`.

Raises:
    ImportError: if the mm packages are not installed or are incompatible.
"""

from fgclip2_det.compat.has_mm import HAS_MM
from fgclip2_det.compat.stack import INSTALL

if not HAS_MM:
    raise ImportError(
        f'detection needs mmengine, mmcv and mmdet, not all of which are installed; '
        f'run `{INSTALL}`'
    )
