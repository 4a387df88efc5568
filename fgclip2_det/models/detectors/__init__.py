from fgclip2_det.models.detectors.open_vocab_two_stage_detector import (
    OpenVocabTwoStageDetector,
)

__all__ = ['OpenVocabTwoStageDetector']
