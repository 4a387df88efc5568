"""Export of a trained encoder as a folder in the released layout."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import torch

from fgclip2_det.fgclip2 import DualEncoder


def export_encoder(
    encoder: DualEncoder, folder: str | os.PathLike, dtype: str | None = None
) -> Path:
    """Write config, weights and tokenizer.

    Args:
        encoder: of any training.
        folder: made when missing; files of the same name are replaced.
        dtype: stored type, such as 'bfloat16'; the encoder's own when None.

    Returns:
        The folder.
    """
    if dtype is not None:
        encoder = copy.deepcopy(encoder).to(getattr(torch, dtype))
    return encoder.save_pretrained(folder)
