"""Transformer layers of both towers, with the released parameter names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fgclip2_det.fgclip2.windows import Windows


def attend(q: Tensor, k: Tensor, v: Tensor, num_heads: int, mask: Tensor | None):
    """Multi-head attention; N x N weights are stored only in bfloat16 on a CPU: some of
    them, in training those of short sequences.

    Args:
        q: (B, L, D); k, v: (B, N, D), projected.
        mask: bool, broadcast to (B, 1, L, N), True = key takes part, at least one in
            each row; (B, 1, 1, N) hides padding. None = all do.

    Returns:
        (B, L, D), before the output projection.
    """
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    if _parts_serve(q, k, v):
        out = _attend_in_parts(q, k, v, mask)
    elif _heads_serve(q, k, v):
        return _attend_by_heads(q, k, v, mask)
    else:
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


def _attend_in_parts(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (B, H, L, d), a few images at a time, so that weights fit in the cache.

    On a CPU, PyTorch's kernel is slower for bfloat16 than for float32: forward and
    backward of 32 images of 576 tokens, 4 heads, on one core take 330 and 269 ms, this
    function 110 ms. For a whole step see ``benchmarks/alignment.py``. The weights are
    kept for the backward pass.
    """
    size = max(PART_WEIGHTS // (q.shape[1] * q.shape[2] * k.shape[2]), 1)
    parts = [x.split(size) for x in (q * q.shape[-1] ** -0.5, k.transpose(-1, -2), v)]
    biases = [None] * len(parts[0])
    if mask is not None:
        bias = q.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(q.dtype).min)
        biases = bias.expand(len(q), -1, -1, -1).split(size)
    outs = []
    with torch.autocast('cpu', enabled=False):  # it would make softmax float32
        for q, k, v, bias in zip(*parts, biases, strict=True):
            weights = q @ k if bias is None else q @ k + bias
            outs.append(weights.softmax(-1) @ v)
    return torch.cat(outs)


