"""Fusion with a cross-encoder that ranks the best names of each box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from torch import Tensor

from fgclip2_det.models.fusion.geometric import OpenVocabGeometricFusion
from fgclip2_det.models.fusion.score_fusion import check_finite
from fgclip2_det.ranker import Ranking, ranked_cosines


@MODELS.register_module()
class OpenVocabRankingFusion(OpenVocabGeometricFusion):
    """The weighted geometric mean d ** (1 - a) * w ** a with a ranked similarity.

    w = softmax(cos / temperature + ranking_weight * log-odds) over the names, where the
    log-odds are a ranker's for the ``num_ranked`` names of the highest cosine; see
    :func:`ranked_cosines` for the others.

    Args:
        alpha, beta, temperature: see :class:`.ScoreFusion`.
        num_ranked: k, names of each box that the ranker reads.
        ranking_weight: of its log-odds; 0 is the geometric mean without a ranker.

    Example:
        >>> fusion = OpenVocabRankingFusion(alpha=1.0, temperature=1.0, num_ranked=2)
        >>> ranking = Ranking(torch.tensor([[0, 1]]), torch.tensor([[0.0, 1.0986]]))
        >>> fusion(torch.ones(1, 1), torch.zeros(1, 2), ranking=ranking)
        tensor([[0.2500, 0.7500]])

    Reference: R2D2 (arXiv:2205.03860), section 4.2, pre-ranking and ranking of images
    and texts; that of boxes and names is ours.
    """

    needs_ranking = True

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.5,
        beta: float | None = None,
        temperature: float = 0.01,
        num_ranked: int = 5,
        ranking_weight: float = 1.0,
    ) -> None:
        super().__init__(alpha, beta, temperature)
        if isinstance(num_ranked, bool) or not isinstance(num_ranked, int):
            raise ValueError(f'num_ranked must be a whole number, got {num_ranked!r}')
        if num_ranked < 1:
            raise ValueError(f'num_ranked must be at least 1, got {num_ranked}')
        if check_finite('ranking_weight', ranking_weight) < 0:
            raise ValueError(f'ranking_weight must be at least 0, got {ranking_weight}')
        self.num_ranked, self.ranking_weight = num_ranked, ranking_weight

    def forward(
        self,
        det_scores: Tensor,
        cosines: Tensor,
        is_base: Tensor | None = None,
        *,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
        ranking: Ranking | None = None,
    ) -> Tensor:
        """See :meth:`.ScoreFusion.forward`.

        Args:
            ranking: of the same boxes with the names and, after them, the competitors.

        Raises:
            ValueError: without a ranking, or if shapes do not fit.
        """
        if ranking is None:
            raise ValueError(
                'this rule ranks names by a cross-encoder; give a ranker (--ranker), '
                'or take the rule geometric'
            )
        cosines, competitors = self.ranked(cosines, competitors, ranking)
        return super().forward(
            det_scores, cosines, is_base, competitors=competitors, apart=apart
        )

    def ranked(
        self, cosines: Tensor, competitors: Tensor | None, ranking: Ranking
    ) -> tuple[Tensor, Tensor | None]:
        """(n, C) and (n, S) with the odds, in the unit of cosines."""
        everything = cosines.float()
        if competitors is not None:
            everything = torch.cat([everything, competitors.float()], 1)
        if len(ranking.names) != len(cosines):
            raise ValueError(
                f'ranking must be of the same {len(cosines)} boxes, got '
                f'{len(ranking.names)}'
            )
        weight = self.ranking_weight * self.temperature
        shifted = ranked_cosines(everything, ranking, self.num_ranked, weight)
        if competitors is None:
            return shifted, None
        count = cosines.shape[1]
        return shifted[:, :count], shifted[:, count:]
