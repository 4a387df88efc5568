"""Texts with hidden tokens, and the head that tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import DualEncoder


@dataclass(frozen=True)
class SpecialIds:
    """Ids of an encoder's tokenizer that are no words.

    Attributes:
        mask: hides a token. Gemma's ``<mask>``; ``<unk>`` of a tokenizer that has none;
            the start of a text for CLIP's, which has neither, for it never stands
            inside a text and the tower is read at its end.
        fixed: are never hidden: padding, start and end.
        words: first and last + 1 of the others.
    """

    mask: int
    fixed: tuple[int, ...]
    words: tuple[int, int]

    @classmethod
    def of(cls, encoder: DualEncoder, mask_id: int | None = None) -> SpecialIds:
        """Those of an encoder.

        Args:
            encoder: with its tokenizer.
            mask_id: in place of the tokenizer's.

        Raises:
            ValueError: if there is no tokenizer, or no such id.
        """
        tokenizer = encoder.tokenizer
        if tokenizer is None:
            raise ValueError(
                'masked texts need the tokenizer of the encoder, whose folder has '
                'none; put it there, or leave mlm and feature_guided 0'
            )
        size = encoder.text_model.embeddings.token_embedding.num_embeddings
        if mask_id is not None and mask_id >= size:
            raise ValueError(
                f'mask_id must be below the {size} tokens of the text tower, got '
                f'{mask_id}'
            )
        fixed = {tokenizer.pad_id, tokenizer.eos_id, *tokenizer.start}
        if isinstance(encoder, FGCLIP1):  # start and end are the last ids
            mask = tokenizer.start[0] if mask_id is None else mask_id
            return cls(mask, tuple(sorted(fixed)), (0, min(fixed)))
        unknown = _id_of(tokenizer.engine, '<unk>')
        own = _id_of(tokenizer.engine, '<mask>')
        mask = mask_id if mask_id is not None else own if own is not None else unknown
        if mask is None:
            raise ValueError(
                'the tokenizer has neither <mask> nor <unk>; say mask_id in losses'
            )
        first = [each for each in (*fixed, unknown, own) if each is not None]
        return cls(mask, tuple(sorted(fixed)), (max(first) + 1, size))

    def maskable(self, ids: Tensor) -> Tensor:
        """Where a token may be hidden: bool of the shape of ``ids``."""
        return ~torch.isin(ids, ids.new_tensor(self.fixed))


class MaskedTextHead(nn.Module):
    """Tells hidden tokens by the states of a joint encoder.

    Linear, GELU, norm, and the text tower's own token table with a bias. The norm's
    weights start so that logits of a random direction have deviation 1, for rows of
    another tower's table may be long.

    Args:
        table: (V, W), the text tower's; its sizes and its rows' length are taken.
        eps: of the norm.

    Reference: BERT (arXiv:1810.04805), section 3.1, and its released code.
    """

    def __init__(self, table: Tensor, eps: float = 1e-12) -> None:
        super().__init__()
        vocab_size, width = table.shape
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        length = table.detach().float().square().sum(1).mean().sqrt().clamp(min=1e-6)
        with torch.no_grad():
            self.norm.weight.div_(length)

    def forward(self, states: Tensor, table: Tensor) -> Tensor:
        """(M, W) states and (V, W) table -> (M, V) logits."""
        return F.linear(self.norm(F.gelu(self.dense(states))), table, self.bias)


def hidden_states(states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """States of hidden tokens, and these tokens.

    Args:
        states: (B, n + 1, W); the state of token j at place j + 1, as both towers give
            them, after the pooled one.
        targets: (B, L) of :func:`~pretrain.losses.mask_tokens`, L >= n.

    Returns:
        (M, W) and (M,).
    """
    targets = targets[:, : states.shape[1] - 1]
    chosen = targets >= 0
    return states[:, 1 : 1 + targets.shape[1]][chosen], targets[chosen]


def _id_of(engine: Any, name: str) -> int | None:
    """Id of a piece, None if the vocabulary has no such piece."""
    if isinstance(engine, Tokenizer):
        return engine.token_to_id(name)
    found = engine.piece_to_id(name)
    return found if engine.id_to_piece(found) == name else None
