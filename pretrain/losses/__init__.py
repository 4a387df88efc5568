"""Losses of the two-stage alignment and of R2D2, each a function of tensors.

They hold no weights and no state, gather over processes by themselves, and return
this process's share: the mean over processes is the loss of the whole batch.
"""

from .cmr import cmr_loss, next_threshold
from .contrastive import contrastive_loss
from .gather import all_gather_rows, global_sum, rank_share, row_layout, world_size
from .hard_negatives import hard_contrastive_loss, hard_cosines, hard_negative_loss
from .ranking import Negatives, draw_negatives, matching_loss
from .region_text import region_text_loss
from .sigmoid import sigmoid_loss
from .tic import tic_loss

__all__ = [
    'Negatives',
    'all_gather_rows',
    'cmr_loss',
    'contrastive_loss',
    'draw_negatives',
    'global_sum',
    'hard_contrastive_loss',
    'hard_cosines',
    'hard_negative_loss',
    'matching_loss',
    'next_threshold',
    'rank_share',
    'region_text_loss',
    'row_layout',
    'sigmoid_loss',
    'tic_loss',
    'world_size',
]
