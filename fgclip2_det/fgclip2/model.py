"""FG-CLIP 2: a bilingual dual encoder with image, region and dense features."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import (
    ASSETS,
    CONFIG,
    PREPROCESSOR,
    Weights,
    fgclip2_state_from_siglip2,
    read_config,
    resolve_folder,
)
from fgclip2_det.fgclip2.config import FGCLIP2Config
from fgclip2_det.fgclip2.dual_encoder import DualEncoder, key_mask, to_grids
from fgclip2_det.fgclip2.layers import AttentionPoolingHead
from fgclip2_det.fgclip2.preprocess import ImageBatch, patch_budget, preprocess
from fgclip2_det.fgclip2.text import TextTower
from fgclip2_det.fgclip2.tokenizer import JSON_FILE, MODEL_FILE, FGCLIP2Tokenizer
from fgclip2_det.fgclip2.vision import VisionTower
from fgclip2_det.io import InputError


class FGCLIP2(DualEncoder):
    """The encoder, with the released parameter names.

    Args:
        config: sizes of both towers.
        tokenizer: turns texts into ids; None if only ids are passed.
        towers: 'both', 'vision' for the vision tower and the dense head, or 'text' for
            the text tower and its heads.

    Example:
        >>> encoder = FGCLIP2.from_size('tiny')
        >>> batch = encoder.preprocess(Image.new('RGB', (640, 480)))
        >>> encoder.region_features(batch, [[[0, 0, 320, 240]]])[0].shape
        torch.Size([1, 128])

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.
    """

    _kind = 'FG-CLIP 2'
    _config_class = FGCLIP2Config
    _left_out: ClassVar = {
        'both': (),
        'vision': ('text_model.', 'longtext_head.', 'boxtext_head.'),
        'text': ('vision_model.', 'dense_feature_head.'),
    }
    _tokenizer_files = 'tokenizer.json or tokenizer.model'
    config: FGCLIP2Config

    def __init__(
        self,
        config: FGCLIP2Config,
        tokenizer: FGCLIP2Tokenizer | None = None,
        towers: str = 'both',
    ) -> None:
        super().__init__(config, tokenizer, towers)
        vision, dims = config.vision, config.text.hidden_size
        if towers != 'vision':
            self.text_model = TextTower(config.text)
            self.longtext_head = nn.Linear(dims, dims)
            self.boxtext_head = nn.Linear(dims, dims)
        if towers != 'text':
            self.vision_model = VisionTower(vision)
            self.dense_feature_head = AttentionPoolingHead(
                dims,
                vision.intermediate_size,
                vision.num_attention_heads,
                vision.layer_norm_eps,
            )
        self.logit_scale = nn.Parameter(torch.empty(1))
        self.logit_bias = nn.Parameter(torch.empty(1))

    @property
    def embed_dims(self) -> int:
        """D, the size of image, region and text embeddings."""
        return self.config.text.hidden_size

    # ------------------------------------------------------------ construction
    @classmethod
    def from_siglip2(
        cls, name: str | os.PathLike, dtype: torch.dtype | None = None
    ) -> FGCLIP2:
        """Start from SigLIP 2 weights (NaFlex or fixed resolution; spec A.3, B.2).

        Args:
            name: folder or hub id, e.g. 'google/siglip2-base-patch16-naflex'.
            dtype: parameter type; float32 when None.

        Raises:
            ValueError: if they are other weights, or have patches of another size than
                16 pixels, which FG-CLIP 2 is made for.
        """
        folder = resolve_folder(name)
        state = fgclip2_state_from_siglip2(Weights(folder))
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        given = read_config(folder)
        if isinstance(given.get('vision_config'), dict):
            # from the table's rows: fixed-resolution configs have image_size instead
            given['vision_config'].pop('num_patches', None)
        try:
            config = FGCLIP2Config.from_dict(given, shapes)
        except InputError as error:
            raise InputError(f'{folder / CONFIG}: {error}') from error
        return cls._from_state(state, config, folder, dtype)

    @staticmethod
    def _tokenizer_without_weights(config: FGCLIP2Config) -> FGCLIP2Tokenizer:
        return FGCLIP2Tokenizer.from_folder(ASSETS)

    @staticmethod
    def _tokenizer_of(folder: Path) -> FGCLIP2Tokenizer | None:
        if any((folder / name).is_file() for name in (JSON_FILE, MODEL_FILE)):
            return FGCLIP2Tokenizer.from_folder(folder)
        return None

    def _preprocessor(self) -> dict[str, Any]:
        return PREPROCESSOR

    # --------------------------------------------------------------- inference
    def quantize_int8(self, text: bool = False) -> FGCLIP2:
        """Change the vision tower in place to products in int8, with ``text`` the text
        tower, too, for inference on CPUs with AVX-512 VNNI: see
        :func:`.low_precision.quantize_int8`, which names the layers that stay in float.
        For bfloat16: ``encoder.to(torch.bfloat16)``.
        """
        from fgclip2_det.fgclip2.low_precision import quantize_int8

        return quantize_int8(self, text)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the blocks of the vision tower with ``torch.compile`` in place, for
        inference: see :func:`.compiling.compile_tower`.

        Args:
            options: of ``torch.compile``, by name.

        Raises:
            ValueError: without a vision tower or a C++ compiler, or in int8.
        """
        from fgclip2_det.fgclip2.compiling import compile_tower

        if args:
            raise TypeError('options of torch.compile are given by name: dynamic=True')
        compile_tower(self, **options)

    # ------------------------------------------------------------------ images
    @staticmethod
    def preprocess(  # pyright: ignore[reportIncompatibleMethodOverride]
        images, max_num_patches: int | str = 'auto'
    ) -> ImageBatch:
        """Resize and patchify images (spec C.1); see ``preprocess.preprocess``."""
        return preprocess(images, max_num_patches)

    def image_budget(self, width: int, height: int) -> int:
        """See :func:`.preprocess.patch_budget`."""
        return patch_budget(width, height)

    def encode_tokens(self, batch: ImageBatch) -> tuple[Tensor, Tensor | None]:
        """Last hidden state (B, N, D) and the key mask (B, 1, 1, N), or None when
        no image is padded (attention then runs its fast path)."""
        batch = batch.to(self.logit_scale.device)
        mask = key_mask(batch)
        grids = batch.grid_sizes.tolist()
        windows = None if batch.windows is None else batch.windows.tolist()
        tokens, _ = self.vision_model(batch.pixel_values, grids, mask, windows=windows)
        return tokens, mask

    def encode(
        self, batch: ImageBatch, whole: bool = True, dense: bool = True
    ) -> tuple[Tensor | None, list[Tensor] | None]:
        """Global embeddings (B, D) of the MAP head and dense maps (h, w, D) of the
        dense head (spec A.4); the tower runs once."""
        tokens, mask = self.encode_tokens(batch)
        embeds = self.vision_model.head.pool(tokens, mask) if whole else None
        if not dense:
            return embeds, None
        dense_tokens = self.dense_feature_head.dense(tokens, mask)
        return embeds, to_grids(dense_tokens, batch.grid_sizes)

    def hidden_tokens(self, batch: ImageBatch, num_blocks: int) -> Tensor:
        """(B, N, D) after the first blocks, see :meth:`VisionTower.hidden`."""
        batch = batch.to(self.logit_scale.device)
        grids = batch.grid_sizes.tolist()
        windows = None if batch.windows is None else batch.windows.tolist()
        args = batch.pixel_values, grids, key_mask(batch), windows
        return self.vision_model.hidden(*args, num_blocks)

    def image_tokens(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """States (B, N + 1, D), the MAP head's first, and (B, N + 1) bool."""
        tokens, mask = self.encode_tokens(batch)
        whole = self.vision_model.head.pool(tokens, mask)[:, None]
        is_patch = batch.patch_mask.to(tokens.device)
        return torch.cat([whole, tokens], 1), F.pad(is_patch, (1, 0), value=True)

    def encode_grids(self, batch: ImageBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Dense maps and maps of the last hidden state, both as wide as the tower."""
        tokens, mask = self.encode_tokens(batch)
        dense = self.dense_feature_head.dense(tokens, mask)
        return to_grids(dense, batch.grid_sizes), to_grids(tokens, batch.grid_sizes)

    # ------------------------------------------------------------------- texts
    def project_text(self, pooled: Tensor, mode: str) -> Tensor:
        """Text embeddings (T, D) from the head of a mode."""
        heads = dict(short='text_model.head', box='boxtext_head', long='longtext_head')
        return self.get_submodule(heads[mode])(pooled)

    def logit_parameters(self) -> tuple[Tensor, Tensor]:
        """``logit_scale`` and ``logit_bias``."""
        return self.logit_scale, self.logit_bias
