"""Weighted geometric means, and published fusion rules based on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from torch import Tensor

from fgclip2_det.models.fusion.score_fusion import ScoreFusion, check_positive

MIN_BACKGROUND = 1e-6  # of one score per box; several float32 steps below 1


@MODELS.register_module()
class OpenVocabGeometricFusion(ScoreFusion):
    """d ** (1 - a) * w ** a, where a is the weight of the class.

    The ranking of one box's classes does not depend on the number of names, since the
    denominator of the softmax is a common factor. The scores themselves do, and they
    are not probabilities.

    Args:
        alpha, beta, temperature: see :class:`ScoreFusion`. 1/2 on all classes is
            FG-CLIP 2's geometric averaging.

    Example:
        >>> fusion = OpenVocabGeometricFusion(temperature=1.0)
        >>> fusion(torch.tensor([[0.9, 0.1]]), torch.zeros(1, 2))
        tensor([[0.6708, 0.2236]])

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2.3 and appendix B.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.5,
        beta: float | None = None,
        temperature: float = 0.01,
    ) -> None:
        super().__init__(alpha, beta, temperature)

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        return det ** (1 - weights) * sim**weights


@MODELS.register_module()
class OpenVocabViLDFusion(OpenVocabGeometricFusion):
    """Similarity weight 1/3 on base classes and 2/3 on novel ones.

    Reference: ViLD (arXiv:2104.13921), section 3.4.
    """

    def __init__(
        self, alpha: float = 1 / 3, beta: float = 2 / 3, temperature: float = 0.01
    ) -> None:
        super().__init__(alpha, beta, temperature)


@MODELS.register_module()
class OpenVocabFViTFusion(OpenVocabGeometricFusion):
    """A low similarity weight on base classes, a high one on novel classes.

    Nothing is renormalised. The defaults are those of OV-COCO; OV-LVIS has beta 0.6
    (base size) or 0.4 (large) at temperature 1 / 50.

    Example:
        >>> fusion = OpenVocabFViTFusion(alpha=0.0, beta=1.0, temperature=1.0)
        >>> cosines, is_base = torch.zeros(1, 2), torch.tensor([True, False])
        >>> fusion(torch.tensor([[0.9, 0.1]]), cosines, is_base)
        tensor([[0.9000, 0.5000]])

    Reference: CLIPSelf (arXiv:2310.01403), F-ViT.
    """

    def __init__(
        self, alpha: float = 0.1, beta: float = 0.8, temperature: float = 1 / 75
    ) -> None:
        super().__init__(alpha, beta, temperature)


@MODELS.register_module()
class OpenVocabFVLMFusion(OpenVocabGeometricFusion):
    """The weighted geometric mean, renormalised together with the background.

    With a score for each name the background score is 1 - sum d, as of a softmax
    detector; it is not fused, but part of the normalising sum. Independent (sigmoid)
    scores may sum to more than 1: then the background score is 0.

    With one score per box (n, 1) the background score is 1 - d, and all other names
    have 0: f_c / (f_c + 1 - d), where f_c = d ** (1 - a_c) * w_c ** a_c. Other names
    matter through w alone, each name's score rises with d, and a box's names keep
    their order under the geometric mean. For a box's own label this is what a score
    for each name gives that is 0 on the others. 1 - d is at least 1e-6, so that sure
    boxes keep that order too.

    Reference: F-VLM (arXiv:2209.15639), equation 3, where the background is a column
    of the detector's softmax; defaults as in its code, the paper's OV-COCO has 0.2 and
    0.45. One score per box is not in the paper; that case is ours.
    """

    def __init__(
        self, alpha: float = 0.35, beta: float = 0.65, temperature: float = 0.01
    ) -> None:
        super().__init__(alpha, beta, temperature)

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        fused = super().combine(det, sim, weights, is_base)
        if det.shape[-1] == 1 < fused.shape[-1]:
            return fused / (fused + (1 - det).clamp(min=MIN_BACKGROUND))
        background = (1 - det.sum(-1, keepdim=True)).clamp(min=0)
        total = fused.sum(-1, keepdim=True) + background
        return fused / total.clamp(min=torch.finfo(total.dtype).tiny)


@MODELS.register_module()
class OpenVocabLaMIFusion(OpenVocabGeometricFusion):
    """Base scores are the detector's; novel ones are fused, then multiplied.

    The factor requires a base/novel split. All scores are divided by it where it is
    above 1, which keeps their order: they lie in [0, 1], as results and calibration
    require.

    Args:
        alpha, beta, temperature: see :class:`ScoreFusion`.
        novel_scale: multiplies the scores of novel classes; 1 needs no split.

    Reference: LaMI-DETR (arXiv:2407.11335); defaults as on OV-LVIS there, for detectors
    with independent (sigmoid) scores.
    """

    def __init__(
        self,
        alpha: float = 0.0,
        beta: float = 0.4,
        temperature: float = 0.01,
        novel_scale: float = 5.0,
    ) -> None:
        super().__init__(alpha, beta, temperature)
        self.novel_scale = check_positive('novel_scale', novel_scale)

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        fused = super().combine(det, sim, weights, is_base)
        if self.novel_scale == 1:
            return fused
        if is_base is None:
            raise ValueError(
                f'novel_scale={self.novel_scale} needs is_base ({fused.shape[1]},), '
                'got None; without a split, set novel_scale=1'
            )
        most = max(1.0, self.novel_scale)
        return fused * torch.where(is_base, 1 / most, self.novel_scale / most)
