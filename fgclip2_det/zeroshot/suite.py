"""All benchmarks of an encoder by name, and how one of them is run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fgclip2_det.evaluation.fingerprint import commit, versions
from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder
from fgclip2_det.io.digests import file_digest, json_digest

from . import (
    box_benchmarks,
    ccmb_benchmarks,
    description_benchmarks,
    few_names_benchmark,
    grounding,
    retrieval_benchmarks,
    segmentation,
    zeroshot,
)
from .benchmark import Benchmark, ReadOptions, Task
from .controls import KINDS, ControlEmbedder
from .embedder import Embedder

if TYPE_CHECKING:
    from .pair_scores import PairScorer

_RANDOM = 'random-'
_DEFAULTS = ReadOptions()  # it is frozen
BENCHMARKS: dict[str, Benchmark] = {
    **box_benchmarks.BENCHMARKS,
    **grounding.BENCHMARKS,
    **description_benchmarks.BENCHMARKS,
    **retrieval_benchmarks.BENCHMARKS,
    **ccmb_benchmarks.BENCHMARKS,
    **zeroshot.BENCHMARKS,
    **segmentation.BENCHMARKS,
    **few_names_benchmark.BENCHMARKS,
}


def find_benchmarks(names: Iterable[str]) -> list[Benchmark]:
    """Benchmarks by name.

    Raises:
        ValueError: naming the first unknown one.
    """
    names = list(names)
    for name in names:
        if name not in BENCHMARKS:
            raise ValueError(
                f'there is no benchmark {name!r}; there are {", ".join(BENCHMARKS)}'
            )
    return [BENCHMARKS[name] for name in dict.fromkeys(names)]


def make_embedder(
    name: str,
    max_num_patches: int | str = 'auto',
    device: str | None = None,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    ranker: str | None = None,
) -> Embedder:
    """The embedder of an encoder, or a control.

    Args:
        name: a folder in the released layout, a hub id, 'random-base' (or another
            size) for random weights, or a control: 'oracle' or 'noise'.
        max_num_patches: per image; 'auto' as in training.
        device: default: cuda where there is one, else cpu.
        dtype: of the weights; float32 when None; int8: see :func:`.quantize_int8`.
        seed: of random weights and of the noise.
        ranker: folder of a ranker that was trained on the encoder, or a control, of
            pairs of images and texts; None: there is none.

    Raises:
        ValueError: if the encoder or the ranker cannot be loaded, the ranker belongs to
            another encoder, or the device cannot be used.
    """
    if name in KINDS:
        embedder: Embedder = ControlEmbedder(name, seed)
        embedder.pair_scorer = _scorer(ranker, None, seed)
        return embedder
    if name.startswith(_RANDOM):
        generator = torch.Generator().manual_seed(seed)
        encoder = FGCLIP2.from_size(name.removeprefix(_RANDOM), generator=generator)
    else:
        from fgclip2_det.fgclip1 import load_encoder

        encoder = load_encoder(name)
    if ranker and dtype not in (None, torch.float32):
        raise ValueError(f'a ranker reads tokens in float32, got {dtype}; leave it out')
    scorer = _scorer(ranker, encoder, seed)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    floats = None if dtype is torch.int8 else dtype
    try:
        encoder = encoder.to(device=device, dtype=floats)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'the device {device} cannot be used: {error}') from error
    if dtype is torch.int8:
        from fgclip2_det.fgclip2.low_precision import quantize_int8

        encoder = quantize_int8(encoder)
    embedder = Embedder(encoder, max_num_patches)
    embedder.pair_scorer = scorer
    return embedder


def _scorer(
    ranker: str | None, encoder: DualEncoder | None, seed: int
) -> PairScorer | None:
    if ranker is None:
        return None
    from .ranker_scores import make_scorer  # who ranks nothing needs no ranker

    return make_scorer(ranker, encoder, seed)


def read_benchmark(
    benchmark: Benchmark,
    data_root: Path,
    options: ReadOptions = _DEFAULTS,
    subset: bool = False,
) -> Task:
    """Find, read and check the files of a benchmark.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        data_root: folder that the paths of the files start from.
        options: what to change of the benchmark.
        subset: the files are a part of the published ones, on purpose.

    Raises:
        FileNotFoundError: naming missing files and where they are published.
        ValueError: what the files' readers refuse; counts that are not the published
            ones, unless ``subset`` or ``options.num_images`` is given; more entries
            over all splits than are published; boxes or a ranker for a benchmark that
            takes none.
    """
    _check_options(benchmark, options)
    task = benchmark.read(benchmark.locate(data_root), options)
    _check_counts(benchmark, task, subset or options.num_images is not None)
    return task


def _check_options(benchmark: Benchmark, options: ReadOptions) -> None:
    if options.boxes is not None and not benchmark.takes_boxes:
        raise ValueError(f'{benchmark.name} takes no boxes; leave them out')
    if options.few_names and not benchmark.takes_few_names:
        raise ValueError(
            f'{benchmark.name} asks for all names; leave out '
            f'{next(iter(options.few_names))}'
        )
    if options.ranker is not None and not benchmark.takes_ranker:
        raise ValueError(f'{benchmark.name} has nothing to rank; leave out --ranker')
    if options.ranker_k is not None and benchmark.ranker_k is None:
        raise ValueError(
            f'{benchmark.name} has no candidates to choose; leave out --ranker-k'
        )


def _check_counts(benchmark: Benchmark, task: Task, is_part: bool) -> None:
    differences = benchmark.differences(task.counts)
    if differences and not is_part:
        changes = ', '.join(
            f'{actual:,} {what} instead of {expected:,}'
            for what, (expected, actual) in differences.items()
        )
        raise ValueError(
            f'{benchmark.name} has {changes}: the files are not the published ones, or '
            'not all; say --subset if a part is meant'
        )
    for what, (total, actual) in benchmark.excesses(task.counts).items():
        raise ValueError(
            f'{benchmark.name} has {actual:,} {what}, {total:,} are published; get the '
            'files again'
        )


def run_benchmark(
    benchmark: Benchmark,
    task: Task,
    embedder: Embedder,
    data_root: Path,
    options: ReadOptions = _DEFAULTS,
) -> dict[str, Any]:
    """Encode and measure.

    Args:
        benchmark: one of :data:`BENCHMARKS`.
        task: what :func:`read_benchmark` made of it.
        embedder: see :func:`make_embedder`.
        data_root, options: as the task was read with.

    Returns:
        ``{'metrics': percent, 'denominators': ..., 'counts': ..., 'protocol': ...}``.
        ``protocol['complete']`` says whether all counts are the published ones; false
        where no count is published.
    """
    embedder.num_truncated.clear()
    start = time.perf_counter()
    with torch.no_grad():
        report = task.run(embedder)
    seconds = time.perf_counter() - start
    for mode, count in embedder.num_truncated.items():
        report.counts.setdefault(f'truncated_texts/{mode}', count)
    paths = benchmark.locate(data_root)
    complete = options.num_images is None and benchmark.is_complete(task.counts)
    about = describe(benchmark, task, embedder, paths, options, complete)
    about |= task.about
    return {**report.to_dict(), 'protocol': about, 'seconds': round(seconds, 1)}


def describe(
    benchmark: Benchmark,
    task: Task,
    embedder: Embedder,
    paths: Mapping[str, Path],
    options: ReadOptions,
    complete: bool,
) -> dict[str, object]:
    """The fingerprint of a result: plain values for JSON, digests are SHA-256.

    Pictures that an annotation file names are known by its digest; of folders without
    such a file, ``folders`` has what was read, see :class:`.Task`.
    """
    files = {
        role: {'name': path.name, 'sha256': file_digest(path)}
        for role, path in paths.items()
        if path.is_file()
    }
    boxes = options.boxes and file_digest(options.boxes)
    about = dict(files=files, num_images=options.num_images, boxes=boxes)
    return {
        'name': benchmark.name,
        'source': benchmark.source,
        'complete': complete,
        'data': {
            **about,
            'count': task.counts.get('images'),
            'sha256': json_digest(about),
        },
        'folders': {
            role: _describe_folder(paths[role], entries)
            for role, entries in task.folders.items()
        },
        'counts': dict(task.counts),
        'encoder': embedder.encoder_digest(),
        'control': getattr(embedder, 'kind', None),
        **_describe_ranking(benchmark, embedder, options),
        'max_num_patches': embedder.max_num_patches,
        'device': str(embedder.device),
        'versions': versions(),
        'commit': commit(),
    }


def _describe_folder(folder: Path, entries: Sequence[object]) -> dict[str, object]:
    """How many entries of a folder were read, and their digest: names below it, and
    the content of those that are paths."""
    rows = [
        [entry.relative_to(folder).as_posix(), file_digest(entry)]
        if isinstance(entry, Path)
        else entry
        for entry in entries
    ]
    return {'count': len(rows), 'sha256': json_digest(rows)}


def _describe_ranking(
    benchmark: Benchmark, embedder: Embedder, options: ReadOptions
) -> dict[str, object]:
    """Digest or control of the ranker, and its candidates; nothing without one."""
    scorer = embedder.pair_scorer
    if scorer is None:
        return {}
    about = {
        'ranker': scorer.kind or scorer.digest(),
        'ranker_k': options.ranker_k or benchmark.ranker_k,
    }
    return about if scorer.kind is None else {**about, 'control': scorer.kind}
