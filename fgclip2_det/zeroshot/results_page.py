"""The results page: every benchmark, the published number, the command, ours."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fgclip2_det.io.text import read_json

from .benchmark import SIZES, Benchmark
from .published_sets import sets_table
from .ranking_page import ranking_section
from .suite import BENCHMARKS

_HEAD = """# Benchmarks

Every benchmark of this project: what FG-CLIP 2's paper (arXiv:2510.10921) reports, the
command, and what it printed here. `python tools/benchmark.py --list --data-root data`
says which files are there and where the others are published. This page is written by
`python tools/benchmark.py --page docs/benchmarks.md --results docs/benchmarks`; nothing
in it is typed by hand. No released weights and no complete set have been at hand so
far, hence the many "not measured".

Each result file says what it was measured on: counts, digests of the files and of the
weights, patch budget, package versions, commit; `python tools/compare_results.py A.json
B.json` says in words why two numbers are not comparable.
"""
_ENCODERS = """
## Encoders

`python tools/benchmark.py NAME --encoder qihoo360/fg-clip2-base --data-root data
--out-dir OUT`, with NAME from the first column. Percent; published numbers are those of
base / large / so400m. For segmentation the paper trains Cat-Seg on COCO-Stuff; ours is
zero-shot, from the dense map alone, and not comparable with that, unless a trained
decoder is given: `--segmentor CONFIG CHECKPOINT` instead of `--encoder`
([Segmentation](segmentation.md)).
"""
_SETS = """
## The paper's tasks and sets

Where each set of the paper is, and how its command was verified, as none has been run
whole. The options are those of the sections above and below.
"""
_PARTS = """
## Parts that were measured

On a few images of the set, on a set without a published count, or with an encoder
that is not a released one: good for checking the commands, comparable with nothing
published. `oracle` and `noise` are controls of the evaluation itself: they answer with
the truth and at random. `random-base` has random weights of the base size;
`fgclip2_tiny` knows coloured shapes and nothing of photographs.
"""
_DETECTORS = """
## Detectors

