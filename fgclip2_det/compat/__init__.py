"""Compatibility with the supported versions of the mm packages and their dependencies.

``prepare`` patches what ``import mmdet`` needs: PyTorch ops in place of missing
compiled ones, the original mm packages on current Python, loading of checkpoints
without unpickling, lvis on current NumPy, MMDetection's Grounding DINO on current
transformers, and the comparison rule ("greater is better") of this package's metrics.
"""

import functools

from fgclip2_det.compat.stack import check_cv2, has_mm_packages


@functools.cache
def prepare() -> bool:
    """Make ``import mmdet`` work; call it before importing mmcv or mmdet.

    Returns:
        False, after one warning, if no mm package is installed; the encoder
        works without them. True otherwise.

    Raises:
        ImportError: if the mm packages are incomplete, installed twice or cannot
            be imported; the message gives the remedy.
    """
    if not has_mm_packages():
        return False
    check_cv2()
    from fgclip2_det.compat import mm_packages

    mm_packages.prepare_imports()
    from fgclip2_det.compat import (
        checkpoints,
        comparison_rules,
        grounding_dino,
        lvis_numpy,
    )

    checkpoints.install()
    lvis_numpy.install()
    grounding_dino.install()
    comparison_rules.install()
    return True
