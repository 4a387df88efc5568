"""Initial weights: released, from SigLIP 2, from an earlier stage, or random."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor, nn

from fgclip2_det.fgclip1 import FGCLIP1, load_encoder
from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder

HEADS = {  # head that regions or long texts need <- the global one (spec A.3)
    'dense': ('dense_feature_head', 'vision_model.head'),
    'box': ('boxtext_head', 'text_model.head'),
    'long': ('longtext_head', 'text_model.head'),
}


def build_for_training(
    *,
    size: str | None = None,
    pretrained: str | os.PathLike | None = None,
    siglip2: str | os.PathLike | None = None,
    clip: str | os.PathLike | None = None,
    version: int = 2,
    seed: int = 0,
    copy_heads: tuple[str, ...] = (),
    sincos_positions: bool = False,
    logit_scale: float | None = None,
    logit_bias: float | None = None,
) -> DualEncoder:
    """An encoder with gradients.

    Args:
        size: random weights of a named size.
        pretrained: folder in the released layout (an earlier stage's result too), or
            hub id.
        siglip2: SigLIP 2 weights, converted (spec A.3, B.2).
        clip: weights of OpenAI's CLIP, from which FG-CLIP 1 starts, see
            :meth:`.FGCLIP1.from_clip`.
        version: of random weights: 2, or 1 for FG-CLIP 1.
        seed: of random weights.
        copy_heads: of 'dense', 'box', 'long': these start as copies of the global
            heads, as the released training script does after stage 1.
        sincos_positions: the position table starts as 2-D sines and cosines. Helps
            random weights; it is trained like any other table.
        logit_scale: start of the sigmoid loss's log scale; None keeps what there is.
        logit_bias: likewise. From scratch SigLIP starts at ln 10 and -10.

    Raises:
        ValueError: unless exactly one source is given.
    """
    sources = dict(size=size, pretrained=pretrained, siglip2=siglip2, clip=clip)
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            f'encoder needs exactly one of {list(sources)}, got {given or "none"}'
        )
    if unknown := set(copy_heads) - set(HEADS):
        raise ValueError(f'copy_heads may hold {list(HEADS)}, got {sorted(unknown)}')
    if version not in (1, 2) or (size is None and version != 2):
        raise ValueError(
            'encoder.version must be 1 or 2, and is for random weights (size) alone: a '
            f'folder says itself which version it is; got {version!r}'
        )
    encoder: DualEncoder
    if size is not None:
        generator = torch.Generator().manual_seed(seed)
        kind = FGCLIP1 if version == 1 else FGCLIP2
        encoder = kind.from_size(size, generator=generator)
        _soften_tokens(encoder)
    elif pretrained is not None:
        encoder = load_encoder(pretrained)
    elif clip is not None:
        encoder = FGCLIP1.from_clip(clip)
    else:
        assert siglip2 is not None
        encoder = FGCLIP2.from_siglip2(siglip2)
    if isinstance(encoder, FGCLIP1) and (copy_heads or logit_bias is not None):
        raise ValueError(
            'copy_heads and logit_bias are for FG-CLIP 2; FG-CLIP 1 has neither heads '
            'nor a bias, leave them out'
        )
    for name in copy_heads:
        target, source = HEADS[name]
        head = encoder.get_submodule(source)
        encoder.get_submodule(target).load_state_dict(head.state_dict())
    with torch.no_grad():
        if sincos_positions:
            table = encoder.vision_model.embeddings.position_embedding.weight
            side = math.isqrt(len(table))
            # CLIP's first row is the class token's
            table[-(side**2) :] = sincos_positions_2d(side, table.shape[1])
        if logit_scale is not None:
            encoder.logit_scale.fill_(logit_scale)
        if logit_bias is not None:
            encoder.get_parameter('logit_bias').fill_(logit_bias)
    return encoder.train()


def sincos_positions_2d(side: int, dims: int, amplitude: float = 0.5) -> Tensor:
    """(side * side, dims): half the channels tell the row, half the column.

    Wavelengths run from 2 pi to 100 * 2 pi cells: a table of 16 cells a side has no
    use for the 10,000 of long texts.

    Reference: MoCo v3 (arXiv:2104.02057), section 3.
    """
    if dims % 4:
        raise ValueError(f'dims must be a multiple of 4, got {dims}')
    frequencies = 100.0 ** -(torch.arange(dims // 4) / (dims // 4))
    angles = torch.arange(side)[:, None] * frequencies  # (side, dims / 4)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows = waves[:, None].expand(-1, side, -1)
    columns = waves[None].expand(side, -1, -1)
    return amplitude * torch.cat([rows, columns], -1).flatten(0, 1)


@torch.no_grad()
def whiten_patches(projection: nn.Linear, patches: Tensor) -> None:
    """Start a patch embedding as the leading whitened directions of real patches.

    Half the channels see a direction, the others its negative.

    Args:
        projection: (3 p^2 -> D), changed in place.
        patches: (M, 3 p^2) of training images, M > D.

    Reference: Coates, Lee and Ng (AISTATS 2011), section 3.2, on whitening.
    """
    half = projection.out_features // 2
    if len(patches) <= half:
        raise ValueError(f'{len(patches)} patches are too few for {half} directions')
    patches = patches.double()
    mean = patches.mean(0)
    centred = patches - mean
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(patches))
    variances = variances.flip(0)[:half].clamp(min=0)
    directions = directions.flip(1)[:, :half]
    ridge = (1e-3 * variances[0]).clamp(min=1e-12)  # where all patches are alike
    weight = 0.5 * directions / (variances + ridge).sqrt()
    weight = torch.cat([weight.T, -weight.T])
    projection.weight.copy_(weight)
    projection.bias.copy_(-weight @ mean)


@torch.no_grad()
def _soften_tokens(encoder: DualEncoder) -> None:
    """Scale random token embeddings up and text positions down, so that words have
    more weight than padding and position."""
    embeddings = encoder.text_model.embeddings
    dims = embeddings.token_embedding.embedding_dim
    embeddings.token_embedding.weight.mul_(0.5 * dims**0.5)
    for suffix in ('', '_ori', '_res'):
        table = getattr(embeddings, f'position_embedding{suffix}')
        table.weight.mul_(0.1 * dims**0.5)
