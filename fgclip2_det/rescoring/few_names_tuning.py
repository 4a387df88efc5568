"""Fusion settings compared under few names, on a score dump.

Whatever a user asks for is scored against what the detector was trained on. A dump has
the cosines of all its names, so the answer to a few of them, with the others as
competitors, needs no forward pass either.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.evaluation.few_names import Ask, draw_asks
from fgclip2_det.evaluation.few_names.pairs import AskedPairs, boxes_of_asks, pairs_of
from fgclip2_det.evaluation.few_names.scores import SCORE_THR, match_pairs
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.rescoring.score_dump import DumpHeader, ImageScores, ScoreDump
from fgclip2_det.rescoring.tuning import (
    Setting,
    SettingFigures,
    build_rescorer,
    check_ranked,
    with_odds,
)
from fgclip2_det.rescoring.tuning_truths import TuningTruths
from fgclip2_det.vocabulary.competitors import (
    Competitors,
    combine_names,
    select_competitors,
)


@dataclass(frozen=True)
class FewNames:
    """What is asked for; see :func:`.draw_asks`.

    Attributes:
        ks: numbers of names, and 'all'.
        seed: of the draw.
        absent: 'random' or 'hard'.
        score_thr: the score from which a user sees a box, in (0, 1): ``calibration``
            of a setting moves its threshold there.
        precision: a setting's threshold recalls the most at this precision at least;
            None: it has the highest F1.
    """

    ks: tuple[int | str, ...] = (1, 2, 5, 20, 'all')
    seed: int = 0
    absent: str = 'random'
    score_thr: float = SCORE_THR
    precision: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.score_thr < 1:
            raise ValueError(f'score_thr must lie in (0, 1), got {self.score_thr}')
        if self.precision is not None and not 0 < self.precision <= 1:
            raise ValueError(f'precision must lie in (0, 1], got {self.precision}')


def tune_few_names(
    dump: ScoreDump,
    truths: TuningTruths,
    settings: Sequence[Setting],
    few: FewNames,
    max_per_image: int = 300,
    progress: bool = True,
) -> list[SettingFigures]:
    """Figures of every setting under few names, in the order given.

    An ask is answered by an image's rows of the names asked for. In the similarity's
    softmax they compete with each other and with the base names of the dump, and with
    those of its names that base names combine to (:mod:`.competitors`).

    Args:
        dump: read once.
        truths: of :func:`.tuning_truths`. Where novel annotations were left out, novel
            names are not asked for.
        settings: of :func:`.make_grid`.
        few: what is asked for.
        max_per_image: rows of 'box' and 'joint', best first; 'keep' keeps all.
        progress: show a bar on a terminal.

    Returns:
        For 'base' and, where novel classes are scored, 'novel' and 'all': ``*_ap`` and
        ``*_ap50``, mean over the numbers of names, ``*_auroc`` likewise; the
        ``*_threshold`` over all of them, and ``*_precision`` and ``*_recall`` there.

    Raises:
        ValueError: ``max_per_image`` below 1; what :func:`.draw_asks` refuses.
    """
    if max_per_image < 1:
        raise ValueError(f'max_per_image must be at least 1, got {max_per_image}')
    check_ranked(dump, settings)
    asked = _asked_classes(truths)
    places = {c: i for i, c in enumerate(dump.header.category_ids)}
    rows = [places[category['id']] for category in asked.categories]
    asks = draw_asks(
        asked, few.ks, few.seed, few.absent,
        embed=lambda _: dump.class_embeds[rows].numpy(),
    )  # fmt: skip
    pairs, by_image = pairs_of(asks, asked), _by_image(asks)
    answers = _Answers(dump, settings, max_per_image)
    boxes: list[dict[int, ImageBoxes]] = [{} for _ in settings]
    seconds = np.zeros(len(settings))
    total = len(settings) * len(dump)
    with tqdm(total=total, unit='image', disable=None if progress else True) as bar:
        for image in dump:
            for n in range(len(settings)):
                began = time.perf_counter()
                for ask in by_image.get(image.image_id, ()):
                    boxes[n][ask.id] = answers(n, image, ask)
                seconds[n] += time.perf_counter() - began
                bar.update()
    figures = []
    for setting, own, spent in zip(settings, boxes, seconds, strict=True):
        began = time.perf_counter()
        answered = [own.get(ask.id, _NOTHING) for ask in asks]
        values = _figures(asked, pairs, asks, answered, truths, few.precision)
        spent += time.perf_counter() - began
        figures.append(SettingFigures(setting, values, round(float(spent), 3)))
    return figures


_NOTHING = ImageBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


def calibration_of(figures: SettingFigures, score_thr: float) -> dict[str, float]:
    """Shifts of :class:`.ScoreCalibration` that move the thresholds of a setting to the
    one that users see; 0 for a group that was not measured or has none."""

    def logit(score: float) -> float:
        score = min(max(score, 1e-6), 1 - 1e-6)
        return float(np.log(score / (1 - score)))

    shifts = {}
    for group in ('base', 'novel'):
        own = figures.values.get(f'{group}_threshold')
        right = figures.values.get(f'{group}_recall', 0.0)
        shifts[group] = (
            round(logit(score_thr) - logit(own), 2) if own and right else 0.0
        )
    return shifts


class _Answers:
    """Answers asks from an image's scores."""

    def __init__(
        self, dump: ScoreDump, settings: Sequence[Setting], max_per_image: int
    ) -> None:
        self.header, self.embeds = dump.header, dump.class_embeds
        self.label_of = {c: i for i, c in enumerate(dump.header.category_ids)}
        self.settings, self.max_per_image = settings, max_per_image
        self._names: dict[tuple, tuple[Tensor, Tensor, list[PredictionRescorer]]] = {}

    def __call__(self, n: int, image: ImageScores, ask: Ask) -> ImageBoxes:
        """What the n-th setting finds."""
        own, others, rescorers = self._asked(ask.category_ids)
        image = with_odds(image, self.settings[n])
        place = torch.full((len(self.header.classes),), -1)
        place[own] = torch.arange(len(own))
        rows = (place[image.labels] >= 0).nonzero()[:, 0]
        box_ids, box_of = image.box_of[rows].unique(return_inverse=True)
        cosines = image.cosines[box_ids]
        result = rescorers[n].fuse(
            cosines[:, own], image.boxes[box_ids], box_of, image.scores[rows],
            place[image.labels[rows]], others=cosines[:, others],
        )  # fmt: skip
        return ImageBoxes(
            image.bboxes[rows[result.source]].numpy(),
            result.labels.numpy(),
            result.scores.double().numpy(),
        )

    def _asked(
        self, category_ids: tuple
    ) -> tuple[Tensor, Tensor, list[PredictionRescorer]]:
        """Labels of the names and of their competitors, and a rescorer a setting."""
        if category_ids not in self._names:
            own = torch.tensor([self.label_of[c] for c in category_ids])
            competitors = competitors_of(self.header, self.embeds, own)
            places = {name: i for i, name in enumerate(self.header.classes)}
            others = torch.tensor([places[n] for n in competitors.names]).long()
            embeds, is_base = self.embeds[own], self.header.is_base[own]  # for all
            rescorers = [
                build_rescorer(
                    setting, is_base, self.max_per_image, embeds, competitors
                )
                for setting in self.settings
            ]
            self._names[category_ids] = own, others, rescorers
        return self._names[category_ids]


