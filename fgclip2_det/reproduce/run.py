"""A benchmark from its files to a table: detect, re-score, merge, evaluate."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.digests import file_digest, folder_digest, json_digest
from fgclip2_det.reproduce import checklist
from fgclip2_det.reproduce.benchmarks import Benchmark
from fgclip2_det.reproduce.detecting import (
    ListedDetector,
    PromptedDetector,
    choose_device,
)
from fgclip2_det.reproduce.fusing import ItemRescorer, load_any_encoder
from fgclip2_det.reproduce.merging import (
    content_of,
    evaluate_parts,
    write_result_lists,
)
from fgclip2_det.reproduce.questions import Questions
from fgclip2_det.reproduce.releases import (
    DetectorRelease,
    EncoderRelease,
    folder_of_weights_digest,
)
from fgclip2_det.reproduce.report import build_report, compare, format_report
from fgclip2_det.reproduce.shards import Rows, ShardFolder, join_rows

Say = Callable[[str], None]
# counts up where the same question to the same weights gets another answer: a folder
# must not mix two. 2: no parentheses in captions, boxes clipped to the image
PROCEDURE = 2


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Args:
        benchmark: of :data:`.benchmarks.BENCHMARKS`.
        detector: its name.
        detector_release: its weights; None with a result list.
        result_list: of a detector elsewhere; None with weights.
        encoder: its name.
        encoder_release: its weights.
        data_root, weights, out: folders.
        shard_size: images of a shard.
        share: (i, n): every n-th shard from the i-th, counted from 1.
        limit: the first n images alone; None: all.
        device: None: cuda where there is one.
        dry_run: whether data and weights are made up.
    """

    benchmark: Benchmark
    detector: str
    detector_release: DetectorRelease | None
    result_list: Path | None
    encoder: str
    encoder_release: EncoderRelease
    data_root: Path
    weights: Path
    out: Path
    shard_size: int = 64
    share: tuple[int, int] = (1, 1)
    limit: int | None = None
    device: str | None = None
    dry_run: bool = False

    def folder(self, benchmark: str, system: str) -> Path:
        """Where the shards of a system are kept."""
        part = '' if self.limit is None else f'-first{self.limit}'
        return self.out / f'{benchmark}{part}' / system

    @property
    def work(self) -> Path:
        """Folder for annotation files that are made."""
        return self.folder(self.benchmark.detections, 'annotations')


def check_plan(plan: Plan) -> checklist.Checklist:
    """What the run needs, and what of it is there."""
    releases: list = [(plan.encoder, plan.encoder_release)]
    if plan.detector_release is not None:
        releases.insert(0, (plan.detector, plan.detector_release))
    return checklist.check(
        plan.benchmark,
        releases,
        plan.result_list,
        plan.data_root,
        plan.weights,
        plan.work,
        plan.limit,
    )


def run(plan: Plan, questions: Questions, say: Say = print) -> dict | None:
    """Run what is missing of a share, then evaluate if all shares are there.

    Args:
        plan: what to run.
        questions: of a complete checklist.
        say: prints progress and the table.

    Returns:
        The report; None where shards of other shares are missing.

    Raises:
        ValueError: folders of other runs, images that cannot be read, and what the
            evaluation refuses.
    """
    device = choose_device(plan.device)
    data = _data_header(questions)
    detections = ShardFolder(
        plan.folder(plan.benchmark.detections, plan.detector),
        _detector_header(plan, data),
        len(questions.items),
        plan.shard_size,
    )
    rescored = ShardFolder(
        plan.folder(plan.benchmark.name, f'{plan.detector}+{plan.encoder}'),
        _encoder_header(plan, questions, detections),
        len(questions.items),
        plan.shard_size,
    )
    detect_shards(plan, questions, detections, device, say)
    rescore_shards(plan, questions, detections, rescored, device, say)
    missing = {*detections.missing(), *rescored.missing()}
    if missing:
        say(f'{len(missing)} of {rescored.num_shards} shards are for other shares; the '
            'last of them to end prints the table')  # fmt: skip
        return None
    return finish(plan, questions, detections, rescored, say)


def detect_shards(
    plan: Plan, questions: Questions, shards: ShardFolder, device: str, say: Say
) -> None:
    """Detect in the images of the share's missing shards."""
    numbers = _own(plan, shards.missing())
    if not numbers:
        return
    detector: Any
    if plan.result_list is not None:
        detector = ListedDetector(plan.result_list, plan.benchmark, questions)
    else:
        assert plan.detector_release is not None
        folder = plan.detector_release.folder(plan.weights)
        detector = PromptedDetector(
            folder, questions.prompts, plan.benchmark.asking, device
        )

    def work(number: int) -> Rows:
        items = [questions.items[i] for i in shards.items_of(number)]
        return join_rows([detector(item, n) for n, item in enumerate(items)])

    _shard_by_shard(f'{plan.detector} detects', shards, numbers, work, say)