Result lists of any detector, scored by `python tools/evaluate.py`; AP and its parts are
shares of 1 there, percent here. FG-CLIP 2 re-scores LLMDet Swin-T without training
(appendix B); the paper leaves the mode and the metric open, and its baselines are fixed
AP (`lvis-fixed`).
"""
# title, published, options of tools/evaluate.py, what is missing
_RESCORE = "after `tools/rescore.py` on LLMDet Swin-T's results"
_DETECTOR_ROWS = (
    (
        'LVIS minival, AP / APr / APc / APf: LLMDet Swin-T alone',
        '44.7 / 37.3 / 39.5 / 50.7',
        '--protocol lvis-fixed --ann lvis_v1_val.json --minival-ids minival.json',
        'LVIS, results of LLMDet Swin-T',
    ),
    (
        'LVIS minival, with FG-CLIP 2 base',
        '51.6 / 47.5 / 50.7 / 53.2',
        f'the same, {_RESCORE}',
        'LVIS, results of LLMDet Swin-T, released weights',
    ),
    (
        'LVIS minival, with large',
        '52.6 / 48.6 / 51.8 / 54.0',
        'the same',
        'the same',
    ),
    (
        'LVIS minival, with so400m',
        '53.1 / 50.8 / 52.3 / 54.2',
        'the same',
        'the same',
    ),
    (
        'LVIS val: LLMDet Swin-T alone',
        '34.9 / 26.0 / 30.1 / 44.3',
        '--protocol lvis-fixed --ann lvis_v1_val.json',
        'LVIS, results of LLMDet Swin-T',
    ),
    (
        'LVIS val, with FG-CLIP 2 base',
        '44.0 / 37.4 / 42.8 / 48.2',
        f'the same, {_RESCORE}',
        'LVIS, results of LLMDet Swin-T, released weights',
    ),
    ('LVIS val, with large', '45.5 / 41.0 / 44.2 / 49.0', 'the same', 'the same'),
    ('LVIS val, with so400m', '45.9 / 42.1 / 44.6 / 49.0', 'the same', 'the same'),
    (
        'OV-COCO 48/17, AP50 of novel, base, all',
        '-',
        '--protocol ov-coco --ann instances_val2017.json',
        'COCO, a trained detector',
    ),
    ('COCO', '-', '--protocol coco --ann instances_val2017.json', 'COCO, a detector'),
    (
        'FG-OVD, mAP with hard-negative vocabularies',
        '-',
        '--protocol fg-ovd --ann 1_attributes.json',
        'COCO val2017, results with `vocabulary_id`',
    ),
    ('D3', '-', '--protocol d3 --ann d3_json', 'D3, a detector'),
    (
        'RefCOCO/+/g',
        '-',
        '--protocol refexp --ann finetune_refcoco_val.json',
        "MDETR's annotations, a detector",
    ),
    (
        'Flickr30k Entities',
        '-',
        '--protocol flickr30k --ann final_flickr_separateGT_test.json',
        "MDETR's annotations, a detector",
    ),
    (
        'ODinW-13, ODinW-35',
        '-',
        '--protocol odinw13 --ann odinw',
        'the sets, a detector',
    ),
)


def read_folder(folder: str | os.PathLike) -> dict[str, dict]:
    """Result files below a folder by their path in it, without '.json'.

    Raises:
        ValueError: naming a file that is not a benchmark's result, or an empty folder.
    """
    folder, results = Path(folder), {}
    for path in sorted(folder.rglob('*.json')):
        content = read_json(path)
        protocol = content.get('protocol') if isinstance(content, dict) else None
        if not isinstance(protocol, dict) or protocol.get('name') not in BENCHMARKS:
            raise ValueError(f'{path} is not a result of tools/benchmark.py')
        results[str(path.relative_to(folder).with_suffix(''))] = content
    if not results:
        raise ValueError(f'there is no result file in {folder}')
    return results


def results_page(results: Mapping[str, dict]) -> str:
    """Markdown of the page.

    Args:
        results: see :func:`read_folder`. Complete ones of trained encoders go beside
            the published numbers, others into the table of parts.
    """
    whole = {k: v for k, v in results.items() if _is_whole(v)}
    parts = {k: v for k, v in results.items() if k not in whole}
    lines = [_HEAD, _ENCODERS]
    lines += _rows(('benchmark', 'what', 'metric', 'published', 'ours'))
    for benchmark in BENCHMARKS.values():
        own = [r for r in whole.values() if r['protocol']['name'] == benchmark.name]
        lines += _encoder_rows(benchmark, own)
    if parts:
        lines += [_PARTS]
        lines += _rows(('benchmark', 'encoder', 'counts', 'percent'))
        lines += [_part_row(result) for result in parts.values()]
    lines += [_SETS, *sets_table()]
    lines += ranking_section()
    lines += [_DETECTORS]
    lines += _rows(('what', 'published', 'options of `tools/evaluate.py`', 'ours'))
    for title, published, command, needs in _DETECTOR_ROWS:
        command = f'`{command}`' if command.startswith('--') else command
        lines.append(f'| {title} | {published} | {command} | {_missing(needs)} |')
    return '\n'.join(lines) + '\n'


def _is_whole(result: dict) -> bool:
    protocol = result['protocol']
    name = protocol.get('encoder_name') or ''
    return protocol['complete'] and not protocol['control'] and 'random' not in name


def _rows(titles: Sequence[str]) -> list[str]:
    return [f'| {" | ".join(titles)} |', '|---' * len(titles) + '|']


def _encoder_rows(benchmark: Benchmark, results: Sequence[dict]) -> list[str]:
    needs = ', '.join(f'`{file.path}`' for file in benchmark.files.values())
    metrics = list(benchmark.paper) or ['']
    rows = []
    for metric in metrics:
        numbers = benchmark.paper.get(metric, (None,) * len(SIZES))
        published = ' / '.join('-' if n is None else f'{n:.1f}' for n in numbers)
        ours = [_ours(result, metric) for result in results]
        first = f'`{benchmark.name}` | {benchmark.title}' if not rows else ' | '
        shown = metric and f'`{metric}`'
        published = published if metric else '-'
        cell = '; '.join(ours) or (_missing(needs) if not rows else 'as above')
        rows.append(f'| {first} | {shown} | {published} | {cell} |')
    return rows


def _ours(result: dict, metric: str) -> str:
    names = [metric] if metric else list(result['metrics'])
    values = ', '.join(f'{result["metrics"][name]:.1f}' for name in names)
    return f'{result["protocol"]["encoder_name"]}: {values}'


def _missing(needs: str) -> str:
    return f'not measured: needs {needs}'


def _part_row(result: dict) -> str:
    protocol = result['protocol']
    counts = ', '.join(f'{n:,} {what}' for what, n in result['counts'].items() if n)
    values = ', '.join(f'{name} {v:.1f}' for name, v in result['metrics'].items())
    name = protocol['name']
    return f'| `{name}` | {protocol["encoder_name"]} | {counts} | {values} |'
