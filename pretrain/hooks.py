"""Hooks of alignment training: the start, the log line, the result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.utils.data import IterableDataset

from fgclip2_det.datasets.seeding import SeededIndex
from fgclip2_det.fgclip2 import FGCLIP2
from pretrain.data.collate import AlignmentBatch
from pretrain.export import export_encoder
from pretrain.initialise import whiten_patches
from pretrain.model import FGCLIP2Alignment
from pretrain.presets import LossPreset
from pretrain.sharding import gathered_encoder


def model_of(runner: Runner) -> FGCLIP2Alignment:
    """A runner's model without its wrapper."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def encoder_of(runner: Runner) -> FGCLIP2:
    """The encoder in a runner's model, wrapped or not."""
    return model_of(runner).encoder


def trained_encoder(runner: Runner) -> FGCLIP2 | None:
    """What a run made: the average that an EMAHook keeps, else the weights themselves.

    All processes have to call it; where weights lie in shards, only the first one gets
    the encoder and the others None.
    """
    if isinstance(runner.model, FullyShardedDataParallel):
        return gathered_encoder(runner.model)
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module.encoder
    return encoder_of(runner)


@HOOKS.register_module()
class WhitenedPatchesHook(Hook):
    """Start the patch embedding from the training images, when weights are random.

    Every process takes the same images, so all start alike. A resumed run, or one
    that starts from weights, is left as it is.

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


@HOOKS.register_module()
class AlignmentThroughputHook(Hook):
    """Write images/s and tokens/s, of all processes, into the training log.

    Tokens are image patches and text positions that went through a tower, padding
    included and every text of a kind once. Records that had to be left out since the
    start of the run, in all processes, are ``bad_records``, as soon as there is one.

    Args:
        interval: steps that a rate is taken over.
    """

    priority = 'ABOVE_NORMAL'  # before the LoggerHook reads

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock, behind what other hooks prepare."""
        self._restart()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Count this step; every logging interval, tell."""
        counts = [len(data_batch), _num_tokens(data_batch, model_of(runner).preset)]
        self.counts += torch.tensor(counts, dtype=torch.float64)
        if self.every_n_train_iters(runner, self.interval):
            counts = self.counts.clone().to(encoder_of(runner).logit_scale.device)
            all_reduce(counts)
            rates = counts / (time.perf_counter() - self.start)
            hub = runner.message_hub
            hub.update_scalar('train/images_per_s', float(rates[0]))
            hub.update_scalar('train/tokens_per_s', float(rates[1]))
            if num_bad := model_of(runner).data_preprocessor.num_bad:
                hub.update_scalar('train/bad_records', num_bad)
            self._restart()

    def after_train(self, runner: Runner) -> None:
        """What was not trained on."""
        if num_bad := model_of(runner).data_preprocessor.num_bad:
            runner.logger.warning(f'bad records, left out: {num_bad}')

    def _restart(self) -> None:
        self.counts = torch.zeros(2, dtype=torch.float64)
        self.start = time.perf_counter()


@HOOKS.register_module()
class ExportFGCLIP2Hook(Hook):
    """Write the trained encoder as a folder in the released layout.

    ``FGCLIP2.from_pretrained`` and the reference's loader read it. Where an EMAHook
    keeps an average of the weights, that is what is written, as in its checkpoints.

    Args:
        folder: where; ``model`` in the work dir by default.
        dtype: of the stored weights, such as 'bfloat16'; as trained when None.
    """

    priority = 'LOWEST'

    def __init__(self, folder: str | None = None, dtype: str | None = None) -> None:
        if dtype not in (None, 'float32', 'bfloat16', 'float16'):
            raise ValueError(f'dtype must be a float type or None, got {dtype!r}')
        self.folder, self.dtype = folder, dtype

    def after_train(self, runner: Runner) -> None:
        """Write once, from the first process."""
        encoder = trained_encoder(runner)
        if encoder is None or not is_main_process():
            return
        folder = Path(self.folder or Path(runner.work_dir) / 'model')
        export_encoder(encoder, folder, self.dtype)
        runner.logger.info(f'encoder in the released layout: {folder}')


def _num_tokens(batch: AlignmentBatch, preset: LossPreset) -> int:
    """Patches and text positions that a step with these losses encodes."""
    count = batch.images.pixel_values.shape[:2].numel()
    for mode in ('short', 'long'):
        if getattr(preset, mode):
            num_texts = len(getattr(batch, f'{mode}_keys').unique())
            count += num_texts * getattr(batch, f'{mode}_ids').shape[1]
    return count + (batch.box_ids.numel() if preset.regions else 0)


def _seeded_item(dataset: Any, index: int) -> Any:
    """An item drawn by its own index, whatever was drawn before."""
    index = SeededIndex(index)
    index.draw = (int(index),)
    return dataset[index]