def rescore_shards(
    plan: Plan,
    questions: Questions,
    detections: ShardFolder,
    shards: ShardFolder,
    device: str,
    say: Say,
) -> None:
    """Re-score the share's shards of detections that are not re-scored yet."""
    ready = set(range(detections.num_shards)) - set(detections.missing())
    numbers = [n for n in _own(plan, shards.missing()) if n in ready]
    if not numbers:
        return
    folder = plan.encoder_release.folder(plan.weights)
    encoder = load_any_encoder(folder, plan.encoder_release.version, device)
    cache = plan.out / 'text_cache'
    rescorer = ItemRescorer(encoder, plan.benchmark, questions, cache)

    def work(number: int) -> Rows:
        rows = detections.read(number)
        items = [questions.items[i] for i in shards.items_of(number)]
        return join_rows([rescorer(x, rows.of(n), n) for n, x in enumerate(items)])

    _shard_by_shard(f'{plan.encoder} re-scores', shards, numbers, work, say)


def finish(
    plan: Plan,
    questions: Questions,
    detections: ShardFolder,
    rescored: ShardFolder,
    say: Say,
) -> dict:
    """Merge complete shards, evaluate both systems, write and print the report."""
    contents = {}
    for kind, shards in (('detector', detections), ('rescored', rescored)):
        stem = rescored.folder / kind
        lists = write_result_lists(shards, plan.benchmark, questions, stem)
        notes = {'run': json_digest(shards.header)}
        evaluations = evaluate_parts(plan.benchmark, questions, lists, notes)
        contents[kind] = content_of(evaluations)
        _write(stem.with_suffix('.json'), contents[kind])
    comparison = compare(contents['detector'], contents['rescored'])
    _write(rescored.folder / 'comparison.json', comparison)
    images = f'{len(questions.items):,} of {questions.num_all:,} images'
    about: dict[str, object] = {
        'images': images,
        'dry_run': plan.dry_run,
        'run': rescored.header,
        'comparable': comparison['comparable'],
        'reasons': comparison['reasons'],
    }
    report = build_report(plan.benchmark, plan.detector, plan.encoder, contents, about)
    _write(rescored.folder / 'report.json', report)
    text = format_report(report)
    write_atomic(rescored.folder / 'report.txt', f'{text}\n'.encode())
    say(f'\n{text}\n\n-> {rescored.folder}')
    return report


def parse_share(text: str) -> tuple[int, int]:
    """'2/8' -> (2, 8).

    Raises:
        InputError: not of this form, or not 1 <= i <= n.
    """
    first, mark, second = text.partition('/')
    if mark and first.isdecimal() and second.isdecimal():
        share = int(first), int(second)
        if 1 <= share[0] <= share[1]:
            return share
    raise InputError(
        f'--shards must be I/N with I from 1 to N, such as 2/8, got {text!r}'
    )


def _own(plan: Plan, numbers: list[int]) -> list[int]:
    first, count = plan.share
    return [number for number in numbers if number % count == first - 1]


def _shard_by_shard(
    title: str,
    shards: ShardFolder,
    numbers: list[int],
    work: Callable[[int], Rows],
    say: Say,
) -> None:
    """Make shards one by one, with the speed and the time that is left."""
    start, done = time.monotonic(), 0
    total = sum(len(shards.items_of(number)) for number in numbers)
    say(f'{title}: {total:,} images in {len(numbers)} of {shards.num_shards} shards')
    for number in numbers:
        shards.write(number, work(number))
        done += len(shards.items_of(number))
        speed = done / max(time.monotonic() - start, 1e-9)
        left = time.gmtime((total - done) / speed)
        days = f'{int((total - done) / speed) // 86_400} d ' if left.tm_yday > 1 else ''
        say(f'  shard {number}: {done:,} of {total:,} images, {speed:.3g} images/s, '
            f'{days}{time.strftime("%H:%M:%S", left)} left')  # fmt: skip


def _data_header(questions: Questions) -> dict[str, object]:
    """Digests of what is asked: the files, the names and the questions."""
    files = {part: folder_digest(path) for part, path in questions.annotations.items()}
    asked = [
        [item.image_id, [[a.part, a.vocabulary, len(a.labels)] for a in item.asks]]
        for item in questions.items
    ]
    return {'annotations': files, 'asked': json_digest(asked), 'procedure': PROCEDURE}


def _detector_header(plan: Plan, data: dict[str, object]) -> dict[str, object]:
    header: dict[str, object] = {
        'benchmark': plan.benchmark.detections,
        'detector': plan.detector,
        **data,
    }
    if plan.result_list is not None:
        return header | {'result_list': file_digest(plan.result_list)}
    assert plan.detector_release is not None
    folder = plan.detector_release.folder(plan.weights)
    digest = folder_of_weights_digest(folder)
    return header | {'weights': digest, 'asking': dict(vars(plan.benchmark.asking))}


def _encoder_header(
    plan: Plan, questions: Questions, detections: ShardFolder
) -> dict[str, object]:
    folder = plan.encoder_release.folder(plan.weights)
    return {
        'benchmark': plan.benchmark.name,
        'encoder': plan.encoder,
        'weights': folder_of_weights_digest(folder),
        'names': json_digest(list(questions.names)),
        'rescoring': dict(vars(plan.benchmark.rescoring)),
        'detections': detections.header,
    }


def _write(path: Path, content: dict) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomic(path, f'{text}\n'.encode())
