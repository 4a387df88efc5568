"""The encoder of a folder, whichever version its weights are."""

from __future__ import annotations

import os

import torch

from fgclip2_det.fgclip1.model import FGCLIP1
from fgclip2_det.fgclip2.checkpoint import Weights, resolve_folder
from fgclip2_det.fgclip2.dual_encoder import DualEncoder
from fgclip2_det.fgclip2.model import FGCLIP2
from fgclip2_det.io import InputError


def load_encoder(
    name: str | os.PathLike, dtype: torch.dtype | None = None, towers: str = 'both'
) -> DualEncoder:
    """FG-CLIP 2, FG-CLIP 1 or OpenAI's CLIP, as the tensors' names say.

    Args:
        name: folder with ``config.json``, ``model.safetensors`` and tokenizer files, or
            a hub id such as 'qihoo360/fg-clip2-base' or 'qihoo360/fg-clip-base'.
        dtype: parameter type; float32 when None, whatever the file holds.
        towers: 'both', 'vision' or 'text'; the other half is not read.

    Returns:
        An ``FGCLIP2``; or an ``FGCLIP1``, also for CLIP (``FGCLIP1.from_clip``).

    Raises:
        ValueError: for weights that are missing, damaged or of another model; for those
            of SigLIP 2, from which ``FGCLIP2.from_siglip2`` starts.

    Example:
        >>> type(load_encoder('fgclip2_tiny')).__name__
        'FGCLIP2'
    """
    folder = resolve_folder(name)
    kind = Weights(folder).kind
    if kind is None:
        raise InputError(
            f'{folder} holds weights of no known kind; expected those of FG-CLIP 2, '
            'FG-CLIP 1 or CLIP in the released layout'
        )
    if kind == 'FG-CLIP 1':
        return FGCLIP1.from_pretrained(folder, dtype, towers)
    if kind == 'CLIP':
        return FGCLIP1.from_clip(folder, dtype, towers)
    return FGCLIP2.from_pretrained(folder, dtype, towers)
