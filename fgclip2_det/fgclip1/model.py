"""FG-CLIP 1: CLIP with long texts, region and dense features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip1.config import FGCLIP1Config
from fgclip2_det.fgclip1.preprocess import preprocess_square
from fgclip2_det.fgclip1.squares import CLIP_MEAN, CLIP_STD, side_of_budget
from fgclip2_det.fgclip1.text import CLIPTextTower
from fgclip2_det.fgclip1.tokenizer import FGCLIP1Tokenizer, files_of
from fgclip2_det.fgclip1.vision import CLIPVisionTower
from fgclip2_det.fgclip2.checkpoint import (
    Weights,
    resolve_folder,
    stretch_positions,
)
from fgclip2_det.fgclip2.dual_encoder import DualEncoder, key_mask, to_grids
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.fgclip2.preprocess import ImageBatch
from fgclip2_det.io import InputError

TABLE = 'text_model.embeddings.position_embedding'
SCALES = ('logit_scale_finegraind', 'logit_scale_hardneg')


class FGCLIP1(DualEncoder):
    """The encoder, with the released parameter names.

    Images are squashed to a square of the model's size (224 or 336 px). Region and
    short texts share a projection; long texts have their own.

    Args:
        config: sizes of both towers.
        tokenizer: turns texts into ids; None if only ids are passed.
        towers: 'both', 'vision' or 'text', each with its projections.

    Example:
        >>> encoder = FGCLIP1.from_size('tiny')
        >>> batch = encoder.preprocess(Image.new('RGB', (640, 480)))
        >>> encoder.region_features(batch, [[[0, 0, 320, 240]]])[0].shape
        torch.Size([1, 80])

    Reference: FG-CLIP (arXiv:2505.05071), section 3.
    """

    _kind = 'FG-CLIP 1'
    _config_class = FGCLIP1Config
    _left_out: ClassVar = {
        'both': (),
        'vision': ('text_model.', 'text_'),
        'text': ('vision_model.', 'visual_projection.'),
    }
    _tokenizer_files = 'tokenizer.json, or vocab.json and merges.txt,'
    config: FGCLIP1Config

    def __init__(
        self,
        config: FGCLIP1Config,
        tokenizer: FGCLIP1Tokenizer | None = None,
        towers: str = 'both',
    ) -> None:
        super().__init__(config, tokenizer, towers)
        text, vision, dims = config.text, config.vision, config.projection_dim
        if towers != 'vision':
            self.text_model = CLIPTextTower(text)
            self.text_projection = nn.Linear(text.hidden_size, dims, bias=False)
            self.text_filip_projection = nn.Linear(text.hidden_size, dims, bias=False)
        if towers != 'text':
            self.vision_model = CLIPVisionTower(vision)
            self.visual_projection = nn.Linear(vision.hidden_size, dims, bias=False)
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.logit_scale_finegraind = nn.Parameter(torch.empty(()))
        self.logit_scale_hardneg = nn.Parameter(torch.empty(()))

    @property
    def embed_dims(self) -> int:
        """D, the size of image, region and text embeddings."""
        return self.config.projection_dim

    # ------------------------------------------------------------ construction
    @classmethod
    def from_clip(
        cls,
        name: str | os.PathLike,
        dtype: torch.dtype | None = None,
        towers: str = 'both',
    ) -> FGCLIP1:
        """OpenAI's CLIP, as a baseline and as the start of FG-CLIP 1's training.

        Image, short and box embeddings are CLIP's own. The long position tables are the
        stretched short one, and the projection of long texts is a copy (the reference's
        start); the two other scales are ``logit_scale``.

        Args:
            name: folder or hub id, e.g. 'openai/clip-vit-large-patch14'.
            dtype: parameter type; float32 when None.
            towers: see the class.
        """
        folder = resolve_folder(name)
        weights = Weights(folder)
        state = fgclip1_state_from_clip(weights)
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        config = FGCLIP1Config.of_folder(folder, shapes)
        return cls._from_state(state, config, folder, dtype, towers)

    @staticmethod
    def _tokenizer_without_weights(config: FGCLIP1Config) -> FGCLIP1Tokenizer:
        return FGCLIP1Tokenizer.of_bytes(config.text.vocab_size)

    @staticmethod
    def _tokenizer_of(folder: Path) -> FGCLIP1Tokenizer | None:
        return FGCLIP1Tokenizer.from_folder(folder) if files_of(folder) else None

    def _preprocessor(self) -> dict[str, Any]:
        side = self.config.vision.image_size
        return dict(
            image_processor_type='CLIPImageProcessor',
            do_convert_rgb=True,
            do_resize=True,
            size=dict(shortest_edge=side),
            resample=3,  # bicubic
            do_center_crop=True,
            crop_size=dict(height=side, width=side),
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=True,
            image_mean=list(CLIP_MEAN),
            image_std=list(CLIP_STD),
        )

    # ------------------------------------------------------------------ images
    def preprocess(
        self,
        images: ImageLike | Sequence[ImageLike],
        max_num_patches: int | str = 'auto',
    ) -> ImageBatch:
        """Squash images to a square and cut it into patches.

        Args:
            images: one image or B images, each as ``load_image`` takes it.
            max_num_patches: 'auto' for the model's own grid (14 x 14 or 24 x 24); a
                budget for the largest square grid within it, for which the position
                table is resized by bicubic interpolation.
        """
        vision = self.config.vision
        side = side_of_budget(max_num_patches, vision.grid_side)
        return preprocess_square(images, side, vision.patch_size)

    def image_budget(self, width: int, height: int) -> str:
        """'auto': every image has the same grid."""
        return 'auto'

    def encode(
        self, batch: ImageBatch, whole: bool = True, dense: bool = True
    ) -> tuple[Tensor | None, list[Tensor] | None]:
        """Global embeddings (B, D) of the class token and dense maps (h, w, D) of the
        last block without attention; all blocks before it run once."""
        batch = batch.to(self.logit_scale.device)
        tower, grids = self.vision_model, batch.grid_sizes
        x, mask, _ = tower.before_last(
            batch.pixel_values, grids.tolist(), key_mask(batch)
        )
        embeds = self.visual_projection(tower.pool(x, mask)) if whole else None
        if not dense:
            return embeds, None
        return embeds, to_grids(self.visual_projection(tower.dense(x)), grids)

    def hidden_tokens(self, batch: ImageBatch, num_blocks: int) -> Tensor:
        """Patches (B, N, D) after the first blocks, see
        :meth:`CLIPVisionTower.hidden`."""
        batch = batch.to(self.logit_scale.device)
        grids = batch.grid_sizes.tolist()
        args = batch.pixel_values, grids, key_mask(batch)
        return self.vision_model.hidden(*args, num_blocks)

    def image_tokens(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """States (B, N + 1, W), the class token's first, and (B, N + 1) bool."""
        batch = batch.to(self.logit_scale.device)
        tower, mask = self.vision_model, key_mask(batch)
        x, padded = tower.embed(batch.pixel_values, batch.grid_sizes.tolist(), mask)
        x, _ = tower.encoder(x, padded)
        states = tower.post_layernorm(x).roll(1, 1)
        return states, F.pad(batch.patch_mask, (1, 0), value=True)

    def encode_grids(self, batch: ImageBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Dense maps (h, w, D) and maps of the last block's output (h, w, W) after
        ``post_layernorm``; the blocks before it run once."""
        batch = batch.to(self.logit_scale.device)
        tower, grids = self.vision_model, batch.grid_sizes
        x, mask, _ = tower.before_last(
            batch.pixel_values, grids.tolist(), key_mask(batch)
        )
        states = tower.post_layernorm(tower.last(x, mask)[:, :-1])
        dense = self.visual_projection(tower.dense(x))
        return to_grids(dense, grids), to_grids(states, grids)

    # ------------------------------------------------------------------- texts
    def project_text(self, pooled: Tensor, mode: str) -> Tensor:
        """Text embeddings (T, D): of 'long' texts by their own projection."""
        if mode == 'long':
            return self.text_filip_projection(pooled)
        return self.text_projection(pooled)

    def logit_parameters(self) -> tuple[Tensor, None]:
        """``logit_scale``; the model is trained with a softmax, without a bias."""
        return self.logit_scale, None


def fgclip1_state_from_clip(weights: Weights) -> dict[str, Tensor]:
    """Initial weights of FG-CLIP 1 from OpenAI's CLIP, see :meth:`FGCLIP1.from_clip`.

    Reference: Long-CLIP (arXiv:2403.15378), section 3.1, for the tables.
    """
    weights.expect('CLIP')
    state = {name: weights[name] for name in weights.names()}
    required = (f'{TABLE}.weight', 'text_projection.weight', 'logit_scale')
    if missing := [name for name in required if name not in state]:
        raise InputError(f'{weights.folder}: CLIP weights lack {missing[0]}')
    table = state[f'{TABLE}.weight']
    if len(table) < 22:
        raise InputError(
            f'{weights.folder}: {TABLE} must have 77 rows, got {len(table)}'
        )
    stretched = stretch_positions(table)
    for name in ('res', 'ori'):
        state[f'{TABLE}_{name}.weight'] = stretched.clone()
    state['text_filip_projection.weight'] = state['text_projection.weight'].clone()
    for name in SCALES:
        state[name] = state['logit_scale'].clone()
    return state
