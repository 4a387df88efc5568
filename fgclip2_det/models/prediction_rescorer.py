"""Re-scoring of existing detections with the encoder's region-text similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmcv.ops import nms
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.preprocess import ImageBatch
from fgclip2_det.models.fusion import ScoreFusion
from fgclip2_det.models.image_memory import ImageMemory
from fgclip2_det.models.label_nms import nms_by_label
from fgclip2_det.models.name_ranker import NameRanker
from fgclip2_det.models.score_calibration import ScoreCalibration
from fgclip2_det.ranker import Ranking
from fgclip2_det.vocabulary.competitors import Competitors

MODES = ('keep', 'box', 'joint')


@dataclass(frozen=True)
class Rescored:
    """Detections of one image after fusion.

    Attributes:
        source: (m,) int64, index of the input row that each result's box is from.
        labels: (m,) int64.
        scores: (m,) float32, fused.
        det_scores: (m,) float32, the detector's score of that box and label, as passed
            to the fusion rule.
    """

    source: Tensor
    labels: Tensor
    scores: Tensor
    det_scores: Tensor


@dataclass(frozen=True)
class EncodedMaps:
    """What the encoder says of one image.

    Attributes:
        dense: its map (h, w, D) in a list, as ``region_features`` takes it; None: not
            kept.
        states: its map (h, w, W) of the vision tower's states, for a ranker; None
            without one.
    """

    dense: list[Tensor] | None = None
    states: list[Tensor] | None = None


class PredictionRescorer:
    """Fuse any detector's scores with region-text similarities, without training.

    An image is encoded once, all its distinct boxes are pooled at once, and one matrix
    product compares them with the whole vocabulary. Boxes that cross the image border
    are clipped for pooling only.

    ``mode`` selects what is fused. Boxes with equal coordinates are treated as one box.

    - 'keep': each row's score with the similarity of its own label. Rows, labels and
      order are kept, so a wrong label stays wrong.
    - 'box': the best score of each box with the similarity of every class; the best
      classes become the labels, and the detector's labels are dropped.
    - 'joint': the score of each box and label with that label's similarity; scores
      below ``floor``, or of labels that the detector did not assign to the box, are
      replaced by ``floor``.

    In 'box' and 'joint' several boxes of one object can get the same label: ``nms_iou``
    removes all but the best of them. A detector that processes its class names in
    chunks finds an object once per chunk, each time with the scores of that chunk only:
    ``merge_iou`` merges these boxes into one that has all the scores.

    Args:
        encoder: with an image tower; None where only :meth:`fuse` is called.
        class_embeds: (C, D) of the vocabulary, L2-normalised.
        fusion: a rule of :mod:`fgclip2_det.models.fusion`.
        mode: see above.
        is_base: (C,) bool, for rules that treat base and novel classes differently.
        labels_per_box: labels per box in 'box' and 'joint'; FG-CLIP 2 takes the best.
        floor: lowest detector score of a box for any label, in 'joint': a label that
            the detector did not assign never ranks above one that it assigned.
        nms_iou: IoU above which the lower-scored of two boxes of one label is removed;
            None for no NMS.
        merge_iou: IoU above which boxes are merged into the highest-scored of them,
            whatever their labels; None to merge equal boxes only.
        max_per_image: number of best rows kept in 'box' and 'joint'; None for all.
        max_num_patches: patch budget of the image; 'auto' as in the released processor.
        competitors: what the names compete with in the similarity's softmax, beside
            each other; None: nothing. Without them few names are a forced choice, and
            the similarity of a single name is 1 for every box.
        calibration: of the fused scores; None: as they are.
        ranker: of the names and the competitors, for a rule that ``needs_ranking``.
        trained_embeds: (T, D) of all training names, for a rule that ``needs_trained``;
            None: the base names of the vocabulary alone.

    Raises:
        ValueError: for invalid options.

    Example:
        >>> encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
        >>> vocabulary = Vocabulary(['red circle', 'blue star'])
        >>> rescore = PredictionRescorer(
        ...     encoder, vocabulary.embed(encoder), OpenVocabGeometricFusion())
        >>> rescore(image, [[10, 10, 60, 60]], [0.8], [1]).scores

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2.3 and appendix B, which do not
    specify mode, temperature and NMS.
    """

    def __init__(
        self,
        encoder: DualEncoder | None,
        class_embeds: Tensor,
        fusion: ScoreFusion,
        mode: str = 'keep',
        is_base: Tensor | None = None,
        labels_per_box: int = 1,
        floor: float = 0.0,
        nms_iou: float | None = None,
        merge_iou: float | None = None,
        max_per_image: int | None = None,
        max_num_patches: int | str = 'auto',
        competitors: Competitors | None = None,
        calibration: ScoreCalibration | None = None,
        ranker: NameRanker | None = None,
        trained_embeds: Tensor | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f'mode must be one of {MODES}, got {mode!r}')
        if not 0 <= floor <= 1:
            raise ValueError(f'floor must lie in [0, 1], got {floor}')
        for name, value in dict(nms_iou=nms_iou, merge_iou=merge_iou).items():
            if value is not None and not 0 < value <= 1:
                raise ValueError(f'{name} must lie in (0, 1] or be None, got {value}')
        for name, value in dict(
            labels_per_box=labels_per_box, max_per_image=max_per_image
        ).items():
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        if mode == 'keep' and (nms_iou or merge_iou or max_per_image):
            raise ValueError(
                "mode 'keep' keeps every row; nms_iou, merge_iou and max_per_image are "
                "for 'box' and 'joint'"
            )
        self.encoder, self.fusion, self.mode = encoder, fusion, mode
        self.class_embeds, self.is_base = class_embeds, is_base
        if is_base is not None:
            fusion.set_names(class_embeds, is_base, trained_embeds)
        self.labels_per_box = min(labels_per_box, len(class_embeds))
        self.floor, self.nms_iou, self.merge_iou = floor, nms_iou, merge_iou
        self.max_per_image, self.max_num_patches = max_per_image, max_num_patches
        self.competitors, self.calibration = competitors, calibration
        if encoder is not None and fusion.needs_ranking != (ranker is not None):
            raise ValueError(
                'OpenVocabRankingFusion (--fusion ranking) and a ranker belong '
                f'together, got {type(fusion).__name__} with'
                f'{"" if ranker else "out"} a ranker'
            )
        self.ranker = ranker

    @torch.no_grad()
    def __call__(
        self,
        image,
        bboxes: Tensor | Sequence,
        scores: Tensor | Sequence,
        labels: Tensor | Sequence,
        memory: ImageMemory | None = None,
    ) -> Rescored:
        """Re-score one image.

        Args:
            image: path, PIL image or (h, w, 3) uint8 RGB; not read if ``memory``
                has its encoding, see :meth:`knows`.
            bboxes: (n, 4) xyxy in its pixels; n may be 0.
            scores: (n,) of the detector, in [0, 1].
            labels: (n,) in 0 .. C - 1.
            memory: keeps the image's encoding for other names; None keeps nothing.

        Raises:
            ValueError: for invalid lengths, scores or labels, and as in
                :meth:`.DualEncoder.region_features`.
        """
        bboxes = torch.as_tensor(bboxes, dtype=torch.float32).reshape(-1, 4)
        scores = torch.as_tensor(scores, dtype=torch.float32).reshape(-1)
        labels = torch.as_tensor(labels, dtype=torch.long).reshape(-1)
        self._check(bboxes, scores, labels)
        if not len(bboxes):
            return Rescored(labels, labels, scores, scores)
        boxes, box_of = bboxes.unique(dim=0, return_inverse=True)
        if self.encoder is None:
            raise ValueError('a rescorer without an encoder can only fuse')
        batch, maps = self._encoded(image, memory)
        regions = clip_boxes(boxes, batch.image_sizes[0])
        height, width = batch.image_sizes[0].tolist()
        if self.fusion.needs_image:  # as one more box
            whole = regions.new_tensor([[0, 0, width, height]])
            regions = torch.cat([regions, whole])
        known = {} if maps.dense is None else dict(grids=maps.dense)
        (embeds,) = self.encoder.region_features(batch, [regions], True, **known)
        embeds = embeds.float()
        texts = self.class_embeds
        if self.competitors is not None:
            texts = torch.cat([texts, self.competitors.embeds.to(texts)])
        cosines = (embeds @ texts.T.to(embeds)).cpu()
        ranking = None
        if self.ranker is not None:
            assert maps.states is not None
            (states,) = maps.states
            ranking = self.ranker(states, (height, width), regions, cosines)
        num_names = len(self.class_embeds)
        cosines, others = cosines.split([num_names, len(texts) - num_names], 1)
        whole = cosines[-1] if self.fusion.needs_image else None
        count = len(boxes)
        given = cosines[:count], boxes, box_of, scores, labels, whole, others[:count]
        return self.fuse(*given, ranking)

    def _encoded(
        self, image, memory: ImageMemory | None
    ) -> tuple[ImageBatch, EncodedMaps]:
        """The image's batch and, for a memory or a ranker, the maps of the encoder."""
        assert self.encoder is not None
        if memory is None and self.ranker is None:
            batch = self.encoder.preprocess([image], self.max_num_patches)
            return batch, EncodedMaps()
        if memory is not None and self.knows(memory):
            return memory['encoded']
        batch = self.encoder.preprocess([image], self.max_num_patches)
        if self.ranker is None:
            maps = EncodedMaps(self.encoder.dense_grids(batch))
        else:
            maps = EncodedMaps(*self.encoder.encode_grids(batch))
        encoded = batch, maps
        if memory is not None:
            memory['encoded'] = encoded
        return encoded

    def knows(self, memory: ImageMemory) -> bool:
        """Whether a memory has all that this re-scorer needs of its image."""
        if 'encoded' not in memory:
            return False
        return self.ranker is None or memory['encoded'][1].states is not None

    def fuse(
        self,
        cosines: Tensor,
        boxes: Tensor,
        box_of: Tensor,
        scores: Tensor,
        labels: Tensor,
        image_cosines: Tensor | None = None,
        others: Tensor | None = None,
        ranking: Ranking | None = None,
    ) -> Rescored:
        """Fuse one image's n rows, given the cosines of its boxes.

        Args:
            cosines: (k, C) of the distinct boxes with the names.
            boxes: (k, 4) xyxy.
            box_of: (n,) index of each row's box.
            scores, labels: (n,) of the detector.
            image_cosines: (C,) of the whole image, for a rule that ``needs_image``.
            others: (k, S) of the distinct boxes with the competitors; None: none.
            ranking: of the distinct boxes, for a rule that ``needs_ranking``.
        """
        rows = torch.arange(len(labels))
        if others is None:
            others = cosines[:, :0]
        if self.mode == 'keep':
            if ranking is not None:
                ranking = ranking.of(box_of)
            given = cosines[box_of], others[box_of], image_cosines, ranking
            fused = self._fused(scores[:, None], *given)
            return Rescored(rows, labels, fused[rows, labels], scores)
        if self.merge_iou is not None:
            chosen, box_of = _merge(boxes, box_of, scores, self.merge_iou)
            boxes, cosines, others = boxes[chosen], cosines[chosen], others[chosen]
            ranking = None if ranking is None else ranking.of(chosen)
        source = _best_row(scores, box_of)
        if self.mode == 'box':
            det = scores[source][:, None]  # one score per box
        else:
            det = torch.full_like(cosines, self.floor).flatten()
            cell = box_of * cosines.shape[1] + labels
            det.scatter_reduce_(0, cell, scores, 'amax')  # at least the floor
            det = det.view_as(cosines)
        fused = self._fused(det, cosines, others, image_cosines, ranking)
        best, names = fused.topk(self.labels_per_box, dim=1)
        box_index = torch.arange(len(boxes))[:, None].expand_as(names).flatten()
        best, names = best.flatten(), names.flatten()
        keep = self._best(boxes[box_index], best, names)
        box_index, names = box_index[keep], names[keep]
        det_scores = det.expand_as(cosines)[box_index, names]
        return Rescored(source[box_index], names, best[keep], det_scores)

    def _fused(
        self,
        det: Tensor,
        cosines: Tensor,
        others: Tensor,
        whole: Tensor | None,
        ranking: Ranking | None,
    ) -> Tensor:
        """(n, C) scores of the rule, calibrated."""
        options: dict = {} if whole is None else dict(image_cosines=whole)
        if self.fusion.needs_ranking:
            options |= dict(ranking=ranking)
        if self.competitors is not None:
            options |= dict(competitors=others, apart=self.competitors.apart.cpu())
        fused = self.fusion(det, cosines, self.is_base, **options)
        if self.calibration is None:
            return fused
        is_base = self.is_base
        if is_base is None:
            is_base = torch.ones(cosines.shape[1], dtype=torch.bool)
        return self.calibration(fused, is_base)

    def _best(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        """Rows to keep, the highest score first."""
        if self.nms_iou is None:
            keep = scores.argsort(descending=True, stable=True)
        else:
            options = dict(type='nms', iou_threshold=self.nms_iou)
            keep = nms_by_label(boxes, scores, labels, options)[1]
        return keep[: self.max_per_image]

    def _check(self, bboxes: Tensor, scores: Tensor, labels: Tensor) -> None:
        if not len(bboxes) == len(scores) == len(labels):
            raise ValueError(
                'expected as many boxes as scores and labels, got '
                f'{len(bboxes)}, {len(scores)} and {len(labels)}'
            )
        wrong = ~((scores >= 0) & (scores <= 1))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f'score {row} must lie in [0, 1], got {scores[row]}; fusion is of '
                'probabilities'
            )
        wrong = (labels < 0) | (labels >= len(self.class_embeds))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f'label {row} must lie in 0 .. {len(self.class_embeds) - 1}, got '
                f'{labels[row]}'
            )


