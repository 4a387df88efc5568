"""ODinW: AP of each data set, their mean and their median."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean, median

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.odinw_sets import odinw_sets
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.io import InputError

from .protocols import evaluate_results


def score_odinw(
    root: str | os.PathLike,
    predictions: str | os.PathLike,
    count: int = 13,
    drop_outside: bool = True,
) -> dict[str, dict]:
    """COCO AP of each set.

    Args:
        root: folder ``odinw/`` with the sets in their published folders.
        predictions: folder with ``SET.json``, a COCO result list, for each set.
        count: 13 or 35.
        drop_outside: see :func:`.read_results`; what it leaves out is counted.

    Returns:
        ``{'metrics': {'odinw/SET/AP': 0 to 1, ..., 'odinw/average/AP': ...,
        'odinw/median/AP': ...}, 'counts': ...}``.

    Raises:
        FileNotFoundError: naming all files that are missing.
        ValueError: naming the first entry or row that is wrong, or a set without
            objects, which has no AP.

    Reference: ELEVATER (arXiv:2204.08790).
    """
    sets = odinw_sets(count)
    files = {
        one.name: (Path(root) / one.ann_file, Path(predictions) / f'{one.name}.json')
        for one in sets
    }
    missing = [str(p) for pair in files.values() for p in pair if not p.is_file()]
    if missing:
        raise FileNotFoundError(
            f'ODinW-{count}: {len(missing)} files are missing: {", ".join(missing[:4])}'
        )
    metrics, images, outside = {}, 0, 0
    for name, (ann_file, results_file) in files.items():
        truths = read_truths(ann_file)
        read = read_results(results_file, truths, drop_outside=drop_outside)
        outside += read.num_outside
        figures = evaluate_results('coco', truths, read.results)
        metrics[f'odinw/{name}/AP'] = figures.metrics['coco/bbox/AP']
        if metrics[f'odinw/{name}/AP'] < 0:
            raise InputError(
                f'{ann_file} has no objects, so {name} has no AP for the average; give '
                'the published annotations'
            )
        images += len(truths.images)
    values = list(metrics.values())
    metrics |= {'odinw/average/AP': mean(values), 'odinw/median/AP': median(values)}
    counts = {'sets': len(sets), 'images': images, 'rows_outside': outside}
    return {'metrics': metrics, 'counts': counts}
