"""Fusion of a detector's class scores with the encoder's region scores."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class OpenVocabFViTFusion(nn.Module):
    """Weighted geometric mean, with another weight on novel classes.

    base: det ** (1 - alpha) * sim ** alpha; novel: with beta for alpha. Nothing
    is renormalised. The similarity is a softmax of cosines over the vocabulary.

    Args:
        alpha: the similarity's weight on base classes.
        beta: its weight on novel classes.
        temperature: cosines are divided by it.

    Example:
        >>> fusion = OpenVocabFViTFusion(alpha=0.0, beta=1.0, temperature=1.0)
        >>> cosines, is_base = torch.zeros(1, 2), torch.tensor([True, False])
        >>> fusion(torch.tensor([[0.9, 0.1]]), cosines, is_base)
        tensor([[0.9000, 0.5000]])

    Reference: CLIPSelf (arXiv:2310.01403), F-ViT: 0.1 / 0.8 at temperature
    1 / 75 on OV-COCO; F-VLM (arXiv:2209.15639), equation 3.
    """

    def __init__(
        self, alpha: float = 0.1, beta: float = 0.8, temperature: float = 1 / 75
    ) -> None:
        super().__init__()
        for name, value in dict(alpha=alpha, beta=beta).items():
            if not 0 <= value <= 1:
                raise ValueError(f'{name} must lie in [0, 1], got {value}')
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, got {temperature}')
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def forward(self, det_scores: Tensor, cosines: Tensor, is_base: Tensor) -> Tensor:
        """Fused scores.

        Args:
            det_scores: (n, C) class probabilities of the detector.
            cosines: (n, C) of region embeddings with the vocabulary.
            is_base: (C,) bool.

        Returns:
            (n, C), float32.
        """
        sim_scores = (cosines.float() / self.temperature).softmax(-1)
        weights = torch.where(is_base, self.alpha, self.beta)
        return det_scores.float() ** (1 - weights) * sim_scores**weights
