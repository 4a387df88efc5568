"""Everything that a labelling leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgclip2_det.apis.annotating.bands import Band
from fgclip2_det.apis.annotating.content import Labels
from fgclip2_det.apis.annotating.doubts import doubts
from fgclip2_det.apis.annotating.label_files import (
    LabelFiles,
    json_bytes,
    label_files,
    link_images,
)
from fgclip2_det.apis.annotating.report import class_rows
from fgclip2_det.apis.annotating.sheets import Crops, write_sheets
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import read_json

REPORT, DOUBTS, REVIEW_FILE = 'annotate.json', 'doubtful.json', 'review.json'


def write_labels(
    out: Path, images: Path, labels: Labels, formats: Sequence[str], replace: bool
) -> list[str]:
    """Write label files and the review file.

    Args:
        out: folder of the labels.
        images: folder of the images.
        labels: of all images.
        formats: to write.
        replace: files that are there already.

    Returns:
        Files that were there, changed by others, and stayed.
    """
    files, coco = LabelFiles(out, replace), labels.coco()
    for name in formats:
        files.write(label_files(name, coco, images, out))
        if name == 'yolo':
            link_images(out, images, coco)
    files.write([(REVIEW_FILE, json_bytes(labels.review()))])
    return files.kept


def write_report(
    out: Path, labels: Labels, unread: Mapping[str, str], crops: Crops
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write contact sheets, ``annotate.json`` and ``doubtful.json``.

    Returns:
        Rows by class, and what is doubtful.
    """
    rows, doubtful = class_rows(labels), doubts(labels, dict(unread))
    write_sheets(out, labels, crops)
    totals = dict(
        images=len(labels.lines), unread=len(unread), corrected=len(labels.corrected)
    )
    _write_json(out / DOUBTS, doubtful)
    _write_json(out / REPORT, totals | {'classes': rows})
    return rows, doubtful


def read_bands(out: Path, names: Sequence[str]) -> list[Band]:
    """The bands that a complete labelling was made with.

    Raises:
        ValueError: its report is missing or damaged.
    """
    path = out / REPORT
    content = read_json(path, 'annotate again')
    try:
        bands = {row['class']: Band(**row['band']) for row in content['classes']}
        return [bands[name] for name in names]
    except (KeyError, TypeError) as error:
        raise ValueError(f'{path} is damaged ({error}); annotate again') from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    write_atomic(path, f'{text}\n'.encode())
