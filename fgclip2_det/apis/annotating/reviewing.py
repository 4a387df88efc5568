"""A person's corrections taken back into the labels of a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.apis.annotating.content import Labels, read_corrected, write_corrected
from fgclip2_det.apis.annotating.lines import NAME, read_lines
from fgclip2_det.apis.annotating.lock import only_one
from fgclip2_det.apis.annotating.options import (
    FORMATS,
    MANIFEST,
    Manifest,
    check_formats,
)
from fgclip2_det.apis.annotating.outputs import read_bands, write_labels
from fgclip2_det.apis.annotating.report import review_table
from fgclip2_det.apis.annotating.review import read_review
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.vocabulary.ontology import Ontology

WORTH = 'reviewed.json'


@dataclass(frozen=True)
class ReviewReport:
    """What a review changed and measured.

    Attributes:
        content: as in ``reviewed.json``: images, and by class what became of the boxes
            of both bands, with their precision and its interval.
        kept: label files that were changed by others and stayed.
    """

    content: dict[str, Any]
    kept: list[str]

    def lines(self) -> Iterator[str]:
        """A table by class for a terminal."""
        yield from review_table(self.content)
        if self.kept:
            yield (
                f'{len(self.kept)} files were changed since and were kept '
                f'({", ".join(self.kept[:5])}); --overwrite replaces them'
            )


def apply_review(
    changed: str | os.PathLike,
    out: str | os.PathLike,
    formats: Sequence[str] = (),
    overwrite: bool = False,
) -> ReviewReport:
    """Take the corrections of a review file into the labels of a folder.

    Corrections are kept in ``corrected.json`` and stay when more images are labelled.

    Args:
        changed: the folder's ``review.json``, with boxes kept, deleted, renamed, added
            or moved; see :func:`.read_review`.
        out: folder of complete labels.
        formats: to write beside those that are there.
        overwrite: replace label files that a person changed.

    Returns:
        Precision of both bands by class, on the images in the file.

    Raises:
        ValueError: an unknown format, labels that are not complete, and as
            :func:`.read_review`.
    """
    check_formats(formats)
    folder = Path(out)
    try:
        with only_one(folder):
            return _apply(Path(changed), folder, formats, overwrite)
    except OSError as error:
        raise ValueError(f'{folder} cannot be written ({error})') from error


def _apply(
    changed: Path, out: Path, formats: Sequence[str], overwrite: bool
) -> ReviewReport:
    manifest = Manifest.read(out)
    if manifest is None or not manifest.complete:
        what = 'no complete labels' if manifest else f'no {MANIFEST}'
        raise ValueError(f'{out} has {what}; let annotate finish there first')
    ontology = Ontology.from_dict(manifest.ontology, str(out / MANIFEST))
    lines = [line for line in read_lines(out / NAME) if not line.error]
    known = {line.image for line in lines}
    corrected = {
        image: boxes
        for image, boxes in read_corrected(out, ontology).items()
        if image in known
    }
    labels = Labels(ontology, read_bands(out, ontology.names), lines, corrected)
    review = read_review(changed, labels)
    corrected = {**corrected, **review.boxes}
    write_corrected(out, ontology, corrected)
    names = {*formats, *manifest.formats}
    wanted = [name for name in FORMATS if name in names]
    labels = Labels(ontology, labels.bands, lines, corrected)
    kept = write_labels(out, Path(manifest.folder), labels, wanted, overwrite)
    if wanted != manifest.formats:
        manifest.write(out, formats=wanted)
    content = review.to_dict()
    text = json.dumps(content, ensure_ascii=False, indent=1)
    write_atomic(out / WORTH, f'{text}\n'.encode())
    return ReviewReport(content, kept)
