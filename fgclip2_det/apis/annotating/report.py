"""Tables of a labelling and of a review, for a terminal and as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fgclip2_det.apis.annotating.bands import ACCEPT, REVIEW, Band
from fgclip2_det.apis.annotating.content import Labels
from fgclip2_det.apis.detection_table import _lines


def class_rows(labels: Labels) -> list[dict[str, Any]]:
    """A row per class: images and boxes of both bands, mean score of those accepted,
    thresholds and where they come from."""
    found: dict[tuple[int, str], list] = {}
    for row in labels.rows():
        found.setdefault((row.label, row.band), []).append(row)
    rows = []
    for label, (name, band) in enumerate(
        zip(labels.ontology.names, labels.bands, strict=True)
    ):
        accepted = found.get((label, ACCEPT), [])
        review = found.get((label, REVIEW), [])
        scores = [row.score for row in accepted]
        rows.append({
            'class': name,
            'images': len({row.image for row in accepted}),
            'accept': len(accepted),
            'review': len(review),
            'mean_score': round(sum(scores) / len(scores), 4) if scores else None,
            'band': band.to_dict(),
        })  # fmt: skip
    return rows


def class_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of :func:`class_rows`; the precision of the labelled part if measured."""
    measured = any(row['band']['source'].startswith('labelled') for row in rows)
    head = ['class', 'images', 'accept', 'review', 'mean score', 'accept from']
    if measured:
        head += ['precision there', 'of boxes', 'threshold by']
    return _lines(head, (_cells(row, measured) for row in rows))


def _cells(row: Mapping[str, Any], measured: bool) -> list[str]:
    band, mean = row['band'], row['mean_score']
    cells = [row['class'], *(str(row[key]) for key in ('images', 'accept', 'review'))]
    cells.append('' if mean is None else f'{mean:.2f}')
    cells.append('never' if band['accept'] is None else f'{band["accept"]:.2f}')
    if measured:
        own = Band(**band)
        cells += [_share(own.precision, own.low, own.high),
                  str(own.num_boxes or ''), own.source]  # fmt: skip
    return cells


def _share(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return ''
    return f'{share:.2f} ({low:.2f} to {high:.2f})'


def review_table(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines of :meth:`.Review.to_dict`: precision of both bands with its interval."""
    head = ['class', 'accept: right', 'precision', 'review: right', 'precision',
            'renamed', 'moved', 'deleted', 'added']  # fmt: skip
    return _lines(head, (_review_cells(row) for row in content['classes']))


def _review_cells(row: Mapping[str, Any]) -> list[str]:
    cells = [row['class']]
    for band in (ACCEPT, REVIEW):
        own = row[band]
        cells.append(f'{own["kept"]} of {own["boxes"]}')
        cells.append(_share(own['precision'], own['low'], own['high']))
    for key in ('renamed', 'moved', 'deleted'):
        cells.append(str(row[ACCEPT][key] + row[REVIEW][key]))
    return [*cells, str(row['added'])]
