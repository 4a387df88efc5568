"""Hook that initialises the patch embedding of a randomly initialised encoder."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import IterableDataset

from fgclip2_det.datasets.seeding import SeededIndex
from pretrain.initialise import whiten_patches
from pretrain.runs import encoder_of, model_of


@HOOKS.register_module()
class WhitenedPatchesHook(Hook):
    """Initialise the patch embedding from training images, if weights are random.

    Every process takes the same images, so all start with equal weights. A resumed
    run, or one that starts from weights, is not changed.

    Args:
        num_batches: batches of the training data that patches are taken from.
    """

    def __init__(self, num_batches: int = 8) -> None:
        self.num_batches = num_batches

    def before_train(self, runner: Runner) -> None:
        """Whiten, before the first step only."""
        if runner._has_loaded or not model_of(runner).starts_random:
            runner.logger.info('the patch embedding has weights: it is not whitened')
            return
        loader = runner.train_dataloader
        dataset, size = loader.dataset, 64
        if isinstance(dataset, IterableDataset):  # it inherits a __getitem__
            raise ValueError(
                'WhitenedPatchesHook needs a data set with indices; start from a '
                'model that has been trained, or from records in place of shards'
            )
        stride = max(1, len(dataset) // (self.num_batches * size))
        patches = []
        for start in range(self.num_batches):
            first = start * size * stride
            last = min(first + size * stride, len(dataset))
            items = [_seeded_item(dataset, i) for i in range(first, last, stride)]
            if items:
                images = loader.collate_fn(items).images
                patches.append(images.pixel_values[images.patch_mask])
        embedding = encoder_of(runner).vision_model.embeddings.patch_embedding
        whiten_patches(embedding, torch.cat(patches).to(embedding.weight.device))
        for parameter in embedding.parameters():  # rounding differs between machines
            broadcast(parameter.data)


def _seeded_item(dataset: Any, index: int) -> Any:
    """An item drawn by its own index, whatever was drawn before."""
    index = SeededIndex(index)
    index.draw = (int(index),)
    return dataset[index]
