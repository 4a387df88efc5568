"""OVShapes as training records: captions, region phrases, hard negatives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mmengine.dist import barrier, get_rank
from mmengine.registry import DATASETS

from fgclip2_det.coco.annotation_file import CocoFile, read_coco
from fgclip2_det.datasets.ovshapes.captions import (
    LANGUAGES,
    describe,
    hard_negatives,
    region_phrases,
)
from fgclip2_det.datasets.ovshapes.classes import (
    EXTRA_CLASSES,
    OVSHAPES_CLASSES,
    classes_of,
)
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.datasets.ovshapes.render import ShapeObject
from fgclip2_det.io.atomic import write_atomic
from pretrain.data.dataset import AlignmentDataset

VERSION = 1  # of the texts; another version gets other files
_BY_ID = {c.category_id: c for c in OVSHAPES_CLASSES + EXTRA_CLASSES}


@DATASETS.register_module()
class OVShapesAlignmentDataset(AlignmentDataset):
    """OVShapes' train images, each once in English and once in Chinese.

    The images contain base classes only, and no text names another class. The
    records have FineHARD's format (spec D.2) and are stored next to the images, so they
    also serve as an example of the format.

    Args:
        data_root: where :func:`~fgclip2_det.datasets.generate_ovshapes` keeps its
            folders.
        num_images: of the train split.
        image_size: side in pixels of what is drawn; ``resize_to`` scales it.
        seed: of images and texts.
        extra_colors: draw and name the 120 pairs of twelve more colours, too; see
            ``EXTRA_COLORS``.
        resize_to: side in pixels that training sees, see
            :class:`~pretrain.data.dataset.SampleMaker`.
        **options: of :class:`AlignmentDataset`.

    Example:
        >>> data = OVShapesAlignmentDataset(num_images=100, seed=1)
        >>> len(data), data[0][0].phrases[0]
        (200, 'striped red circle')
    """

    def __init__(
        self,
        data_root: str = 'data/ovshapes',
        num_images: int = 2000,
        image_size: int = 256,
        seed: int = 0,
        extra_colors: bool = False,
        resize_to: int | None = None,
        **options,
    ) -> None:
        if get_rank() > 0:
            barrier()  # the first process draws, the others find the result
        folder = generate_ovshapes(
            data_root, num_images, 1, image_size, seed, extra_colors
        )
        files = [write_records(folder, language, seed) for language in LANGUAGES]
        if get_rank() == 0:
            barrier()
        super().__init__(files, folder / 'train', image_size=resize_to, **options)


def write_records(folder: Path, language: str, seed: int) -> Path:
    """Records of an OVShapes folder's train images; reused when they are there."""
    path = folder / f'train_records_v{VERSION}_{language}.json'
    if not path.exists():
        coco = read_coco(folder / 'train.json')
        records = list(make_records(coco, language, seed))
        write_atomic(path, json.dumps(records, ensure_ascii=False).encode())
    return path


def make_records(coco: CocoFile, language: str, seed: int) -> Iterator[dict]:
    """Records of the images of an OVShapes COCO dictionary.

    Args:
        coco: as :func:`~fgclip2_det.datasets.generate_ovshapes` writes it.
        language: 'en' or 'zh'.
        seed: of choices; each image has a stream of its own.
    """
    objects: dict[int, list[ShapeObject]] = {}
    for ann in coco.annotations:
        objects.setdefault(ann['image_id'], []).append(to_object(ann))
    allowed = classes_of('base')
    if any(c['split'] == 'extra' for c in coco.categories.values()):
        allowed += EXTRA_CLASSES
    for image in coco.images.values():
        stream = [seed, image['id'], LANGUAGES.index(language)]
        rng = np.random.default_rng(stream)
        image_objects = objects[image['id']]
        texts = describe(image_objects, language, rng)
        sides = [image['width'], image['height']] * 2
        boxes = []
        for o in image_objects:
            short, long = region_phrases(o, language)
            negatives = hard_negatives(o, language, rng, allowed)
            boxes.append(
                {
                    'bbox': [
                        round(v / s, 6) for v, s in zip(o.bbox, sides, strict=True)
                    ],
                    'short_expr': short,
                    'long_expr': long,
                    'long_expr_negs': {str(i): n for i, n in enumerate(negatives)},
                }
            )
        record = {
            'f_path': image['file_name'],
            'caption': texts['long'],
            'short_caption': texts['short'],
            'bbox_info': boxes,
        }
        yield record | ({'is_cn': True} if language == 'zh' else {})


def to_object(ann: dict) -> ShapeObject:
    """The drawn object of a COCO annotation of OVShapes."""
    x, y, w, h = ann['bbox']
    return ShapeObject(
        shape_class=_BY_ID[ann['category_id']],
        texture=ann['texture'],
        bbox=(x, y, x + w, y + h),
        angle=float('nan'),
        visible=ann['visible'],
    )
