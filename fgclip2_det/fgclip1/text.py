"""Text tower of CLIP with FG-CLIP 1's long positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip1.config import FGCLIP1TextConfig
from fgclip2_det.fgclip2.layers import QUICK_GELU, Encoder
from fgclip2_det.fgclip2.text import TextEmbeddings


class CLIPTextTower(nn.Module):
    """Causal text transformer, read at the first EOS, the last id of the vocabulary.

    No token looks ahead, so what follows the EOS has no effect: a batch is computed up
    to its longest text, not up to the length of its mode.

    Example:
        >>> tower = CLIPTextTower(FGCLIP1TextConfig(64, 128, 1, 4, 320))
        >>> tower(torch.full((2, 77), 319), 'box').shape
        torch.Size([2, 64])
    """

    def __init__(self, config: FGCLIP1TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config, QUICK_GELU)
        self.final_layer_norm = nn.LayerNorm(
            config.hidden_size, eps=config.layer_norm_eps
        )

    def forward(self, ids: Tensor, mode: str) -> Tensor:
        """Hidden state (T, W) at the EOS of ids (T, L), before any projection.

        Raises:
            ValueError: if L is not the mode's length, an id is out of range, or a text
                has no EOS.
        """
        x, ends = self._states(ids, mode)
        return self.final_layer_norm(x[torch.arange(len(ids)), ends])

    def tokens(self, ids: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        """States of a text's tokens, the one at the EOS first.

        Returns:
            States (T, n, W), n the length of the longest text with BOS and EOS, the
            first of them :meth:`forward`'s; and (T, n) bool, False for padding.
        """
        x, ends = self._states(ids, mode)
        places = torch.arange(x.shape[1], device=x.device)
        before = places < ends[:, None]  # (T, n), the EOS itself comes first
        end = x[torch.arange(len(ids)), ends][:, None]
        states = self.final_layer_norm(torch.cat([end, x[:, :-1]], 1))
        return states, F.pad(before[:, :-1], (1, 0), value=True)

    def _states(self, ids: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        """(T, n, W) up to the longest text's EOS, and the places of the EOS (T,)."""
        self.embeddings.check(ids, mode)
        eos = self.embeddings.token_embedding.num_embeddings - 1
        found = ids == eos
        if not bool(found.any(1).all()):
            row = int((~found.any(1)).nonzero()[0])
            raise ValueError(
                f'text {row} has no EOS ({eos}), at which the tower is read; the '
                'tokenizer belongs to another model'
            )
        ends = found.int().argmax(1)  # (T,), of the first
        length = int(ends.max()) + 1 if len(ids) else 1
        x = self.embeddings(ids[:, :length], mode)
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        x, _ = self.encoder(x, causal[None, None])
        return x, ends
