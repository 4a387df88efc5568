"""Fusion rules as modules that ``torch.export`` can trace for any number of names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.io import InputError
from fgclip2_det.models.fusion import (
    OpenVocabDetRefinerFusion,
    OpenVocabNoveltyFusion,
    ScoreFusion,
)
from fgclip2_det.models.fusion.adaptive import MIN_FARTHEST


class ExportedFusion(nn.Module):
    """A rule of :mod:`fgclip2_det.models.fusion`, without checks of its arguments.

    Args:
        fusion: any rule whose weights do not belong to certain names.
        trained: (T, D) of the training's names, for a rule that ``needs_trained``;
            None: the base names among those of a call alone.

    Raises:
        InputError: a rule with a weight for each of its names.
    """

    trained: Tensor | None

    def __init__(self, fusion: ScoreFusion, trained: Tensor | None = None) -> None:
        super().__init__()
        if isinstance(fusion.alpha, Sequence):
            raise InputError(
                f'alpha of the fusion has {len(fusion.alpha)} weights, one a name, but '
                'names of an exported model are exchanged; give alpha one number'
            )
        self.fusion = fusion
        self.register_buffer('trained', trained)

    def forward(
        self,
        det_scores: Tensor,
        cosines: Tensor,
        others: Tensor,
        names: Tensor,
        is_base: Tensor,
        apart: Tensor,
        image_cosines: Tensor | None = None,
    ) -> Tensor:
        """Fused scores (n, C).

        Args:
            det_scores: (n, C); before the export also (n, 1), of a detector with one
                score per box.
            cosines: (n, C) with the names.
            others: (n, S) with their competitors.
            names: (C, D) embeddings, for a rule that weighs names by them.
            is_base: (C,) bool.
            apart: (C, C + S) bool.
            image_cosines: (C,) of the whole image, for a rule that ``needs_image``.
        """
        rule = self.fusion
        if isinstance(rule, OpenVocabNoveltyFusion):
            weights = novelty_weights(rule, names, is_base, self.trained)
        else:
            weights = rule.weights(cosines.shape[1], is_base)
        sim = rule.similarity(cosines, others, apart)
        scores = rule.combine(det_scores, sim, weights, is_base)
        if image_cosines is None:
            return scores
        assert isinstance(rule, OpenVocabDetRefinerFusion)
        return rule.with_image(scores, image_cosines)


def novelty_weights(
    rule: OpenVocabNoveltyFusion,
    names: Tensor,
    is_base: Tensor,
    trained: Tensor | None = None,
) -> Tensor:
    """(C,) weights of ``OpenVocabNoveltyFusion.set_names``; without a training name
    all are as far from training as can be."""
    embeds = F.normalize(names.double(), dim=-1)
    cosines = (embeds @ embeds.T).masked_fill(~is_base, -1.0)
    if trained is not None:
        others = F.normalize(trained.double(), dim=-1)
        cosines = torch.cat([cosines, embeds @ others.T], 1)
    distance = (1 - cosines.amax(1).clamp(max=1)).masked_fill(is_base, 0.0)
    # not the smallest float64: the exporter writes a bound as float32, as 0
    share = distance / distance.amax(0).clamp(min=MIN_FARTHEST)
    near, far = rule.ends
    return (near + (far - near) * share).float()
