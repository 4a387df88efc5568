"""Detection without a prompt: every object gets its best names from a long list."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.models.detectors.fgclip2_rescorer import FGCLIP2Rescorer
from fgclip2_det.models.detectors.open_vocab_mixin import as_vocabulary, text_source
from fgclip2_det.models.encoders import pretrained_folder
from fgclip2_det.models.image_memory import ImageMemory
from fgclip2_det.models.label_nms import pairwise_iou
from fgclip2_det.models.names_apart import NamesApart
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.competitors import combine_names
from fgclip2_det.vocabulary.long_lists import LongList, read_long_list

if TYPE_CHECKING:
    from fgclip2_det.apis.systems import System

LONG_LIST = 'ram'
EMBEDDED_ENCODER = 'fgclip2_tiny'
BOX_NAMES = 'coco'  # what a detector that reads names is given
SAME_BOX = 0.6  # IoU of boxes of one object, whatever their names
NAMES_PER_BOX = 10  # looked at for the best ones


@dataclass
class PromptFree:
    """Names for everything that a system finds.

    Args:
        vocabulary: C names.
        apart: (C, C) bool: names that can be right together.
        top: names per box.
        rescorer: of a re-scored detector's boxes; None for one that compares the
            names itself.
    """

    vocabulary: Vocabulary
    apart: Tensor
    top: int
    rescorer: PredictionRescorer | None = None

    def __call__(self, found: InstanceData, memory: ImageMemory | None) -> InstanceData:
        """One row per object.

        Args:
            found: boxes, scores and labels of the system, scores descending.
            memory: of the image, with its encoding if there is a re-scorer.

        Returns:
            Boxes, scores and labels, and (n, top) ``candidate_labels`` and
            ``candidate_scores`` of the best names, filled with -1 and 0.
        """
        if self.rescorer is not None:
            found = self._renamed(found, memory)
        rows = group_names(found.bboxes, found.labels, self.apart, self.top)
        return with_candidates(found, rows, self.top)

    def best_names(
        self, lists: Sequence[tuple[tuple[str, float], ...]]
    ) -> tuple[tuple[str, float], ...]:
        """The ``top`` names of an object that was found several times.

        Args:
            lists: names and scores of each time, the best time first.

        Returns:
            The best name of the best time, then others by their best score, each once
            and none that can be right together with a better one.
        """
        (head, *others), *more = lists
        numbers = {name: i for i, name in enumerate(self.vocabulary.names)}
        rest = [*others, *(pair for each in more for pair in each)]
        kept = [head]
        for name, score in sorted(rest, key=lambda pair: -pair[1]):
            known = [numbers[other] for other, _ in kept]
            related = self.apart[numbers[name], known].any()
            if len(kept) < self.top and numbers[name] not in known and not related:
                kept.append((name, score))
        return tuple(kept)

    def _renamed(self, found: InstanceData, memory: ImageMemory | None) -> InstanceData:
        assert self.rescorer is not None
        det = found.get('det_scores', found.scores)
        best = self.rescorer(
            None, found.bboxes, det, torch.zeros_like(found.labels), memory
        )
        return InstanceData(
            bboxes=found.bboxes[best.source], scores=best.scores, labels=best.labels
        )


def group_names(
    bboxes: Tensor, labels: Tensor, apart: Tensor, top: int, iou: float = SAME_BOX
) -> list[list[int]]:
    """Rows of each object: its box and name first, then its other names.

    A row belongs to the first, which is the best, object whose box it overlaps. There
    it is a further name, unless the object has that name or one that can be right
    together with it, such as a synonym.

    Args:
        bboxes: (n, 4) xyxy, the highest score first.
        labels: (n,) in 0 .. C - 1.
        apart: (C, C) bool, see :class:`PromptFree`.
        top: names per object.
        iou: of boxes of one object.
    """
    over = (pairwise_iou(bboxes) > iou).numpy()
    names, related = labels.tolist(), apart[labels][:, labels].numpy()
    objects: list[list[int]] = []
    heads = np.zeros(len(names), dtype=np.int64)  # first rows of the objects
    for row, name in enumerate(names):
        (own,) = over[row, heads[: len(objects)]].nonzero()
        if not len(own):
            heads[len(objects)] = row
            objects.append([row])
            continue
        rows = objects[own[0]]
        if len(rows) < top and not any(
            names[other] == name or related[other, row] for other in rows
        ):
            rows.append(row)
    return objects


def with_candidates(
    found: InstanceData, rows: Sequence[Sequence[int]], top: int
) -> InstanceData:
    """The first row of each object with ``candidates``; see :class:`PromptFree`."""
    labels = torch.full((len(rows), top), -1)
    scores = torch.zeros(len(rows), top)
    for i, own in enumerate(rows):
        labels[i, : len(own)] = found.labels[own]
        scores[i, : len(own)] = found.scores[own]
    first = torch.tensor([own[0] for own in rows], dtype=torch.long)
    named = InstanceData(
        bboxes=found.bboxes[first], scores=found.scores[first],
        labels=found.labels[first],
    )  # fmt: skip
    named.candidate_labels, named.candidate_scores = labels, scores
    return named


def named_candidates(
    found: InstanceData, classes: Sequence[str]
) -> tuple[tuple[tuple[str, float], ...], ...] | None:
    """What ``Detections.candidates`` is of; None for names that were asked for."""
    if 'candidate_labels' not in found:
        return None
    columns = found.candidate_labels.tolist(), found.candidate_scores.tolist()
    rows: list[tuple[tuple[str, float], ...]] = []
    for labels, scores in zip(*columns, strict=True):
        pairs = zip(labels, scores, strict=True)
        rows.append(tuple((str(classes[c]), float(s)) for c, s in pairs if c >= 0))
    return tuple(rows)


def set_prompt_free(
    system: System,
    names: str | os.PathLike | Sequence[str | Sequence[str]] | None,
    language: str,
    top: int,
    box_names: str | Sequence[str],
    cache_dir: str | os.PathLike | None = None,
) -> Vocabulary:
    """Make a system name everything; see ``OpenVocabInferencer.set_prompt_free``."""
    if top < 1:
        raise ValueError(f'top must be 1 or more names per box, got {top}')
    model: Any = system.model
    rescored = isinstance(model, FGCLIP2Rescorer)
    if not rescored and (
        not hasattr(model, 'competitors') or system.own_classes is not None
    ):
        raise ValueError(
            'the detector compares no embeddings, so it cannot name what it was not '
            'asked for; give an encoder that re-scores it'
        )
    if names is None:
        names = _default_names(system)
    listed = read_long_list(names, language)
    before = model.cache_dir
    if cache_dir is not None:
        model.cache_dir = os.fspath(cache_dir)
    try:
        if rescored:
            make = _of_boxes(system, model, listed, top, box_names)
        else:
            make = partial(_of_detector, model, listed, top)
        return system.name_everything(make)
    except BaseException:
        model.cache_dir = before
        raise


def _default_names(system: System) -> str | list[str]:
    """RAM's tags; of the embedded encoder what it was trained on."""
    model: Any = system.model
    encoder = getattr(model, 'encoder_config', None)
    encoder = encoder or getattr(model, 'text_encoder', None)
    folder = None if encoder is None else pretrained_folder(encoder)
    if folder != EMBEDDED_ENCODER or system.default is None:
        return LONG_LIST
    trained = system.default.names
    return [*trained, *combine_names(trained)]


