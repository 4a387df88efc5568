"""Explanations of boxes, from the values that the model itself computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from torch import Tensor

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.explanation import Candidate, Explanation
from fgclip2_det.apis.inputs import find_inputs
from fgclip2_det.apis.systems import System
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.models.detectors.fgclip2_rescorer import FGCLIP2Rescorer
from fgclip2_det.models.detectors.open_vocab_mixin import Names, text_source
from fgclip2_det.models.detectors.open_vocab_two_stage_detector import (
    OpenVocabTwoStageDetector,
)
from fgclip2_det.models.fusion import ScoreFusion
from fgclip2_det.models.image_memory import ImageMemory
from fgclip2_det.models.prediction_rescorer import clip_boxes
from fgclip2_det.models.score_calibration import ScoreCalibration
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.embedding import TextSource, embed_groups

NEAREST = 5  # names and competitors of an explanation
MIN_IOU = 0.3  # of a box that is asked for with a detection


@dataclass
class Record:
    """What a pass computed of one image: n rows, C names, S competitors.

    Attributes:
        fusion: the rule.
        calibration: of its scores; None: none.
        det_scores: (n, C) or (n, 1).
        cosines: (n, C).
        others: (n, S) cosines of competitors.
        apart: (C, C) bool, or None.
        is_base: (C,) bool, or None.
        fused: (n, C), the rule's output.
        dense: (h, w, D), the dense map.
    """

    fusion: ScoreFusion
    calibration: ScoreCalibration | None
    det_scores: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    cosines: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    others: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    apart: Tensor | None = None
    is_base: Tensor | None = None
    fused: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    dense: Tensor | None = None

    def keep(self, module: Any, args: tuple, kwargs: dict, output: Tensor) -> None:
        """Forward hook of the rule."""
        self.det_scores, self.cosines = args[0], args[1]
        self.is_base = args[2] if len(args) > 2 else kwargs.get('is_base')
        self.apart, others = kwargs.get('apart'), kwargs.get('competitors')
        self.others = self.cosines[:, :0] if others is None else others
        self.fused = output

    def scores(self) -> Tensor:
        """(n, C) final scores."""
        if self.calibration is None:
            return self.fused
        is_base = self.is_base
        if is_base is None:
            is_base = torch.ones(self.fused.shape[1], dtype=torch.bool)
        return self.calibration(self.fused, is_base)


@contextmanager
def recording(model: BaseDetector) -> Iterator[Record]:
    """Record a pass of a two-stage detector of this package, or of a re-scorer.

    Raises:
        ValueError: for other models, which have no similarity to explain.
    """
    if isinstance(model, FGCLIP2Rescorer):
        rescorer: Any = model._rescorer
        record = Record(rescorer.fusion, rescorer.calibration)
    elif isinstance(model, OpenVocabTwoStageDetector):
        head = model.roi_head
        is_open = model.classifier.is_open
        record = Record(head.fusion, head.calibration if is_open else None)
        own = head.dense_embeds

        def dense_embeds(dense: Tensor, bboxes: Tensor) -> Tensor:
            record.dense = dense.permute(1, 2, 0)
            return own(dense, bboxes)

        head.dense_embeds = dense_embeds
    else:
        raise ValueError(
            f'{type(model).__name__} has no similarity that could be explained; give '
            'an encoder that re-scores it, or a two-stage detector of this package'
        )
    hook = record.fusion.register_forward_hook(record.keep, with_kwargs=True)
    try:
        yield record
    finally:
        hook.remove()
        if not isinstance(model, FGCLIP2Rescorer):
            del model.roi_head.dense_embeds


class Explainer:
    """Explains the boxes of one pass.

    Args:
        system: that made it.
        record: of it.
        found: its detections.
        memory: of the image.
        meta: the data sample's metainfo.
        rgb: upright RGB.
    """

    def __init__(
        self, system: System, record: Record, found: Detections, memory: ImageMemory,
        meta: dict, rgb: Any,
    ) -> None:  # fmt: skip
        self.system, self.record, self.found = system, record, found
        self.memory, self.meta, self.rgb = memory, meta, rgb
        self.model: Any = system.model
        self.rescored = isinstance(self.model, FGCLIP2Rescorer)
        self.vocabulary: Vocabulary = self.model.vocabulary
        self._name_embeds, self._competitors = self._texts()

    @torch.no_grad()
    def __call__(self, index: int) -> Explanation:
        """Explain the box ``index`` of the detections."""
        found, record = self.found, self.record
        label = self._label(int(found.labels[index]))
        row = self._row(index, label)
        region, dense = self._region(index, row), self._dense()
        competitors = record.others
        similarity = record.fusion.similarity(
            record.cosines.float(),
            competitors if competitors.shape[1] else None,
            record.apart,
        )[row].cpu()
        columns = torch.cat([record.cosines[row], competitors[row]]).float().cpu()
        shares = (columns / record.fusion.temperature).softmax(0)
        count = len(self.vocabulary)
        weights = record.fusion.weights(count, record.is_base)
        embed = self._name_embeds[label].to(dense.device).float()
        heat = F.normalize(dense.float(), dim=-1) @ embed
        return Explanation(
            image=found.image,
            name=found.names[index],
            bbox=tuple(found.bboxes[index].tolist()),
            score=float(record.scores()[row, label]),
            fused=float(record.fused[row, label]),
            det_score=self._det_score(row, label),
            similarity=float(similarity[label]),
            cosine=float(columns[label]),
            weight=float(weights[label]),
            rule=type(record.fusion).__name__,
            background=None if self.rescored else self._background(row),
            competing=float(shares[count:].sum()),
            names=self._nearest_names(row, label, similarity),
            competitors=self._nearest_competitors(columns[count:], shares[count:]),
            texts=self._own_texts(label, region),
            heat=heat.float().cpu().numpy(),
            heat_size=self._heat_size(dense),
            rgb=self.rgb,
        )

    def _label(self, label: int) -> int:
        """Of the model, whose fixed classes may be more than the names asked for."""
        own = self.system._label_of
        return label if own is None else int((own == label).nonzero()[0])

    def _row(self, index: int, label: int) -> int:
        """The row of a detection: its score, and its region where scores are equal."""
        scores = self.record.scores()[:, label].float().cpu()
        rows = (scores == self.found.scores[index]).nonzero()[:, 0]
        assert len(rows), 'a detection has the score of a row'
        if len(rows) > 1:
            own = self._region(index, None).cpu().float()
            gaps = (own @ self._name_embeds.cpu().float().T) - self.record.cosines[
                rows
            ].cpu().float()
            rows = rows[gaps.abs().sum(1).argsort()]
        return int(rows[0])

    def _region(self, index: int, row: int | None) -> Tensor:
        """(D,) embedding of a detection's box."""
        if self.rescored:
            batch, maps = self.memory['encoded']
            box = clip_boxes(self.found.bboxes[index : index + 1], batch.image_sizes[0])
            encoder = self.model.encoder
            return encoder.region_features(batch, [box], True, maps.dense)[0][0]
        regions = self.memory['regions'][0].regions
        if row is None:
            scale = regions.bboxes.new_tensor(self.meta['scale_factor']).repeat(2)
            gaps = (regions.bboxes / scale).cpu() - self.found.bboxes[index]
            row = int(gaps.abs().sum(1).argmin())
        return regions.dense_embeds[row]

    def _dense(self) -> Tensor:
        """(h, w, D) of the image."""
        if self.rescored:
            return self.memory['encoded'][1].dense[0]
        assert self.record.dense is not None
        return self.record.dense

    def _heat_size(self, dense: Tensor) -> tuple[float, float]:
        if self.rescored:  # resized to whole patches
            return float(self.rgb.width), float(self.rgb.height)
        patch = self.model.roi_head.patch_size
        height, width = dense.shape[:2]
        scale_w, scale_h = self.meta['scale_factor']
        return width * patch / scale_w, height * patch / scale_h

    def _texts(self) -> tuple[Tensor, tuple[str, ...]]:
        """(C, D) of the names, and the competitors' names."""
        if self.rescored:
            rescorer = self.model._rescorer
            own = rescorer.competitors
            return rescorer.class_embeds, () if own is None else own.names
        classifier, names = self.model.classifier, ()
        own = classifier.class_embeds()
        if classifier.is_open and len(classifier.competitors):
            given = self.model._given[1]
            names = self.model._compete(self.vocabulary, given, own).names
        return own, names

    def _det_score(self, row: int, label: int) -> float:
        own = self.record.det_scores[row]
        return float(own[label if len(own) > 1 else 0])

    def _background(self, row: int) -> float | None:
        """Probability of the background, of names, background and competitors."""
        classifier = self.model.classifier
        if self.model.roi_head.bbox_head.loss_cls.use_sigmoid:
            return None
        embeds = [classifier.adapter(classifier.text_embeds.float())]
        if classifier.background is None:
            embeds.append(F.normalize(classifier.background_embed.float(), dim=-1))
        embeds.append(classifier.adapter(classifier.competitors.float()))
        region = self.memory['regions'][0].regions.det_embeds[row].float()
        logits = torch.cat(embeds) @ region * classifier.logit_scale.exp()
        return float((logits + classifier.logit_bias).softmax(0)[len(self.vocabulary)])

    def _nearest_names(
        self, row: int, label: int, similarity: Tensor
    ) -> tuple[Candidate, ...]:
        record, scores = self.record, self.record.scores()
        order = record.cosines[row].argsort(descending=True).tolist()
        return tuple(
            Candidate(
                self.vocabulary.names[i],
                float(record.cosines[row, i]),
                float(similarity[i]),
                self._det_score(row, i),
                float(scores[row, i]),
            )
            for i in order
            if i != label
        )[:NEAREST]

    def _nearest_competitors(
        self, cosines: Tensor, shares: Tensor
    ) -> tuple[Candidate, ...]:
        order = cosines.argsort(descending=True)[:NEAREST].tolist()
        return tuple(
            Candidate(self._competitors[i], float(cosines[i]), float(shares[i]))
            for i in order
        )

    def _own_texts(self, label: int, region: Tensor) -> tuple[Candidate, ...]:
        """Aliases, or parts, of a name, each by itself."""
        aliases = self.vocabulary.aliases[label]
        texts = self.vocabulary.parts.get(normalize_name(aliases[0]), aliases)
        if self.rescored:
            source = text_source(
                self.model.encoder_config, self.model.cache_dir,
                self.model._text_encoder,
            )  # fmt: skip
        else:
            source = self.model._given[1] or self.model._text_source()
        groups = [self.vocabulary._prompts_of(text) for text in texts]
        embeds = embed_groups(TextSource(source), groups, self.model.cache_dir)
        cosines = (embeds.to(region.device) @ region.float()).tolist()
        return tuple(map(Candidate, texts, cosines))


