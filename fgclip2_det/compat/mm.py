"""Imported before mmcv and mmdet, it makes them importable.

Raises:
    ImportError: no mm package is installed, or what is installed does not fit.
"""

from fgclip2_det.compat.has_mm import HAS_MM
from fgclip2_det.compat.stack import INSTALL

if not HAS_MM:
    raise ImportError(
        f'detection needs mmengine, mmcv and mmdet, not all of which are installed; run '
        f'`{INSTALL}`'
    )
