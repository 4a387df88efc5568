"""Benchmark protocols and metrics.

Without the mm packages everything but the two metrics for MMEngine works.
"""

from fgclip2_det import HAS_MM

__all__ = []

if HAS_MM:
    from fgclip2_det.engine.metrics.label_order import install
    from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric
    from fgclip2_det.engine.metrics.open_vocab_lvis_metric import OpenVocabLVISMetric

    __all__ += ['OpenVocabCocoMetric', 'OpenVocabLVISMetric']
    install()
