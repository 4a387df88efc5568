"""A joint encoder: BERT layers with cross attention to the other modality's tokens."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class JointAttention(nn.Module):
    """Multi-head attention with its output projection, residual and norm.

    Keys and values of a context are projected once, however many queries of it there
    are: with k texts for each region the cross attention takes their tokens together.

    Args:
        width: of the queries.
        context_width: of keys and values before their projection.
        num_heads: divides ``width``.
        eps: of the norm.
        dropout: of weights and output.
    """

    def __init__(
        self, width: int, context_width: int, num_heads: int, eps: float, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """(P, L, W) attends to (P, N, C); ``mask`` (P, N) bool, False = hidden."""
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(context), self.value(context))
        )
        hidden = None if mask is None else mask[:, None, None]
        rate = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=hidden, dropout_p=rate)
        out = self.output(out.transpose(1, 2).flatten(2))
        return self.norm(x + F.dropout(out, rate))


class JointLayer(nn.Module):
    """Self attention, cross attention, MLP with exact GELU; norms after the residuals.

    Reference: BERT (arXiv:1810.04805) with the cross attention of BLIP
    (arXiv:2201.12086), as R2D2's joint layers.
    """

    def __init__(
        self,
        width: int,
        context_width: int,
        num_heads: int,
        hidden: int,
        eps: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = JointAttention(width, width, num_heads, eps, dropout)
        self.cross_attention = JointAttention(
            width, context_width, num_heads, eps, dropout
        )
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        mask: Tensor | None,
        context_mask: Tensor | None,
        only_first: bool = False,
    ) -> Tensor:
        """See :class:`JointEncoder`; with ``only_first`` (K, k, 1, W)."""
        own = None if mask is None else mask.flatten(0, 1)
        flat = x.flatten(0, 1)  # (K * k, L, W): each sequence sees itself
        queries = flat[:, :1] if only_first else flat
        seen = self.self_attention(queries, flat, own)
        return self.read(seen.unflatten(0, x.shape[:2]), context, context_mask)

    def read(self, x: Tensor, context: Tensor, context_mask: Tensor | None) -> Tensor:
        """What comes after the self attention, (K, k, L, W) as before."""
        num_contexts, per_context, length, width = x.shape
        x = x.reshape(num_contexts, per_context * length, width)
        x = self.cross_attention(x, context, context_mask)
        out = self.fc2(F.gelu(self.fc1(x)))
        x = self.norm(x + F.dropout(out, self.dropout, self.training))
        return x.reshape(num_contexts, per_context, length, width)


class JointEncoder(nn.Module):
    """Sequences of one modality read the tokens of the other.

    Args:
        width: of the sequences.
        context_width: of the other modality's tokens.
        num_layers, num_heads, hidden, eps, dropout: of the layers.

    Example:
        >>> joint = JointEncoder(64, 32, 2, 4, 128)
        >>> joint(torch.zeros(3, 5, 7, 64), torch.zeros(3, 9, 32)).shape
        torch.Size([3, 5, 7, 64])

    Reference: R2D2 (arXiv:2205.03860), section 4.1.
    """

    def __init__(
        self,
        width: int,
        context_width: int,
        num_layers: int = 6,
        num_heads: int = 12,
        hidden: int = 3072,
        eps: float = 1e-12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            JointLayer(width, context_width, num_heads, hidden, eps, dropout)
            for _ in range(num_layers)
        )

    def forward(
        self,
        sequences: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """States of the sequences.

        Args:
            sequences: (K, k, L, W), k sequences for each of K contexts.
            context: (K, N, C).
            mask: (K, k, L) bool, False for padding; None: none is padded.
            context_mask: (K, N) bool likewise.

        Returns:
            (K, k, L, W); what stands at padding is of no use.
        """
        for layer in self.layers:
            sequences = layer(sequences, context, mask, context_mask)
        return sequences

    def begin(self, sequences: Tensor, mask: Tensor | None = None) -> Tensor:
        """(M, L, W) sequences after the first self attention, which sees no context:
        once for each, however many contexts it will read; so is its dropout."""
        return self._first.self_attention(sequences, sequences, mask)

    def first_states(
        self,
        begun: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """(K, k, W): ``forward(...)[:, :, 0]``, of sequences that :meth:`begin` has
        begun; the last layer runs for the first state alone."""
        if len(self.layers) == 1:
            return self._first.read(begun[:, :, :1], context, context_mask)[:, :, 0]
        x = self._first.read(begun, context, context_mask)
        last = len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            if number:
                x = layer(x, context, mask, context_mask, only_first=number == last)
        return x[:, :, 0]

    @property
    def _first(self) -> JointLayer:
        return cast(JointLayer, self.layers[0])


def init_bert(
    module: nn.Module, width: int = 768, generator: torch.Generator | None = None
) -> None:
    """BERT's initial weights: matrices N(0, 0.02) at its width of 768, in proportion to
    1 / sqrt(width) at others; biases 0, norms 1."""
    std = 0.02 * (768 / width) ** 0.5
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=std, generator=generator)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