def _attend_by_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (B, L, H * d) without gradients, some heads or rows at a time.

    One image of 972 tokens, 12 heads, on one core: 25 ms, PyTorch's kernel 39 ms, in
    float32 37 ms. Sums and the softmax run in float32 inside the kernels."""
    num_images, num_heads, num_rows, _ = q.shape
    images = max(PART_WEIGHTS // (num_heads * num_rows * k.shape[2]), 1)
    heads = min(max(PART_WEIGHTS // (num_rows * k.shape[2]), 1), num_heads)
    parts = -(-num_rows * k.shape[2] // PART_WEIGHTS)
    rows = -(-num_rows // parts)  # alike in number
    q, k = q * q.shape[-1] ** -0.5, k.transpose(-1, -2)
    bias = None
    if mask is not None:
        bias = q.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(q.dtype).min)
        bias = bias.expand(num_images, 1, num_rows, -1)
    out = q.new_empty(num_images, num_rows, num_heads, v.shape[-1])
    starts = (range(0, num_images, images), range(0, num_heads, heads),
              range(0, num_rows, rows))  # fmt: skip
    for i, head, row in product(*starts):
        batch, part = slice(i, i + images), slice(head, head + heads)
        some = slice(row, row + rows)
        weights = q[batch, part, some] @ k[batch, part]
        if bias is not None:
            weights += bias[batch, :, some]
        values = torch.softmax(weights, -1, out=weights) @ v[batch, part]
        out[batch, some, part] = values.transpose(1, 2)
    return out.flatten(2)


def _parts_serve(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        _multiplies_bfloat16(q, k, v)
        and q.shape[1] * q.shape[2] * k.shape[2] <= PART_WEIGHTS
        and q.requires_grad
        and torch.is_grad_enabled()
    )


def _heads_serve(q: Tensor, k: Tensor, v: Tensor) -> bool:
    learns = any(x.requires_grad for x in (q, k, v)) and torch.is_grad_enabled()
    return _multiplies_bfloat16(q, k, v) and not learns


def _multiplies_bfloat16(q: Tensor, k: Tensor, v: Tensor) -> bool:
    return (
        BFLOAT16
        and torch.backends.mkldnn.enabled
        and q.device.type == 'cpu'
        and q.dtype == k.dtype == v.dtype == torch.bfloat16
        and q.numel() > 0
        and k.numel() > 0
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch.compiler.is_compiling()
    )


PART_WEIGHTS = 2**21  # attention weights at once in bfloat16
# whether oneDNN takes bfloat16; if it is fast: low_precision.has_bfloat16_units
BFLOAT16 = (
    hasattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported')
    and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)


def linear(x: Tensor, weight: Tensor, bias: Tensor, gelu: bool = False) -> Tensor:
    """x W^T + b, then GELU (tanh form) if requested.

    On a CPU without gradients oneDNN does both in one pass: 1.5 times faster in float32
    than ``F.linear`` and ``F.gelu`` for the same numbers (``benchmarks/encoder.py``).

    Args:
        x: (..., D). weight: (O, D). bias: (O,).

    Returns:
        (..., O).
    """
    if _onednn_serves(x, weight, bias) and (gelu or not _odd(x)):
        step = ('gelu', [], 'tanh') if gelu else ('none', [], '')
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, *step)
    x = F.linear(x, weight, bias)
    return F.gelu(x, approximate='tanh') if gelu else x


def _odd(x: Tensor) -> bool:
    """Whether oneDNN takes up to 1.4 times as long as ``F.linear``: from about 256 rows
    on that are no multiple of 4, such as the 577 tokens of CLIP's ViT-L/14 (PyTorch
    2.13, AVX-512)."""
    rows = x.shape[:-1].numel()
    return rows > 256 and rows % 4 > 0


def _onednn_serves(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    learns = any(t.requires_grad for t in (x, weight, bias))
    types = {x.dtype, weight.dtype, bias.dtype}
    return (
        ONEDNN
        and torch.backends.mkldnn.enabled
        and x.device.type == 'cpu'
        and (
            (types == {torch.float32} and not torch.is_autocast_enabled('cpu'))
            or (types == {torch.bfloat16} and BFLOAT16)
        )
        and x.numel() > 0
        and not (learns and torch.is_grad_enabled())
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        and not torch.compiler.is_compiling()
    )


# the op is part of PyTorch, for its compiler; without it F.linear is used
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, '_linear_pointwise'
)


class Linear(nn.Linear):
    """``nn.Linear`` through ``linear``."""

    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        """(..., D) -> (..., O)."""
        return linear(x, self.weight, self.bias, gelu)


class Attention(nn.Module):
    """Self-attention with a bias everywhere; scale head_dim ** -0.5."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.k_proj = Linear(embed_dims, embed_dims)
        self.v_proj = Linear(embed_dims, embed_dims)
        self.q_proj = Linear(embed_dims, embed_dims)
        self.out_proj = Linear(embed_dims, embed_dims)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        query: Tensor | None = None,
        windows: Windows | None = None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D), or (B, L, D) for ``query`` (B, L, D).

        With ``windows``, which replace ``mask``, a token sees its own window.
        """
        q = self.q_proj(x if query is None else query)
        k, v = self.k_proj(x), self.v_proj(x)
        if windows is None:
            return self.out_proj(attend(q, k, v, self.num_heads, mask))
        q, k, v = (windows.split(y) for y in (q, k, v))
        out = attend(q, k, v, self.num_heads, windows.mask)
        return self.out_proj(windows.join(out))


GELU_TANH, QUICK_GELU = 'gelu_pytorch_tanh', 'quick_gelu'  # as in a config.json


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the approximation of GELU in OpenAI's CLIP.

    Without gradients x itself is overwritten: a third of the time.
    """
    if torch.is_grad_enabled():
        return x * torch.sigmoid(1.702 * x)
    return F.silu(x.mul_(1.702), inplace=True).mul_(1 / 1.702)


