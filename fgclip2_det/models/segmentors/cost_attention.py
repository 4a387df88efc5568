"""Attention over a cost volume: within windows of places, and over the names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Sequential):
    """Two layers, four times wider between them."""

    def __init__(self, dims: int) -> None:
        super().__init__(
            nn.Linear(dims, 4 * dims), nn.GELU(), nn.Linear(4 * dims, dims)
        )


class GuidedProjection(nn.Module):
    """Queries and keys of features with their guidance, values of features alone.

    Args:
        dims: C, channels of the features.
        guidance_dims: G, channels of the guidance; 0 for none.
        num_heads: heads, which divide C.
    """

    def __init__(self, dims: int, guidance_dims: int, num_heads: int) -> None:
        super().__init__()
        if dims % num_heads:
            raise ValueError(
                f'num_heads must divide the hidden channels {dims}, got {num_heads}'
            )
        self.num_heads = num_heads
        self.query = nn.Linear(dims + guidance_dims, dims)
        self.key = nn.Linear(dims + guidance_dims, dims)
        self.value = nn.Linear(dims, dims)
        self.out = nn.Linear(dims, dims)

    def forward(
        self, x: Tensor, guidance: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(M, N, C) and (M, N, G) -> query, key, value (M, heads, N, C / heads)."""
        both = x if guidance is None else torch.cat([x, guidance], -1)
        q, k, v = self.query(both), self.key(both), self.value(x)
        return self._heads(q), self._heads(k), self._heads(v)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def close(self, x: Tensor) -> Tensor:
        """(M, heads, N, C / heads) -> (M, N, C), through the last layer."""
        return self.out(x.transpose(1, 2).flatten(2))


