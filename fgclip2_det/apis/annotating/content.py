"""What goes into the labels and what a person is to look at, as COCO files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.apis.annotating.bands import ACCEPT, REVIEW, Band
from fgclip2_det.apis.annotating.lines import BOX_DIGITS, ImageLine
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import read_json
from fgclip2_det.vocabulary.ontology import Ontology

CORRECTED = 'corrected.json'


@dataclass(frozen=True)
class Row:
    """A box that a band holds.

    Attributes:
        id: number among all rows, from 1; that of its annotation in the review file.
        image: path below the folder.
        label: index of its class.
        bbox: xyxy in pixels.
        score: of the detection; None where a person drew it.
        band: 'accept' or 'review'; 'person' for what a person has settled.
    """

    id: int
    image: str
    label: int
    bbox: Sequence[float]
    score: float | None
    band: str


@dataclass(frozen=True)
class Labels:
    """Detections and corrections of all images that could be read.

    Attributes:
        ontology: of C classes.
        bands: C of them.
        lines: N images, by name.
        corrected: image -> boxes that a person settled, as ``[label, x1, y1, x2, y2,
            score]``; those images are no longer in the review file.
    """

    ontology: Ontology
    bands: Sequence[Band]
    lines: Sequence[ImageLine]
    corrected: Mapping[str, Sequence[Sequence]]

    def rows(self) -> Iterator[Row]:
        """Boxes of both bands, image by image, corrections aside."""
        number = 0
        for line in self.lines:
            for box, label, score in zip(
                line.bboxes, line.labels, line.scores, strict=True
            ):
                band = self.bands[label].of(score)
                if band is not None:
                    number += 1
                    yield Row(number, line.image, label, box, score, band)

    def settled(self) -> Iterator[Row]:
        """Rows that are labels: what a person settled, else the accept band."""
        for row in self.rows():
            if row.band == ACCEPT and row.image not in self.corrected:
                yield row
        for image, boxes in self.corrected.items():
            for label, *bbox, score in boxes:
                yield Row(0, image, label, bbox, score, 'person')

    def open(self) -> Iterator[Row]:
        """Rows of both bands in images that no person has settled."""
        return (row for row in self.rows() if row.image not in self.corrected)

    def coco(self) -> dict[str, Any]:
        """Content of a COCO file of the labels, image by image."""
        numbers = self.numbers
        rows = sorted(self.settled(), key=lambda row: numbers[row.image])
        return self._content(rows, lambda number, row: {'id': number})

    def review(self) -> dict[str, Any]:
        """Content of a COCO file of both bands; annotations have ``score`` and
        ``band``."""
        content = self._content(
            list(self.open()), lambda number, row: {'id': row.id, 'band': row.band}
        )
        content['images'] = [
            each
            for each in content['images']
            if each['file_name'] not in self.corrected
        ]
        return content

    @property
    def numbers(self) -> dict[str, int]:
        """Image -> its id, from 1."""
        return {line.image: i for i, line in enumerate(self.lines, 1)}

    def _content(self, rows: Sequence[Row], extra: Any) -> dict[str, Any]:
        numbers = self.numbers
        images = [
            dict(id=i, file_name=line.image, width=line.width, height=line.height)
            for i, line in enumerate(self.lines, 1)
        ]
        annotations = []
        for number, row in enumerate(rows, 1):
            x1, y1, x2, y2 = row.bbox
            bbox = [round(v, BOX_DIGITS) for v in (x1, y1, x2 - x1, y2 - y1)]
            entry = extra(number, row) | dict(
                image_id=numbers[row.image], category_id=row.label + 1, bbox=bbox,
                area=round(bbox[2] * bbox[3], BOX_DIGITS), iscrowd=0,
            )  # fmt: skip
            annotations.append(
                entry if row.score is None else entry | {'score': row.score}
            )
        categories = [
            dict(id=i, name=each.name)
            | ({'name_zh': each.name_zh} if each.name_zh else {})
            for i, each in enumerate(self.ontology.classes, 1)
        ]
        return dict(images=images, annotations=annotations, categories=categories)


def in_band(rows: Sequence[Row], band: str) -> list[Row]:
    """Those of 'accept' or 'review'."""
    assert band in (ACCEPT, REVIEW)
    return [row for row in rows if row.band == band]


def read_corrected(out: Path, ontology: Ontology) -> dict[str, list[list]]:
    """Corrections of earlier reviews, with the labels of this ontology.

    Raises:
        ValueError: a class of a correction is not in the ontology.
    """
    path = out / CORRECTED
    if not path.is_file():
        return {}
    content = read_json(path, 'remove it to go without the corrections')
    labels = {name: label for label, name in enumerate(ontology.names)}
    own = {}
    for image, boxes in content['images'].items():
        for name, *_ in boxes:
            if name not in labels:
                raise ValueError(
                    f'{path}: a box of {image} was corrected to {name!r}, which the '
                    'ontology does not have; add it there, or remove the file'
                )
        own[image] = [[labels[name], *rest] for name, *rest in boxes]
    return own


def write_corrected(
    out: Path, ontology: Ontology, corrected: Mapping[str, Sequence[Sequence]]
) -> None:
    """Keep corrections, with names instead of labels."""
    images = {
        image: [[ontology.names[label], *rest] for label, *rest in corrected[image]]
        for image in sorted(corrected)
    }
    text = json.dumps({'images': images}, ensure_ascii=False, indent=1)
    write_atomic(out / CORRECTED, f'{text}\n'.encode())
