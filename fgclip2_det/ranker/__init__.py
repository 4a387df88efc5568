"""R2D2's cross-encoders, which rank the best names of a dual encoder; plain PyTorch."""

from fgclip2_det.ranker.config import RankerConfig
from fgclip2_det.ranker.joint_encoder import JointEncoder
from fgclip2_det.ranker.match import MatchLogits, match_scores
from fgclip2_det.ranker.model import Ranker
from fgclip2_det.ranker.ranking import Ranking, ranked_cosines
from fgclip2_det.ranker.regions import region_tokens

__all__ = [
    'JointEncoder',
    'MatchLogits',
    'Ranker',
    'RankerConfig',
    'Ranking',
    'match_scores',
    'ranked_cosines',
    'region_tokens',
]