def _of_detector(model: Any, listed: LongList, top: int) -> PromptFree:
    """All names at once, in a detector of this package."""
    own, finder = model.competitors, NamesApart(listed.meanings)
    model.competitors = finder
    try:
        names = [list(entry) for entry in listed.entries]
        vocabulary = model.set_vocabulary(Vocabulary(names, check=False))
    finally:
        model.competitors = own
    assert finder.apart is not None
    return PromptFree(vocabulary, finder.apart, top)


def _of_boxes(
    system: System, model: FGCLIP2Rescorer, listed: LongList, top: int,
    box_names: str | Sequence[str],
) -> Callable[[], PromptFree]:  # fmt: skip
    """The boxes of a detector under its own names, named by the encoder."""
    own = system.default or _names_for_boxes(box_names)
    vocabulary = as_vocabulary(
        Vocabulary([list(entry) for entry in listed.entries], check=False),
        model.templates, (),
    )  # fmt: skip
    source = text_source(model.encoder_config, model.cache_dir, model._text_encoder)
    embeds = vocabulary.embed(source, model.cache_dir)
    finder = NamesApart(listed.meanings)
    competitors = finder(vocabulary, embeds, (), lambda texts: embeds, None)
    options = model._options
    rescorer = PredictionRescorer(
        model.encoder, embeds, copy.deepcopy(options['fusion']), 'box',
        labels_per_box=max(top, NAMES_PER_BOX), competitors=competitors,
        is_base=torch.ones(len(vocabulary), dtype=torch.bool),
        max_num_patches=options['max_num_patches'],
    )  # fmt: skip
    free = PromptFree(vocabulary, competitors.apart, top, rescorer)

    def make() -> PromptFree:
        system.set_vocabulary(own)
        return free

    return make


def _names_for_boxes(names: str | Sequence[str]) -> Vocabulary:
    if isinstance(names, str):
        return Vocabulary.from_list_name(names)
    return Vocabulary(names, check=False)
