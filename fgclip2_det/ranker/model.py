"""The ranker: joint encoders over the tokens of a dual encoder."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import (
    CONFIG,
    Weights,
    load_strictly,
    read_config,
    save_folder,
)
from fgclip2_det.fgclip2.dual_encoder import DualEncoder
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import temporary_folder
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.ranker.config import RankerConfig
from fgclip2_det.ranker.joint_encoder import JointEncoder, init_bert
from fgclip2_det.ranker.match import MatchLogits
from fgclip2_det.ranker.regions import region_tokens
from fgclip2_det.ranker.texts import BegunTexts


class Ranker(nn.Module):
    """Says whether an image, or a region, and a text match, reading the tokens of both.

    ``text_joint`` reads image tokens with the text's as queries, ``image_joint`` text
    tokens with the image's; a linear head on the first state of each gives two logits.

    Args:
        config: sizes; its ``encoder`` names the dual encoder whose tokens it reads.

    Example:
        >>> config = RankerConfig(64, 32, 2, 4, 128)
        >>> ranker = Ranker(config)
        >>> texts, image = torch.zeros(3, 5, 7, 64), torch.zeros(3, 10, 32)
        >>> ranker(image, texts).text.shape
        torch.Size([3, 5, 2])

    Reference: R2D2 (arXiv:2205.03860), section 4.1.
    """

    def __init__(self, config: RankerConfig) -> None:
        super().__init__()
        self.config = config
        width, layers = config.text_width, config.num_hidden_layers
        sizes = (
            layers, config.num_attention_heads, config.intermediate_size,
            config.layer_norm_eps, config.dropout,
        )  # fmt: skip
        if config.reads == 'region':
            count = 1 + config.region_grid**2
            self.positions = nn.Parameter(torch.zeros(count, config.image_width))
        if config.sides != 'image':
            self.text_joint = JointEncoder(width, config.image_width, *sizes)
            self.text_head = nn.Linear(width, 2)
        if config.sides != 'text':
            self.image_proj = nn.Linear(config.image_width, width)
            self.image_joint = JointEncoder(width, width, *sizes)
            self.image_head = nn.Linear(width, 2)

    @classmethod
    def for_encoder(
        cls,
        encoder: DualEncoder,
        generator: torch.Generator | None = None,
        **changes: Any,
    ) -> Ranker:
        """Random weights (BERT's) that fit an encoder; see
        :meth:`RankerConfig.for_encoder`."""
        ranker = cls(RankerConfig.for_encoder(encoder, **changes))
        init_bert(ranker, ranker.config.text_width, generator)
        if hasattr(ranker, 'positions'):
            nn.init.normal_(ranker.positions, std=0.02, generator=generator)
        return ranker

    # ------------------------------------------------------------------- files
    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike, encoder: DualEncoder | None = None
    ) -> Ranker:
        """Load a folder with ``config.json`` and ``model.safetensors``.

        Args:
            folder: as :meth:`save_pretrained` writes it.
            encoder: whose tokens it will read; refused if it was trained on another.

        Raises:
            InputError: if the folder holds another kind of model, weights do not fit
                their config, or the encoder is another.
        """
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f'{path} is no folder; expected the folder of a ranker')
        try:
            config = RankerConfig.from_dict(read_config(path))
        except InputError as error:
            raise InputError(f'{path / CONFIG}: {error}') from error
        with torch.device('meta'):
            ranker = cls(config)
        load_strictly(ranker, Weights(path))
        if encoder is not None:
            ranker.check_encoder(encoder, path)
        return ranker.float().eval()

    def save_pretrained(
        self, folder: str | os.PathLike, encoder: DualEncoder | None = None
    ) -> Path:
        """Write ``config.json`` and ``model.safetensors``; whole or not at all.

        Args:
            folder: a new one, or that of an earlier ranker.
            encoder: its digest goes into the config; None keeps the one there.
        """
        config = self.config
        if encoder is not None:
            config = replace(config, encoder=tower_digests(encoder))
        with temporary_folder(folder, CONFIG) as partial:
            save_folder(partial, config.to_dict(), self.state_dict(), None)
        return Path(folder)

    def check_encoder(self, encoder: DualEncoder, name: str | os.PathLike = '') -> None:
        """InputError if the ranker was trained on the tokens of another encoder."""
        config = self.config
        widths = RankerConfig.for_encoder(encoder)
        expected = widths.text_width, widths.image_width
        found = config.text_width, config.image_width
        if expected != found:
            raise InputError(
                f'the ranker {name} reads text and image tokens of widths {found}, the '
                f'encoder has {expected}; give the encoder that it was trained on'
            )
        types = {p.dtype for p in encoder.parameters()}
        if config.encoder and types != {torch.float32}:
            raise InputError(
                f'the ranker {name} reads tokens in float32, the encoder has '
                f'{", ".join(sorted(str(t).removeprefix("torch.") for t in types))}'
            )
        for tower, digest in tower_digests(encoder).items():
            trained = config.encoder.get(tower, digest)
            if digest != trained:
                raise InputError(
                    f'the ranker {name} was trained on the tokens of another encoder '
                    f'({tower} tower {trained[:12]}, this one has {digest[:12]}); give '
                    'that one'
                )

    # ----------------------------------------------------------------- forward
    def forward(
        self,
        image_tokens: Tensor,
        text_tokens: Tensor,
        text_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
    ) -> MatchLogits:
        """Logits of K images or regions with k texts each.

        Args:
            image_tokens: (K, N, C), the state of the whole first: of
                :meth:`.DualEncoder.image_tokens`, or :func:`region_tokens`.
            text_tokens: (K, k, L, W) of :meth:`.DualEncoder.text_tokens`, the pooled
                state first.
            text_mask: (K, k, L) bool, False for padding; None: none is padded.
            image_mask: (K, N) bool likewise.
        """
        config = self.config
        if image_tokens.ndim != 3 or text_tokens.ndim != 4 or (
            len(image_tokens) != len(text_tokens)
            or image_tokens.shape[-1] != config.image_width
            or text_tokens.shape[-1] != config.text_width
        ):  # fmt: skip
            raise ValueError(
                f'expected image tokens (K, N, {config.image_width}) and text tokens '
                f'(K, k, L, {config.text_width}), got {tuple(image_tokens.shape)} and '
                f'{tuple(text_tokens.shape)}'
            )
        flat_mask = None if text_mask is None else text_mask.flatten(0, 1)
        texts = self.begin_texts(text_tokens.flatten(0, 1), flat_mask)
        texts = texts.reshape(*text_tokens.shape[:2])
        return self.read(image_tokens, texts, image_mask)

    def begin_texts(
        self, text_tokens: Tensor, text_mask: Tensor | None = None
    ) -> BegunTexts:
        """What does not depend on the image, of texts (T, L, W) that many images or
        regions will be read with."""
        begun = None
        if self.config.sides != 'image':
            begun = self.text_joint.begin(text_tokens, text_mask)
        return BegunTexts(text_tokens, begun, text_mask)

    def read(
        self, image_tokens: Tensor, texts: BegunTexts, image_mask: Tensor | None = None
    ) -> MatchLogits:
        """:meth:`forward` with texts (K, k, ...) of :meth:`begin_texts`."""
        if self.config.reads == 'region':
            image_tokens = image_tokens + self.positions
        text = image = None
        if texts.begun is not None:
            given = texts.begun, image_tokens, texts.mask, image_mask
            text = self.text_head(self.text_joint.first_states(*given))
        if self.config.sides != 'text':
            image = self._read_texts(image_tokens, texts, image_mask)
        return MatchLogits(text, image)

    def _read_texts(
        self, image_tokens: Tensor, texts: BegunTexts, image_mask: Tensor | None
    ) -> Tensor:
        """(K, k, 2) of the image's tokens as queries; each pair is a context here."""
        num_texts = texts.states.shape[1]
        begun = self.image_joint.begin(self.image_proj(image_tokens), image_mask)
        begun = begun[:, None].expand(-1, num_texts, -1, -1).flatten(0, 1)
        mask = image_mask
        if mask is not None:
            mask = mask[:, None].expand(-1, num_texts, -1).flatten(0, 1)[:, None]
        context_mask = None if texts.mask is None else texts.mask.flatten(0, 1)
        states = self.image_joint.first_states(
            begun[:, None], texts.states.flatten(0, 1), mask, context_mask
        )
        states = states.unflatten(0, (len(image_tokens), num_texts))
        return self.image_head(states[:, :, 0])

    def regions(
        self, states: Tensor, image_size: tuple[int, int], bboxes: Tensor
    ) -> Tensor:
        """:func:`region_tokens` with this ranker's grid and context."""
        config = self.config
        if config.reads != 'region':
            raise ValueError("this ranker reads whole images; expected reads='region'")
        return region_tokens(
            states, image_size, bboxes, config.region_grid, config.region_context
        )


def tower_digests(encoder: DualEncoder) -> dict[str, str]:
    """Tower -> digest of the weights and sizes that its tokens depend on; of those that
    the encoder has."""
    settings = asdict(encoder.config)
    state = encoder.state_dict(keep_vars=True)
    own = {k: v for k, v in state.items() if '.' in k}  # without scales
    towers = {}
    for tower in ('vision', 'text'):
        if hasattr(encoder, f'{tower}_model'):
            others = encoder.other_prefixes(tower)
            part = {k: v for k, v in own.items() if not k.startswith(others)}
            towers[tower] = encoder_digest(part, settings)
    return towers
