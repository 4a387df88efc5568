"""What demos, tools and notebooks share."""

from fgclip2_det.apis.inferencer import Detections, OpenVocabInferencer
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions
from fgclip2_det.models.prediction_rescorer import PredictionRescorer, Rescored

__all__ = [
    'Detections',
    'OpenVocabInferencer',
    'PredictionRescorer',
    'Rescored',
    'SavedPredictions',
]
