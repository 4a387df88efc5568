"""Categories of a COCO file that count, and the novel ones among them."""

from __future__ import annotations

from collections.abc import Sequence

from fgclip2_det.coco.annotation_file import CocoFile


def split_ids(
    coco: CocoFile,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
) -> tuple[list, list]:
    """Ids of a COCO file's categories that count, and of the novel ones among them.

    Raises:
        ValueError: names that the file does not have, or no split.
    """
    split = coco.split(base=base, novel=novel)
    ids = dict(zip(split.classes, split.category_ids, strict=True))
    return list(split.category_ids), [ids[name] for name in split.novel_classes]
