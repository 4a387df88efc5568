"""Datasets with base and novel classes, and the transforms of their pipelines."""

from .class_split import ClassSplit, category_name, resolve_classes
from .metainfo import CLASS_SPLITS, OV_COCO_BASE_CLASSES, OV_COCO_NOVEL_CLASSES
from .open_vocab_coco import OpenVocabCocoDataset
from .ovshapes import OVShapesDataset
from .ovshapes_classes import EXTRA_CLASSES, OVSHAPES_CLASSES, ShapeClass, classes_of
from .ovshapes_generate import generate_ovshapes
from .ovshapes_render import ShapeObject, render_image
from .transforms import FGCLIP2Resize, OpenVocabLoadImage, UnreadableImageError

__all__ = [
    'CLASS_SPLITS',
    'EXTRA_CLASSES',
    'OVSHAPES_CLASSES',
    'OV_COCO_BASE_CLASSES',
    'OV_COCO_NOVEL_CLASSES',
    'ClassSplit',
    'FGCLIP2Resize',
    'OVShapesDataset',
    'OpenVocabCocoDataset',
    'OpenVocabLoadImage',
    'ShapeClass',
    'ShapeObject',
    'UnreadableImageError',
    'category_name',
    'classes_of',
    'generate_ovshapes',
    'render_image',
    'resolve_classes',
]
