"""PyTorch replacement for ``mmcv._ext``, where mmcv has no compiled ops.

``mm_packages.py`` and ``ops_finder.py`` load this file under that name. mmcv looks up
about 120 ops when it is imported; those that detectors need are implemented here, the
others raise when they are called.
"""

from collections.abc import Callable

from fgclip2_det.compat.ops import boxes, deform_attn, focal_loss, roi_align
from fgclip2_det.compat.ops import nms as suppression
from fgclip2_det.compat.ops.contracts import checked

__all__ = [
    'bbox_overlaps',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]

bbox_overlaps = checked(boxes.bbox_overlaps)
ms_deform_attn_backward = checked(deform_attn.ms_deform_attn_backward)
ms_deform_attn_forward = checked(deform_attn.ms_deform_attn_forward)
nms = checked(suppression.nms)
nms_match = checked(suppression.nms_match)
roi_align_backward = checked(roi_align.roi_align_backward)
roi_align_forward = checked(roi_align.roi_align_forward)
sigmoid_focal_loss_backward = checked(focal_loss.sigmoid_focal_loss_backward)
sigmoid_focal_loss_forward = checked(focal_loss.sigmoid_focal_loss_forward)
softmax_focal_loss_backward = checked(focal_loss.softmax_focal_loss_backward)
softmax_focal_loss_forward = checked(focal_loss.softmax_focal_loss_forward)
softnms = checked(suppression.softnms)


def get_compiler_version() -> str:
    return 'not compiled: PyTorch ops of fgclip2_det'


def get_compiling_cuda_version() -> str:
    return 'not available'


def __getattr__(name: str) -> Callable:
    """A function that raises when it is called, for an op that is not implemented."""
    if name.startswith('_'):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise RuntimeError(
            f"mmcv's op {name!r} needs compiled ops, which this mmcv lacks; build "
            f'them with `MMCV_WITH_OPS=1 pip install --no-build-isolation '
            f'--no-binary :all: --no-deps --force-reinstall onedl-mmcv`'
        )

    return missing
