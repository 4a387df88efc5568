"""Metrics for detection with base and novel classes."""

from .open_vocab_coco_metric import OpenVocabCocoMetric
from .open_vocab_lvis_metric import OpenVocabLVISMetric

__all__ = ['OpenVocabCocoMetric', 'OpenVocabLVISMetric']
