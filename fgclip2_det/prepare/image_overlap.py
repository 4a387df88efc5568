"""Images in both of two COCO or LVIS files, by ids, names and COCO numbers."""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import cast

from fgclip2_det.coco.entries import image_name

NUM_SHOWN = 5
_NUMBER = re.compile(r'(?:COCO_[a-z]+20\d\d_)?(\d{12})\.jpg')


@dataclass
class Overlap:
    """Result of one check.

    Attributes:
        check: its name, see the module.
        count: number of overlapping images or boxes.
        total: number of images or boxes that were checked.
        leaks: whether they make the training file unfit for this evaluation.
        first: the first few, as text.
        note: what was counted, or why nothing was checked.
    """

    check: str
    count: int = 0
    total: int = 0
    leaks: bool = False
    first: list[str] = field(default_factory=list)
    note: str = ''

    def add(self, text: str) -> None:
        """Count one overlap, and keep its text if it is among the first."""
        self.count += 1
        if len(self.first) < NUM_SHOWN:
            self.first.append(text)

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass
class CocoSide:
    """The part of a file that the checks need."""

    path: Path
    images: list[dict] = field(default_factory=list)
    categories: list[dict] = field(default_factory=list)
    boxes_of_category: dict = field(default_factory=dict)  # id -> (count, image ids)


def coco_number(image: dict) -> int | None:
    """Number of an image of COCO, by its url or name; None for other images."""
    for key in ('coco_url', 'file_name'):
        match = _NUMBER.fullmatch(PurePosixPath(str(image.get(key) or '')).name)
        if match:
            return int(match[1])
    return None


def check_images(train: CocoSide, val: CocoSide) -> list[Overlap]:
    """Images of the evaluation file that are in the training file, by three keys."""
    checks = {
        'coco_number': Overlap('coco_number', note='evaluation images in training'),
        'file_name': Overlap('file_name', note='same name and size in both'),
        'image_id': Overlap('image_id', note='same id, and nothing that differs'),
    }
    by_number = {coco_number(image): image for image in train.images}
    by_id = {image['id']: image for image in train.images}
    by_name: dict[str, list[dict]] = {}
    for image in train.images:
        name = PurePosixPath(image_name(image) or '').name
        by_name.setdefault(name, []).append(image)
    for image in val.images:
        number, name = coco_number(image), image_name(image)
        text = f'{name or "image"} (id {image["id"]})'
        others = by_name.get(PurePosixPath(name).name, []) if name else []
        if number is not None and number in by_number:
            checks['coco_number'].add(text)
        elif any(_same_name(image, o) and _same_size(image, o) for o in others):
            checks['file_name'].add(text)
        elif _is_same_entry(image, by_id.get(image['id'])):
            checks['image_id'].add(text)
    for finding in checks.values():
        finding.total = len(val.images)
        finding.leaks = finding.count > 0
    return list(checks.values())


def _same_name(first: dict, second: dict) -> bool:
    names = (image_name(image) for image in (first, second))
    a, b = (PurePosixPath(cast(str, name)).parts for name in names)
    shared = min(len(a), len(b))
    return a[-shared:] == b[-shared:]


def _same_size(first: dict, second: dict) -> bool:
    return all(first.get(k) == second.get(k) for k in ('width', 'height'))


def _is_same_entry(image: dict, other: dict | None) -> bool:
    if other is None or not _same_size(image, other):
        return False
    if coco_number(image) != coco_number(other):
        return False
    has_names = image_name(image) and image_name(other)
    return not has_names or _same_name(image, other)


def check_coco_train(val: CocoSide) -> Overlap:
    """Images of the evaluation file that are of COCO train2017."""
    overlap = Overlap('coco_train_in_val', total=len(val.images))
    overlap.note = 'a warning: detectors that saw COCO train2017 know these images'
    for image in val.images:
        if '/train2017/' in f'/{image.get("coco_url") or image.get("file_name")}':
            overlap.add(f'{image_name(image)} (id {image["id"]})')
    return overlap
