"""What FG-CLIP 1 and FG-CLIP 2 have in common: methods that the package calls."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import (
    CONFIG,
    Weights,
    check_encoder_weights,
    check_fit,
    load_strictly,
    resolve_folder,
    save_folder,
)
from fgclip2_det.fgclip2.config import EncoderConfig
from fgclip2_det.fgclip2.preprocess import ImageBatch
from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.fgclip2.text import check_mode
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.io.atomic import temporary_folder

TOWERS = ('both', 'vision', 'text')
Encoder = TypeVar('Encoder', bound='DualEncoder')


class DualEncoder(nn.Module):
    """A vision and a text tower with image, region and dense features.

    Subclasses set ``text_model`` unless ``towers`` is 'vision', and ``vision_model``
    unless it is 'text'; and, of the class, ``_kind`` of the weights as
    ``checkpoint.KINDS`` names it, and ``_left_out``, prefixes of the tensors that a
    model with these towers does not have.

    Args:
        config: sizes of both towers.
        tokenizer: turns texts into ids; None if only ids are passed.
        towers: 'both', 'vision' or 'text'.
    """

    _kind: ClassVar[str]
    _config_class: ClassVar[type[EncoderConfig]]
    _left_out: ClassVar[Mapping[str, tuple[str, ...]]]
    _tokenizer_files: ClassVar[str]
    text_model: Any
    vision_model: Any
    logit_scale: nn.Parameter

    def __init__(
        self,
        config: Any,
        tokenizer: FGCLIP2Tokenizer | None = None,
        towers: str = 'both',
    ) -> None:
        super().__init__()
        if towers not in TOWERS:
            raise ValueError(f'towers must be one of {TOWERS}, got {towers!r}')
        self.config, self.tokenizer = config, tokenizer

    @property
    @abstractmethod
    def embed_dims(self) -> int:
        """D, the size of image, region and text embeddings."""

    @abstractmethod
    def preprocess(self, images, max_num_patches: int | str = 'auto') -> ImageBatch:
        """Patches of one image or of several."""

    @abstractmethod
    def image_budget(self, width: int, height: int) -> int | str:
        """The budget that :meth:`preprocess` chooses for an image by itself."""

    @abstractmethod
    def encode(
        self, batch: ImageBatch, whole: bool = True, dense: bool = True
    ) -> tuple[Tensor | None, list[Tensor] | None]:
        """Global embeddings (B, D) and dense maps (h, w, D) in one pass of the tower,
        not normalised; None for what is not asked for."""

    @abstractmethod
    def hidden_tokens(self, batch: ImageBatch, num_blocks: int) -> Tensor:
        """Patches (B, N, D) after the first blocks of the vision tower, before any
        norm, padding included; no other block runs."""

    @abstractmethod
    def image_tokens(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """States of the vision tower (B, N + 1, W), the one of the whole image first,
        and (B, N + 1) bool, False for padding."""

    @abstractmethod
    def encode_grids(self, batch: ImageBatch) -> tuple[list[Tensor], list[Tensor]]:
        """:meth:`dense_grids`, and the patches' part of :meth:`image_tokens` as maps
        (h, w, W), of one pass of the tower."""

    @abstractmethod
    def project_text(self, pooled: Tensor, mode: str) -> Tensor:
        """Text embeddings (T, D) from the text tower's output (T, W)."""

    @abstractmethod
    def logit_parameters(self) -> tuple[Tensor, Tensor | None]:
        """Log of the scale of a cosine, and the bias of its logit, one number each; no
        bias where the encoder was trained with a softmax."""

    @staticmethod
    @abstractmethod
    def _tokenizer_without_weights(config: Any) -> FGCLIP2Tokenizer:
        """The tokenizer of random weights."""

    @staticmethod
    @abstractmethod
    def _tokenizer_of(folder: Path) -> FGCLIP2Tokenizer | None:
        """The tokenizer that a folder holds, None where it holds none."""

    @abstractmethod
    def _preprocessor(self) -> Mapping[str, Any]:
        """Content of ``preprocessor_config.json``."""

    def settings(self) -> dict[str, object]:
        """Settings that outputs depend on besides the weights, as JSON values."""
        tokenizer = None if self.tokenizer is None else self.tokenizer.digest
        return dict(config=asdict(self.config), tokenizer=tokenizer)

    @classmethod
    def other_prefixes(cls, tower: str) -> tuple[str, ...]:
        """What the names of tensors begin with that are no part of a tower."""
        return cls._left_out[tower]

    # ------------------------------------------------------------ construction
    @classmethod
    def from_size(
        cls: type[Encoder],
        size: str,
        *,
        towers: str = 'both',
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
    ) -> Encoder:
        """Random weights of a named size.

        Args:
            size: 'base', 'large' or 'tiny'; of FG-CLIP 2 also 'so400m'.
            towers: see the class. A tower's weights do not depend on it.
            generator: source of the seed; None for torch's default generator.
            device: 'meta' builds without allocating memory; None for torch's default
                device (``with torch.device('meta')``).

        Random weights give no meaning to ids, so a small tokenizer serves every size:
        for FG-CLIP 2 the one in ``assets/``, for FG-CLIP 1 one of bytes.

        Raises:
            ValueError: for a name of no size.
        """
        config = cls._config_class.from_size(size)
        with torch.device('meta'):
            model = cls(config, cls._tokenizer_without_weights(config), towers)
        device = torch.get_default_device() if device is None else torch.device(device)
        if device.type == 'meta':
            return model
        from fgclip2_det.fgclip2.random_weights import init_random

        return init_random(model.to_empty(device=device), generator)

    @classmethod
    def from_pretrained(
        cls: type[Encoder],
        name: str | os.PathLike,
        dtype: torch.dtype | None = None,
        towers: str = 'both',
    ) -> Encoder:
        """Load a folder in the released layout, or a hub id.

        Args:
            name: folder with ``config.json``, ``model.safetensors`` and tokenizer
                files, or a hub id such as 'qihoo360/fg-clip2-base' (``FGCLIP2``) or
                'qihoo360/fg-clip-base' (``FGCLIP1``).
            dtype: parameter type; float32 when None, whatever the file holds.
            towers: see the class; the other half is not read.

        Raises:
            ValueError: for weights that are missing, truncated, of other shapes or
                names, or of another kind of model, saying what loads them.
        """
        folder = resolve_folder(name)
        weights = Weights(folder)
        weights.expect(cls._kind)
        config = cls._config_class.of_folder(folder, weights.shapes())
        with torch.device('meta'):
            model = cls(config, None, towers)
        load_strictly(model, weights, cls._left_out[towers])
        return model._finish(folder, dtype)

    @classmethod
    def _from_state(
        cls: type[Encoder],
        state: Mapping[str, Tensor],
        config: EncoderConfig,
        folder: Path,
        dtype: torch.dtype | None,
        towers: str = 'both',
    ) -> Encoder:
        """A model of tensors that were made of another kind's, with the tokenizer of
        their folder, which errors name."""
        with torch.device('meta'):
            model = cls(config, None, towers)
        unused = cls._left_out[towers] or ('\0',)
        state = {k: v for k, v in state.items() if not k.startswith(unused)}
        expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
        actual = {name: tuple(tensor.shape) for name, tensor in state.items()}
        check_fit(expected, actual, folder)
        check_encoder_weights(state, folder)
        model.load_state_dict(state, assign=True)
        return model._finish(folder, dtype)

    def _finish(self: Encoder, folder: Path, dtype: torch.dtype | None) -> Encoder:
        """The tokenizer, if there is a text tower for it, and the parameter type."""
        if hasattr(self, 'text_model'):
            self.tokenizer = self._tokenizer_of(folder)
        return self.to(dtype or torch.float32).eval()

    def save_pretrained(self, folder: str | os.PathLike) -> Path:
        """Write the released layout; ``from_pretrained`` reads it back exactly.

        A new folder appears whole or not at all. In an existing one ``config.json``,
        without which nothing is read, goes first and comes last.

        Raises:
            ValueError: for a model with one tower.
        """
        if not (hasattr(self, 'text_model') and hasattr(self, 'vision_model')):
            raise ValueError('only a model with both towers can be saved')
        state = self.state_dict()
        if any(not tensor.is_floating_point() for tensor in state.values()):
            raise ValueError(
                'a model in int8 cannot be saved, its weights are rounded: save the '
                'float model, and call quantize_int8() whenever it is loaded'
            )
        with temporary_folder(folder, CONFIG) as partial:
            config = self.config.to_dict()
            save_folder(partial, config, state, self._preprocessor())
            if self.tokenizer is not None:
                self.tokenizer.save(partial)
        return Path(folder)

    # ------------------------------------------------------------------ images
    def encode_image(self, batch: ImageBatch, normalize: bool = False) -> Tensor:
        """Global image embeddings (B, D)."""
        embeds, _ = self.encode(batch, dense=False)
        assert embeds is not None
        return maybe_normalize(embeds, normalize)

    def dense_features(self, batch: ImageBatch) -> list[Tensor]:
        """Dense maps comparable with 'box' texts: list of (D, h, w), each image's
        own grid, contiguous, not normalised."""
        return [x.permute(2, 0, 1).contiguous() for x in self.dense_grids(batch)]

    def dense_grids(self, batch: ImageBatch) -> list[Tensor]:
        """``dense_features`` in the memory layout of the tokens, (h, w, D)."""
        _, grids = self.encode(batch, whole=False)
        assert grids is not None
        return grids

    def region_features(
        self,
        batch: ImageBatch,
        bboxes: Sequence,
        normalize: bool = False,
        grids: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """RoIAlign of the dense map at boxes.

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
        return [maybe_normalize(embeds, normalize) for embeds in pooled]

    def llm_tokens(
        self, batch: ImageBatch, layer: int = -2
    ) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """Tokens of each image for a language model; see :func:`.llm_tokens`."""
        from fgclip2_det.fgclip2.llm_tokens import llm_tokens

        return llm_tokens(self, batch, layer)

    # ------------------------------------------------------------------- texts
    def tokenize(self, texts: str | Sequence[str], mode: str = 'box') -> Tensor:
        """Ids (T, L), L by mode; lower-cased, padded, EOS kept.

        Raises:
            ValueError: if the model came without a tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError(
                f'this model has no tokenizer; put {self._tokenizer_files} into its '
                'folder, or pass ids'
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
            texts: strings, or ids (T, L) as :meth:`tokenize` makes them.
            mode: 'short' (global captions), 'box' (regions) or 'long'.
            normalize: L2-normalise.
        """
        mode = check_mode(mode)
        ids = texts if isinstance(texts, Tensor) else self.tokenize(texts, mode)
        pooled = self.text_model(ids.to(self.logit_scale.device), mode)
        return maybe_normalize(self.project_text(pooled, mode), normalize)

    def text_tokens(
        self, texts: str | Sequence[str] | Tensor, mode: str = 'box'
    ) -> tuple[Tensor, Tensor]:
        """States of the text tower's tokens, see the towers' ``tokens``.

        Args:
            texts: as in :meth:`encode_text`.
            mode: as in :meth:`encode_text`.

        Returns:
            (T, n, W), the pooled state first, and (T, n) bool, False for padding.
        """
        mode = check_mode(mode)
        ids = texts if isinstance(texts, Tensor) else self.tokenize(texts, mode)
        return self.text_model.tokens(ids.to(self.logit_scale.device), mode)

    def forward(
        self, batch: ImageBatch, texts: Sequence[str] | Tensor, mode: str = 'short'
    ) -> Tensor:
        """Logits (B, T) of image-text pairs: exp(scale) * cosine, plus the bias
        if there is one, fp32."""
        image_embeds = self.encode_image(batch).float()
        text_embeds = self.encode_text(texts, mode).float()
        cosines = F.normalize(image_embeds, dim=-1) @ F.normalize(text_embeds, dim=-1).T
        scale, bias = self.logit_parameters()
        logits = cosines * scale.float().exp()
        return logits if bias is None else logits + bias.float()


def maybe_normalize(x: Tensor, normalize: bool) -> Tensor:
    """L2-normalised over the last axis if requested; norms are float32 or better."""
    if not normalize:
        return x
    wide = torch.promote_types(x.dtype, torch.float32)
    return F.normalize(x.to(wide), dim=-1).to(x.dtype)


def to_grids(tokens: Tensor, grid_sizes: Tensor) -> list[Tensor]:
    """(B, N, D) tokens and (B, 2) grids -> list of (h, w, D), without the padding."""
    return [
        image[: h * w].unflatten(0, (h, w))
        for image, (h, w) in zip(tokens, grid_sizes.tolist(), strict=True)
    ]


def key_mask(batch: ImageBatch) -> Tensor | None:
    """(B, 1, 1, N) bool, or None when no image is padded (attention then runs its fast
    path)."""
    return None if bool(batch.patch_mask.all()) else batch.patch_mask[:, None, None]
