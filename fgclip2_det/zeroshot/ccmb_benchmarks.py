"""CCMB's ICR and IQR (retrieval), ICM and IQM (matching); Flickr30k-CNA is among the
retrieval benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .embedder import Embedder
from .report import Report
from .retrieval_benchmarks import read_retrieval

MODE = 'short'  # 64 tokens, as many as the reference takes of captions and queries
RANKED = 64  # candidates in the reference's configurations
_URL = 'http://zero.so.com, with a link to Baidu in https://github.com/yuxie11/R2D2'
_SOURCE = 'CCMB (arXiv:2205.03860), section 3'
_IMAGES = DataFile('ccmb/IQR_IQM_ICR_ICM_images', _URL)
_ALL = 'of_all_splits'


def _read_retrieval(files: Mapping[str, Path], options: ReadOptions) -> Task:
    from .ccmb_files import read_ccmb_captions, read_ccmb_pairs, split_files

    task = read_retrieval(files, options, read_ccmb_captions, MODE, RANKED)
    others = split_files(files['captions']).values()
    total = sum(len(read_ccmb_pairs(path, labelled=False)) for path in others)
    return _with_counts(task, {f'captions_{_ALL}': total})


def _read_matching(files: Mapping[str, Path], options: ReadOptions) -> Task:
    from .ccmb_files import read_ccmb_pairs, split_files
    from .matching import MatchingPairs, evaluate_matching

    splits = {
        split: read_ccmb_pairs(path, labelled=True)
        for split, path in split_files(files['pairs']).items()
    }
    try:
        pairs = MatchingPairs.of(splits['val'], files['images'], options.num_images)
    except ValueError as error:
        raise type(error)(f'{files["pairs"]}: {error}') from error
    labels = [pair.label for lines in splits.values() for pair in lines]
    totals = {f'pairs_{_ALL}': len(labels), f'positives_{_ALL}': sum(labels)}
    counts = pairs.counts

    def run(embedder: Embedder) -> Report:
        report = Report(counts=dict(counts))
        evaluate_matching(report, embedder, pairs, MODE)
        return report

    return _with_counts(Task(counts, run), totals)


def _with_counts(task: Task, more: dict[str, int]) -> Task:
    """The task and its report with further counts."""

    def run(embedder: Embedder) -> Report:
        report = task.run(embedder)
        report.counts.update(more)
        return report

    return replace(task, counts={**task.counts, **more}, run=run)


def _retrieval(name: str, title: str, length: str) -> Benchmark:
    path = f'ccmb/{name}/val/{length}_itr_val.json'
    return Benchmark(
        name=name.lower(),
        title=f'{name}, {title}, retrieval',
        files={'captions': DataFile(path, _URL), 'images': _IMAGES},
        expected={},
        totals={f'captions_{_ALL}': 200_000},
        read=_read_retrieval,
        source=_SOURCE,
        takes_ranker=True,
        ranker_k=RANKED,
    )


def _matching(name: str, title: str, length: str) -> Benchmark:
    path = f'ccmb/{name}/val/{length}_itm_val.json'
    return Benchmark(
        name=name.lower(),
        title=f'{name}, {title}, matching',
        files={'pairs': DataFile(path, _URL), 'images': _IMAGES},
        expected={},
        totals={f'pairs_{_ALL}': 400_000, f'positives_{_ALL}': 200_000},
        read=_read_matching,
        source=_SOURCE,
        takes_ranker=True,
    )


_BENCHMARKS = (
    _retrieval('ICR', 'Chinese captions', 'long'),
    _retrieval('IQR', 'Chinese queries', 'short'),
    _matching('ICM', 'Chinese captions', 'long'),
    _matching('IQM', 'Chinese queries', 'short'),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _BENCHMARKS}
