"""Converters of annotation files, and checks before a training or an evaluation."""

from .check_root import DataState, check_layout, check_root
from .coco_to_odvg import coco_to_odvg
from .coco_to_voc import voc_files
from .coco_to_yolo import check_stems, yolo_files, yolo_name
from .image_overlap import CocoSide, Overlap, check_coco_train, check_images
from .layouts import LAYOUTS, Layout
from .leaks import (
    check_near_duplicates,
    find_leaks,
    image_paths,
    read_side,
)
from .lvis import NUM_MINIVAL, read_image_list, write_lvis_base, write_lvis_minival
from .near_duplicates import close_pairs, difference_hash, hash_images, hash_of
from .novel_boxes import check_novel_annotations, novel_names
from .odvg_to_coco import odvg_to_coco
from .ov_coco import write_ov_coco
from .pseudo_boxes import write_pseudo_boxes
from .voc import voc_to_coco
from .yolo import read_names, yolo_to_coco

__all__ = [
    'LAYOUTS',
    'NUM_MINIVAL',
    'CocoSide',
    'DataState',
    'Layout',
    'Overlap',
    'check_coco_train',
    'check_images',
    'check_layout',
    'check_near_duplicates',
    'check_novel_annotations',
    'check_root',
    'check_stems',
    'close_pairs',
    'coco_to_odvg',
    'difference_hash',
    'find_leaks',
    'hash_images',
    'hash_of',
    'image_paths',
    'novel_names',
    'odvg_to_coco',
    'read_image_list',
    'read_names',
    'read_side',
    'voc_files',
    'voc_to_coco',
    'write_lvis_base',
    'write_lvis_minival',
    'write_ov_coco',
    'write_pseudo_boxes',
    'yolo_files',
    'yolo_name',
    'yolo_to_coco',
]
