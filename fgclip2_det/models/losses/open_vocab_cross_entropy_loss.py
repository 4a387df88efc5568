"""Classification loss of a region-text head that is trained on base names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class OpenVocabCrossEntropyLoss(nn.Module):
    """Cross entropy over base names, softmax with a background or sigmoid.

    Novel names take no part: their objects are not annotated, so pushing their
    texts away would teach the detector not to find them.

    Args:
        use_sigmoid: one binary loss a name instead of a softmax over names and
            background; a background region is then negative for every name.
        bg_weight: weight of background regions, since an unannotated object
            counts as one (F-ViT: 0.6 on OV-COCO, 0.9 on OV-LVIS).
        loss_weight: factor of the whole loss.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        bg_weight: float = 0.6,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.bg_weight, self.loss_weight = bg_weight, loss_weight

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        avg_factor: float,
        is_base: Tensor,
    ) -> Tensor:
        """Weighted sum over regions, divided by ``avg_factor``.

        Args:
            logits: (K, C + 1), the background last.
            labels: (K,) in [0, C]; C is background.
            label_weights: (K,), 0 ignores a region.
            avg_factor: usually the number of regions that count.
            is_base: (C,) bool.

        Returns:
            Scalar, float32; 0 when there are no regions.
        """
        num_classes = len(is_base)
        logits = logits.float()
        if self.use_sigmoid:
            targets = F.one_hot(labels, num_classes + 1)[:, :-1].to(logits)
            pairs = F.binary_cross_entropy_with_logits(
                logits[:, :-1], targets, reduction='none'
            )
            loss = (pairs * is_base).sum(-1)
        else:
            unused = F.pad(~is_base, (0, 1))  # the background takes part
            logits = logits.masked_fill(unused, float('-inf'))
            loss = F.cross_entropy(logits, labels, reduction='none')
        weights = torch.where(labels == num_classes, self.bg_weight, 1.0)
        return self.loss_weight * (loss * weights * label_weights).sum() / avg_factor

    def scores(self, logits: Tensor) -> Tensor:
        """(K, C + 1) logits -> (K, C) probabilities of the names, fp32."""
        logits = logits.float()
        if self.use_sigmoid:
            return logits[:, :-1].sigmoid()
        return logits.softmax(-1)[:, :-1]