def clip_boxes(boxes: Tensor, image_size: Tensor) -> Tensor:
    """Clip boxes to the image; boxes entirely outside it are not changed.

    Args:
        boxes: (k, 4) xyxy.
        image_size: (2,) height and width, in the same pixels.
    """
    limit = image_size.to(boxes).flip(0).repeat(2)
    inside = (boxes[:, 2:] >= 0).all(1) & (boxes[:, :2] <= limit[:2]).all(1)
    clipped = boxes.clamp(min=0).minimum(limit)
    return torch.where(inside[:, None], clipped, boxes)


def _best_row(scores: Tensor, box_of: Tensor) -> Tensor:
    """(k,) each box's row with the highest score, the first of equal ones."""
    order = scores.argsort(descending=True, stable=True)
    order = order[box_of[order].argsort(stable=True)]
    boxes = box_of[order]
    first = torch.ones_like(boxes, dtype=torch.bool)
    first[1:] = boxes[1:] != boxes[:-1]
    return order[first]


def _merge(
    boxes: Tensor, box_of: Tensor, scores: Tensor, iou: float
) -> tuple[Tensor, Tensor]:
    """(m,) boxes that represent merged ones, and (n,) each row's index into them."""
    best = scores[_best_row(scores, box_of)]
    chosen = nms(boxes, best, iou)[1]
    overlaps = bbox_overlaps(boxes, boxes[chosen])
    overlaps[chosen] = torch.eye(len(chosen))
    stand_in = (overlaps > iou).float().argmax(1)  # the highest scored of several
    return chosen, stand_in[box_of]
