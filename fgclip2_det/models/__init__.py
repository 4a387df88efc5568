"""Modules in MMDetection's registry: backbones, necks, heads, detectors,
segmentors."""

from fgclip2_det.compat import mm
from fgclip2_det.models.backbones import FGCLIP1ViT, FGCLIP2ViT
from fgclip2_det.models.data_preprocessors import FGCLIP2DetDataPreprocessor
from fgclip2_det.models.detectors import OpenVocabTwoStageDetector
from fgclip2_det.models.fusion import OpenVocabFViTFusion
from fgclip2_det.models.losses import OpenVocabCrossEntropyLoss, OpenVocabFocalLoss
from fgclip2_det.models.necks import FGCLIP2SimpleFPN
from fgclip2_det.models.roi_heads import (
    OpenVocabBBoxHead,
    OpenVocabRoIHead,
    RegionTextClassifier,
)
from fgclip2_det.models.seeded_sampler import OpenVocabSeededSampler
from fgclip2_det.models.segmentors import OpenVocabCostHead, OpenVocabSegmentor

__all__ = [
    'FGCLIP1ViT',
    'FGCLIP2DetDataPreprocessor',
    'FGCLIP2SimpleFPN',
    'FGCLIP2ViT',
    'OpenVocabBBoxHead',
    'OpenVocabCostHead',
    'OpenVocabCrossEntropyLoss',
    'OpenVocabFViTFusion',
    'OpenVocabFocalLoss',
    'OpenVocabRoIHead',
    'OpenVocabSeededSampler',
    'OpenVocabSegmentor',
    'OpenVocabTwoStageDetector',
    'RegionTextClassifier',
]
