"""Every class of this package joins MMDetection's registry.

Configs import it::

    custom_imports = dict(
        imports=['fgclip2_det.registration'], allow_failed_imports=False
    )
"""

from fgclip2_det import engine, models  # engine has all others
from fgclip2_det.datasets import missing_masks
from fgclip2_det.engine.metrics import label_order

__all__ = ['engine', 'models']

missing_masks.install()
label_order.install()