class MLP(nn.Module):
    """fc1, GELU in the form ``activation`` (tanh or quick), fc2."""

    def __init__(
        self, embed_dims: int, hidden_dims: int, activation: str = GELU_TANH
    ) -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = Linear(embed_dims, hidden_dims)
        self.fc2 = Linear(hidden_dims, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        if self.activation == QUICK_GELU:
            return self.fc2(quick_gelu(self.fc1(x)))
        if isinstance(self.fc1, Linear):
            return self.fc2(self.fc1(x, gelu=True))
        return self.fc2(F.gelu(self.fc1(x), approximate='tanh'))  # e.g. with LoRA


class EncoderLayer(nn.Module):
    """Pre-LN block: x + attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(
        self,
        dims: int,
        hidden_dims: int,
        num_heads: int,
        eps: float,
        activation: str = GELU_TANH,
    ) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(dims, eps=eps)
        self.self_attn = Attention(dims, num_heads)
        self.layer_norm2 = nn.LayerNorm(dims, eps=eps)
        self.mlp = MLP(dims, hidden_dims, activation)

    def without_attention(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D): every token keeps its own value.

        Reference: MaskCLIP (arXiv:2112.01071), section 3.2.
        """
        attention = self.self_attn
        x = x + attention.out_proj(attention.v_proj(self.layer_norm1(x)))
        return x + self.mlp(self.layer_norm2(x))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        only_last: bool = False,
        windows: Windows | None = None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D), or only its last position (B, 1, D)."""
        normed = self.layer_norm1(x)
        if only_last:
            x = x[:, -1:] + self.self_attn(normed, mask, normed[:, -1:])
        else:
            x = x + self.self_attn(normed, mask, windows=windows)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """Stack of blocks; ``gradient_checkpointing`` trades time for memory.

    ``global_blocks`` are the blocks with global attention if ``windows`` are given; the
    others attend within windows.
    """

    def __init__(self, config, activation: str = GELU_TANH) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.global_blocks: Sequence[int] = ()
        self.layers = nn.ModuleList(
            EncoderLayer(
                config.hidden_size,
                config.intermediate_size,
                config.num_attention_heads,
                config.layer_norm_eps,
                activation,
            )
            for _ in range(config.num_hidden_layers)
        )

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        out_indices: Sequence[int] = (),
        only_last: bool = False,
        windows: Windows | None = None,
        stop: int | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks.

        Args:
            x: (B, N, D).
            mask: (B, 1, 1, N) bool over keys, (1, 1, N, N) over pairs, or None.
            out_indices: blocks whose outputs are also returned.
            only_last: compute only the last position in the last block, for towers that
                use no other: same result, less computation.
            windows: windows of the blocks that are not in ``global_blocks``; None for
                global attention in all blocks.
            stop: blocks to run, the first ones, negative as in a slice; None for all.

        Returns:
            (B, N, D) after the last block, or (B, 1, D) with ``only_last``, and the
            outputs of ``out_indices``.
        """
        outs = []
        for i, layer in enumerate(self.layers[:stop]):
            last = only_last and i == len(self.layers) - 1
            args = (x, mask, last, None if i in self.global_blocks else windows)
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, *args, use_reentrant=False)
            else:
                x = layer(*args)
            if i in out_indices:
                outs.append(x)
        return x, outs


class PackedAttention(nn.Module):
    """Parameters of ``nn.MultiheadAttention`` (q; k; v stacked), batch first."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dims, embed_dims))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * embed_dims))
        self.out_proj = Linear(embed_dims, embed_dims)

    def forward(self, query: Tensor | None, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from ``query`` (B, L, D), or from ``x`` itself, to x (B, N, D)."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if query is None:
            q, k, v = linear(x, weight, bias).chunk(3, -1)
        else:
            dims = x.shape[-1]
            q = linear(query, weight[:dims], bias[:dims])
            k, v = linear(x, weight[dims:], bias[dims:]).chunk(2, -1)
        return self.out_proj(attend(q, k, v, self.num_heads, mask))


class AttentionPoolingHead(nn.Module):
    """MAP head. ``pool`` returns one vector per image, ``dense`` one per token.

    The dense path (spec A.4) lets every token be its own query and adds no
    residual from its input: y = attention(x, x, x); out = y + MLP(LN(y)).

    Example:
        >>> head = AttentionPoolingHead(64, 128, 4, 1e-6)
        >>> head.dense(torch.zeros(2, 6, 64)).shape
        torch.Size([2, 6, 64])
    """

    def __init__(self, dims: int, hidden_dims: int, num_heads: int, eps: float) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, dims))
        self.attention = PackedAttention(dims, num_heads)
        self.layernorm = nn.LayerNorm(dims, eps=eps)
        self.mlp = MLP(dims, hidden_dims)

    def pool(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, D)."""
        query = self.probe.expand(x.shape[0], -1, -1)
        return self._finish(self.attention(query, x, mask))[:, 0]

    def dense(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D), not normalised."""
        return self._finish(self.attention(None, x, mask))

    def _finish(self, y: Tensor) -> Tensor:
        return y + self.mlp(self.layernorm(y))
