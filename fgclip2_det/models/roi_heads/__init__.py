from fgclip2_det.models.roi_heads.open_vocab_bbox_head import OpenVocabBBoxHead
from fgclip2_det.models.roi_heads.open_vocab_roi_head import OpenVocabRoIHead
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier

__all__ = ['OpenVocabBBoxHead', 'OpenVocabRoIHead', 'RegionTextClassifier']
