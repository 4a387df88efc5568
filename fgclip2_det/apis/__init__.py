"""What demos, tools and notebooks share."""

from fgclip2_det.apis.inferencer import Detections, OpenVocabInferencer

__all__ = ['Detections', 'OpenVocabInferencer']
