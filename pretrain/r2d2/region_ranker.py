"""The training model of a ranker that reads regions and names, for detection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_dict
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor

from fgclip2_det.fgclip2 import ImageBatch
from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.ranker import Ranker
from fgclip2_det.ranker.match import match_log_odds
from pretrain.autocasting import check_autocast, tower_precision
from pretrain.data.collate import AlignmentBatch
from pretrain.initialise import build_for_training
from pretrain.losses import matching_loss
from pretrain.losses.gather import rank_share
from pretrain.r2d2.kept_regions import KeptRegions
from pretrain.r2d2.kept_texts import KeptTexts
from pretrain.r2d2.region_texts import RegionTexts, draw_candidates
from pretrain.seeds import step_seed


@MODELS.register_module()
class FGCLIP2RegionRanker(BaseModel):
    """A ranker of regions, trained on the tokens of a frozen encoder.

    L = matching L_FGR + choice L_choice over each region with a true text and M false
    ones. L_FGR is R2D2's matching loss; L_choice is ours, the cross entropy of the true
    text among the candidates by their log-odds, which is how detection uses them.

    The encoder is not changed, reads an image once (:class:`.KeptRegions`), and is no
    part of a checkpoint. ``ExportRankerHook`` writes the ranker.

    Args:
        encoder: see :func:`pretrain.initialise.build_for_training`; mostly
            ``dict(pretrained=FOLDER)``.
        ranker: sizes, see :meth:`.RankerConfig.for_encoder`.
        matching, choice: weights of the losses.
        num_negatives: M.
        temperature, own_share: of the draw, see :func:`.draw_candidates`.
        class_weights: of no match and of a match, see :func:`.matching_loss`.
        autocast: True computes the frozen encoder in bfloat16, 'auto' does so wherever
            it is faster, see :func:`.tower_precision`. The ranker stays in
            float32, in which its short sequences are faster on a CPU.
        seed: of the ranker's weights and of the draws
            (:func:`pretrain.seeds.step_seed`), the same however many processes there
            are.
        data_preprocessor: a config; moves batches to the device.

    Example:
        >>> model = FGCLIP2RegionRanker(dict(size='tiny'), dict(num_hidden_layers=2))
        >>> sorted(model(batch, mode='loss'))
        ['accuracy', 'loss_choice', 'loss_matching']

    Reference: R2D2 (arXiv:2205.03860), section 4.1, of images and texts.
    """

    step: Tensor

    def __init__(
        self,
        encoder: dict,
        ranker: dict | None = None,
        matching: float = 1.0,
        choice: float = 1.0,
        num_negatives: int = 4,
        temperature: float = 0.1,
        own_share: float = 0.5,
        class_weights: tuple[float, float] = (1.0, 2.0),
        autocast: bool | str = False,
        seed: int = 0,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='AlignmentDataPreprocessor'))
        _check(num_negatives, temperature, own_share, matching, choice)
        self.matching, self.choice = matching, choice
        self.num_negatives, self.temperature = num_negatives, temperature
        self.own_share, self.class_weights = own_share, class_weights
        self.autocast, self.seed = check_autocast(autocast), seed
        self._encoder = [build_for_training(**encoder).eval().requires_grad_(False)]
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = dict(ranker or {}) | dict(reads='region')
        self.ranker = Ranker.for_encoder(self.encoder, generator, **options)
        self._texts, self._regions = KeptTexts(), KeptRegions()
        self.register_buffer('step', torch.zeros((), dtype=torch.long))

    @property
    def encoder(self):
        """The frozen encoder, on the device of the ranker."""
        encoder = self._encoder[0]
        device = next(self.ranker.parameters()).device if hasattr(self, 'ranker') else (
            encoder.logit_scale.device
        )  # fmt: skip
        return encoder.to(device)

    def forward(self, batch: AlignmentBatch, mode: str = 'loss') -> dict[str, Tensor]:
        """Losses of a batch, and the share of regions whose true text is first.

        Raises:
            ValueError: for another mode; this model only trains.
        """
        if mode != 'loss':
            raise ValueError(f"mode must be 'loss', got {mode!r}")
        names, kept = RegionTexts.of(batch), self._texts
        rows = kept(self.encoder, names.ids, names.keys)
        regions, embeds = self._regions(batch, self._read_regions)
        columns, valid = draw_candidates(
            embeds @ kept.embeds[rows].T, names, self.num_negatives, self.temperature,
            self.own_share, seed=step_seed(self.seed, int(self.step)),
        )  # fmt: skip
        if self.training:
            self.step += 1
        if len(rows):
            states, mask = kept.states[rows], kept.mask[rows]
            longest = max(int(mask.any(0).sum()), 1)  # of this step's texts
            texts = self.ranker.begin_texts(states[:, :longest], mask[:, :longest])
            logits = self.ranker.read(regions, texts.rows(columns))
        else:  # a step without texts still reaches every weight
            width = self.ranker.config.text_width
            logits = self.ranker(regions, regions.new_zeros(*columns.shape, 1, width))
        targets = torch.zeros_like(valid)
        targets[:, 0] = True
        counted = valid & valid[:, :1]
        matching = matching_loss(logits, targets, self.class_weights, valid=counted)
        choice, accuracy = _choice(match_log_odds(logits), counted)
        return dict(
            loss_matching=self.matching * matching,
            loss_choice=self.choice * choice,
            accuracy=accuracy,
        )

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's total for backward; means over processes for the log."""
        total, terms = super().parse_losses(losses)
        terms = {name: value.detach().float() for name, value in terms.items()}
        all_reduce_dict(terms, 'mean')
        return total, terms

    def num_tokens(self, batch: AlignmentBatch) -> int:
        """Image patches and text positions of a batch that the encoder takes."""
        num_patches = batch.images.pixel_values.shape[:2].numel()
        return num_patches + batch.box_ids.numel()

    # --------------------------------------------------------------------- tokens
    @torch.no_grad()
    def _read_regions(
        self, images: ImageBatch, bboxes: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """Tokens (n, N, W) and embeddings (n, D), normalised, of each image's boxes."""
        with tower_precision(self.autocast, self.step.device):
            maps = self.encoder.encode_grids(images)
        dense, states = ([grid.float() for grid in grids] for grids in maps)
        sizes = images.image_sizes.tolist()
        tokens = [
            self.ranker.regions(grid, (size[0], size[1]), boxes)
            for grid, size, boxes in zip(states, sizes, bboxes, strict=True)
        ]
        pooled = pool_regions(dense, sizes, bboxes)
        embeds = [F.normalize(each, dim=-1) for each in pooled]
        return list(zip(tokens, embeds, strict=True))


def _choice(odds: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of the first candidate, this rank's share of the mean over the
    regions of all ranks that have a candidate beside it; and how often it is first."""
    odds = odds.masked_fill(~valid, -torch.inf)
    chosen = valid[:, 1:].any(1)
    odds = odds[chosen]
    losses = -odds.log_softmax(1)[:, 0]
    right = (odds[:, 1:] < odds[:, :1]).all(1)
    return (
        rank_share(losses.sum(), len(losses)),
        rank_share(right.float().sum(), len(losses)).detach(),
    )


def _check(
    num_negatives: int,
    temperature: float,
    own_share: float,
    matching: float,
    choice: float,
) -> None:
    if num_negatives < 1:
        raise ValueError(f'num_negatives must be at least 1, got {num_negatives}')
    if not temperature > 0:
        raise ValueError(f'temperature must be more than 0, got {temperature}')
    if not 0 <= own_share <= 1:
        raise ValueError(f'own_share must lie in [0, 1], got {own_share}')
    if matching < 0 or choice < 0 or not matching + choice:
        raise ValueError(
            f'matching and choice must be weights, not both 0, got {matching}, {choice}'
        )
