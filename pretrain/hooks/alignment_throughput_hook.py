"""Hook that logs the throughput of training: images and tokens per second."""

from __future__ import annotations

import time
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from pretrain.runs import encoder_of, model_of


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
        """Start the clock, after other hooks have prepared."""
        self._restart()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Count this step; log at every logging interval."""
        counts = [len(data_batch), model_of(runner).num_tokens(data_batch)]
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
        """Log the number of skipped records."""
        if num_bad := model_of(runner).data_preprocessor.num_bad:
            runner.logger.warning(f'bad records, left out: {num_bad}')

    def _restart(self) -> None:
        self.counts = torch.zeros(2, dtype=torch.float64)
        self.start = time.perf_counter()
