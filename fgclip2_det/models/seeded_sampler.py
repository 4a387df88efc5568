"""Sampling of regions that is independent of the distribution over processes."""

from __future__ import annotations

import zlib

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import RandomSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor


@TASK_UTILS.register_module()
class OpenVocabSeededSampler(RandomSampler):
    """``RandomSampler`` whose samples depend on seed, iteration and image only.

    MMDetection's sampler draws from one random stream per process, so an image's
    samples depend on the images before it, and training with two processes differs
    from training with one. Here seed, iteration and ground truth determine the samples.

    Args:
        seed: seed of the samples.
        kwargs: arguments of ``RandomSampler``.

    Example:
        >>> sampler = dict(type='OpenVocabSeededSampler', num=512, pos_fraction=0.25)
    """

    def __init__(self, *args, seed: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.seed = seed
        self._generator = torch.Generator()

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        **kwargs,
    ) -> SamplingResult:
        """As in ``RandomSampler``."""
        iteration = MessageHub.get_current_instance().get_info('iter', 0)
        truth = gt_instances.bboxes
        truth = getattr(truth, 'tensor', truth).float().cpu()
        key = [self.seed, iteration, zlib.crc32(truth.numpy().tobytes())]
        self._generator.manual_seed(zlib.crc32(repr(key).encode()))
        return super().sample(assign_result, pred_instances, gt_instances, **kwargs)

    def random_choice(self, gallery: Tensor, num: int) -> Tensor:
        """``num`` distinct elements of the (N,) indices ``gallery``."""
        order = torch.randperm(len(gallery), generator=self._generator)
        return gallery[order[:num].to(gallery.device)]