class ExplainMethods:
    """Methods of ``OpenVocabInferencer`` that explain boxes."""

    def explain(
        self,
        image: ImageLike,
        texts: Names | None = None,
        box: int | Sequence[float] = 0,
        channel_order: str = 'bgr',
    ) -> Explanation:
        """Why a box has its name and score.

        Args:
            image: one image, as for a call.
            texts: names; None for the current vocabulary.
            box: index into the detections of a call with the same image and names, 0
                for the best; or xyxy in the image's pixels, for the best detection
                that overlaps it most.
            channel_order: as for a call.

        Raises:
            ValueError: for no such box, an image that cannot be read, or a system
                without an encoder's similarity.
        """
        explainer = self._explainer(image, texts, channel_order)
        found = explainer.found
        if isinstance(box, Integral):
            index = int(cast(int, box))
            if not 0 <= index < len(found):
                raise ValueError(
                    f'there is no box {index}, the image has {len(found)} detections; '
                    'ask for other names, or give a lower index'
                )
            return explainer(index)
        return explainer(_most_overlapping(found, box))

    def explain_best(
        self,
        image: ImageLike,
        texts: Names | None = None,
        count: int = 3,
        score_thr: float = 0.3,
        channel_order: str = 'bgr',
    ) -> list[Explanation]:
        """:meth:`explain` of the best boxes, in one pass.

        Args:
            image: as in :meth:`explain`.
            texts: as in :meth:`explain`.
            count: number of boxes at most.
            score_thr: boxes that score lower are left out.
            channel_order: as in :meth:`explain`.
        """
        explainer = self._explainer(image, texts, channel_order)
        number = min(count, len(explainer.found.above(score_thr)))
        return [explainer(index) for index in range(number)]

    @torch.no_grad()
    def _explainer(
        self, image: ImageLike, texts: Names | None, channel_order: str
    ) -> Explainer:
        own: Any = self  # the inferencer
        sources = find_inputs(image, channel_order=channel_order)
        if len(sources) != 1:
            raise ValueError(f'expected one image, got {len(sources)}')
        own._use(texts)
        free = own.system.prompt_free
        if free is not None and free.rescorer is not None:
            raise ValueError(
                'a box of a re-scored detector is explained by names that were asked '
                'for; pass the name that it got as texts'
            )
        read = own._read(sources[0], 0, fresh=True)
        if not hasattr(read, 'outcome'):
            raise ValueError(read.error)
        with recording(own.system.model) as record:
            own._detect([read], 0.0)
        outcome, meta = read.outcome, read.data['data_samples'].metainfo
        return Explainer(
            own.system, record, outcome.detections, read.memory, meta, outcome.image
        )


def _most_overlapping(found: Detections, box: object) -> int:
    """Index of the detection with the highest IoU, the best of equal ones."""
    try:
        asked = torch.as_tensor(box, dtype=torch.float32, device='cpu')
    except (TypeError, ValueError, RuntimeError):
        asked = torch.empty(0)
    if asked.shape != (4,):
        raise ValueError(f'a box is an index or x1, y1, x2, y2, got {box!r:.80}')
    low, high = found.bboxes[:, :2], found.bboxes[:, 2:]
    over = (high.minimum(asked[2:]) - low.maximum(asked[:2])).clamp(min=0).prod(1)
    areas = (high - low).prod(1) + (asked[2:] - asked[:2]).prod()
    ious = over / (areas - over).clamp(min=1e-6)
    if not len(ious) or ious.max() < MIN_IOU:
        raise ValueError(
            f'no detection overlaps the box {box!r:.80} with an IoU of {MIN_IOU} or '
            'more; give the index of a detection'
        )
    return int(ious.argmax())
