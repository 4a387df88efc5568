"""Categories of a COCO file that count, and the novel ones among them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fgclip2_det.coco.class_split import resolve_classes
from fgclip2_det.coco.entries import class_entries
from fgclip2_det.io.text import read_json


def split_ids(
    annotations: str | os.PathLike,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
) -> tuple[list, list]:
    """Ids of a COCO file's categories that count, and of the novel ones among them.

    Raises:
        ValueError: a file without categories, names that it does not have, or no split.
    """
    content = read_json(annotations)
    categories = content.get('categories') if isinstance(content, dict) else None
    if not isinstance(categories, list):
        raise ValueError(f"{annotations} must hold a list of 'categories'")
    asked = [*(base or ()), *(novel or ())]
    categories = class_entries(annotations, content, asked)
    split = resolve_classes(categories, base=base, novel=novel)
    ids = dict(zip(split.classes, split.category_ids, strict=True))
    return list(split.category_ids), [ids[name] for name in split.novel_classes]
