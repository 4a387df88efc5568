"""Result lists from complete shards, and their evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgclip2_det.coco.results import Results
from fgclip2_det.evaluation import evaluate_file
from fgclip2_det.evaluation.evaluate import Evaluation
from fgclip2_det.evaluation.protocols import PROTOCOLS, keep_for
from fgclip2_det.io.json_writing import write_text_pieces
from fgclip2_det.reproduce.benchmarks import Benchmark
from fgclip2_det.reproduce.questions import Questions
from fgclip2_det.reproduce.shards import Rows, ShardFolder, join_rows

_PRUNE_ROWS = 4_000_000
_BLOCK = 100_000  # rows that are Python objects at a time


def write_result_lists(
    shards: ShardFolder, benchmark: Benchmark, questions: Questions, stem: Path
) -> dict[str, Path]:
    """One COCO result list for each part, with the rows that its metric may count.

    Args:
        shards: complete.
        benchmark, questions: of them.
        stem: of the files, 'OUT/detector' for 'OUT/detector.bbox.json'.

    Returns:
        Part -> file.
    """
    rows = _all_rows(shards, benchmark, questions)
    paths = {}
    for part in benchmark.annotations:
        name = f'{stem.name}{f"-{part}" if part else ""}.bbox.json'
        paths[part] = stem.with_name(name)
        write_text_pieces(paths[part], _list_pieces(rows, questions, part))
    return paths


def _all_rows(shards: ShardFolder, benchmark: Benchmark, questions: Questions) -> Rows:
    """Rows of all shards; ``item`` counts over the benchmark."""
    parts: list[Rows] = []
    for number in range(shards.num_shards):
        rows = shards.read(number)
        start = shards.items_of(number).start
        parts.append(Rows(rows.item + np.int32(start), *_others(rows)))
        if sum(map(len, parts)) > _PRUNE_ROWS:
            parts = [_counted(join_rows(parts), benchmark)]
    return _counted(join_rows(parts), benchmark)


def _others(rows: Rows) -> tuple[np.ndarray, ...]:
    return rows.ask, rows.label, rows.boxes, rows.scores


def _counted(rows: Rows, benchmark: Benchmark) -> Rows:
    """Rows that a flavour of LVIS's AP counts; all rows of other protocols, whose
    numbers are small. An image of LVIS has one question, which has all names."""
    keep = keep_for(benchmark.protocol) if benchmark.protocol in PROTOCOLS else None
    if keep is None:
        return rows
    columns = rows.boxes.astype(np.float64), rows.scores.astype(np.float64)
    return rows.select(keep(Results(rows.item, rows.label, *columns)))


def _list_pieces(rows: Rows, questions: Questions, part: str) -> Iterator[str]:
    """JSON text of a result list; nine digits are all that float32 has."""
    start = '['
    for first in range(0, len(rows), _BLOCK):
        block = rows.select(np.arange(first, min(first + _BLOCK, len(rows))))
        for text in _row_texts(block, questions, part):
            yield start + text
            start = ',\n'
    yield '[]\n' if start == '[' else ']\n'


def _row_texts(rows: Rows, questions: Questions, part: str) -> Iterator[str]:
    columns = (rows.item, rows.ask, rows.label, rows.boxes, rows.scores)
    lists = [column.tolist() for column in columns]
    for item, ask, label, (x1, y1, x2, y2), score in zip(*lists, strict=True):
        asked = questions.items[item].asks[ask]
        if asked.part != part:
            continue
        more = ''
        if asked.vocabulary is not None:
            more = f', "vocabulary_id": {json.dumps(asked.vocabulary)}'
        yield (
            f'{{"image_id": {json.dumps(questions.items[item].image_id)}, '
            f'"category_id": {json.dumps(asked.ids[label])}{more}, "bbox": '
            f'[{x1:.9g}, {y1:.9g}, {x2 - x1:.9g}, {y2 - y1:.9g}], '
            f'"score": {score:.9g}}}'
        )


def evaluate_parts(
    benchmark: Benchmark,
    questions: Questions,
    lists: dict[str, Path],
    notes: dict[str, str],
) -> dict[str, Evaluation]:
    """Part -> evaluation of its result list.

    Raises:
        ValueError: as :func:`evaluate_file`.
    """
    options: dict[str, Any] = {}
    if benchmark.protocol in PROTOCOLS:
        options['image_ids'] = questions.image_ids
    options['notes'] = notes
    return {
        part: evaluate_file(
            benchmark.protocol, questions.annotations[part], path, **options
        )
        for part, path in lists.items()
    }


def content_of(evaluations: dict[str, Evaluation]) -> dict:
    """What ``tools/evaluate.py`` writes; metrics of parts are 'PART/METRIC'."""
    metrics, protocols = {}, {}
    for part, evaluation in evaluations.items():
        prefix = f'{part}/' if part else ''
        metrics |= {f'{prefix}{k}': v for k, v in evaluation.metrics.items()}
        protocols[part] = evaluation.protocol
    if list(protocols) == ['']:
        return {'metrics': metrics, 'protocol': protocols['']}
    return {'metrics': metrics, 'protocol': _joined(protocols)}


def _joined(protocols: dict[str, dict]) -> dict:
    """One protocol of several parts: what all say alike, and the rest by part."""
    first, *others = protocols.values()
    shared = {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }
    parts = {
        part: {k: v for k, v in protocol.items() if k not in shared}
        for part, protocol in protocols.items()
    }
    digests = [protocol['data']['sha256'] for protocol in protocols.values()]
    return shared | {'data': {'sha256': digests}, 'parts': parts}


def values_of(content: dict, columns: Sequence) -> list[float | None]:
    """Percent of a table's columns; None where no class has an object."""
    values = []
    for column in columns:
        name = f'{column.part}/{column.metric}' if column.part else column.metric
        value = content['metrics'][name]
        values.append(None if value == -1 else 100 * value)
    return values