class WindowBlock(nn.Module):
    """Attention of places within windows, for every name by itself.

    The windows of a shifted block begin half a window before the map, so that places
    on both sides of a plain block's border meet. Places outside the map, which fill the
    windows at its borders, are never attended to; this is what Swin's rolled maps with
    their masks compute.

    Args:
        dims: C.
        guidance_dims: G, of the appearance; 0 for none.
        num_heads: heads.
        window_size: side of a window in places; 0: the whole map.
        shifted: whether windows are shifted.

    Reference: Swin (arXiv:2103.14030), section 3.2; Cat-Seg (arXiv:2303.11797),
    section 3.3.
    """

    def __init__(
        self,
        dims: int,
        guidance_dims: int,
        num_heads: int,
        window_size: int,
        shifted: bool,
    ) -> None:
        super().__init__()
        self.window_size, self.shifted = window_size, shifted
        self.norm = nn.LayerNorm(dims)
        self.attention = GuidedProjection(dims, guidance_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(dims)
        self.ffn = FeedForward(dims)

    def forward(self, x: Tensor, guidance: Tensor | None) -> Tensor:
        """(M, h, w, C) maps and (M, h, w, G) guidance -> (M, h, w, C)."""
        x = x + self._attend(self.norm(x), guidance)
        return x + self.ffn(self.norm_ffn(x))

    def _attend(self, x: Tensor, guidance: Tensor | None) -> Tensor:
        h, w = x.shape[1:3]
        side = self.window_size
        whole = not side or (side >= max(h, w))
        pads = (0, 0, 0, 0) if whole else self._pads(h, w)
        rows, columns = (h, w) if whole else (side, side)
        cut = [
            None if y is None else to_windows(y, pads, rows, columns)
            for y in (x, guidance)
        ]
        mask = None
        if any(pads):
            inside = x.new_ones(1, h, w, 1)
            inside = to_windows(inside, pads, rows, columns)[:, None, None, :, 0] > 0
            mask = inside.repeat(len(x), 1, 1, 1)  # (M * windows, 1, 1, N)
            # windows wholly outside attend to themselves, for no NaN; they are cut off
            mask = mask | ~mask.any(-1, keepdim=True)
        q, k, v = self.attention(*cut)
        y = F.scaled_dot_product_attention(q, k, v, mask)
        return from_windows(self.attention.close(y), pads, rows, columns, (h, w))

    def _pads(self, h: int, w: int) -> tuple[int, int, int, int]:
        """Places to add on the left, right, top and bottom."""
        side = self.window_size
        start = side - side // 2 if self.shifted else 0
        right, bottom = (-(n + start) % side for n in (w, h))
        return start, right, start, bottom


def to_windows(
    x: Tensor, pads: tuple[int, int, int, int], rows: int, columns: int
) -> Tensor:
    """(M, h, w, C) -> (M * windows, rows * columns, C), padded with zeros."""
    x = F.pad(x, (0, 0, *pads))
    m, h, w, c = x.shape
    x = x.reshape(m, h // rows, rows, w // columns, columns, c)
    return x.transpose(2, 3).reshape(-1, rows * columns, c)


def from_windows(
    x: Tensor,
    pads: tuple[int, int, int, int],
    rows: int,
    columns: int,
    size: tuple[int, int],
) -> Tensor:
    """The reverse of :func:`to_windows`, for maps of ``size`` (h, w)."""
    left, right, top, bottom = pads
    h, w = size
    down, across = (h + top + bottom) // rows, (w + left + right) // columns
    x = x.reshape(-1, down, across, rows, columns, x.shape[-1]).transpose(2, 3)
    x = x.reshape(-1, down * rows, across * columns, x.shape[-1])
    return x[:, top : top + h, left : left + w]


class NameBlock(nn.Module):
    """Linear attention over the names, for every place by itself.

    Its cost grows with the number of names, not with its square, and it has no places
    of names: another order of names gives the same results in that order.

    Args:
        dims: C.
        guidance_dims: G, of the texts; 0 for none.
        num_heads: heads.
        pool: side in places of the squares that share one attention, as means.

    Reference: Katharopoulos et al. (arXiv:2006.16236), equation 7; Cat-Seg,
    section 3.3.
    """

    def __init__(
        self, dims: int, guidance_dims: int, num_heads: int, pool: int
    ) -> None:
        super().__init__()
        self.pool = pool
        self.norm = nn.LayerNorm(dims)
        self.attention = GuidedProjection(dims, guidance_dims, num_heads)
        self.norm_ffn = nn.LayerNorm(dims)
        self.ffn = FeedForward(dims)

    def forward(self, x: Tensor, guidance: Tensor | None) -> Tensor:
        """(B, T, h, w, C) volume and (T, G) guidance -> (B, T, h, w, C)."""
        b, t, h, w, c = x.shape
        pooled = pool_places(x.flatten(0, 1), self.pool)  # (B * T, h', w', C)
        h_pooled, w_pooled = pooled.shape[1:3]
        names = pooled.reshape(b, t, -1, c).transpose(1, 2).reshape(-1, t, c)
        if guidance is not None:
            guidance = guidance.expand(len(names), -1, -1)
        q, k, v = self.attention(self.norm(names), guidance)
        new = self.attention.close(linear_attention(q, k, v))
        new = new + self.ffn(self.norm_ffn(names + new))
        new = new.reshape(b, h_pooled, w_pooled, t, c).permute(0, 3, 4, 1, 2)
        if (h_pooled, w_pooled) == (h, w):
            return x + new.permute(0, 1, 3, 4, 2)
        new = F.interpolate(new.flatten(0, 1), (h, w), mode='bilinear')
        return x + new.permute(0, 2, 3, 1).unflatten(0, (b, t))


def pool_places(x: Tensor, side: int) -> Tensor:
    """(M, h, w, C) -> means of squares; those at the border are of fewer places."""
    if side == 1:
        return x
    x = F.avg_pool2d(
        x.permute(0, 3, 1, 2), side, ceil_mode=True, count_include_pad=False
    )
    return x.permute(0, 2, 3, 1)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """phi(q) (sum phi(k) v) / (phi(q) sum phi(k)) with phi = elu + 1.

    Args:
        q, k, v: (..., N, d).

    Returns:
        (..., N, d).
    """
    q, k = F.elu(q) + 1, F.elu(k) + 1
    weight = q @ k.sum(-2, keepdim=True).transpose(-1, -2)  # (..., N, 1)
    return (q @ (k.transpose(-1, -2) @ v)) / weight.clamp(min=1e-6)
