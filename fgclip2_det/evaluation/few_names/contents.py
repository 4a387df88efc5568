"""Annotation files: COCO's and LVIS's as they are, FG-OVD's lines as COCO."""

from __future__ import annotations

import os
from pathlib import Path

from fgclip2_det.coco.annotation_file import CocoFile, parse_coco
from fgclip2_det.coco.checks import box_fault
from fgclip2_det.coco.fgovd_lines import fgovd_captions, read_fgovd_lines
from fgclip2_det.coco.ground_truths import read_truths_file


def read_content(path: str | os.PathLike) -> CocoFile:
    """A COCO or LVIS file, or FG-OVD's jsonl form of one, checked.

    In the latter each line is an object: its true caption is its category, and its
    negatives are its ``neg_category_ids``. A caption with several ids has the first, so
    that what is true of one object is no negative of another.

    Raises:
        ValueError: naming the file, and the first entry or line that is wrong.
    """
    if Path(path).suffix != '.jsonl':
        return read_truths_file(path)
    return parse_coco(_of_lines(path), path, image_keys=(), keep_outside=True)


def _of_lines(path: str | os.PathLike) -> dict:
    images: dict = {}
    captions: dict = {}  # of each id
    first: dict = {}  # id of each caption
    annotations = []
    for title, entry in read_fgovd_lines(path):
        pairs = fgovd_captions(title, entry)
        image_id, bbox = entry['image_id'], entry.get('bbox')
        if fault := box_fault(bbox):
            raise ValueError(f'{title}: {fault}')
        for category_id, text in pairs:
            if captions.setdefault(category_id, text) != text:
                raise ValueError(
                    f'{title}: category {category_id} is {text!r} here and '
                    f'{captions[category_id]!r} before; ids must stand for one caption'
                )
        ids = [first.setdefault(text, i) for i, text in pairs]
        images[image_id] = {
            'id': image_id, 'file_name': entry.get('img_path'),
            'width': entry['width'], 'height': entry['height'],
        }  # fmt: skip
        annotations.append({
            'id': len(annotations), 'image_id': image_id, 'category_id': ids[0],
            'neg_category_ids': ids[1:], 'bbox': bbox,
        })  # fmt: skip
    categories = [{'id': i, 'name': text} for text, i in first.items()]
    return {
        'images': list(images.values()),
        'categories': categories,
        'annotations': annotations,
    }
