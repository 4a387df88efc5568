"""The training model: embeddings of a batch and the alignment losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce_dict
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import ImageBatch
from fgclip2_det.fgclip2.roi import pool_regions
from pretrain import losses
from pretrain.autocasting import check_autocast, tower_precision
from pretrain.data.collate import AlignmentBatch
from pretrain.initialise import build_for_training
from pretrain.presets import loss_preset
from pretrain.used_parts import parts_in_use, text_heads


@MODELS.register_module()
class FGCLIP2Alignment(BaseModel):
    """Two-stage alignment of FG-CLIP 2 (arXiv:2510.10921, section 3.2), or of FG-CLIP 1
    with the losses of preset 'fgclip1' (arXiv:2505.05071, section 3).

    L = short L_sig + long L_sig + fgv L_FGV + fgt L_FGT + tic L_TIC + cmr L_CMR
    (+ itc, the released code's extra term); weights and forms are a preset's.

    The CMR threshold is a buffer, so it is part of a checkpoint.

    Args:
        encoder: where the weights come from, see
            :func:`pretrain.initialise.build_for_training`.
        losses: ``preset`` (see :data:`pretrain.presets.PRESETS`), ``stage`` (1: global
            losses alone) and changes of single weights and forms, see
            :func:`pretrain.presets.loss_preset`.
        region_logit_scale: initial log temperature of FGV; learned. FG-CLIP 1 has this
            parameter and the next itself, and they are set.
        hard_logit_scale: initial log temperature of FGT; learned.
        freeze_text: leave the text tower as it is. Each distinct text then passes it
            once and its embedding is kept, up to 200,000 of them: where texts repeat,
            a step costs little more than its images.
        autocast: True computes the towers in bfloat16 and everything else in float32,
            as MMEngine's AmpOptimWrapper does on a GPU; 'auto' does so wherever it is
            faster, see :func:`.tower_precision`.
        gradient_checkpointing: recompute each block in backward.
        micro_batch_size: images, and texts, that are in the encoder at once. The
            contrastive batch stays whole: embeddings of all parts meet in one loss,
            and backward recomputes part by part. None: all at once.
        data_preprocessor: a config; moves batches to the device.

    Example:
        >>> model = FGCLIP2Alignment(dict(size='tiny'), dict(preset='paper'))
        >>> sorted(model(batch, mode='loss'))[:2]
        ['cmr_threshold', 'loss_cmr']
    """

    def __init__(
        self,
        encoder: dict,
        losses: dict | None = None,
        region_logit_scale: float = 4.6052,  # ln 100, as released
        hard_logit_scale: float = 4.6052,
        freeze_text: bool = False,
        autocast: bool | str = False,
        gradient_checkpointing: bool = False,
        micro_batch_size: int | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='AlignmentDataPreprocessor'))
        if micro_batch_size is not None and micro_batch_size < 1:
            raise ValueError(
                f'micro_batch_size must be at least 1 or None, got {micro_batch_size}'
            )
        self.preset = loss_preset(**(losses or {}))
        self.freeze_text = freeze_text
        self.autocast = check_autocast(autocast)
        self._kept_texts: dict[tuple[str, int], Tensor] = {}
        self.micro_batch_size = micro_batch_size
        self.encoder = build_for_training(**encoder)
        self.starts_random = encoder.get('size') is not None
        self._set_scales(region_logit_scale, hard_logit_scale)
        self.register_buffer('cmr_threshold', torch.zeros(()))
        for tower in (self.encoder.vision_model, self.encoder.text_model):
            tower.encoder.gradient_checkpointing = gradient_checkpointing
        self._freeze_unused()

    def forward(self, batch: AlignmentBatch, mode: str = 'loss') -> dict[str, Tensor]:
        """Losses of a batch: ``loss_*`` with their weights, and what to log.

        Raises:
            ValueError: for another mode; this model only trains. Predictions come
                from the exported :class:`FGCLIP2`.
        """
        if mode != 'loss':
            raise ValueError(f"mode must be 'loss', got {mode!r}")
        with tower_precision(self.autocast, self.encoder.logit_scale.device):
            return self._losses(batch)

    def _losses(self, batch: AlignmentBatch) -> dict[str, Tensor]:
        preset, terms = self.preset, {}
        image_embeds, maps = self._embed_images(batch.images)
        for name in ('short', 'long'):
            if getattr(preset, name):
                terms[name] = self._global_loss(image_embeds, batch, name)
        if preset.regions:
            assert maps is not None
            terms |= self._region_losses(self._pool(maps, batch), batch)
        outputs = {f'loss_{k}': v * getattr(preset, k) for k, v in terms.items()}
        if preset.cmr:
            outputs['cmr_threshold'] = self.cmr_threshold.mean()
        return outputs

    def parse_losses(self, losses: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's total for backward; means over processes for the log."""
        total, terms = super().parse_losses(losses)
        terms = {name: value.detach().float() for name, value in terms.items()}
        all_reduce_dict(terms, 'mean')
        return total, terms

    def num_tokens(self, batch: AlignmentBatch) -> int:
        """Patches and text positions that a step with these losses encodes."""
        count = batch.images.pixel_values.shape[:2].numel()
        for mode in ('short', 'long'):
            if getattr(self.preset, mode):
                num_texts = len(getattr(batch, f'{mode}_keys').unique())
                count += num_texts * getattr(batch, f'{mode}_ids').shape[1]
        return count + (batch.box_ids.numel() if self.preset.regions else 0)

    # ---------------------------------------------------------------- embeddings
    def _embed_images(self, images: ImageBatch) -> tuple[Tensor, list[Tensor] | None]:
        """Global embeddings (B, D), normalised, and dense maps (h, w, D)."""
        parts = [
            self._recomputed(self._encode_images, part)
            for part in _image_parts(images, self.micro_batch_size)
        ]
        embeds, maps = zip(*parts, strict=True)
        if not self.preset.regions:
            return torch.cat(embeds), None
        return torch.cat(embeds), [each for part in maps for each in part]

    def _encode_images(self, images: ImageBatch) -> tuple[Tensor, list[Tensor] | None]:
        embeds, maps = self.encoder.encode(images, dense=self.preset.regions)
        assert embeds is not None
        # bfloat16 would round cosines
        return F.normalize(embeds.float(), dim=-1), maps

    def _embed_texts(self, ids: Tensor, keys: Tensor, mode: str) -> Tensor:
        """(T, D), normalised; T may be 0. Equal keys are equal texts."""
        if self.freeze_text:
            return self._frozen_texts(ids, keys, mode)
        if not len(ids):  # a step without texts still reaches every weight
            return self._encode_texts(ids.new_zeros(1, ids.shape[1]), mode)[:0]
        parts = ids.split(self.micro_batch_size or len(ids))
        return torch.cat(
            [self._recomputed(self._encode_texts, part, mode) for part in parts]
        )

    @torch.no_grad()
    def _frozen_texts(self, ids: Tensor, keys: Tensor, mode: str) -> Tensor:
        kept = self._kept_texts
        if len(kept) > 200_000:
            kept.clear()
        names = [(mode, key) for key in keys.tolist()]
        new = [row for row, name in enumerate(names) if name not in kept]
        for part in ids.new_tensor(new).split(self.micro_batch_size or 512):
            embeds = self._encode_texts(ids[part], mode)
            new_names = [names[row] for row in part.tolist()]
            kept.update(zip(new_names, embeds, strict=True))
        dim = self.encoder.embed_dims
        rows = [kept[name] for name in names]
        return torch.stack(rows) if rows else ids.new_zeros((0, dim), dtype=torch.float)

    def _encode_texts(self, ids: Tensor, mode: str) -> Tensor:
        return F.normalize(self.encoder.encode_text(ids, mode).float(), dim=-1)

    def _recomputed(self, function: Callable, *args):
        """Call, keeping only the inputs for backward if there are micro-batches."""
        if self.micro_batch_size is None or not torch.is_grad_enabled():
            return function(*args)
        return checkpoint(function, *args, use_reentrant=False)

    def _pool(self, maps: list[Tensor], batch: AlignmentBatch) -> Tensor:
        """Region embeddings (K, D), float32, normalised (spec A.5, D.2)."""
        sizes = batch.images.image_sizes.tolist()
        pooled = pool_regions([each.float() for each in maps], sizes, batch.bboxes)
        return F.normalize(torch.cat(pooled), dim=-1)

    # -------------------------------------------------------------------- losses
    def _global_loss(
        self, image_embeds: Tensor, batch: AlignmentBatch, mode: str
    ) -> Tensor:
        keys = getattr(batch, f'{mode}_keys')
        first, index = _distinct(keys)
        ids = getattr(batch, f'{mode}_ids')[first]
        text_embeds = self._embed_texts(ids, keys[first], mode)[index]
        scale, bias = self.encoder.logit_parameters()
        if self.preset.global_form == 'softmax':
            return losses.contrastive_loss(
                image_embeds, text_embeds, scale, text_keys=keys
            )
        assert bias is not None  # checked when the model was built
        return losses.sigmoid_loss(
            image_embeds,
            text_embeds,
            scale,
            bias,
            text_keys=keys,
            same_text=self.preset.same_text,
        )

    def _region_losses(
        self, region_embeds: Tensor, batch: AlignmentBatch
    ) -> dict[str, Tensor]:
        preset, terms = self.preset, {}
        text_embeds = self._embed_texts(batch.box_ids, batch.box_keys, 'box')
        if preset.fgv:
            terms['fgv'] = losses.region_text_loss(
                region_embeds,
                text_embeds,
                batch.phrase_index,
                batch.box_keys,
                self.region_scale,
                true_keys=batch.true_keys,
                form=preset.fgv_form,
            )
        if preset.tic:
            terms['tic'] = losses.tic_loss(
                text_embeds[batch.phrase_index],
                text_keys=batch.box_keys[batch.phrase_index],
                similar=preset.tic_similar,
                reduction=preset.tic_reduction,
            )
        hard = (region_embeds, text_embeds, batch.hard_region, batch.hard_index)
        scale = self.hard_scale
        if preset.fgt:
            terms['fgt'] = losses.hard_negative_loss(*hard, scale, form=preset.fgt_form)
        if preset.itc:
            terms['itc'] = losses.hard_contrastive_loss(*hard, scale)
        if preset.cmr:
            terms['cmr'] = self._cmr(*losses.hard_cosines(*hard))
        return terms

    def _cmr(self, positive: Tensor, negative: Tensor, valid: Tensor) -> Tensor:
        """Rank loss with the last step's threshold; notes the next step's."""
        preset = self.preset
        if preset.cmr_scaled:
            scale = self.hard_scale.exp()
            positive, negative = positive * scale, negative * scale
        loss = losses.cmr_loss(positive, negative, valid, self.cmr_threshold)
        if self.training:
            self.cmr_threshold = losses.next_threshold(
                positive,
                negative,
                valid,
                per_negative=preset.cmr_per_negative,
                clamp=preset.cmr_clamp,
                previous=self.cmr_threshold,
            )
        return loss

    # --------------------------------------------------------------------- state
    def _set_scales(self, region: float, hard: float) -> None:
        """The scales of regions and hard texts; FG-CLIP 1 holds them itself."""
        if isinstance(self.encoder, FGCLIP1):
            if self.preset.global_form == 'sigmoid':
                raise ValueError(
                    "losses: global_form='sigmoid' needs a logit_bias, which FG-CLIP 1 "
                    "has not; take preset='fgclip1', or global_form='softmax'"
                )
            with torch.no_grad():
                self.encoder.logit_scale_finegraind.fill_(region)
                self.encoder.logit_scale_hardneg.fill_(hard)
            return
        # Names of the released training code's checkpoints
        self.logit_scale_finegraind = nn.Parameter(torch.tensor([region]))
        self.logit_scale_hardneg = nn.Parameter(torch.tensor([hard]))

    @property
    def region_scale(self) -> Tensor:
        """Log temperature of FGV."""
        owner = self.encoder if isinstance(self.encoder, FGCLIP1) else self
        return owner.logit_scale_finegraind

    @property
    def hard_scale(self) -> Tensor:
        """Log temperature of FGT."""
        owner = self.encoder if isinstance(self.encoder, FGCLIP1) else self
        return owner.logit_scale_hardneg

    def _freeze_unused(self) -> None:
        """Weights that no term reaches get no gradient, hence no weight decay."""
        preset = self.preset
        scaled = preset.fgt or preset.itc or (preset.cmr and preset.cmr_scaled)
        self.region_scale.requires_grad_(bool(preset.fgv))
        self.hard_scale.requires_grad_(bool(scaled))
        for part, is_used in parts_in_use(self.encoder, preset):
            if not is_used:
                part.requires_grad_(False)
        if self.freeze_text:
            self.encoder.text_model.requires_grad_(False)
            for head in text_heads(self.encoder):
                head.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: Mapping, prefix: str, *args) -> None:
        """The threshold's length is the data's: take it as it was saved."""
        saved = state_dict.get(f'{prefix}cmr_threshold')
        if saved is not None and saved.shape != self.cmr_threshold.shape:
            self.cmr_threshold = self.cmr_threshold.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor]:
    """First row of each distinct key, and for every row its place among them."""
    distinct, index = keys.unique(return_inverse=True)
    first = index.new_full((len(distinct),), len(keys))
    first.scatter_reduce_(0, index, torch.arange(len(keys), device=keys.device), 'amin')
    return first, index


def _image_parts(images: ImageBatch, size: int | None) -> list[ImageBatch]:
    """Slices of a batch, without the padding that a slice does not need."""
    if size is None:
        return [images]
    parts = []
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        grids = images.grid_sizes[part]
        longest = int(grids.prod(1).max())
        parts.append(
            ImageBatch(
                images.pixel_values[part, :longest],
                images.patch_mask[part, :longest],
                grids,
                images.image_sizes[part],
                None if images.windows is None else images.windows[part],
            )
        )
    return parts
