"""A run's numbers beside the published ones: table, JSON, comparison."""

from __future__ import annotations

from collections.abc import Sequence

from fgclip2_det.evaluation.comparison import barriers, metric_rows, settings
from fgclip2_det.reproduce.benchmarks import Benchmark
from fgclip2_det.reproduce.merging import values_of
from fgclip2_det.reproduce.published import published

_NONE = 'not published'
_COLUMNS = ('first', 'second', 'difference')


def build_report(
    benchmark: Benchmark,
    detector: str,
    encoder: str | None,
    contents: dict[str, dict],
    about: dict[str, object],
) -> dict:
    """Everything that is printed, as plain values.

    Args:
        benchmark: of the run.
        detector, encoder: names; encoder None: the detector alone was run.
        contents: 'detector' and 'rescored' -> what ``tools/evaluate.py`` writes.
        about: of the run: digests, settings, limits.
    """
    systems = {'detector': (detector, '')}
    if encoder is not None:
        systems['rescored'] = (f'{detector} + {encoder}', encoder)
    tables = []
    for number, (title, columns) in enumerate(benchmark.tables.items()):
        rows = []
        for kind, (name, key) in systems.items():
            row: dict[str, object] = {'system': name}
            row['ours'] = values_of(contents[kind], columns)
            known = published(benchmark.name, detector, key) if number == 0 else None
            row['published'] = None if known is None else list(known.values)
            row['source'] = None if known is None else known.source
            rows.append(row)
        names = [column.title for column in columns]
        tables.append({'title': title, 'columns': names, 'rows': rows})
    return {'title': benchmark.title, 'note': benchmark.note, 'tables': tables} | about


def format_report(report: dict) -> str:
    """The report as text."""
    lines = [f'{report["title"]}, {report["images"]}']
    if report['note']:
        lines.append(report['note'])
    if report['dry_run']:
        lines.append('DRY RUN: small data, random weights; the numbers mean nothing')
    lines += [f'the two rows are not comparable: {x}' for x in report['reasons']]
    sources: list[str] = []
    for table in report['tables']:
        width = max(len(row['system']) for row in table['rows'])
        lines += ['', _line(table['title'], [f'{c:>7}' for c in table['columns']])]
        for row in table['rows']:
            title = f'  {row["system"]:<{width}}  here'
            lines.append(_line(title, _cells(row['ours'])))
            title = f'  {"":<{width}}  published'
            if row['published'] is None:
                lines.append(_line(title, [_NONE]))
                continue
            if row['source'] not in sources:
                sources.append(row['source'])
            mark = f' [{sources.index(row["source"]) + 1}]'
            lines.append(_line(title, _cells(row['published'])) + mark)
    lines += ['', *(f'[{n}] {source}' for n, source in enumerate(sources, 1))]
    return '\n'.join(lines).rstrip()


def _line(title: str, cells: Sequence[str]) -> str:
    return f'{title:<58} {" ".join(cells)}'.rstrip()


def _cells(values: Sequence[float | None]) -> list[str]:
    return ['      -' if value is None else f'{value:7.1f}' for value in values]


def compare(first: dict, second: dict) -> dict:
    """What ``tools/compare_results.py --json`` writes of the detector and of the
    re-scored detections."""
    reasons = barriers(first, second)
    rows = metric_rows(first, second)
    return {
        'comparable': not reasons,
        'reasons': reasons,
        'settings': settings(first, second),
        'metrics': {
            name: dict(zip(_COLUMNS, values, strict=True)) for name, *values in rows
        },
    }
