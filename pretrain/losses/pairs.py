"""Which images and texts of the pairs of all ranks belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from .gather import RowLayout, all_gather_rows


def match_matrix(
    image_embeds: Tensor,
    text_embeds: Tensor,
    image_keys: Tensor,
    text_keys: Tensor | None,
    layout: RowLayout,
) -> Tensor:
    """Whether pair i of this rank and pair j of all ranks have the same image or text.

    Args:
        image_embeds, text_embeds: (B, D) each; only their shapes are looked at.
        image_keys: (B,) int64; -1 matches its own pair alone.
        text_keys: (B,) int64 likewise; None: equal images alone match.
        layout: of the pairs.

    Returns:
        (B, N) bool, N the pairs of all ranks; True at a pair's own place.

    Raises:
        ValueError: if shapes do not fit.
    """
    if image_embeds.ndim != 2 or image_embeds.shape != text_embeds.shape:
        raise ValueError(
            'image_embeds and text_embeds must be (B, D), a caption for each image, '
            f'got {tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}'
        )
    count = len(image_embeds)
    columns = torch.arange(layout.total, device=image_keys.device)
    matches = layout.own_rows(image_keys.device)[:, None] == columns
    for name, keys in dict(image_keys=image_keys, text_keys=text_keys).items():
        if keys is None:
            continue
        if keys.shape != (count,):
            raise ValueError(
                f'{name} must be ({count},), one for each pair, got {tuple(keys.shape)}'
            )
        same = keys[:, None] == all_gather_rows(keys, layout)
        matches = matches | (same & (keys >= 0)[:, None])
    return matches
