"""The one room that knows versions.

``prepare`` makes MMDetection importable and safe before anything else touches
it: a stand-in for missing compiled ops, the original mm packages on today's
Python, checkpoints that are read without unpickling, lvis on today's NumPy,
MMDetection's Grounding DINO on today's transformers, and which of our metrics are
better when greater.
"""

import functools

from fgclip2_det.compat.stack import check_cv2, has_mm_packages


@functools.cache
def prepare() -> bool:
    """Makes ``import mmdet`` work; call it before importing mmcv or mmdet.

    Returns:
        False, after one warning, when no mm package is installed; the encoder
        works without them. True otherwise.

    Raises:
        ImportError: mm packages that are incomplete, installed twice or cannot
            be imported; one sentence with the remedy.
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
