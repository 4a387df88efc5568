from fgclip2_det.models.losses.open_vocab_cross_entropy_loss import (
    OpenVocabCrossEntropyLoss,
)

__all__ = ['OpenVocabCrossEntropyLoss']
