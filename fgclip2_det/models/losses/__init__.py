from fgclip2_det.models.losses.open_vocab_cross_entropy_loss import (
    OpenVocabCrossEntropyLoss,
    OpenVocabFocalLoss,
)
from fgclip2_det.models.losses.vocabulary_losses import (
    hard_name_loss,
    nearest_names,
    vocabulary_tic_loss,
)

__all__ = [
    'OpenVocabCrossEntropyLoss',
    'OpenVocabFocalLoss',
    'hard_name_loss',
    'nearest_names',
    'vocabulary_tic_loss',
]
