"""Datasets with base and novel classes, and the transforms of their pipelines.

Without the mm packages the splits and OVShapes' files work, the datasets do not.
"""

from fgclip2_det import HAS_MM
from fgclip2_det.coco.class_split import ClassSplit, category_name, resolve_classes
from fgclip2_det.coco.published_splits import (
    CLASS_SPLITS,
    OV_COCO_BASE_CLASSES,
    OV_COCO_NOVEL_CLASSES,
)
from fgclip2_det.datasets.ovshapes.classes import (
    EXTRA_CLASSES,
    OVSHAPES_CLASSES,
    ShapeClass,
    classes_of,
)
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.datasets.ovshapes.render import ShapeObject, render_image

__all__ = [
    'CLASS_SPLITS',
    'EXTRA_CLASSES',
    'OVSHAPES_CLASSES',
    'OV_COCO_BASE_CLASSES',
    'OV_COCO_NOVEL_CLASSES',
    'ClassSplit',
    'ShapeClass',
    'ShapeObject',
    'category_name',
    'classes_of',
    'generate_ovshapes',
    'render_image',
    'resolve_classes',
]

if HAS_MM:
    from fgclip2_det.datasets.ovshapes.dataset import OVShapesDataset

    from .missing_masks import install
    from .open_vocab_coco import OpenVocabCocoDataset
    from .open_vocab_lvis import OpenVocabLVISDataset
    from .transforms import FGCLIP2Resize, OpenVocabLoadImage, UnreadableImageError

    __all__ += [
        'FGCLIP2Resize',
        'OVShapesDataset',
        'OpenVocabCocoDataset',
        'OpenVocabLVISDataset',
        'OpenVocabLoadImage',
        'UnreadableImageError',
    ]
    install()
