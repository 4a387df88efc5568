"""Box head: class-agnostic regression, classification by text."""

from __future__ import annotations

from mmdet.models.losses import accuracy
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor

from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier


@MODELS.register_module()
class OpenVocabBBoxHead(ConvFCBBoxHead):
    """Two shared layers, a region-text classifier and one box a region.

    Args:
        embed_dims: D of the text embeddings.
        classifier: options of ``RegionTextClassifier``.
        kwargs: of ``ConvFCBBoxHead``, without ``num_classes``: the vocabulary
            decides. ``loss_cls`` is an ``OpenVocabCrossEntropyLoss``.

    Reference: F-VLM (arXiv:2209.15639), section 3.2; CLIPSelf
    (arXiv:2310.01403), F-ViT.
    """

    def __init__(
        self, embed_dims: int, classifier: dict | None = None, **kwargs
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
        """As in ``BBoxHead``; the classification sees base names only."""
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
        avg_factor = max(float((label_weights > 0).sum()), 1.0)
        losses['loss_cls'] = self.loss_cls(
            cls_score, labels, label_weights, avg_factor, self.fc_cls.is_base
        )
        if len(labels):
            losses['acc'] = accuracy(cls_score, labels)
        return losses
