"""RoI head that fuses the box head's scores with the encoder's region scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.fgclip2.roi import separable_roi_align
from fgclip2_det.models.losses.process_counts import share_of_count
from fgclip2_det.models.roi_heads.class_nms import class_nms
from fgclip2_det.models.score_calibration import ScoreCalibration


@dataclass(frozen=True)
class Regions:
    """Regions of one image before they are compared with names.

    Attributes:
        bboxes: (n, 4) xyxy, decoded, in the resized image's pixels.
        det_embeds: (n, D) of the box head, L2-normalised.
        dense_embeds: (n, D) of the dense map at ``bboxes``, L2-normalised.
    """

    bboxes: Tensor
    det_embeds: Tensor
    dense_embeds: Tensor


class FeaturePyramid(tuple):
    """Pyramid levels, together with the encoder's dense map (B, D, h, w).

    Attributes:
        dense: the map at stride 16; None if it is not used.
        regions: of one image, if they are known already; None to compute them.
    """

    dense: Tensor | None = None
    regions: Regions | None = None

    @classmethod
    def of(cls, levels: tuple[Tensor, ...], dense: Tensor | None) -> FeaturePyramid:
        """Build from levels and dense map."""
        pyramid = cls(levels)
        pyramid.dense = dense
        return pyramid


@MODELS.register_module()
class OpenVocabRoIHead(StandardRoIHead):
    """Class scores of the box head, fused with the encoder's region scores.

    Boxes are decoded first; then the dense map is pooled at the final boxes, as
    FG-CLIP 2 pools regions, and compared with the same texts.

    Args:
        fusion: rule of :mod:`fgclip2_det.models.fusion`; ``OpenVocabFViTFusion`` by
            default.
        region_loss_weight: weight of a cross entropy loss on the encoder's own region
            scores at positive boxes. A trained encoder needs it to keep its dense map
            aligned; use 0 for a frozen one.
        calibration: options of :class:`.ScoreCalibration`, for names that a user asks
            for; None: scores as they are.
        kwargs: of ``StandardRoIHead``.
    """

    patch_size = 16  # pixels a cell of the dense map

    def __init__(
        self,
        *args,
        fusion: dict | None = None,
        region_loss_weight: float = 0.0,
        calibration: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fusion = MODELS.build(fusion or dict(type='OpenVocabFViTFusion'))
        self.region_loss_weight = region_loss_weight
        self.calibration = ScoreCalibration(**(calibration or {}))
        self._looks: list[Tensor | None] = []  # of the batch in training
        self._labelled: list[Tensor] = []  # boxes of its images, ignored ones as well

    def region_cosines(
        self, dense: Tensor, bboxes: Tensor, texts: Tensor | None = None
    ) -> Tensor:
        """Cosines (n, C) of one image's regions with the names, in fp32.

        Args:
            dense: (D, h, w).
            bboxes: (n, 4) xyxy in the resized image's pixels.
            texts: (T, D), L2-normalised, instead of the names' embeddings.
        """
        own: Tensor = self.bbox_head.fc_cls.class_embeds() if texts is None else texts
        embeds = self.dense_embeds(dense, bboxes)
        with torch.autocast(dense.device.type, enabled=False):
            return embeds @ own.float().T

    def dense_embeds(self, dense: Tensor, bboxes: Tensor) -> Tensor:
        """(n, D) of one image's regions, L2-normalised, in fp32; arguments as in
        :meth:`region_cosines`."""
        cells = bboxes.float() / self.patch_size
        dense = dense.permute(1, 2, 0).float()
        embeds = separable_roi_align(dense, cells)[:, 0, 0]
        with torch.autocast(dense.device.type, enabled=False):
            return F.normalize(embeds, dim=-1)

    def loss(
        self,
        x: FeaturePyramid,
        rpn_results_list: list[InstanceData],
        batch_data_samples: SampleList,
    ) -> dict:
        """As in ``StandardRoIHead``; first selects the names of federated images.

        Raises:
            ValueError: for recoloured objects without a loss on the parts of names.
        """
        self.bbox_head.count_names(batch_data_samples)
        self._looks = [s.gt_instances.get('looks') for s in batch_data_samples]
        if self.bbox_head.name_parts is None and any(
            looks is not None and (looks >= 0).any() for looks in self._looks
        ):
            raise ValueError(
                'the pipeline has RecolorObjects, whose objects do not look as they '
                'are labelled; set roi_head.bbox_head.name_parts=dict(), or remove it'
            )
        if self.bbox_head.name_parts is not None:
            self._labelled = [_labelled_boxes(sample) for sample in batch_data_samples]
        return super().loss(x, rpn_results_list, batch_data_samples)

    def bbox_loss(self, x: FeaturePyramid, sampling_results: list[SamplingResult]):
        """As in ``StandardRoIHead``, plus the encoder's region loss."""
        if self.bbox_head.name_parts is not None:
            free = [
                _is_free(result.priors, boxes)
                for result, boxes in zip(sampling_results, self._labelled, strict=True)
            ]
            self.bbox_head.set_looks(
                self._region_looks(sampling_results), torch.cat(free)
            )
        results = super().bbox_loss(x, sampling_results)
        if self.region_loss_weight:
            assert x.dense is not None
            results['loss_bbox']['loss_region'] = self._region_loss(
                x.dense, sampling_results
            )
        return results

    def mask_loss(
        self,
        x: FeaturePyramid,
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """As in ``StandardRoIHead``, as a mean over the regions of all processes."""
        results = super().mask_loss(x, sampling_results, bbox_feats, batch_gt_instances)
        regions = float(sum(len(result.pos_priors) for result in sampling_results))
        count = torch.tensor(regions, device=results['mask_preds'].device)
        share = count / share_of_count(count)
        results['loss_mask'] = {
            name: loss * share for name, loss in results['loss_mask'].items()
        }
        return results

    def _region_looks(
        self, sampling_results: list[SamplingResult], with_background: bool = True
    ) -> Tensor:
        """(K,) labels of the objects whose colours the sampled regions have, -1: their
        own; of each image its objects first, then its background."""
        looks = []
        for own, result in zip(self._looks, sampling_results, strict=True):
            labels = torch.full_like(result.pos_gt_labels, -1)
            if own is not None:
                labels = own[result.pos_assigned_gt_inds].to(labels)
            background = len(result.neg_priors) if with_background else 0
            looks.append(F.pad(labels, (0, background), value=-1))
        return torch.cat(looks)

    def _region_loss(self, dense: Tensor, sampling_results: list) -> Tensor:
        """Softmax cross entropy of positive boxes over the base names."""
        cosines = torch.cat(
            [
                self.region_cosines(image, result.pos_priors)
                for image, result in zip(dense, sampling_results, strict=True)
            ]
        )
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        if self.bbox_head.name_parts is not None:
            labels, named = self.bbox_head.name_parts.rename(
                labels, self._region_looks(sampling_results, with_background=False)
            )
            cosines, labels = cosines[named], labels[named]
        novel = ~self.bbox_head.fc_cls.is_base
        logits = (cosines / self.fusion.temperature).masked_fill(novel, float('-inf'))
        loss = F.cross_entropy(logits, labels, reduction='sum')
        # the mean over all processes' boxes, once gradients are averaged
        count = share_of_count(loss.new_tensor(float(len(labels))))
        return self.region_loss_weight * loss / count

    def predict_bbox(
        self,
        x: FeaturePyramid,
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: ConfigDict,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Boxes, labels and fused scores of one image (the detector calls it per
        image, so that results do not depend on batching)."""
        (meta,), (proposals,) = batch_img_metas, rpn_results_list
        regions = x.regions or self.encode_regions(x, meta, proposals)
        return [self.score_regions(regions, meta, rcnn_test_cfg, rescale)]

    def encode_regions(
        self, x: FeaturePyramid, meta: dict, proposals: InstanceData
    ) -> Regions:
        """The part of :meth:`predict_bbox` that does not depend on the names."""
        assert x.dense is not None
        rois = F.pad(proposals.bboxes, (1, 0))  # batch index 0 in front
        with self.bbox_head.fc_cls.stop_at_embeds():
            outputs = self._bbox_forward(x, rois)
        bboxes = self.bbox_head.bbox_coder.decode(
            rois[:, 1:], outputs['bbox_pred'].float(), max_shape=meta['img_shape']
        )
        return Regions(
            bboxes, outputs['cls_score'], self.dense_embeds(x.dense[0], bboxes)
        )

    def keep_regions(
        self, x: FeaturePyramid, meta: dict, proposals: InstanceData
    ) -> FeaturePyramid:
        """A pyramid of one image with its regions; without levels and dense map
        unless masks need them."""
        kept = x if self.with_mask else FeaturePyramid()
        kept.regions = self.encode_regions(x, meta, proposals)
        return kept

    def score_regions(
        self, regions: Regions, meta: dict, rcnn_test_cfg: ConfigDict, rescale: bool
    ) -> InstanceData:
        """The part of :meth:`predict_bbox` that depends on the names."""
        classifier = self.bbox_head.fc_cls
        apart, bboxes = classifier.apart, regions.bboxes
        det_scores = self.bbox_head.loss_cls.scores(
            classifier.logits(regions.det_embeds), apart
        )
        names, competitors = classifier.class_embeds(), classifier.competitors
        texts = torch.cat([names, competitors]).float()
        with torch.autocast(texts.device.type, enabled=False):
            cosines, others = (regions.dense_embeds @ texts.T).split(
                [len(names), len(competitors)], 1
            )
        is_base = classifier.known
        scores = self.fusion(
            det_scores, cosines, is_base, competitors=others, apart=apart
        )
        if classifier.is_open:
            scores = self.calibration(scores, is_base)
        if rescale:
            bboxes = bboxes / bboxes.new_tensor(meta['scale_factor']).repeat(2)
        dets, labels = class_nms(
            bboxes,
            scores,
            rcnn_test_cfg.score_thr,
            rcnn_test_cfg.nms,
            rcnn_test_cfg.max_per_img,
        )
        return InstanceData(bboxes=dets[:, :4], scores=dets[:, 4], labels=labels)


def _labelled_boxes(sample: DetDataSample) -> Tensor:
    """(G, 4) xyxy of an image in training, with those that are ignored."""
    own = get_box_tensor(sample.gt_instances.bboxes)
    ignored = sample.get('ignored_instances', {}).get('bboxes')
    return own if ignored is None else torch.cat([own, get_box_tensor(ignored)])


def _is_free(regions: Tensor, labelled: Tensor) -> Tensor:
    """(n,) bool, whether a region shows no labelled object: the shares of it that the
    labelled boxes cover sum to less than half, and it covers less than half of each."""
    if not len(labelled):
        return torch.ones(len(regions), dtype=torch.bool, device=regions.device)
    labelled = labelled.to(regions)
    covered = bbox_overlaps(regions, labelled, mode='iof')
    holds = bbox_overlaps(labelled, regions, mode='iof')
    return (covered.sum(1) < 0.5) & (holds.amax(0) < 0.5)
