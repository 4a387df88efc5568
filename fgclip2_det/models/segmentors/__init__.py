"""Segmentors: every pixel gets one of any names."""

from fgclip2_det.models.segmentors.cost_aggregation_head import OpenVocabCostHead
from fgclip2_det.models.segmentors.open_vocab_segmentor import OpenVocabSegmentor

__all__ = ['OpenVocabCostHead', 'OpenVocabSegmentor']
