"""Protocol 'few-names': from an annotation file to asks, from answers to figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fgclip2_det.coco.annotation_file import CocoFile
from fgclip2_det.coco.ground_truths import Truths, read_image_ids, to_truths
from fgclip2_det.io.digests import json_digest

from ..class_ids import split_ids
from ..coco_ap import PER_IMAGE_AND_CLASS
from ..fingerprint import commit, describe_data, describe_rows, versions
from .answers import Answers, has_ask_ids, read_answers
from .asks import DEFAULT_KS, Ask, K, check_ks, draw_asks
from .asks_file import read_asks
from .contents import read_content
from .languages import names_in
from .measures import NUM_BINS
from .name_pools import is_federated, name_pools
from .pairs import AskedPairs, pairs_of
from .scores import CALIBRATED_FROM, SCORE_THR, novel_categories, score_pairs

PROTOCOL = 'few-names'


@dataclass(frozen=True)
class AskedTruths:
    """Ground truth with the asks about it.

    Attributes:
        truths: images and categories that count.
        novel_ids: ids of the novel categories; empty without a split.
        asks: what is asked.
        draw: how it was drawn, in plain values.
    """

    truths: Truths
    novel_ids: Collection
    asks: list[Ask]
    draw: dict


@dataclass(frozen=True)
class FewNamesOutcome:
    """Outcome of :func:`evaluate_few_names`; see :class:`.evaluate.Evaluation`."""

    metrics: dict[str, float]
    protocol: dict[str, object]
    remarks: tuple[str, ...]


def evaluate_few_names(
    annotations: str | os.PathLike,
    predictions: str | os.PathLike,
    *,
    asks: str | os.PathLike | None = None,
    ks: Sequence[K] | None = None,
    seed: int | None = None,
    mode: str | None = None,
    language: str | None = None,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    score_thr: float = SCORE_THR,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
    image_ids: str | os.PathLike | Collection | None = None,
    ids: str = 'id',
    categories: str = 'id',
    drop_outside: bool = True,
    notes: Mapping[str, str] | None = None,
) -> FewNamesOutcome:
    """Score what a detector answers to few names.

    Args:
        annotations: COCO or LVIS file, or FG-OVD's (json or jsonl).
        predictions: COCO result list. Rows have the ``ask_id`` that they answer; or
            none has, and each ask gets the rows of its names.
        asks: file of :func:`.write_asks`; None draws them.
        ks, seed, mode, language, embed: of the draw (:func:`.draw_asks`,
            :func:`.names_in`), by default (1, 2, 5, 20, 'all'), 0, 'random', 'en'.
            With ``asks`` they must be what the file says, where they are given.
        score_thr: from this score on, a box is shown to a user.
        base, novel: class names; as the categories say when None.
        image_ids: ids of the images that count, or a file of them.
        ids, categories, drop_outside: see :func:`.read_results`.
        notes: how the predictions were made.

    Returns:
        Metrics 'few-names/k{k}/{group}/{figure}' (:func:`.score_pairs`), what was
        measured on what, and remarks.

    Raises:
        ValueError: naming the file and the first entry that is wrong; rows that name
            asks without a file of asks; asks of another annotation file.
    """
    if asks is None and has_ask_ids(predictions):
        raise ValueError(
            f'{predictions} has rows with an ask_id, but no asks are given; give the '
            'file that the detector was asked from (asks=..., --asks)'
        )
    wanted = {'ks': ks, 'seed': seed, 'mode': mode, 'language': language}
    asked = prepare_asks(
        annotations, asks, embed=embed, base=base, novel=novel, image_ids=image_ids,
        **wanted,
    )  # fmt: skip
    pairs = pairs_of(asked.asks, asked.truths)
    answers = read_answers(
        predictions, asked.truths, asked.asks, pairs, ids, categories, drop_outside
    )
    found = score_pairs(asked.truths, pairs, answers.boxes, score_thr, asked.novel_ids)
    about = _describe(asked, pairs, answers, annotations, predictions)
    about |= {'score_thr': score_thr, 'notes': dict(notes or {})}
    metrics = {f'{PROTOCOL}/{name}': value for name, value in found.items()}
    return FewNamesOutcome(metrics, about, tuple(answers.remarks()))


def prepare_asks(
    annotations: str | os.PathLike,
    asks: str | os.PathLike | None = None,
    *,
    ks: Sequence[K] | None = None,
    seed: int | None = None,
    mode: str | None = None,
    language: str | None = None,
    embed: Callable[[list[str]], np.ndarray] | None = None,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
    image_ids: str | os.PathLike | Collection | None = None,
) -> AskedTruths:
    """Read the ground truth, and draw or read its asks; see :func:`evaluate_few_names`.

    Raises:
        ValueError: as there.
    """
    coco = read_content(annotations)
    category_ids, novel_ids = _classes(coco, base, novel)
    truths = to_truths(
        coco,
        federated=is_federated(list(coco.images.values())),
        image_ids=_ids(image_ids),
        category_ids=category_ids,
    )
    if novel_ids is None:
        novel_ids = novel_categories(truths)
    wanted = {'ks': ks and list(check_ks(ks)), 'seed': seed, 'mode': mode}
    wanted |= {'language': language}
    if asks is not None:
        read, draw = read_asks(asks, annotations)
        for key, value in wanted.items():
            if value is not None and value != draw.get(key):
                raise ValueError(
                    f'{asks} was drawn with {key} {draw.get(key)}, not {value}; leave '
                    f'{key} out, or draw again'
                )
        if image_ids is not None:
            read = [a for a in read if truths.image_index.get(a.image_id, -1) >= 0]
        return AskedTruths(truths, novel_ids, read, draw)
    defaults = {'ks': list(DEFAULT_KS), 'seed': 0, 'mode': 'random', 'language': 'en'}
    draw = {k: defaults[k] if v is None else v for k, v in wanted.items()}
    negatives = _negatives(coco, truths)
    drawn = draw_asks(
        truths, draw['ks'], draw['seed'], draw['mode'],
        names=names_in(truths.categories, draw['language']),
        embed=embed, negatives=negatives,
    )  # fmt: skip
    draw['absent_names'] = name_pools(truths, negatives).source
    draw['nearness'] = _nearness(draw, embed)
    return AskedTruths(truths, novel_ids, drawn, draw)


def _ids(image_ids: str | os.PathLike | Collection | None) -> Collection | None:
    if isinstance(image_ids, str | os.PathLike):
        return read_image_ids(image_ids)
    return image_ids


def _nearness(draw: Mapping, embed: Callable | None) -> str | None:
    """What makes absent names hard, for the description."""
    if draw['mode'] != 'hard':
        return None
    if draw['absent_names'].endswith('of annotations'):
        return 'negatives of the annotations'
    return 'shared words' + (', then text embeddings' if embed else '')


def _classes(
    coco: CocoFile,
    base: Sequence[str] | None,
    novel: Sequence[str] | None,
) -> tuple[list | None, list | None]:
    """Ids of the categories that count and of the novel ones; None: as the file is."""
    given = base is not None or novel is not None
    marked = all('split' in c for c in coco.categories.values())
    return split_ids(coco, base, novel) if given or marked else (None, None)


def _negatives(coco: CocoFile, truths: Truths) -> dict | None:
    """Image id -> category ids that its annotations call negatives, as FG-OVD's do."""
    entries = [a for a in coco.annotations if 'neg_category_ids' in a]
    if not entries or is_federated(truths.images):
        return None
    negatives: dict = {}
    for entry in entries:
        own = negatives.setdefault(entry['image_id'], set())
        own.update(entry['neg_category_ids'])
    return negatives


