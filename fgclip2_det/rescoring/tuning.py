"""Comparison of fusion settings on a score dump, without a forward pass."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from fgclip2_det.compat import mm  # before mmdet

# isort: split
import numpy as np
import torch
from mmdet.registry import MODELS
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.coco.results import Results, join_results, no_results
from fgclip2_det.evaluation.coco_ap import PER_IMAGE_AND_CLASS, coco_figures
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.ranker import ranked_cosines
from fgclip2_det.rescoring.rules import RANKING, TUNED_RULES
from fgclip2_det.rescoring.score_dump import ImageScores, ScoreDump
from fgclip2_det.rescoring.tuning_truths import TuningTruths
from fgclip2_det.vocabulary.competitors import Competitors

MAX_DETS = PER_IMAGE_AND_CLASS
_GROUP = 32  # settings at once: 32 x 1.5 million rows x 12 bytes = 0.6 GB


@dataclass(frozen=True)
class Setting:
    """One way to fuse; see :class:`PredictionRescorer` and the fusion rules.

    Attributes:
        rule: of ``TUNED_RULES``.
        alpha, beta, temperature: of the rule; ``beta`` None: alpha on all classes.
        mode: 'keep', 'box' or 'joint'.
        nms: IoU of class-wise NMS, or None.
        num_ranked, ranking_weight: of the rule 'ranking'; None for others.
    """

    rule: str
    alpha: float
    beta: float | None
    temperature: float
    mode: str
    nms: float | None = None
    num_ranked: int | None = None
    ranking_weight: float | None = None

    def fusion(self) -> dict:
        """Config of the rule."""
        config = dict(
            type=TUNED_RULES[self.rule],
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
        )
        if self.rule == RANKING:
            config |= dict(
                num_ranked=self.num_ranked, ranking_weight=self.ranking_weight
            )
        return config


# FG-CLIP 2 has no part in it
DETECTOR = Setting('arithmetic', 0.0, None, 0.01, 'keep')


@dataclass(frozen=True)
class SettingFigures:
    """Metrics of a setting: name ('base_ap50', ...) -> 0 to 1, and seconds."""

    setting: Setting
    values: dict[str, float]
    seconds: float


def untuned(rule: str, mode: str = 'keep', nms: float | None = None) -> Setting:
    """A rule with its own defaults."""
    if rule not in TUNED_RULES:
        raise ValueError(f'fusion must be one of {sorted(TUNED_RULES)}, got {rule!r}')
    own = MODELS.build(dict(type=TUNED_RULES[rule]))
    setting = Setting(rule, own.alpha, own.beta, own.temperature, mode, nms)
    if rule != RANKING:
        return setting
    return replace(
        setting, num_ranked=own.num_ranked, ranking_weight=own.ranking_weight
    )


def make_grid(
    rules: Sequence[str],
    alphas: Sequence[float],
    betas: Sequence[float | None] | None = None,
    temperatures: Sequence[float] | None = None,
    modes: Sequence[str] = ('keep',),
    nms: Sequence[float | None] = (None,),
    num_ranked: Sequence[int] | None = None,
    ranking_weights: Sequence[float] | None = None,
    max_ranked: int | None = None,
) -> list[Setting]:
    """All combinations, and each rule's defaults in each mode.

    Args:
        rules: of ``TUNED_RULES``.
        alphas, betas, temperatures: None: the rule's own.
        modes: of :class:`PredictionRescorer`.
        nms: IoUs, None for no NMS; 'keep' is taken once, without.
        num_ranked, ranking_weights: of the rule 'ranking'; None: its own.
        max_ranked: limit of the rule's own number of names, which a dump sets.

    Raises:
        ValueError: for an unknown rule or mode, and numbers outside their range.
    """
    grid: dict[Setting, None] = {}
    for rule, mode, iou in product(rules, modes, nms):
        own = untuned(rule, mode, None if mode == 'keep' else iou)
        ranked = rule == RANKING
        if own.num_ranked and max_ranked:
            own = replace(own, num_ranked=min(own.num_ranked, max_ranked))
        grid[own] = None
        for alpha, beta, temperature, k, weight in product(
            alphas,
            betas or [own.beta],
            temperatures or [own.temperature],
            (num_ranked if ranked else None) or [own.num_ranked],
            (ranking_weights if ranked else None) or [own.ranking_weight],
        ):
            setting = replace(own, alpha=alpha, beta=beta, temperature=temperature)
            grid[replace(setting, num_ranked=k, ranking_weight=weight)] = None
    settings = sorted(grid, key=lambda setting: setting.temperature)
    for setting in settings:
        build_rescorer(setting, torch.ones(1, dtype=torch.bool), 1)
    return settings


def tune_fusion(
    dump: ScoreDump,
    truths: TuningTruths,
    settings: Sequence[Setting],
    max_per_image: int = 300,
    progress: bool = True,
) -> list[SettingFigures]:
    """AP of every setting, in the order given.

    Fusion runs over all names; rows that come to a class without ground truth are
    left out afterwards, as they change no class's AP.

    Args:
        dump: read image by image, once for 32 settings.
        truths: of :func:`.tuning_truths`.
        settings: of :func:`make_grid`.
        max_per_image: rows of 'box' and 'joint', best first; 'keep' keeps all.
        progress: show a bar on a terminal.

    Returns:
        ``base_ap``, ``base_ap50`` and, where novel classes are scored, ``novel_*`` and
        ``all_*``. Images count by rising id, which decides between ties.

    Raises:
        ValueError: if ``max_per_image`` is below 1.
    """
    if max_per_image < 1:
        raise ValueError(f'max_per_image must be at least 1, got {max_per_image}')
    check_ranked(dump, settings)
    total = len(settings) * len(dump)
    bar = tqdm(total=total, unit='image', disable=None if progress else True)
    figures = []
    with bar:
        for start in range(0, len(settings), _GROUP):
            group = settings[start : start + _GROUP]
            began = time.perf_counter()
            bboxes, fused = _fuse_all(dump, truths, group, max_per_image, bar)
            fusing = (time.perf_counter() - began) / len(group)
            for setting, detections in zip(group, fused, strict=True):
                began = time.perf_counter()
                values = _evaluate(truths, bboxes, detections)
                seconds = fusing + time.perf_counter() - began
                figures.append(SettingFigures(setting, values, round(seconds, 3)))
    return figures


def check_ranked(dump: ScoreDump, settings: Sequence[Setting]) -> None:
    """ValueError if settings rank more names than a dump has log-odds of."""
    most = max((setting.num_ranked or 0 for setting in settings), default=0)
    held = dump.header.num_ranked
    if most > held and not 0 < dump.header.columns_ranked == len(dump.header.classes):
        raise ValueError(
            f"{dump.folder} has a ranker's log-odds of {held} names of each box, the "
            f'rule {RANKING!r} needs {most}; dump again with tools/dump_scores.py '
            f'--ranker FOLDER --num-ranked {most}'
        )


def build_rescorer(
    setting: Setting,
    is_base: Tensor,
    limit: int,
    embeds: Tensor | None = None,
    competitors: Competitors | None = None,
) -> PredictionRescorer:
    """A rescorer that fuses, without an encoder.

    Args:
        setting: its rule and mode.
        is_base: (C,) bool.
        limit: rows kept of an image, in 'box' and 'joint'.
        embeds: (C, D) text embeddings, for a rule that weighs names by them.
        competitors: of the names.
    """
    if setting.rule == RANKING:  # the log-odds are in the cosines, see with_odds
        setting = replace(setting, rule='geometric')
    return PredictionRescorer(
        None,
        torch.zeros(len(is_base), 1) if embeds is None else embeds,
        MODELS.build(setting.fusion()),
        setting.mode,
        is_base,
        nms_iou=setting.nms,
        max_per_image=None if setting.mode == 'keep' else limit,
        competitors=competitors,
    )


@torch.no_grad()
def _fuse_all(
    dump: ScoreDump,
    truths: TuningTruths,
    settings: Sequence[Setting],
    max_per_image: int,
    bar: tqdm,
) -> tuple[dict, list[dict]]:
    """Image id -> boxes, and for each setting image id -> (rows, labels, scores)."""
    is_base, embeds = dump.header.is_base, None
    if any(setting.rule == 'novelty' for setting in settings):
        embeds = dump.class_embeds
    rescorers = [build_rescorer(s, is_base, max_per_image, embeds) for s in settings]
    bboxes: dict = {}
    fused: list[dict] = [{} for _ in settings]
    for image in dump:
        # a copy: a view would keep the whole shard mapped
        bboxes[image.image_id], others = image.bboxes.numpy().copy(), {}
        for setting, rescorer, detections in zip(
            settings, rescorers, fused, strict=True
        ):
            source, labels, scores = _fuse(setting, rescorer, image, others)
            keep = truths.scored[labels.numpy()]
            columns = source.int(), labels.int(), scores
            detections[image.image_id] = [c.numpy()[keep] for c in columns]
        bar.update(len(settings))
    return bboxes, fused


def _fuse(
    setting: Setting, rescorer: PredictionRescorer, image: ImageScores, others: dict
) -> tuple[Tensor, Tensor, Tensor]:
    """Row of the box, label and score of each result.

    In mode 'keep' a rule sees two names, a row's own and all others as one of the same
    share of the softmax: a hundredth of the work. Novelty has a weight for each
    name. ``others`` keeps their cosines for the next setting of the same temperature
    and ranking.
    """
    image = with_odds(image, setting)
    if setting.mode != 'keep' or setting.rule == 'novelty':
        given = image.cosines, image.boxes, image.box_of, image.scores, image.labels
        result = rescorer.fuse(*given)
        return result.source, result.labels, result.scores
    if rescorer.is_base is None:
        raise ValueError('the rescorer must know base and novel classes (is_base)')
    own = image.cosines[image.box_of, image.labels]
    key = setting.temperature, setting.num_ranked, setting.ranking_weight
    if key not in others:
        scaled = image.cosines / setting.temperature
        total = scaled.logsumexp(1)[image.box_of]
        share = (own / setting.temperature - total).exp().clamp(max=1)
        others[key] = (total + (-share).log1p()) * setting.temperature
    pairs = torch.stack([own, others[key]], 1)
    base, novel = (
        rescorer.fusion(image.scores[:, None], pairs, torch.tensor([flag, flag]))[:, 0]
        for flag in (True, False)
    )
    scores = torch.where(rescorer.is_base[image.labels], base, novel)
    return torch.arange(len(scores)), image.labels, scores


def with_odds(image: ImageScores, setting: Setting) -> ImageScores:
    """The image with a ranker's log-odds added to its cosines, where the rule says so:
    what :class:`.OpenVocabRankingFusion` does before its geometric mean."""
    k, weight = setting.num_ranked, setting.ranking_weight
    if setting.rule != RANKING or k is None or weight is None:
        return image
    if image.ranking is None:
        raise ValueError(f'the dump has no log-odds of a ranker for {image.image_id!r}')
    weight *= setting.temperature
    return replace(
        image, cosines=ranked_cosines(image.cosines, image.ranking, k, weight)
    )


def _evaluate(truths: TuningTruths, bboxes: dict, fused: dict) -> dict[str, float]:
    """Mean AP of the groups of classes that are scored."""
    parts = [
        Results(
            np.full(len(source), truths.boxes.image_index[image_id], np.int32),
            labels,
            bboxes[image_id][source],
            scores.astype(np.float64),
        )
        for image_id, (source, labels, scores) in fused.items()
    ]
    results = join_results([*parts, no_results()])
    aps = coco_figures(truths.boxes, results, False, MAX_DETS).precision[0]
    groups = dict(base=truths.scored & truths.is_base)
    if (truths.scored & ~truths.is_base).any():
        groups |= dict(novel=truths.scored & ~truths.is_base, all=truths.scored)
    values = {}
    for name, members in groups.items():
        values[f'{name}_ap'] = float(aps[members].mean())
        values[f'{name}_ap50'] = float(aps[members, 0].mean())
    return values
