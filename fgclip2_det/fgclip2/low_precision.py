"""Towers in int8 or bfloat16, for inference on CPUs.

In int8, matrix products with weights are of integers: weights have a scale for each
output channel, activations one for each token, taken when the model runs. Nothing is
calibrated, and a token's result does not depend on the other tokens of a product.

References: LLM.int8() (arXiv:2208.07339), section 2.1, vector-wise quantisation;
Quantizing deep convolutional networks (arXiv:1806.08342), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2.layers import (
    BFLOAT16,
    GELU_TANH,
    MLP,
    Attention,
    EncoderLayer,
    Linear,
    PackedAttention,
    attend,
)
from fgclip2_det.fgclip2.text import TextTower
from fgclip2_det.fgclip2.vision import VisionTower
from fgclip2_det.fgclip2.windows import Windows

Model = TypeVar('Model', bound=nn.Module)
LARGEST = 127  # of an int8 on both sides of 0
PART = 2**18  # activations at once between two products: 1 MB of a core's cache


def has_int8_units() -> bool:
    """Whether PyTorch multiplies int8 with the CPU's own instructions (AVX-512 VNNI).

    Without them ``torch._int_mm`` still runs, slower than float32.
    """
    supported = getattr(torch.cpu, '_is_vnni_supported', lambda: False)
    return torch.backends.mkldnn.is_available() and bool(supported())


def has_bfloat16_units() -> bool:
    """Whether the CPU has instructions that multiply bfloat16: avx512_bf16, amx_bf16 or
    ARM's bf16.

    Without them PyTorch still multiplies, and slowly: of 1024 x 1024 matrices on one
    core of an AMD EPYC with AVX2, 0.6 instead of 38 GFLOPS in float32 (2.13.0).
    """
    if hasattr(torch.cpu, 'get_capabilities'):  # not in older releases
        units = torch.cpu.get_capabilities()
        return any(units.get(name) for name in ('avx512_bf16', 'amx_bf16', 'bf16'))
    return any(
        getattr(torch.cpu, name, lambda: False)()
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    )


def quantize_int8(model: Model, text: bool = False) -> Model:
    """Change a model's vision tower in place to products in int8.

    In int8: the projections of attention and the MLP of every block of the vision
    tower and of the dense head, which regions and dense maps come from. In float: the
    patch and token embeddings, positions, norms, residuals, attention's softmax and its
    products of activations, the head of the whole image's embedding, RoI pooling, the
    heads of texts and, but for ``text``, their tower. Where the CPU multiplies
    bfloat16, attention's own products run in it.

    Args:
        model: an :class:`.FGCLIP2`, or a detector around its vision tower, on a CPU,
            in evaluation mode.
        text: the blocks of the text tower as well; a model with ``towers='text'`` has
            no others.

    Returns:
        The same model. It has no gradients and cannot be saved; training goes on from
        the float model.

    Raises:
        ValueError: without AVX-512 VNNI; on another device than a CPU; for adapters,
            FG-CLIP 1, a model without a vision tower, or one in int8 already.
    """
    if not has_int8_units():
        raise ValueError(
            'int8 needs a CPU with AVX-512 VNNI, which this one lacks or PyTorch does '
            "not use; take dtype 'float32', or 'bfloat16' where the CPU multiplies it"
        )
    blocks = list(_blocks(model, text))
    if any(p.device.type != 'cpu' for p in model.parameters()):
        raise ValueError("int8 runs on CPUs; move the model there: model.to('cpu')")
    for block in blocks:
        if isinstance(block, EncoderLayer):
            block.add_module('self_attn', Int8Attention.of(block.self_attn))
        else:
            block.add_module('attention', Int8PackedAttention.of(block.attention))
        block.add_module('mlp', Int8MLP(block.mlp))
    return model.eval()


def is_int8(model: nn.Module) -> bool:
    """Whether a part of the model is in int8."""
    return any(isinstance(module, Int8Linear) for module in model.modules())


def to_bfloat16(model: Model) -> Model:
    """Change a model's vision towers in place to bfloat16, other parts stay as they
    are.

    The statistics of norms, sums of products, softmax, position tables and RoI pooling
    are computed in float32 as well.

    Raises:
        ValueError: for a model without a vision tower.
    """
    for tower, head in _towers(model):
        for module in (tower, head):
            if module is not None:
                module.to(torch.bfloat16)
    return model


def _towers(model: nn.Module) -> list[tuple[nn.Module, nn.Module | None]]:
    """Vision towers and their dense heads, by the names of the released parameters."""
    owners = [dict(module.named_children()) for module in model.modules()]
    found = [
        (parts['vision_model'], parts.get('dense_feature_head'))
        for parts in owners
        if 'vision_model' in parts
    ]
    if not found:
        raise ValueError(
            f'{type(model).__name__} has no vision tower of FG-CLIP 2; expected an '
            "encoder with towers='vision' or 'both', or a detector around one"
        )
    return found


def _blocks(model: nn.Module, text: bool) -> list:
    """Blocks that are quantised; ValueError before any is, if one cannot be."""
    if is_int8(model):
        raise ValueError('the model is in int8 already')
    towers = [m for m in model.modules() if isinstance(m, TextTower)] if text else []
    blocks: list = [layer for tower in towers for layer in tower.encoder.layers]
    for tower, head in [] if towers and not _sees(model) else _towers(model):
        if not isinstance(tower, VisionTower):
            raise ValueError(
                'int8 is for FG-CLIP 2; the vision tower of FG-CLIP 1 and CLIP has '
                "other blocks: take dtype 'bfloat16'"
            )
        blocks += [*tower.encoder.layers, *([] if head is None else [head])]
    for module in (part for block in blocks for part in block.children()):
        parts = module.children() if isinstance(module, Attention | MLP) else ()
        if any(type(part) is not Linear for part in parts):
            raise ValueError(
                'int8 is for plain layers, this model has adapters; merge them into '
                'the weights first'
            )
    return blocks


def _sees(model: nn.Module) -> bool:
    """Whether there is a vision tower."""
    return any(hasattr(module, 'vision_model') for module in model.modules())


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Integers of rows, symmetric around 0.

    Args:
        x: (M, D) float32.

    Returns:
        (M, D) int8 and (M, 1) float32, what an integer is multiplied by to be the
        value again. A row of zeros stays zeros.
    """
    tiny = torch.finfo(torch.float32).tiny
    scale = x.abs().amax(-1, keepdim=True).clamp_(min=tiny * LARGEST) / LARGEST
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """x W^T + b with W in int8 and x rounded row by row.

    Args:
        weight: (O, D) float.
        bias: (O,) float.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            values, scale = quantize_rows(weight.float())
            # (D, O): a layout that oneDNN reads faster than its transpose
            self.register_buffer('weight', values.T.contiguous())
            self.register_buffer('scale', scale[:, 0])
            self.register_buffer('bias', bias.detach().float().clone())

    def product(self, values: Tensor) -> Tensor:
        """(M, D) int8 -> (M, O) int32, exact."""
        return torch.ops.aten._int_mm(values, self.weight)

    def rescale(self, sums: Tensor, scale: Tensor) -> Tensor:
        """(M, O) sums of :meth:`product` and (M, 1) scales of its rows -> float32."""
        scaled = sums.float().mul_(scale)
        return torch.addcmul(self.bias.float(), scaled, self.scale.float())

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """(..., D) -> (..., O) in ``dtype``, that of x when None."""
        values, scale = _quantized(x)
        sums = self.product(values)
        out = sums.new_empty(sums.shape, dtype=dtype or x.dtype)
        for rows in _parts(sums):
            out[rows] = self.rescale(sums[rows], scale[rows])
        return out.unflatten(0, x.shape[:-1])


def _quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`quantize_rows` of (..., D), a part at a time."""
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            'int8 products have no gradients; take the float model, or torch.no_grad()'
        )
    rows = x.reshape(-1, x.shape[-1])
    values = torch.empty(rows.shape, dtype=torch.int8, device=x.device)
    scale = torch.empty(len(rows), 1, device=x.device)
    for part in _parts(rows):
        values[part], scale[part] = quantize_rows(rows[part].float())
    return values, scale


