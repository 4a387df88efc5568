"""Metrics for MMEngine's evaluator."""

from .label_order import install
from .open_vocab_coco_metric import OpenVocabCocoMetric
from .open_vocab_lvis_metric import OpenVocabLVISMetric

__all__ = ['OpenVocabCocoMetric', 'OpenVocabLVISMetric']

install()
