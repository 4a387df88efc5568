"""D3: detection by descriptions, some of which fit no object.

Reference: Xie et al., "Described Object Detection" (arXiv:2307.12813): COCO's mAP over
422 descriptions, of which 316 say what is there (PRES) and 106 what is not (ABS).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fgclip2_det.coco.ground_truths import Truths, read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.coco.results import Results

from .coco_ap import coco_figures

PARTS = ('full', 'pres', 'abs')
_LENGTHS = {'short': (1, 3), 'middle': (4, 6), 'long': (7, 9), 'very_long': (10, 999)}


def d3_file(folder: str | os.PathLike, part: str) -> Path:
    """Annotation file of 'full', 'pres' or 'abs'."""
    return Path(folder) / f'd3_{part}_annotations.json'


def score_d3(
    folder: str | os.PathLike,
    predictions_file: str | os.PathLike,
    drop_outside: bool = True,
) -> dict[str, dict]:
    """mAP of all descriptions, of both kinds, and by length in words.

    Args:
        folder: ``d3_json/`` with ``d3_{full,pres,abs}_annotations.json``.
        predictions_file: COCO result list; ``category_id`` is the description's.
            Which descriptions an image is asked for (those of its own scene, or all)
            is decided when it is made; scores in [0, 1].
        drop_outside: see :func:`.read_results`; what it leaves out is counted.

    Returns:
        ``{'metrics': {'d3/full/AP': 0 to 1, ...}, 'counts': ...}``; -1 where no
        description of the group has a box.

    Raises:
        ValueError: naming the first entry or row that is wrong.
    """
    truths = read_truths(d3_file(folder, 'full'))
    read = read_results(predictions_file, truths, drop_outside=drop_outside)
    metrics = d3_metrics(truths, read.results, d3_parts(folder, truths))
    counts = {'images': len(truths.images), 'descriptions': len(truths.categories)}
    counts |= {'rows': read.num_rows, 'rows_outside': read.num_outside}
    return {'metrics': metrics, 'counts': counts}


def d3_parts(folder: str | os.PathLike, truths: Truths) -> dict[str, np.ndarray]:
    """(K,) masks of the descriptions of each part and of each length.

    A description belongs to the part whose file has its boxes, for the files of both
    parts may list all of them; one without a box has no AP anyway.

    Args:
        folder: see :func:`score_d3`.
        truths: what was read of the 'full' file: K descriptions.

    Raises:
        ValueError: if a part has a description that 'full' has not.
    """
    groups: dict[str, np.ndarray] = {'full': np.ones(len(truths.categories), bool)}
    for part in PARTS[1:]:
        own = read_truths(d3_file(folder, part))
        ids = [entry['id'] for entry in own.categories]
        if unknown := set(ids) - set(truths.category_index):
            raise ValueError(
                f'{d3_file(folder, part)}: category {min(unknown)} is not in '
                f'{d3_file(folder, "full").name}'
            )
        present = [truths.category_index[ids[i]] for i in np.unique(own.category)]
        groups[part] = np.isin(np.arange(len(truths.categories)), present)
    words = np.array([len(name.split()) for name in truths.names])
    for name, (low, high) in _LENGTHS.items():
        groups[name] = (words >= low) & (words <= high)
    return groups


def d3_metrics(
    truths: Truths, results: Results, groups: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """``d3/GROUP/AP`` of :func:`d3_parts`; -1 where no description has a box."""
    ap = coco_figures(truths, results, full=False).precision[0]  # (K, 10)
    there = ~np.isnan(ap).all(1)
    return {
        f'd3/{name}/AP': float(ap[chosen & there].mean())
        if (chosen & there).any()
        else -1.0
        for name, chosen in groups.items()
    }
