"""Annotation files: COCO's and LVIS's as they are, FG-OVD's lines as COCO."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.io.text import read_json


def read_content(path: str | os.PathLike) -> Any:
    """Sections of a COCO or LVIS file, or of FG-OVD's jsonl form of one.

    In the latter each line is an object: its true caption is its category, and its
    negatives are its ``neg_category_ids``. A caption with several ids has the first, so
    that what is true of one object is no negative of another.

    Raises:
        ValueError: naming the file, and the first line that is wrong.
    """
    return _of_lines(path) if Path(path).suffix == '.jsonl' else read_json(path)


def _of_lines(path: str | os.PathLike) -> dict:
    images: dict = {}
    captions: dict = {}  # of each id
    first: dict = {}  # id of each caption
    annotations = []
    for title, entry in read_fgovd_lines(path):
        try:
            image_id, bbox = entry['image_id'], entry['bbox']
            ids = [entry['category_id'], *entry['neg_category_ids']]
        except (KeyError, TypeError) as error:
            raise ValueError(f'{title} is no object of FG-OVD: {error!r}') from error
        texts = [*entry['pos_expression'], *entry['neg_expression']]
        if len(ids) != len(texts):
            raise ValueError(f'{title} has {len(ids)} ids for {len(texts)} captions')
        for category_id, text in zip(ids, texts, strict=True):
            if captions.setdefault(category_id, text) != text:
                raise ValueError(
                    f'{title}: category {category_id} is {text!r} here and '
                    f'{captions[category_id]!r} before; ids must stand for one caption'
                )
        ids = [first.setdefault(text, i) for i, text in zip(ids, texts, strict=True)]
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
