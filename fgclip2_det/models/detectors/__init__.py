from fgclip2_det.models.detectors.fgclip2_rescorer import FGCLIP2Rescorer
from fgclip2_det.models.detectors.huggingface_detector import HuggingFaceDetector
from fgclip2_det.models.detectors.open_vocab_faster_rcnn import OpenVocabFasterRCNN
from fgclip2_det.models.detectors.open_vocab_two_stage_detector import (
    OpenVocabTwoStageDetector,
)
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions

__all__ = [
    'FGCLIP2Rescorer',
    'HuggingFaceDetector',
    'OpenVocabFasterRCNN',
    'OpenVocabTwoStageDetector',
    'SavedPredictions',
]
