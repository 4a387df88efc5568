"""A person's corrections of a review file, and what the bands were worth."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fgclip2_det.apis.annotating.bands import ACCEPT, REVIEW, wilson
from fgclip2_det.apis.annotating.content import Labels, Row
from fgclip2_det.apis.annotating.labelled import (
    MIN_IOU,
    label_of_name,
    match_names,
    to_xywh,
)
from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.coco.annotation_file import CocoFile, read_coco
from fgclip2_det.coco.checks import is_number
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.evaluation.image_boxes import box_iou

BANDS = ACCEPT, REVIEW


@dataclass
class BandCount:
    """What a person made of a band's boxes of a class.

    Attributes:
        kept: as they were, or moved by little (IoU of 0.5 or more).
        moved: by more.
        renamed: to another class.
        deleted: altogether.
    """

    kept: int = 0
    moved: int = 0
    renamed: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        return self.kept + self.moved + self.renamed + self.deleted

    def to_dict(self) -> dict[str, Any]:
        """Counts, and the precision with Wilson's 95 % interval, None of no boxes."""
        low, high = wilson(self.kept, self.total)
        return dict(
            vars(self),
            boxes=self.total,
            precision=self.kept / self.total if self.total else None,
            low=low,
            high=high,
        )


@dataclass
class Review:
    """Corrections of the images that a person looked at.

    Attributes:
        boxes: image -> ``[label, x1, y1, x2, y2, score]`` of its boxes now.
        counts: class -> band -> :class:`BandCount`.
        added: class -> boxes that a person drew.
    """

    boxes: dict[str, list[list]]
    counts: dict[str, dict[str, BandCount]]
    added: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: images looked at, and a row per class and for all."""
        names = list(self.counts)
        rows = [
            {'class': name, 'added': self.added.get(name, 0)}
            | {band: self.counts[name][band].to_dict() for band in BANDS}
            for name in names
        ]
        total = {
            band: BandCount(**{
                key: sum(getattr(self.counts[name][band], key) for name in names)
                for key in ('kept', 'moved', 'renamed', 'deleted')
            }).to_dict()
            for band in BANDS
        }  # fmt: skip
        rows.append({'class': 'all', 'added': sum(self.added.values())} | total)
        return dict(images=len(self.boxes), classes=rows)


def read_review(path: str | os.PathLike, labels: Labels) -> Review:
    """Read a review file that a person changed.

    Images that are in the file count as looked at: what is not there was deleted.
    Images that were taken out of it stay as they are. Where the file still has the
    fields ``band`` and ``score``, as editors leave what they do not know, a box is the
    original of its score, and of its id where several have that score; ids alone are
    others when more images were labelled since. The rest, and all boxes of tools that
    leave the fields out, go by place: a box is the original that it overlaps best, at
    an IoU of 0.5 or more, first of its own class.

    Args:
        path: COCO file.
        labels: that the review file was made of.

    Raises:
        ValueError: naming the file: as :func:`.read_coco`, an image that was not
            labelled, or a category that is no class.
    """
    coco = read_coco(path)
    of_category = _labels_of(coco, labels)
    images = _images_of(coco, labels)
    originals: dict[str, list[Row]] = defaultdict(list)
    for row in labels.rows():
        originals[row.image].append(row)
    now: dict[str, list[dict]] = {image: [] for image in images.values()}
    for each in coco.annotations:
        now[images[each['image_id']]].append(each)
    by_id = any('band' in each for each in coco.annotations)
    review = Review({}, {
        name: {band: BandCount() for band in BANDS} for name in labels.ontology.names
    })  # fmt: skip
    lines = {line.image: line for line in labels.lines}
    for image, entries in now.items():
        own = [
            [of_category[each['category_id']], *_corners(each['bbox'], lines[image])]
            for each in entries
        ]
        rows = originals[image]
        known = [not by_id or 'band' in each for each in entries]
        pairs = _pairs_by_score(rows, entries)
        _pair_by_place(rows, own, known, pairs)
        _take(review, image, rows, own, pairs)
    return review


def _take(
    review: Review,
    image: str,
    rows: Sequence[Row],
    own: Sequence[list],
    pairs: Sequence[int | None],
) -> None:
    """Add an image to a review: its boxes now, and what became of its rows."""
    names = list(review.counts)
    scores: list[float | None] = [None] * len(own)
    for row, place in zip(rows, pairs, strict=True):
        _count(review.counts[names[row.label]][row.band], row, place, own)
        if place is not None and own[place][0] == row.label:
            scores[place] = row.score
    for place, box in enumerate(own):
        if place not in pairs:
            name = names[box[0]]
            review.added[name] = review.added.get(name, 0) + 1
    review.boxes[image] = [
        [*box, score] for box, score in zip(own, scores, strict=True)
    ]


def _count(
    count: BandCount, row: Row, place: int | None, own: Sequence[Sequence]
) -> None:
    """Add what became of one original."""
    if place is None:
        count.deleted += 1
    elif own[place][0] != row.label:
        count.renamed += 1
    elif _iou([row.bbox], [own[place][1:]])[0, 0] >= MIN_IOU:
        count.kept += 1
    else:
        count.moved += 1


def _pairs_by_score(
    rows: Sequence[Row], entries: Sequence[Mapping]
) -> list[int | None]:
    """Place of the entry that still has each row's score, and its id where more than
    one row or entry has that score; or None."""
    places: dict[Any, list[int]] = defaultdict(list)
    for place, each in enumerate(entries):
        if 'band' in each and is_number(each.get('score')):
            places[each['score']].append(place)
    counts = Counter(row.score for row in rows)
    pairs: list[int | None] = []
    for row in rows:
        found = places[row.score]
        if len(found) > 1 or counts[row.score] > 1:
            found = [place for place in found if entries[place]['id'] == row.id]
        pairs.append(found[0] if found else None)
    return pairs


def _pair_by_place(
    rows: Sequence[Row],
    own: Sequence[Sequence],
    known: Sequence[bool],
    pairs: list[int | None],
) -> None:
    """Fill in the place of the box that each row became, by overlap, of rows and boxes
    that have no other yet and, for boxes, are ``known`` to come from a row."""
    iou = _iou([row.bbox for row in rows], [box[1:] for box in own])
    if not iou.size:
        return
    iou[:, np.logical_not(known)] = 0
    same = np.array([[row.label == box[0] for box in own] for row in rows])
    order = np.argsort(-(iou + 2 * (same & (iou >= MIN_IOU))), axis=None, kind='stable')
    taken = set(pairs)
    for i, j in zip(*np.unravel_index(order, iou.shape), strict=True):
        if iou[i, j] >= MIN_IOU and pairs[i] is None and j not in taken:
            pairs[i] = int(j)
            taken.add(j)


def _labels_of(coco: CocoFile, labels: Labels) -> dict[int | str, int]:
    known = label_of_name(labels.ontology)
    used = {each['category_id'] for each in coco.annotations}
    found = {}
    for key, each in coco.categories.items():
        label = known.get(normalize_name(each['name']))
        if label is not None:
            found[key] = label
        elif key in used:
            raise ValueError(
                f'{coco.path}: boxes are named {each["name"]!r}, which is no class of '
                'the ontology; add it there and annotate anew, or name them otherwise'
            )
    return found


def _images_of(coco: CocoFile, labels: Labels) -> dict[int | str, str]:
    """Image id -> its name among the labels; tools may leave the folders out."""
    found: dict[int | str, str] = {}
    seen: set[str] = set()
    for key, own in match_names(coco, [line.image for line in labels.lines]).items():
        if own is None or own in seen:
            raise ValueError(
                f'{coco.path}: image {coco.images[key].get("file_name")} '
                f'{"is there twice" if own else "was not labelled here"}; start from '
                'the review.json of these labels'
            )
        found[key] = own
        seen.add(own)
    return found


def _corners(bbox: Sequence[float], line: ImageLine) -> list[float]:
    """xyxy within the image."""
    x, y, w, h = bbox
    sides = (x, line.width), (y, line.height), (x + w, line.width), (y + h, line.height)
    return [round(min(max(value, 0), side), 2) for value, side in sides]


def _iou(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> np.ndarray:
    return box_iou(to_xywh(a), to_xywh(b))