def describe_asks(asked: AskedTruths) -> dict[str, object]:
    """How many asks there are, their SHA-256, and how they were drawn."""
    entries = [asdict(ask) for ask in asked.asks]
    return {'count': len(entries), 'sha256': json_digest(entries), **asked.draw}


def _describe(
    asked: AskedTruths,
    pairs: AskedPairs,
    answers: Answers,
    annotations: str | os.PathLike,
    predictions: str | os.PathLike,
) -> dict[str, object]:
    """The fingerprint, in plain values for JSON; digests are SHA-256."""
    counts = {
        f'k{k}': {
            'asks': len(np.unique(pairs.ask_of_pairs()[pairs.k == n])),
            'asks_of_fewer_names': sum(
                isinstance(k, int) and a.k == k and len(a.names) < k for a in asked.asks
            ),
            'present': int((pairs.present & (pairs.k == n)).sum()),
            'absent': int((pairs.absent & (pairs.k == n)).sum()),
        }
        for n, k in enumerate(pairs.ks)
    }
    return {
        'name': PROTOCOL,
        **describe_data(asked.truths, asked.novel_ids or None),
        'asks': describe_asks(asked),
        'pairs': counts,
        'answers': 'an ask in a call' if answers.by_ask else 'all names in a call',
        'iou': 0.5,
        'max_detections': {PROTOCOL: {'per_image_and_name': PER_IMAGE_AND_CLASS}},
        'calibration': {'bins': NUM_BINS, 'from_score': CALIBRATED_FROM},
        'predictions': {
            **describe_rows(answers.counts, predictions),
            'asks_without_rows': answers.asks_without_rows,
        },
        'files': {
            'ann': Path(annotations).name, 'predictions': Path(predictions).name,
        },
        'versions': versions(),
        'commit': commit(),
    }  # fmt: skip
