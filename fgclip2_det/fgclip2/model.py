"""FG-CLIP 2: a bilingual dual encoder with image, region and dense features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import (
    ASSETS,
    Weights,
    check_finite_weights,
    check_fit,
    fgclip2_state_from_siglip2,
    load_strictly,
    read_config,
    resolve_folder,
    save_folder,
)
from fgclip2_det.fgclip2.config import FGCLIP2Config
from fgclip2_det.fgclip2.layers import AttentionPoolingHead
from fgclip2_det.fgclip2.preprocess import ImageBatch, preprocess
from fgclip2_det.fgclip2.random_weights import init_random
from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.fgclip2.text import TextTower, check_mode
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.fgclip2.vision import VisionTower

TOWERS = ('both', 'vision', 'text')


class FGCLIP2(nn.Module):
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

    def __init__(
        self,
        config: FGCLIP2Config,
        tokenizer: FGCLIP2Tokenizer | None = None,
        towers: str = 'both',
    ) -> None:
        super().__init__()
        if towers not in TOWERS:
            raise ValueError(f'towers must be one of {TOWERS}, got {towers!r}')
        self.config, self.tokenizer = config, tokenizer
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

    # ------------------------------------------------------------ construction
    @classmethod
    def from_size(
        cls,
        size: str,
        *,
        towers: str = 'both',
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
    ) -> FGCLIP2:
        """Random weights of a named size.

        Args:
            size: 'base', 'large', 'so400m' or 'tiny'.
            towers: see the class. A tower's weights do not depend on it.
            generator: source of the seed; None for torch's default generator.
            device: 'meta' builds without allocating memory; None for torch's default
                device (``with torch.device('meta')``).

        The tokenizer is the small one in ``assets/``; random weights give no
        meaning to ids, so it serves every size.
        """
        config = FGCLIP2Config.from_size(size)
        with torch.device('meta'):
            model = cls(config, FGCLIP2Tokenizer.from_folder(ASSETS), towers)
        device = torch.get_default_device() if device is None else torch.device(device)
        if device.type == 'meta':
            return model
        return init_random(model.to_empty(device=device), generator)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        dtype: torch.dtype | None = None,
        towers: str = 'both',
    ) -> FGCLIP2:
        """Load a folder in the released layout, or a hub id.

        Args:
            name: folder with ``config.json``, ``model.safetensors`` and tokenizer
                files, or a hub id such as 'qihoo360/fg-clip2-base'.
            dtype: parameter type; float32 when None, whatever the file holds.
            towers: see the class; the other half is not read.

        Raises:
            ValueError: for weights that are missing, truncated, of other shapes or
                names, or of FG-CLIP 1; for SigLIP 2 weights (use ``from_siglip2``).
        """
        folder = resolve_folder(name)
        weights = Weights(folder)
        if 'dense_feature_head.probe' not in weights:
            raise ValueError(
                f'{folder} holds no FG-CLIP 2 weights (dense_feature_head is absent); '
                f'start from SigLIP 2 with FGCLIP2.from_siglip2'
            )
        config = FGCLIP2Config.from_dict(read_config(folder), weights.shapes())
        with torch.device('meta'):
            model = cls(config, None, towers)
        left_out = {
            'both': (),
            'vision': ('text_model.', 'longtext_head.', 'boxtext_head.'),
            'text': ('vision_model.', 'dense_feature_head.'),
        }
        load_strictly(model, weights, left_out[towers])
        if towers != 'vision' and _has_tokenizer(folder):
            model.tokenizer = FGCLIP2Tokenizer.from_folder(folder)
        return model.to(dtype or torch.float32).eval()

    @classmethod
    def from_siglip2(
        cls, name: str | os.PathLike, dtype: torch.dtype | None = None
    ) -> FGCLIP2:
        """Start from SigLIP 2 weights (NaFlex or fixed resolution; spec A.3, B.2).

        Args:
            name: folder or hub id, e.g. 'google/siglip2-base-patch16-naflex'.
            dtype: parameter type; float32 when None.
        """
        folder = resolve_folder(name)
        state = fgclip2_state_from_siglip2(Weights(folder))
        shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
        given = read_config(folder)
        if isinstance(given.get('vision_config'), dict):
            # from the table's rows: fixed-resolution configs have image_size instead
            given['vision_config'].pop('num_patches', None)
        config = FGCLIP2Config.from_dict(given, shapes)
        with torch.device('meta'):
            model = cls(config)
        expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
        check_fit(expected, shapes, folder)
        check_finite_weights(state, folder)
        model.load_state_dict(state, assign=True)
        if _has_tokenizer(folder):
            model.tokenizer = FGCLIP2Tokenizer.from_folder(folder)
        return model.to(dtype or torch.float32).eval()

    def save_pretrained(self, folder: str | os.PathLike) -> Path:
        """Write the released layout; ``from_pretrained`` reads it back exactly."""
        if not (hasattr(self, 'text_model') and hasattr(self, 'vision_model')):
            raise ValueError('only a model with both towers can be saved')
        folder = save_folder(folder, self.config.to_dict(), self.state_dict())
        if self.tokenizer is not None:
            self.tokenizer.save(folder)
        return folder

    def settings(self) -> dict[str, object]:
        """Settings that outputs depend on besides the weights, as JSON values."""
        tokenizer = None if self.tokenizer is None else self.tokenizer.digest
        return dict(config=asdict(self.config), tokenizer=tokenizer)

    # ------------------------------------------------------------------ images
    @staticmethod
    def preprocess(images, max_num_patches: int | str = 'auto') -> ImageBatch:
        """Resize and patchify images (spec C.1); see ``preprocess.preprocess``."""
        return preprocess(images, max_num_patches)

    def encode_tokens(self, batch: ImageBatch) -> tuple[Tensor, Tensor | None]:
        """Last hidden state (B, N, D) and the key mask (B, 1, 1, N), or None when
        no image is padded (attention then runs its fast path)."""
        batch = batch.to(self.logit_scale.device)
        mask = None if bool(batch.patch_mask.all()) else batch.patch_mask[:, None, None]
        grids = batch.grid_sizes.tolist()
        windows = None if batch.windows is None else batch.windows.tolist()
        tokens, _ = self.vision_model(batch.pixel_values, grids, mask, windows=windows)
        return tokens, mask

    def encode_image(self, batch: ImageBatch, normalize: bool = False) -> Tensor:
        """Global image embeddings (B, D) from the MAP head."""
        tokens, mask = self.encode_tokens(batch)
        return _maybe_normalize(self.vision_model.head.pool(tokens, mask), normalize)

    def dense_features(self, batch: ImageBatch) -> list[Tensor]:
        """Dense maps comparable with 'box' texts: list of (D, h, w), each image's
        own grid, contiguous, not normalised (spec A.4)."""
        return [x.permute(2, 0, 1).contiguous() for x in self.dense_grids(batch)]

    def dense_grids(self, batch: ImageBatch) -> list[Tensor]:
        """``dense_features`` in the memory layout of the tokens, (h, w, D)."""
        dense = self.dense_feature_head.dense(*self.encode_tokens(batch))
        return [
            tokens[: h * w].unflatten(0, (h, w))
            for tokens, (h, w) in zip(dense, batch.grid_sizes.tolist(), strict=True)
        ]

    def region_features(
        self,
        batch: ImageBatch,
        bboxes: Sequence,
        normalize: bool = False,
        grids: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """RoIAlign of the dense map at boxes (spec A.5).

        Args:
            batch: B images.
            bboxes: B entries of (n, 4) xyxy in original pixels, n >= 0.
            normalize: L2-normalise after pooling.
            grids: :meth:`dense_grids` of the batch where they are known; the tower
                runs when None.

        Returns:
            List of (n, D).

        Raises:
            ValueError: for boxes with NaN, infinity or negative sizes, boxes entirely
                outside their image, or another shape than (n, 4).
        """
        if len(bboxes) != len(batch.grid_sizes):
            raise ValueError(
                f'expected one box list per image ({len(batch.grid_sizes)}), '
                f'got {len(bboxes)}'
            )
        maps = self.dense_grids(batch) if grids is None else grids
        sizes = batch.image_sizes.tolist()
        pooled = pool_regions(maps, sizes, bboxes)
        return [_maybe_normalize(embeds, normalize) for embeds in pooled]

    # ------------------------------------------------------------------- texts
    def tokenize(self, texts: str | Sequence[str], mode: str = 'box') -> Tensor:
        """Ids (T, 64), or (T, 196) for 'long'; lower-cased, padded, EOS kept.

        Raises:
            ValueError: if the model came without a tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError(
                'this model has no tokenizer; put tokenizer.json or tokenizer.model '
                'into its folder, or pass ids'
            )
        length = self.text_model.embeddings.length(check_mode(mode))
        return self.tokenizer([texts] if isinstance(texts, str) else texts, length)

    def encode_text(
        self,
        texts: str | Sequence[str] | Tensor,
        mode: str = 'box',
        normalize: bool = False,
    ) -> Tensor:
        """Text embeddings (T, D).

        Args:
            texts: strings, or ids (T, 64) / (T, 196).
            mode: 'short' (global captions), 'box' (regions) or 'long'.
            normalize: L2-normalise.
        """
        mode = check_mode(mode)
        ids = texts if isinstance(texts, Tensor) else self.tokenize(texts, mode)
        pooled = self.text_model(ids.to(self.logit_scale.device), mode)
        heads = dict(short='text_model.head', box='boxtext_head', long='longtext_head')
        return _maybe_normalize(self.get_submodule(heads[mode])(pooled), normalize)

    def forward(
        self, batch: ImageBatch, texts: Sequence[str] | Tensor, mode: str = 'short'
    ) -> Tensor:
        """Logits (B, T) of image-text pairs: exp(scale) * cosine + bias, fp32."""
        image_embeds = self.encode_image(batch).float()
        text_embeds = self.encode_text(texts, mode).float()
        cosines = F.normalize(image_embeds, dim=-1) @ F.normalize(text_embeds, dim=-1).T
        return cosines * self.logit_scale.float().exp() + self.logit_bias.float()


def _maybe_normalize(x: Tensor, normalize: bool) -> Tensor:
    return F.normalize(x, dim=-1) if normalize else x


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / f'tokenizer.{ending}').is_file() for ending in
               ('json', 'model'))  # fmt: skip
