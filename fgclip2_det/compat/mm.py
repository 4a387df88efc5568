"""Imported before mmcv and mmdet, it makes them importable.

Raises:
    ImportError: no mm package is installed, or what is installed does not fit.
"""

from fgclip2_det.compat import prepare
from fgclip2_det.compat.stack import INSTALL

if not prepare():
    raise ImportError(
        f'detection needs mmengine, mmcv and mmdet, which are not installed; run '
        f'`{INSTALL}`'
    )
