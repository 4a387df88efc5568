"""Hooks of alignment training."""

from .alignment_throughput_hook import AlignmentThroughputHook
from .export_fgclip2_hook import ExportFGCLIP2Hook
from .export_ranker_hook import ExportRankerHook
from .whitened_patches_hook import WhitenedPatchesHook

__all__ = [
    'AlignmentThroughputHook',
    'ExportFGCLIP2Hook',
    'ExportRankerHook',
    'WhitenedPatchesHook',
]
