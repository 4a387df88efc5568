"""Zero-shot evaluation of an encoder: names, hard negatives, retrieval.

``fgclip2-det zeroshot`` is the command line, in :mod:`fgclip2_det.cli.zeroshot`; the
functions here take an encoder and return ``{'metrics': percent, 'denominators': ...,
'counts': ...}``.
"""

from .coco import evaluate_coco_boxes
from .embedder import Embedder
from .fgovd import evaluate_fgovd
from .images import ImageItem
from .metrics import (
    derangement,
    hard_negative_ranks,
    label_ranks,
    match_ranks,
    recall_at,
)
from .ovshapes import evaluate_ovshapes
from .report import Report, format_table
from .retrieval import evaluate_retrieval

__all__ = [
    'Embedder',
    'ImageItem',
    'Report',
    'derangement',
    'evaluate_coco_boxes',
    'evaluate_fgovd',
    'evaluate_ovshapes',
    'evaluate_retrieval',
    'format_table',
    'hard_negative_ranks',
    'label_ranks',
    'match_ranks',
    'recall_at',
]