def competitors_of(header: DumpHeader, embeds: Tensor, labels: Tensor) -> Competitors:
    """What some names of a dump compete with: its base names, and those of its names
    that base names combine to.

    Args:
        header: of the dump.
        embeds: (C, D) of its names.
        labels: (k,) of the names asked for.
    """
    base = [n for n in header.classes if n not in header.novel_classes]
    combined = [n for n in combine_names(base) if n in header.classes]
    candidates = [*base, *combined]
    places = {name: i for i, name in enumerate(header.classes)}
    rows = [places[name] for name in candidates]
    names = [[header.classes[label]] for label in labels.tolist()]
    return select_competitors(
        names, embeds[labels], candidates, embeds[rows], base, combined
    )


def _asked_classes(truths: TuningTruths) -> Truths:
    """The ground truth of the classes that may be asked for."""
    boxes = truths.boxes
    if (truths.scored & ~truths.is_base).any():
        return boxes
    kept = np.flatnonzero(truths.is_base)
    place = np.full(len(boxes.categories), -1)
    place[kept] = np.arange(len(kept))
    return boxes.with_classes(place, [boxes.categories[i] for i in kept])


def _figures(
    asked: Truths,
    pairs: AskedPairs,
    asks: Sequence[Ask],
    answered: Sequence[ImageBoxes],
    truths: TuningTruths,
    precision: float | None,
) -> dict[str, float]:
    matched = match_pairs(asked, pairs, boxes_of_asks(asks, answered))
    novel_ids = {c['id'] for c, b in zip(truths.boxes.categories, truths.is_base,
                                         strict=True) if not b}  # fmt: skip
    novel = np.array([c['id'] in novel_ids for c in asked.categories])[pairs.category]
    groups = {'base': ~novel}
    if novel.any():
        groups |= {'novel': novel, 'all': np.ones(len(pairs), bool)}
    values: dict[str, float] = {}
    for name, chosen in groups.items():
        ap = matched.average_precision(chosen)
        aurocs = [matched.auroc(chosen & (pairs.k == n)) for n in range(len(pairs.ks))]
        best = matched.best_threshold(chosen, precision)
        values |= {
            f'{name}_ap': _mean(ap.mean(1)),
            f'{name}_ap50': _mean(ap[:, 0]),
            f'{name}_auroc': _mean(
                np.array([a if a != -1 else np.nan for a in aurocs])
            ),
        }
        figures = ('threshold', 'precision', 'recall')
        values |= {f'{name}_{f}': v for f, v in zip(figures, best, strict=True)}
    return values


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else -1.0


def _by_image(asks: Iterable[Ask]) -> dict[int | str, list[Ask]]:
    groups: dict[int | str, list[Ask]] = {}
    for ask in asks:
        groups.setdefault(ask.image_id, []).append(ask)
    return groups
