"""Box head with class-agnostic regression and classification by text embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.losses import accuracy
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.models.losses import vocabulary_tic_loss
from fgclip2_det.models.losses.process_counts import share_of_count
from fgclip2_det.models.roi_heads.class_nms import class_nms
from fgclip2_det.models.roi_heads.federated_names import FederatedNames
from fgclip2_det.models.roi_heads.hard_names import HardNames
from fgclip2_det.models.roi_heads.name_parts import NameParts
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier


@MODELS.register_module()
class OpenVocabBBoxHead(ConvFCBBoxHead):
    """Two shared layers, a region-text classifier and one box per region.

    Args:
        embed_dims: D of the text embeddings.
        classifier: options of ``RegionTextClassifier``.
        federated: options of ``FederatedNames``; None: every image is annotated for
            all base names.
        hard_names: options of ``HardNames``, a loss against easily confused names;
            None: no such loss.
        name_parts: options of ``NameParts``, a loss on the parts that names are made
            of, and the labels of recoloured objects; None: no such loss.
        tic: ``dict(loss_weight=0.1, threshold=0.95, topk=10)``, a loss that pushes
            base names apart; needs ``classifier.text_adapter``. None: no such loss.
        kwargs: of ``ConvFCBBoxHead``, without ``num_classes``, which the vocabulary
            determines. ``loss_cls`` is an ``OpenVocabCrossEntropyLoss`` or an
            ``OpenVocabFocalLoss``.

    Raises:
        ValueError: for ``tic`` without an adapter to train; for
            ``name_parts.unlabelled_weight`` with ``federated``.

    Reference: F-VLM (arXiv:2209.15639), section 3.2; CLIPSelf
    (arXiv:2310.01403), F-ViT; FG-CLIP 2 (arXiv:2510.10921), section 3.2.
    """

    def __init__(
        self,
        embed_dims: int,
        classifier: dict | None = None,
        federated: dict | None = None,
        hard_names: dict | None = None,
        name_parts: dict | None = None,
        tic: dict | None = None,
        **kwargs,
    ) -> None:
        kwargs.setdefault('num_shared_fcs', 2)
        kwargs.setdefault('loss_cls', dict(type='OpenVocabCrossEntropyLoss'))
        super().__init__(num_classes=1, reg_class_agnostic=True, **kwargs)
        self.init_cfg = [
            c for c in self.init_cfg if c.get('override') != dict(name='fc_cls')
        ]
        self.fc_cls = RegionTextClassifier(
            self.cls_last_dim, embed_dims, **(classifier or {})
        )
        self.num_classes = 0
        if tic is not None and not (classifier or {}).get('text_adapter'):
            raise ValueError(
                'tic needs classifier.text_adapter above 0: the text embeddings '
                'themselves are not trained'
            )
        self.federated = None if federated is None else FederatedNames(**federated)
        self.hard_names = None if hard_names is None else HardNames(**hard_names)
        self.name_parts = None if name_parts is None else NameParts(**name_parts)
        if federated is not None and (name_parts or {}).get('unlabelled_weight'):
            raise ValueError(
                'name_parts.unlabelled_weight needs images in which every object of a '
                'base name is labelled; federated says that they are not: remove one'
            )
        self.tic = None if tic is None else {'loss_weight': 0.1, **tic}
        self._counts: Tensor | None = None  # (B, C) of the batch in training
        self._looks: Tensor | None = None  # (K,) of the regions in training
        self._free: Tensor | None = None  # (K,) bool, no label covers them

    def count_names(self, batch_data_samples: SampleList) -> None:
        """Select the names for each image if federated; call it before ``loss``."""
        if self.federated is not None:
            self._counts = self.federated(batch_data_samples, self.fc_cls.is_base)

    def set_looks(self, looks: Tensor, free: Tensor) -> None:
        """What ``name_parts`` needs to know of the regions of the next ``loss``.

        Args:
            looks: (K,) labels of the objects whose colours they have, -1: their own.
            free: (K,) bool, whether no label covers them.
        """
        self._looks, self._free = looks, free

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict:
        """As in ``BBoxHead``, with classification over base names only.

        ``cls_score`` is (K, C + 1), or (K, C + 1 + H + P) with the logits of H texts
        that are hard negatives and of P that are parts of names.
        """
        losses = super().loss(
            None,
            bbox_pred,
            rois,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            reduction_override,
        )
        if 'loss_bbox' in losses:  # MMDetection's mean is over this process's regions
            regions = torch.tensor(float(len(bbox_targets)), device=bbox_pred.device)
            share = regions / share_of_count(regions)
            losses['loss_bbox'] = losses['loss_bbox'] * share
        num_classes = len(self.fc_cls.is_base)
        if self.name_parts is not None:
            parts_loss, labels, named = self._name_parts_loss(cls_score, labels)
            losses['loss_parts'] = parts_loss
            if self.name_parts.unlabelled_weight:
                losses['loss_unlabelled'] = self._unlabelled_loss(cls_score, labels)
            label_weights = label_weights * named
        counted = (label_weights > 0).sum().to(label_weights)
        avg_factor = float(share_of_count(counted))  # of all processes
        logits = cls_score[:, : num_classes + 1]
        losses['loss_cls'] = self.loss_cls(
            logits, labels, label_weights, avg_factor, self._counting(rois, labels)
        )
        if self.hard_names is not None:
            positive = (labels < num_classes) & (label_weights > 0)
            losses['loss_hard'] = self.hard_names.loss(
                cls_score[positive], labels[positive]
            )
        if self.tic is not None:
            losses['loss_tic'] = self._tic_loss(**self.tic)
        if len(labels):
            losses['acc'] = accuracy(logits, labels)
        return losses

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """As in ``BBoxHead``; names that are held apart do not compete, and NMS is
        exact for large vocabularies, too."""
        without_nms = rcnn_test_cfg if not len(roi) else None
        results = super()._predict_by_feat_single(
            roi, cls_score, bbox_pred, img_meta, rescale, without_nms
        )
        if rcnn_test_cfg is None or not len(roi):
            return results
        options = rcnn_test_cfg.score_thr, rcnn_test_cfg.nms, rcnn_test_cfg.max_per_img
        scores = self.loss_cls.scores(cls_score, self.fc_cls.apart)
        dets, labels = class_nms(results.bboxes, scores, *options)
        return InstanceData(bboxes=dets[:, :4], scores=dets[:, 4], labels=labels)

    def _counting(self, rois: Tensor, labels: Tensor) -> Tensor:
        """(C,) bool, names used in the loss; (K, C) for each region if federated."""
        is_base = self.fc_cls.is_base
        if self.federated is None:
            return is_base
        if self._counts is None:
            raise ValueError('federated needs an OpenVocabRoIHead as roi_head')
        counts = self._counts[rois[:, 0].long()]
        own = labels[:, None] == torch.arange(len(is_base), device=labels.device)
        return counts | own

    def _name_parts_loss(
        self, cls_score: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss on parts, labels by what regions look like, and whether there is
        such a base name."""
        assert self.name_parts is not None
        if self._looks is None:
            raise ValueError('name_parts needs an OpenVocabRoIHead as roi_head')
        positive = labels < len(self.fc_cls.is_base)
        logits = cls_score[:, -len(self.name_parts.place) :]
        loss = self.name_parts.loss(
            logits[positive], labels[positive], self._looks[positive]
        )
        return loss, *self.name_parts.rename(labels, self._looks)

    def _unlabelled_loss(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        """The loss on the parts of objects without a label."""
        assert self.name_parts is not None and self._free is not None
        is_base = self.fc_cls.is_base
        free = self._free & (labels == len(is_base))
        names = cls_score[free, : len(is_base) + 1].detach()
        own = F.pad(is_base, (0, 1), value=True)
        scores = self.loss_cls.scores(names.masked_fill(~own, float('-inf')))
        objectness = (
            scores.amax(1) if self.loss_cls.use_sigmoid else scores.sum(1).clamp(max=1)
        )
        return self.name_parts.unlabelled_loss(
            cls_score[free, -len(self.name_parts.place) :],
            objectness,
            int((labels < len(is_base)).sum()),
        )

    def _tic_loss(self, loss_weight: float, **options) -> Tensor:
        """Weighted TIC loss of the adapted base names."""
        names = self.fc_cls.class_embeds()[self.fc_cls.is_base]
        with torch.autocast(names.device.type, enabled=False):
            embeds = self.fc_cls.adapter(names.float())
            return loss_weight * vocabulary_tic_loss(embeds, **options)
