"""Image tokens for a language model, as LLaVA-1.5 takes them from its encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from fgclip2_det.fgclip2.dual_encoder import DualEncoder
    from fgclip2_det.fgclip2.preprocess import ImageBatch


def llm_tokens(
    encoder: DualEncoder, batch: ImageBatch, layer: int = -2
) -> tuple[list[Tensor], list[tuple[int, int]]]:
    """Hidden states of the patches, row by row, each image on its own grid.

    LLaVA-1.5 takes the second-to-last hidden state (``mm_vision_select_layer=-2``) of
    the patches alone (``mm_vision_select_feature='patch'``), in the order of the grid's
    rows, and puts it through its projector before the language model. It is the output
    of the last block but one, before any norm: ``hidden_states[-2][:, 1:]`` of
    transformers' ``CLIPVisionModel``. FG-CLIP 2 has no class token to leave out.

    The projector is the language model's; its input size is D. Token i stands for the
    patch in row ``i // w`` and column ``i % w`` of an image with grid (h, w). Gradients
    flow unless the caller switches them off, as LLaVA-1.5 does for the encoder.

    Args:
        encoder: with a vision tower: FG-CLIP 2, FG-CLIP 1 or CLIP.
        batch: B images, from ``encoder.preprocess``.
        layer: place among transformers' ``hidden_states``, counted from the end: -1 for
            the output of the last block, -2 for the one before it, to -L.

    Returns:
        B tensors (h * w, D) without padding, and B grids (h, w).

    Raises:
        ValueError: for a layer that is not one of these, or an encoder without a vision
            tower.

    Example:
        >>> encoder = FGCLIP2.from_size('tiny')
        >>> batch = encoder.preprocess(Image.new('RGB', (640, 480)), 256)
        >>> tokens, grids = encoder.llm_tokens(batch)
        >>> tokens[0].shape, grids[0]
        (torch.Size([234, 128]), (13, 18))

    Reference: LLaVA-1.5 (arXiv:2310.03744), section 3.1; FG-CLIP 2 (arXiv:2510.10921),
    table 7.
    """
    if not hasattr(encoder, 'vision_model'):
        raise ValueError(
            'llm_tokens needs a vision tower and this encoder has none; load it with '
            "towers='both' or 'vision'"
        )
    num_blocks = len(encoder.vision_model.encoder.layers)
    if not isinstance(layer, int) or not -num_blocks <= layer <= -1:
        raise ValueError(
            f'layer must be an integer from {-num_blocks} to -1, counted from the last '
            f'block, got {layer!r}'
        )
    hidden = encoder.hidden_tokens(batch, num_blocks + layer + 1)
    grids = [(int(h), int(w)) for h, w in batch.grid_sizes.tolist()]
    tokens = [x[: h * w] for x, (h, w) in zip(hidden, grids, strict=True)]
    return tokens, grids
