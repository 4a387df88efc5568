"""Rules that fuse a detector's scores with the encoder's region-text similarities."""

from fgclip2_det.models.fusion.adaptive import (
    OpenVocabConfidenceFusion,
    OpenVocabNoveltyFusion,
)
from fgclip2_det.models.fusion.additive import (
    OpenVocabArithmeticFusion,
    OpenVocabDetRefinerFusion,
    OpenVocabLogitFusion,
)
from fgclip2_det.models.fusion.geometric import (
    OpenVocabFViTFusion,
    OpenVocabFVLMFusion,
    OpenVocabGeometricFusion,
    OpenVocabLaMIFusion,
    OpenVocabViLDFusion,
)
from fgclip2_det.models.fusion.ranking import OpenVocabRankingFusion
from fgclip2_det.models.fusion.score_fusion import ScoreFusion

__all__ = [
    'OpenVocabArithmeticFusion',
    'OpenVocabConfidenceFusion',
    'OpenVocabDetRefinerFusion',
    'OpenVocabFVLMFusion',
    'OpenVocabFViTFusion',
    'OpenVocabGeometricFusion',
    'OpenVocabLaMIFusion',
    'OpenVocabLogitFusion',
    'OpenVocabNoveltyFusion',
    'OpenVocabRankingFusion',
    'OpenVocabViLDFusion',
    'ScoreFusion',
]
