"""What is doubtful about a labelling and worth a look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby
from typing import Any

import numpy as np

from fgclip2_det.apis.annotating.content import Labels, Row
from fgclip2_det.apis.annotating.labelled import to_xywh
from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.evaluation.image_boxes import box_iou
from fgclip2_det.prepare.near_duplicates import duplicate_groups

SAME_BOX = 0.7  # IoU of two boxes that are on one thing
MAX_DISTANCE = 4  # bits of 64 in which near-duplicates differ at most
HASH = 'difference hash of 9 x 8 grey pixels, 64 bits (dHash, N. Krawetz, 2013)'
SHOWN = 5


def doubts(labels: Labels, unread: dict[str, str]) -> dict[str, Any]:
    """Plain values: ``two_names``, ``never_found``, ``without_boxes``,
    ``near_duplicates`` and ``unread``.

    Args:
        labels: of all images that could be read.
        unread: image or folder -> why it could not be.
    """
    rows = list(labels.rows())
    found = {row.label for row in rows}
    with_boxes = {row.image for row in rows}
    names = labels.ontology.names
    return dict(
        two_names=list(_two_names(rows, names)),
        never_found=[name for i, name in enumerate(names) if i not in found],
        without_boxes=[x.image for x in labels.lines if x.image not in with_boxes],
        near_duplicates=dict(
            hash=HASH, most_bits=MAX_DISTANCE, groups=near_duplicates(labels.lines)
        ),
        unread=unread,
    )


def _two_names(rows: Sequence[Row], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for image, group in groupby(rows, key=lambda row: row.image):
        own = list(group)
        boxes = to_xywh([row.bbox for row in own])
        iou = box_iou(boxes, boxes)
        for i, j in combinations(range(len(own)), 2):
            if own[i].label != own[j].label and iou[i, j] >= SAME_BOX:
                pair = own[i], own[j]
                yield dict(
                    image=image, names=[names[row.label] for row in pair],
                    scores=[row.score for row in pair],
                    bboxes=[list(row.bbox) for row in pair],
                    iou=round(float(iou[i, j]), 3),
                )  # fmt: skip


def near_duplicates(lines: Sequence[ImageLine]) -> list[list[str]]:
    """Groups of images with nearly the same hash; images of one colour are left out."""
    hashed = [line for line in lines if line.hash]
    if len(hashed) < 2:
        return []
    bits = np.unpackbits(
        np.array([list(bytes.fromhex(line.hash)) for line in hashed], np.uint8), axis=1
    ).astype(bool)
    groups = duplicate_groups(bits, max_distance=MAX_DISTANCE)
    return [[hashed[i].image for i in group] for group in groups]


def doubt_lines(content: dict[str, Any]) -> Iterator[str]:
    """Sentences for a terminal; none where nothing is doubtful."""
    pairs = content['two_names']
    if pairs:
        shown = (f'{p["image"]}: {" / ".join(p["names"])}' for p in pairs)
        yield f'two names on one box: {len(pairs)} ({_listed(list(shown))})'
    if content['never_found']:
        names = content['never_found']
        yield f'classes that were never found: {len(names)} ({_listed(names)})'
    if content['without_boxes']:
        images = content['without_boxes']
        yield f'images without a box: {len(images)} ({_listed(images)})'
    if groups := content['near_duplicates']['groups']:
        shown = (' = '.join(group[:3]) for group in groups)
        yield (
            f'groups of near-duplicate images: {len(groups)} ({_listed(list(shown))}), '
            'by a difference hash'
        )
    if content['unread']:
        names = list(content['unread'])
        yield f'could not be read: {len(names)} ({_listed(names)})'


def _listed(texts: Sequence[str]) -> str:
    more = f'; and {len(texts) - SHOWN} more' if len(texts) > SHOWN else ''
    return '; '.join(texts[:SHOWN]) + more
