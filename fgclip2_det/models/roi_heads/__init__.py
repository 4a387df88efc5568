from fgclip2_det.models.roi_heads.federated_names import FederatedNames
from fgclip2_det.models.roi_heads.hard_names import HardNames
from fgclip2_det.models.roi_heads.open_vocab_bbox_head import OpenVocabBBoxHead
from fgclip2_det.models.roi_heads.open_vocab_roi_head import OpenVocabRoIHead
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier

__all__ = [
    'FederatedNames',
    'HardNames',
    'OpenVocabBBoxHead',
    'OpenVocabRoIHead',
    'RegionTextClassifier',
]
