"""Text tower with short, box and long modes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.config import TextConfig
from fgclip2_det.fgclip2.layers import Encoder

MODES = ('short', 'box', 'long')
PAD = 0  # id of the padding


def check_mode(mode: str) -> str:
    """The mode in lower case; ValueError if it is unknown."""
    if str(mode).lower() not in MODES:
        raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
    return mode.lower()


class TextEmbeddings(nn.Module):
    """Token table and three position tables (spec A.3).

    Long texts take rows ``[:keep_len]`` from ``position_embedding_ori`` and the
    others from ``position_embedding_res``.
    """

    def __init__(self, config) -> None:
        super().__init__()
        dims = config.hidden_size
        self.keep_len = config.keep_len
        self.token_embedding = nn.Embedding(config.vocab_size, dims)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, dims)
        self.position_embedding_res = nn.Embedding(config.longtext_len, dims)
        self.position_embedding_ori = nn.Embedding(config.longtext_len, dims)

    def length(self, mode: str) -> int:
        """Tokens that a text of this mode is padded to."""
        table = self.position_embedding_ori if mode == 'long' else (
            self.position_embedding
        )  # fmt: skip
        return table.num_embeddings

    def forward(self, ids: Tensor, mode: str) -> Tensor:
        """(T, L) ids -> (T, L, D); L is at most the mode's length."""
        keep = self.keep_len
        positions = self.position_embedding.weight
        if mode == 'long':
            ori, res = self.position_embedding_ori, self.position_embedding_res
            positions = torch.cat([ori.weight[:keep], res.weight[keep:]])
        return self.token_embedding(ids) + positions[: ids.shape[1]]

    def check(self, ids: Tensor, mode: str) -> None:
        """ValueError if ids are not (T, length of the mode) or one is out of range."""
        length = self.length(mode)
        if ids.ndim != 2 or ids.shape[1] != length:
            raise ValueError(
                f'ids of mode {mode!r} must be (texts, {length}): padding to exactly '
                f'{length} is part of the model; got {tuple(ids.shape)}'
            )
        vocab_size = self.token_embedding.num_embeddings
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
            raise ValueError(
                f'token ids must lie in [0, {vocab_size}), got up to {int(ids.max())}; '
                f'the tokenizer belongs to another model'
            )


class TextTower(nn.Module):
    """Bidirectional text transformer, pooled at the last position.

    There is no attention mask, and padding is attended to, so a text must be padded to
    exactly the length of its mode.

    Example:
        >>> tower = TextTower(TextConfig(64, 128, 1, 4, 320, projection_size=64))
        >>> tower(torch.zeros(2, 64, dtype=torch.long), 'box').shape
        torch.Size([2, 64])
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config)
        dims = config.hidden_size
        self.final_layer_norm = nn.LayerNorm(dims, eps=config.layer_norm_eps)
        self.head = nn.Linear(dims, config.projection_size)

    def forward(self, ids: Tensor, mode: str) -> Tensor:
        """Pooled hidden state (T, D) of ids (T, L), before any head.

        Raises:
            ValueError: if L is not the mode's length or an id is out of range.
        """
        self.embeddings.check(ids, mode)
        x, _ = self.encoder(self.embeddings(ids, mode), only_last=True)
        return self.final_layer_norm(x[:, -1])

    def tokens(self, ids: Tensor, mode: str) -> tuple[Tensor, Tensor]:
        """States of a text's tokens, the pooled one first.

        Args:
            ids: (T, L); padding is 0.
            mode: as in :meth:`forward`.

        Returns:
            States (T, n + 1, D), n the most tokens that a text has before its padding,
            the first of them :meth:`forward`'s; and (T, n + 1) bool, False for padding.
        """
        self.embeddings.check(ids, mode)
        x, _ = self.encoder(self.embeddings(ids, mode))
        is_text = ids != PAD
        length = int(is_text.sum(1).max()) if len(ids) else 0
        states = torch.cat([x[:, -1:], x[:, :length]], 1)
        is_text = F.pad(is_text[:, :length], (1, 0), value=True)
        return self.final_layer_norm(states), is_text
