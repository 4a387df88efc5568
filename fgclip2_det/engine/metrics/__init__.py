"""Metrics for MMEngine's evaluator."""

from .label_order import install
from .open_vocab_coco_metric import OpenVocabCocoMetric
from .open_vocab_lvis_metric import OpenVocabLVISMetric
from .open_vocab_seg_metric import OpenVocabSegMetric

__all__ = ['OpenVocabCocoMetric', 'OpenVocabLVISMetric', 'OpenVocabSegMetric']

install()
