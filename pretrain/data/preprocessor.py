"""Data preprocessor: one patch budget per step in all processes; moves the batch."""

from dataclasses import replace

import numpy as np
import torch
from mmengine.dist import all_gather
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor

from fgclip2_det.fgclip2 import ImageBatch, preprocess
from pretrain.data.collate import AlignmentBatch, with_windows


@MODELS.register_module()
class AlignmentDataPreprocessor(BaseDataPreprocessor):
    """One patch budget for all images of a step, whatever the number of processes.

    FG-CLIP 2 (section 3.1) takes the budget of the largest image of a batch. Workers
    see their own process's part of it only. So each part is resized to its own
    budget where it is loaded, the processes exchange two integers here, and those
    below the largest budget resize their original images again. The result is
    exactly that of one process with the whole batch. It costs next to nothing: with
    many images per process the largest of them nearly always decides for 1024, and
    then no original image needs to be sent.

    Only training steps are coordinated: evaluation may have different numbers of
    batches per process.

    Args:
        non_blocking: of the copy to the device.

    Attributes:
        num_bad: records left out since the start of this run, in all processes.

    Example:
        >>> AlignmentDataPreprocessor()(batch, training=True)['batch'].budget
        1024
    """

    def __init__(self, non_blocking: bool = False) -> None:
        super().__init__(non_blocking)
        self.num_bad = 0

    def forward(
        self, data: AlignmentBatch, training: bool = False
    ) -> dict[str, AlignmentBatch]:
        """``dict(batch=...)``, what the model's ``forward`` takes.

        Raises:
            ValueError: if the batch must be resized again and has no images.
        """
        if training:
            own = torch.tensor([data.budget, data.num_bad], device=self.device)
            budgets, counts = torch.stack(all_gather(own)).T.tolist()
            self.num_bad += sum(counts)
            data = with_budget(data, max(budgets))
            data = replace(data, num_bad=self.num_bad)
        data = replace(data, original_images=None)
        return dict(batch=data.to(self.device, self._non_blocking))


def with_budget(batch: AlignmentBatch, budget: int) -> AlignmentBatch:
    """The batch with its images resized to a larger budget, each at the same place of
    its scene."""
    if budget <= batch.budget:
        return batch
    if batch.original_images is None:
        raise ValueError(
            f'a batch of {batch.budget} patches must be resized to {budget} for '
            'another process, but has no original images; set keep_images=True in '
            'collate_fn, and the same max_num_patches in all processes'
        )
    images = preprocess(_unpack(batch.original_images, batch.images), budget)
    images = with_windows(images, batch.scenes or [])
    return replace(batch, images=images, budget=budget)


def _unpack(flat: Tensor, images: ImageBatch) -> list[np.ndarray]:
    sizes = images.image_sizes.tolist()
    parts = flat.split([height * width * 3 for height, width in sizes])
    return [
        part.reshape(*size, 3).numpy() for part, size in zip(parts, sizes, strict=True)
    ]
