"""Losses of the two-stage alignment and of R2D2, each a function of tensors.

They hold no weights and no state, gather over processes by themselves, and return
this process's share: the mean over processes is the loss of the whole batch.
"""

from .cmr import cmr_loss, next_threshold
from .contrastive import contrastive_loss
from .feature_guided import FEATURE_FORMS, feature_guided_loss, next_centre
from .gather import all_gather_rows, global_sum, rank_share, row_layout, world_size
from .hard_negatives import hard_contrastive_loss, hard_cosines, hard_negative_loss
from .masked_language import mask_tokens, masked_language_loss
from .pre_ranking import clamp_temperature, pre_ranking_loss
from .ranking import AMONG, Negatives, draw_negatives, matching_loss
from .region_text import region_text_loss
from .sigmoid import sigmoid_loss
from .target_guided import WEIGHTINGS, QueueEntries, target_guided_loss
from .tic import tic_loss

__all__ = [
    'AMONG',
    'FEATURE_FORMS',
    'WEIGHTINGS',
    'Negatives',
    'QueueEntries',
    'all_gather_rows',
    'clamp_temperature',
    'cmr_loss',
    'contrastive_loss',
    'draw_negatives',
    'feature_guided_loss',
    'global_sum',
    'hard_contrastive_loss',
    'hard_cosines',
    'hard_negative_loss',
    'mask_tokens',
    'masked_language_loss',
    'matching_loss',
    'next_centre',
    'next_threshold',
    'pre_ranking_loss',
    'rank_share',
    'region_text_loss',
    'row_layout',
    'sigmoid_loss',
    'target_guided_loss',
    'tic_loss',
    'world_size',
]
