"""Inference from Python."""

from fgclip2_det.compat import mm  # noqa: F401, before mmdet

# isort: split
from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inferencer import OpenVocabInferencer

__all__ = ['Detections', 'OpenVocabInferencer']
