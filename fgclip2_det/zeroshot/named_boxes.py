"""Reader of COCO and LVIS files for benchmarks that name boxes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from fgclip2_det.coco.checks import annotation_fault, index_entries
from fgclip2_det.coco.entries import class_entries
from fgclip2_det.io.text import read_json

from .images import ImageItem, to_xyxy


@dataclass(frozen=True)
class NamedBoxes:
    """Boxes of a COCO file, grouped by image.

    Args:
        items: images with at least one box.
        category_ids: of all boxes, in the order of the items.
        categories: entries of the file, in file order.
        num_crowd: boxes that cover several objects.
        num_without: images without a box.
        failed: (image id, category id) of boxes that cannot be pooled, where they
            are kept.
    """

    items: list[ImageItem]
    category_ids: list[int | str]
    categories: list[dict]
    num_crowd: int
    num_without: int
    failed: list[tuple] = field(default_factory=list)

    @property
    def kept_ids(self) -> list[int | str]:
        """Category ids of the boxes of ``items``, which may be the first few alone."""
        return self.category_ids[: sum(len(item.bboxes) for item in self.items)]


def read_named_boxes(
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    all_boxes: bool = False,
) -> NamedBoxes:
    """Read and check a COCO or LVIS file.

    Args:
        ann_file: the file.
        image_root: folder that its file names start from; what follows the host in
            ``coco_url`` where there are no file names, as in LVIS.
        all_boxes: also keep crowds, and remember boxes that are empty or outside
            (``failed``) instead of raising.

    Raises:
        ValueError: naming file and entry: entries of another type, unknown image or
            category, images without a name, boxes that are not four numbers, are
            empty or outside.
    """
    coco = _read_coco(ann_file)
    name = str(ann_file)
    images = index_entries(name, 'image', coco['images'])
    categories = index_entries(name, 'category', coco['categories'])
    index_entries(name, 'annotation', coco['annotations'])
    boxes: dict = {image_id: [] for image_id in images}
    num_crowd, failed = 0, []
    for annotation in coco['annotations']:
        title = f'{name}: annotation {annotation["id"]}'
        num_crowd += bool(annotation.get('iscrowd'))
        if annotation.get('iscrowd') and not all_boxes:
            _raise_fault(annotation, images, categories, title)
            continue
        about = annotation.get('image_id'), annotation.get('category_id')
        try:
            _raise_fault(annotation, images, categories, title)
            size = images[about[0]]['width'], images[about[0]]['height']
            bbox = to_xyxy(annotation['bbox'], size, title)
        except ValueError:
            if not all_boxes or about[0] not in images or about[1] not in categories:
                raise
            failed.append(about)
            continue
        boxes[about[0]].append((bbox, about[1]))
    used = {image_id: group for image_id, group in boxes.items() if group}
    if not used:
        raise ValueError(f'{name} holds no box to name (crowd boxes: {num_crowd})')
    classes = class_entries(name, coco)
    items = [
        ImageItem(
            Path(image_root) / images[i]['file_name'],
            [bbox for bbox, _ in group],
            (images[i]['width'], images[i]['height']),
        )
        for i, group in used.items()
    ]
    category_ids = [category for group in used.values() for _, category in group]
    num_without = len(images) - len(used)
    return NamedBoxes(items, category_ids, classes, num_crowd, num_without, failed)


def _raise_fault(annotation: dict, images: dict, categories: dict, title: str) -> None:
    if fault := annotation_fault(annotation, images, categories):
        raise ValueError(f'{title}: {fault}')


def _read_coco(path: str | os.PathLike) -> dict:
    coco = read_json(path)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(coco, dict) or key not in coco:
            raise ValueError(f'{path} must be a JSON object with the key {key!r}')
    return coco
