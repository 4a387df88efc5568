"""What the readers of own data give: images, boxes, class names, whatever the tool."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPLITS = ('train', 'val', 'test')
_ALIASES = {
    'train': 'train', 'training': 'train', 'trainval': 'train',
    'val': 'val', 'valid': 'val', 'validation': 'val', 'dev': 'val',
    'test': 'test', 'testing': 'test',
}  # fmt: skip


@dataclass
class OwnBox:
    """A labelled box.

    Attributes:
        name: of its class.
        bbox: x, y, width, height in pixels of the image.
        extra: further keys of its COCO annotation, such as ``segmentation``.
    """

    name: str
    bbox: list[float]
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class OwnImage:
    """An image as its annotations name it.

    Attributes:
        name: that the annotations give.
        split: 'train', 'val', 'test', or None where nothing says so.
        where: file and entry of the annotation, for messages.
        near: folder of the annotation file, relative to the data.
        size: (width, height) that the annotations say, or None.
        boxes: of the image.
        path: relative path of the image file; None where none is found.
        extra: further keys of its COCO entry.
        classes: names of its lists of categories, such as LVIS' ``neg_category_ids``.
    """

    name: str
    split: str | None
    where: str
    near: str = ''
    size: tuple[float, float] | None = None
    boxes: list[OwnBox] = field(default_factory=list)
    path: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class OwnData:
    """What a folder of labels holds.

    Attributes:
        layout: what it is, in words.
        images: all of them, in the order of the files.
        categories: of COCO, without ids: ``name`` and what else is known of it.
        files: split -> annotation file, where they are COCO and may be used as they
            are; empty for other layouts.
    """

    layout: str
    images: list[OwnImage]
    categories: list[dict]
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Class names in their order."""
        return [category['name'] for category in self.categories]

    def of(self, split: str | None) -> list[OwnImage]:
        """Images of one split."""
        return [image for image in self.images if image.split == split]


def split_of(text: str) -> str | None:
    """'train', 'val' or 'test' that a folder or file is called, or None.

    ``instances_train2017.json``, ``valid/`` and ``person_keypoints_val.json`` say it.
    """
    for word in reversed(text.lower().replace('-', '_').replace('.', '_').split('_')):
        if (own := _ALIASES.get(word.rstrip('0123456789'))) is not None:
            return own
    return None


def split_of_folder(path: str) -> str | None:
    """The same of the folders of a file, whatever its own name is."""
    return split_of_path(path.replace('\\', '/').rpartition('/')[0])


def split_of_path(path: str) -> str | None:
    """The same of a relative path: its last part that says so."""
    parts = path.replace('\\', '/').split('/')
    return next((own for own in map(split_of, reversed(parts)) if own), None)
