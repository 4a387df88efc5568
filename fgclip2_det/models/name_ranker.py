"""A ranker with the tokens of a vocabulary, applied to the boxes of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.models.fusion import ScoreFusion
from fgclip2_det.ranker import Ranker, Ranking
from fgclip2_det.ranker.match import match_log_odds
from fgclip2_det.ranker.texts import BegunTexts, encode_tokens
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.competitors import Competitors

PAIRS = 512  # of box and name, that are read at once


class NameRanker:
    """Reads each box with its best names.

    Args:
        ranker: with ``reads='region'``.
        encoder: whose image tokens it reads.
        texts: whose text tokens it reads, mostly the same.
        names: C names, then the S competitors, as they are written: the first alias
            of each, without a template.
        num_ranked: k, names of a box that are read; all of them if there are fewer.

    Raises:
        ValueError: for a ranker of whole images or of another encoder, no names.
    """

    def __init__(
        self,
        ranker: Ranker,
        encoder: DualEncoder,
        texts: DualEncoder,
        names: Sequence[str],
        num_ranked: int,
    ) -> None:
        if ranker.config.reads != 'region':
            raise ValueError(
                'this ranker reads whole images, expected one of regions '
                "(reads='region'), as configs/pretrain/ranker_* train it"
            )
        for towers in (encoder, texts):
            ranker.check_encoder(towers)
        if not len(names):
            raise ValueError('a ranker needs names, got none')
        self.ranker, self.num_ranked = ranker, num_ranked
        self.texts = self._begin(*encode_tokens(texts, names))

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        encoder: DualEncoder,
        texts: DualEncoder,
        names: Sequence[str],
        num_ranked: int,
    ) -> NameRanker:
        """With the ranker of a folder."""
        ranker = Ranker.from_pretrained(folder, encoder)
        return cls(ranker, encoder, texts, names, num_ranked)

    @property
    def digest(self) -> str:
        """SHA-256 of the ranker's weights and sizes."""
        return encoder_digest(self.ranker, self.ranker.config.to_dict())

    @torch.no_grad()
    def __call__(
        self,
        states: Tensor,
        image_size: tuple[int, int],
        bboxes: Tensor,
        cosines: Tensor,
    ) -> Ranking:
        """Log-odds of the best names.

        Args:
            states: (h, w, W) of the image, see :meth:`.DualEncoder.encode_grids`.
            image_size: (height, width) in the pixels of the boxes.
            bboxes: (n, 4) xyxy, n >= 0.
            cosines: (n, C + S) with names and competitors, which choose.
        """
        self._follow(states.device)
        count = min(self.num_ranked, cosines.shape[1])
        names = cosines.topk(count, 1).indices.cpu()  # (n, k)
        if not len(names):
            return Ranking(names, cosines.new_zeros(0, count).cpu())
        regions = self.ranker.regions(states.float(), image_size, bboxes)
        size = max(PAIRS // max(count, 1), 1)
        odds = [
            self._read(some, chosen)
            for some, chosen in zip(regions.split(size), names.split(size), strict=True)
        ]
        return Ranking(names, torch.cat(odds))

    def _follow(self, device: torch.device) -> None:
        """Move to where the maps are: a re-scorer's encoder goes to its detector."""
        states, _, mask = self.texts
        if states.device != device:
            assert mask is not None
            self.texts = self._begin(states.to(device), mask.to(device))

    @torch.no_grad()
    def _begin(self, states: Tensor, mask: Tensor) -> BegunTexts:
        """Of all texts, some at a time, where they are."""
        self.ranker.to(states.device)
        parts = zip(states.split(PAIRS), mask.split(PAIRS), strict=True)
        begun = [self.ranker.begin_texts(*part).begun for part in parts]
        there = [part for part in begun if part is not None]
        return BegunTexts(states, torch.cat(there) if there else None, mask)

    def _read(self, regions: Tensor, names: Tensor) -> Tensor:
        """(n, N, W) regions and (n, k) names -> (n, k)."""
        texts = self.texts.rows(names.to(regions.device))
        return match_log_odds(self.ranker.read(regions, texts)).cpu()


def name_ranker(
    folder: str | os.PathLike | None,
    encoder: DualEncoder,
    vocabulary: Vocabulary,
    competitors: Competitors | None,
    fusion: ScoreFusion,
) -> NameRanker | None:
    """The ranker that a rule reads, of the names and then their competitors; None for
    no folder.

    Args:
        folder: of a ranker of regions.
        encoder: with both towers.
        vocabulary: C names.
        competitors: S texts, or None.
        fusion: the rule, which says how many names are read.
    """
    if folder is None:
        return None
    names = names_of(vocabulary, competitors)
    count = getattr(fusion, 'num_ranked', 1)
    return NameRanker.load(folder, encoder, encoder, names, count)


def names_of(vocabulary: Vocabulary, competitors: Competitors | None) -> list[str]:
    """C names as they are shown, then the texts that compete with them."""
    names = [aliases[0] for aliases in vocabulary.aliases]
    return names + ([] if competitors is None else list(competitors.names))