def _parts(x: Tensor) -> Iterator[slice]:
    """Rows of (M, D), a part at a time."""
    step = max(PART // max(x.shape[1], 1), 1)
    return (slice(start, start + step) for start in range(0, len(x), step))


class Int8Attention(nn.Module):
    """Self-attention with projections in int8, in the place of ``Attention``."""

    def __init__(self, weight: Tensor, bias: Tensor, out: Linear, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.in_proj = Int8Linear(weight, bias)  # q; k; v
        self.out_proj = Int8Linear(out.weight, out.bias)

    @classmethod
    def of(cls, attention: Attention | PackedAttention) -> Int8Attention:
        """The same attention in int8."""
        out, heads = attention.out_proj, attention.num_heads
        if isinstance(attention, PackedAttention):
            return cls(attention.in_proj_weight, attention.in_proj_bias, out, heads)
        parts = attention.q_proj, attention.k_proj, attention.v_proj
        weight = torch.cat([part.weight for part in parts])
        return cls(weight, torch.cat([part.bias for part in parts]), out, heads)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        query: Tensor | None = None,
        windows: Windows | None = None,
    ) -> Tensor:
        """As :meth:`.Attention.forward`."""
        dtype = torch.bfloat16 if BFLOAT16 else x.dtype
        q, k, v = self.in_proj(x, dtype).chunk(3, -1)
        if query is not None:  # of one token: it costs nothing to project it thrice
            q = self.in_proj(query, dtype).chunk(3, -1)[0]
        if windows is None:
            return self.out_proj(attend(q, k, v, self.num_heads, mask), x.dtype)
        q, k, v = (windows.split(y) for y in (q, k, v))
        out = windows.join(attend(q, k, v, self.num_heads, windows.mask))
        return self.out_proj(out, x.dtype)


class Int8PackedAttention(Int8Attention):
    """In the place of ``PackedAttention``, whose arguments have another order."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, query: Tensor | None, x: Tensor, mask: Tensor | None
    ) -> Tensor:
        """As :meth:`.PackedAttention.forward`."""
        return super().forward(x, mask, query)


class Int8MLP(nn.Module):
    """fc1, GELU (tanh form), fc2 in int8."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        assert mlp.activation == GELU_TANH
        self.fc1 = Int8Linear(mlp.fc1.weight, mlp.fc1.bias)
        self.fc2 = Int8Linear(mlp.fc2.weight, mlp.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        values, scale = _quantized(x)
        sums = self.fc1.product(values)
        hidden = torch.empty(sums.shape, dtype=torch.int8, device=x.device)
        hidden_scale = torch.empty_like(scale)
        for rows in _parts(sums):  # all steps between the products, within the cache
            part = self.fc1.rescale(sums[rows], scale[rows])
            part = F.gelu(part, approximate='tanh')
            hidden[rows], hidden_scale[rows] = quantize_rows(part)
        sums = self.fc2.product(hidden)
        out = sums.new_empty(sums.shape, dtype=x.dtype)
        for rows in _parts(sums):
            out[rows] = self.fc2.rescale(sums[rows], hidden_scale[rows])
        return out.unflatten(0, x.shape[:-1])
