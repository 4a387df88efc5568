"""Normalised class names, for comparison."""

from __future__ import annotations

from fgclip2_det.coco.blanks import spoken


def normalize_name(name: str) -> str:
    """Lower case, underscores and blanks of any sort as single spaces; what makes names
    equal."""
    return spoken(name).lower()
