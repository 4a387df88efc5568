"""Inference from Python, and labels for a folder of images."""

from typing import TYPE_CHECKING

from fgclip2_det.compat import mm  # before mmdet

# isort: split
from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inferencer import OpenVocabInferencer
from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
    from fgclip2_det.apis.annotating import annotate, apply_review

__all__ = ['Detections', 'OpenVocabInferencer', 'annotate', 'apply_review']

__getattr__ = lazy_names(
    __name__,
    {
        'annotate': 'fgclip2_det.apis.annotating',
        'apply_review': 'fgclip2_det.apis.annotating',
    },
)
