"""Classification losses of a region-text head trained on base classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from fgclip2_det.models.open_softmax import open_softmax


@MODELS.register_module()
class OpenVocabCrossEntropyLoss(nn.Module):
    """Cross entropy over base names, softmax with a background or sigmoid.

    Novel names are excluded: their objects are not annotated, so using them as
    negatives would teach the detector not to detect them. With federated annotations
    (:class:`.FederatedNames`), the names differ from region to region.

    Args:
        use_sigmoid: one binary loss per name instead of a softmax over names and
            background; a background region is then negative for every name. With
            the released scale and bias this is SigLIP's pair loss.
        bg_weight: weight of background regions, which may be unannotated objects
            (F-ViT: 0.6 on OV-COCO, 0.9 on OV-LVIS).
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
        counts: Tensor,
    ) -> Tensor:
        """Weighted sum over regions, divided by ``avg_factor``.

        Args:
            logits: (K, C + 1), the background last.
            labels: (K,) in [0, C]; C is background.
            label_weights: (K,), 0 ignores a region.
            avg_factor: usually the number of regions with nonzero weight.
            counts: (C,) bool, names used in the loss: the base names; or (K, C), for
                each region, including its own label.

        Returns:
            Scalar, float32; 0 when there are no regions.
        """
        num_classes = counts.shape[-1]
        logits = logits.float()
        if self.use_sigmoid:
            targets = F.one_hot(labels, num_classes + 1)[:, :-1].to(logits)
            loss = (self.pair_loss(logits[:, :-1], targets) * counts).sum(-1)
        else:
            unused = F.pad(~counts, (0, 1))  # the background is always used
            logits = logits.masked_fill(unused, float('-inf'))
            loss = F.cross_entropy(logits, labels, reduction='none')
        weights = torch.where(labels == num_classes, self.bg_weight, 1.0)
        return self.loss_weight * (loss * weights * label_weights).sum() / avg_factor

    def pair_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(K, C) logits and targets 0 or 1 -> (K, C), for ``use_sigmoid``."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction='none')

    def scores(self, logits: Tensor, apart: Tensor | None = None) -> Tensor:
        """Probabilities of the names.

        Args:
            logits: (K, C + 1), the background last; (K, C + T + 1) with an ``apart`` of
                T competitors.
            apart: (C, C + T) bool, what does not compete in the softmax, see
                :func:`.open_softmax`; None: everything does.

        Returns:
            (K, C) float32.
        """
        tied = 0 if apart is None else apart.shape[1] - len(apart)
        num_names = logits.shape[1] - 1 - tied
        names, others = logits.float().tensor_split([num_names], 1)
        if self.use_sigmoid:
            return names.sigmoid()
        return open_softmax(names, others, apart)


@MODELS.register_module()
class OpenVocabFocalLoss(OpenVocabCrossEntropyLoss):
    """Sigmoid focal loss over base names.

    L = sum_c -a_c (1 - p_c)^gamma log p_c, where p_c is the probability of the correct
    binary decision for name c and a_c is alpha for the region's own name, 1 - alpha for
    others.

    Args:
        gamma: focusing parameter; 0 is the (weighted) binary cross entropy.
        alpha: weight of a region's own name; no weights if negative.
        bg_weight: as in ``OpenVocabCrossEntropyLoss``.
        loss_weight: factor of the whole loss.

    Reference: RetinaNet (arXiv:1708.02002), equation 5.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        bg_weight: float = 1.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(True, bg_weight, loss_weight)
        self.gamma, self.alpha = gamma, alpha

    def pair_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(K, C) logits and targets 0 or 1 -> (K, C)."""
        loss = super().pair_loss(logits, targets)
        wrong = torch.where(targets > 0, -logits, logits).sigmoid()  # 1 - p_c
        loss = loss * wrong**self.gamma
        if self.alpha < 0:
            return loss
        return loss * torch.where(targets > 0, self.alpha, 1 - self.alpha)
