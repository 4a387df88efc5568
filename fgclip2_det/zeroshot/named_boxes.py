"""Reader of COCO and LVIS files for benchmarks that name boxes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from fgclip2_det.coco.annotation_file import read_coco

from .images import ImageItem, take_first, to_xyxy


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
        image_ids: of the items.
        paths: image id -> path, of all images of the file in its order.
    """

    items: list[ImageItem]
    category_ids: list[int | str]
    categories: list[dict]
    num_crowd: int
    num_without: int
    failed: list[tuple] = field(default_factory=list)
    image_ids: list[int | str] = field(default_factory=list)
    paths: dict[int | str, Path] = field(default_factory=dict)

    @property
    def kept_ids(self) -> list[int | str]:
        """Category ids of the boxes of ``items``, which may be the first few alone."""
        return self.category_ids[: sum(len(item.bboxes) for item in self.items)]

    def first(self, count: int | None) -> NamedBoxes:
        """The first ``count`` items; all for None. The failed boxes are those of the
        images that come before the first item left out.

        Raises:
            ValueError: for less than one.
        """
        items = take_first(self.items, count)
        if len(items) == len(self.items):
            return self
        end = list(self.paths).index(self.image_ids[len(items)])
        return replace(
            self,
            items=items,
            image_ids=self.image_ids[: len(items)],
            failed=self._failed_of(set(list(self.paths)[:end])),
        )

    def of_folder(self, folder: str) -> NamedBoxes:
        """The images that lie in ``folder``, with their boxes and failed ones.

        Raises:
            ValueError: if there is none.
        """
        own = {i for i, path in self.paths.items() if path.parent.name == folder}
        chosen, ids, first = [], [], 0
        for image_id, item in zip(self.image_ids, self.items, strict=True):
            last = first + len(item.bboxes)
            if image_id in own:
                chosen.append((image_id, item))
                ids += self.category_ids[first:last]
            first = last
        if not chosen:
            raise ValueError(f'no image lies in {folder}; expected {folder}/NAME.jpg')
        return replace(
            self,
            items=[item for _, item in chosen],
            image_ids=[image_id for image_id, _ in chosen],
            category_ids=ids,
            failed=self._failed_of(own),
        )

    def _failed_of(self, images: set) -> list[tuple]:
        return [about for about in self.failed if about[0] in images]


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
        ValueError: naming file and entry: what :func:`.read_coco` refuses, and boxes
            that are empty.
    """
    coco = read_coco(ann_file, keep_outside=all_boxes)
    name, images = coco.path, coco.images
    boxes: dict = {image_id: [] for image_id in images}
    num_crowd, failed = 0, []
    for annotation in coco.annotations:
        num_crowd += bool(annotation.get('iscrowd'))
        if annotation.get('iscrowd') and not all_boxes:
            continue
        about = annotation['image_id'], annotation['category_id']
        image, title = images[about[0]], f'{name}: annotation {annotation["id"]}'
        try:
            size = image['width'], image['height']
            bbox = to_xyxy(annotation['bbox'], size, title)
        except ValueError:
            if not all_boxes:
                raise
            failed.append(about)
            continue
        boxes[about[0]].append((bbox, about[1]))
    used = {image_id: group for image_id, group in boxes.items() if group}
    if not used:
        raise ValueError(f'{name} holds no box to name (crowd boxes: {num_crowd})')
    paths = {i: Path(image_root) / entry['file_name'] for i, entry in images.items()}
    items = [
        ImageItem(
            paths[i],
            [bbox for bbox, _ in group],
            (images[i]['width'], images[i]['height']),
        )
        for i, group in used.items()
    ]
    return NamedBoxes(
        items=items,
        category_ids=[category for group in used.values() for _, category in group],
        categories=coco.classes(),
        num_crowd=num_crowd,
        num_without=len(images) - len(used),
        failed=failed,
        image_ids=list(used),
        paths=paths,
    )
