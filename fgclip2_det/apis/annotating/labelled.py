"""A small labelled part of the images, and what the detections on it are worth."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.coco.annotation_file import CocoFile, read_coco
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.evaluation.image_boxes import box_iou
from fgclip2_det.vocabulary.ontology import Ontology

MIN_IOU = 0.5  # of a right box with its object
Answers = list[tuple[np.ndarray, np.ndarray] | None]


def label_of_name(ontology: Ontology) -> dict[str, int]:
    """Normalised names and prompts of the classes -> label; names come first."""
    prompts = {
        normalize_name(text): label
        for label, each in enumerate(ontology.classes)
        for text in each.prompts
    }
    names = {normalize_name(n): label for label, n in enumerate(ontology.names)}
    return prompts | names


@dataclass(frozen=True)
class LabelledPart:
    """A COCO file of some of the images, every object of its classes labelled.

    Attributes:
        coco: the file.
        images: image id -> name among the images of the folder.
        labels: category id -> label; other categories are left out.
    """

    coco: CocoFile
    images: dict[int | str, str]
    labels: dict[int | str, int]

    @classmethod
    def read(
        cls, path: str | os.PathLike, ontology: Ontology, names: Collection[str]
    ) -> LabelledPart:
        """Read the file.

        Args:
            path: of the file.
            ontology: whose classes its categories are matched to, by name or prompt.
            names: paths of the images below their folder; the file may leave the
                folders out where the name is the only one.

        Raises:
            ValueError: naming the file: as :func:`.read_coco`; none of its categories
                is a class; an image that is not among the images.
        """
        coco, known = read_coco(path), label_of_name(ontology)
        labels = {
            key: known[normalize_name(each['name'])]
            for key, each in coco.categories.items()
            if normalize_name(each['name']) in known
        }
        if not labels:
            raise ValueError(
                f'{path} has no category of the ontology '
                f'({", ".join(ontology.names[:5])}); name them alike'
            )
        images = {}
        for key, own in match_names(coco, names).items():
            if own is None:
                name = coco.images[key].get('file_name')
                raise ValueError(
                    f'{path}: image {name} is not one of the images; label images of '
                    'the folder'
                )
            images[key] = own
        if not images:
            raise ValueError(f'{path} has no images; label some of the folder')
        return cls(coco, images, labels)


def match_names(coco: CocoFile, names: Collection[str]) -> dict[int | str, str | None]:
    """Image id -> its path among ``names``, by the whole path or by a file name that
    only one of them has; None for others."""
    alike: dict[str, list[str]] = defaultdict(list)
    for image in names:
        alike[PurePosixPath(image).name].append(image)
    known, found = set(names), {}
    for key, image in coco.images.items():
        name = PurePosixPath(str(image.get('file_name'))).as_posix()
        same = alike[PurePosixPath(name).name]
        found[key] = name if name in known else same[0] if len(same) == 1 else None
    return found


def answers_on(
    part: LabelledPart, lines: Mapping[str, ImageLine], count: int
) -> Answers:
    """Scores of the detections on a labelled part, and whether each is right.

    A box is right if it is the best one of its class to overlap an object of that
    class, at an IoU of 0.5 or more, that no better box has taken. Boxes on crowds and
    on objects to ignore do not count.

    Args:
        part: of the images.
        lines: image -> detections.
        count: number of classes.

    Returns:
        Of each class (n,) scores and (n,) bool; None where the part has no such
        category.

    Raises:
        ValueError: naming the file, for an image that could not be read.
    """
    objects = defaultdict(list)
    for each in part.coco.annotations:
        if each['category_id'] in part.labels:
            objects[each['image_id'], part.labels[each['category_id']]].append(each)
    known = set(part.labels.values())
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {c: [] for c in known}
    for key, image in part.images.items():
        if image not in lines:
            raise ValueError(f'{part.coco.path}: image {image} could not be read')
        for label in known:
            found[label].append(_answers(lines[image], label, objects[key, label]))
    return [
        (np.concatenate(parts[0]), np.concatenate(parts[1]))
        if (parts := tuple(zip(*found.get(label, ()), strict=True)))
        else None
        for label in range(count)
    ]


def _answers(
    line: ImageLine, label: int, objects: Sequence[Mapping]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the boxes of a class that count, and whether they are right."""
    rows = [i for i, own in enumerate(line.labels) if own == label]
    scores = np.array([line.scores[i] for i in rows])
    boxes = to_xywh([line.bboxes[i] for i in rows])
    truths = np.array([each['bbox'] for each in objects], float).reshape(-1, 4)
    ignored = np.array(
        [bool(each.get('iscrowd') or each.get('ignore')) for each in objects], bool
    )
    right = match(boxes, truths[~ignored])
    on_ignored = (box_iou(boxes, truths[ignored]) >= MIN_IOU).any(1)
    counts = (right >= 0) | ~on_ignored
    return scores[counts], right[counts] >= 0


def match(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Index of the object that each box takes, in the order of the boxes; -1 for none.

    Args:
        boxes: (n, 4) xywh, best first.
        objects: (m, 4) xywh.
    """
    iou = box_iou(boxes, objects)
    taken = np.full(len(boxes), -1)
    for row in range(len(boxes) if len(objects) else 0):
        best = int(iou[row].argmax())
        if iou[row, best] >= MIN_IOU:
            taken[row] = best
            iou[:, best] = -1
    return taken


def to_xywh(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """(n, 4) float64 xywh of n xyxy boxes."""
    xywh = np.array(boxes, float).reshape(-1, 4)
    xywh[:, 2:] -= xywh[:, :2]
    return xywh
