"""Metrics for detection with base and novel classes."""

from .open_vocab_coco_metric import OpenVocabCocoMetric

__all__ = ['OpenVocabCocoMetric']
