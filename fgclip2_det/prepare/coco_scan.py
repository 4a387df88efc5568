"""Large COCO and LVIS files: a scan, and a copy of a part."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgclip2_det.coco.annotation_file import SECTIONS, stream_coco
from fgclip2_det.io.json_writing import check_target, json_pieces, write_text_pieces


@dataclass
class CocoScan:
    """Result of the first pass over a file.

    Attributes:
        categories: entries in file order.
        image_ids: of all images, in file order (the keys).
        images_of_category: category id -> ids of images with a box of it.
        num_annotations: in the file.
    """

    categories: list[dict] = field(default_factory=list)
    image_ids: dict[Any, None] = field(default_factory=dict)
    images_of_category: dict[Any, set] = field(default_factory=lambda: defaultdict(set))
    num_annotations: int = 0


def scan_coco(path: Path | str, bar: Callable[[Iterable], Iterable] = iter) -> CocoScan:
    """First pass over a file: categories, ids and which image has which class.

    Raises:
        ValueError: as :func:`.stream_coco`.
    """
    scan = CocoScan()
    for key, is_entry, value in stream_coco(path, bar):
        if not is_entry:
            continue
        if key == 'categories':
            scan.categories.append(value)
        elif key == 'images':
            scan.image_ids[value['id']] = None
        elif key == 'annotations':
            scan.num_annotations += 1
            scan.images_of_category[value['category_id']].add(value['image_id'])
    return scan


def write_part(
    source: Path | str,
    target: Path | str,
    change: dict[str, Callable[[dict], dict | None]],
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """Second pass: copy a COCO file in its order, entry by entry.

    Args:
        source: COCO file.
        target: written in full or not at all; may not be ``source``.
        change: section -> function that returns the entry to write, or None to leave
            it out. Other sections and keys are copied as they are.
        bar: as in :func:`.stream_coco`.

    Returns:
        Number of entries written of each section.

    Raises:
        ValueError: as :func:`.stream_coco`, or if source and target are one file.
    """
    check_target(source, target)
    counts: dict[str, int] = dict.fromkeys(SECTIONS, 0)

    def pieces() -> Iterator[tuple[str, bool, Any]]:
        for key, is_entry, value in stream_coco(source, bar):
            if is_entry and key in change:
                value = change[key](value)
                if value is None:
                    continue
            if is_entry and key in counts:
                counts[key] += 1
            yield key, is_entry, value

    write_text_pieces(target, json_pieces(pieces()))
    return counts
