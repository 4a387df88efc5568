"""Detectors as answers to questions: those of transformers, and result lists."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.coco.result_lists import row_score
from fgclip2_det.io import InputError
from fgclip2_det.reproduce.benchmarks import Asking, Benchmark
from fgclip2_det.reproduce.questions import Ask, Item, Questions
from fgclip2_det.reproduce.shards import Rows, join_rows, make_rows, without_repetition
from fgclip2_det.vocabulary import Vocabulary


class PromptedDetector:
    """A detector of ``transformers``, asked for the names of each question.

    Args:
        folder: its weights.
        prompts: all names, in the words that it reads.
        asking: names of a pass, and results that are kept.
        device: where it runs.
    """

    def __init__(
        self, folder: Path, prompts: tuple[str, ...], asking: Asking, device: str
    ) -> None:
        import fgclip2_det.compat.mm  # isort: skip  (before mmdet)
        from fgclip2_det.models.detectors import HuggingFaceDetector

        self.detector = HuggingFaceDetector(
            os.fspath(folder), asking.chunk_size, max_per_image=asking.max_per_pass
        ).to(device)
        self.prompts, self.asking = prompts, asking
        self._asked: tuple[int, ...] | None = None

    def __call__(self, item: Item, place: int) -> Rows:
        """Rows of an image, the ``place``-th of its shard."""
        parts = [self._ask(item, place, n, ask) for n, ask in enumerate(item.asks)]
        return without_repetition(join_rows(parts))

    def _ask(self, item: Item, place: int, number: int, ask: Ask) -> Rows:
        if ask.labels != self._asked:
            names = [self.prompts[label] for label in ask.labels]
            self.detector.set_vocabulary(Vocabulary(names, check=False))
            self._asked = ask.labels
        boxes, scores, labels = self.detector.detect(item.path)
        if self.asking.max_per_ask is not None:
            best = scores.argsort(descending=True, stable=True)
            best = best[: self.asking.max_per_ask]
            boxes, scores, labels = boxes[best], scores[best], labels[best]
        columns = (x.float().numpy() for x in (labels, boxes, scores))
        return make_rows(place, number, *columns)


class ListedDetector:
    """Rows of a result list that another program wrote.

    Args:
        path: COCO result list.
        benchmark: whose images and categories it names.
        questions: of it.

    Raises:
        ValueError: as :func:`.read_predictions`; a benchmark whose questions a result
            list does not name.
    """

    def __init__(self, path: Path, benchmark: Benchmark, questions: Questions) -> None:
        if benchmark.protocol == 'fg-ovd':
            raise InputError(
                f'{path}: a result list cannot stand for a detector on {benchmark.name}'
                ', whose questions it does not name; give a detector with weights'
            )
        annotations = questions.annotations['']
        if benchmark.protocol == 'd3':
            annotations = annotations / 'd3_full_annotations.json'
        self.rows = read_predictions(path, annotations).rows

    def __call__(self, item: Item, place: int) -> Rows:
        """Rows of an image, the ``place``-th of its shard."""
        (ask,) = item.asks
        label_of = {category_id: n for n, category_id in enumerate(ask.ids)}
        listed = self.rows.get(item.image_id, ())
        rows = [row for row in listed if row['category_id'] in label_of]
        boxes = np.array([row['bbox'] for row in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [label_of[row['category_id']] for row in rows]
        scores = [row_score(row) for row in rows]
        return without_repetition(make_rows(place, 0, labels, boxes, scores))


def choose_device(device: str | None) -> str:
    """The device asked for, or cuda where there is one.

    Raises:
        InputError: a device that PyTorch does not have here.
    """
    if device is None:
        return 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f'there is no device {device!r} here ({str(error).splitlines()[0]}); give '
            '--device cpu'
        ) from error
    return device


def parse_detector(word: str, known: Mapping[str, object]) -> tuple[str, Path | None]:
    """Name and file of a detector: 'llmdet-tiny', or 'wedetect-large=FILE'.

    Raises:
        InputError: a name that is unknown and has no file.
    """
    name, mark, file = word.partition('=')
    if mark and name and file and Path(name).name == name:
        return name, Path(file)
    if word not in known:
        raise InputError(
            f'detector must be one of {", ".join(known)}, or NAME=FILE with a result '
            f'list, got {word!r}'
        )
    return word, None
