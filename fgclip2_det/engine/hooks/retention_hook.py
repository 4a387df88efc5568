"""Zero-shot retention: accuracy on held-out names during training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from terminaltables import AsciiTable

from fgclip2_det.io.atomic import write_atomic

from ..retention import RetentionTest

RETENTION_FILE = 'retention.json'


@HOOKS.register_module()
class ZeroShotRetentionHook(Hook):
    """Measure how fine-tuning changes the accuracy on classes without training boxes.

    Before training, after every ``interval`` epochs and at the end, the model's encoder
    classifies ground-truth boxes of a dataset (:class:`RetentionTest`). The top-1
    accuracy and its change since the first measurement are logged, sent to the message
    hub as ``retention/top1`` and ``retention/change``, and written to
    ``work_dir/retention.json``; a table is logged at the end. A resumed run continues
    with the values in its checkpoint.

    All values are in percent, changes in percentage points.

    Args:
        dataset: config of a dataset, for example the validation set's.
        classes: 'novel', 'base', 'all' or a list of names. Names with boxes in training
            are logged, because they are not held out.
        interval: epochs between measurements; 0 measures only before and after the
            training, as for iteration-based training.
        max_images: number of images with boxes of the classes to use, from the first.
        templates: prompt templates of the names.

    Raises:
        ValueError: if ``interval`` is below 0; see also :class:`RetentionTest`.

    Example:
        >>> custom_hooks = [dict(
        ...     type='ZeroShotRetentionHook', dataset=val_dataloader['dataset'])]

    Reference: WiSE-FT (arXiv:2109.01903), section 3; here for regions.
    """

    test: RetentionTest  # built before training

    def __init__(
        self,
        dataset: dict,
        classes: str | Sequence[str] = 'novel',
        interval: int = 1,
        max_images: int | None = None,
        templates: str | Sequence[str] = 'raw',
    ) -> None:
        if type(interval) is not int or interval < 0:
            raise ValueError(f'retention: interval must be 0 or more, got {interval!r}')
        self.options: dict[str, Any] = dict(
            dataset=dataset, classes=classes, max_images=max_images, templates=templates
        )
        self.interval = interval

        self.records: list[dict] = []

    def before_train(self, runner: Runner) -> None:
        """Measure, or restore the measurements of a resumed run."""
        self.test = RetentionTest(**self.options)
        meta = getattr(runner.train_loop.dataloader.dataset, 'metainfo', {})
        trained = set(meta.get('base_classes', meta.get('classes', ())))
        seen = [name for name in self.test.names if name in trained]
        runner.logger.info(
            f'retention: {self.test.num_boxes} boxes in {len(self.test.images)} images,'
            f' {len(self.test.names)} names'
            + (f', {len(seen)} of them trained ({seen[0]}, ...)' if seen else '')
        )
        resumed = runner.message_hub.get_info('retention') if runner.iter else None
        self.records = list(resumed or ())
        if self.records:
            return
        if runner.iter:
            runner.logger.warning(
                'retention: the resumed checkpoint has no value from before training; '
                f'changes are since iteration {runner.iter}'
            )
        self._measure(runner, runner.epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        """Measure if it is due."""
        if self.interval and (runner.epoch + 1) % self.interval == 0:
            self._measure(runner, runner.epoch + 1)

    def after_train(self, runner: Runner) -> None:
        """Measure unless the last epoch was measured; log the table."""
        if self.records[-1]['iter'] != runner.iter:
            self._measure(runner, runner.epoch)
        rows = [['epoch', 'iteration', 'top-1 (%)', 'change']]
        for record in self.records:
            change = f'{record["change"]:+.2f}'
            rows.append(
                [record['epoch'], record['iter'], f'{record["top1"]:.2f}', change]
            )
        title = f' zero-shot retention: {len(self.test.names)} names '
        runner.logger.info('\n' + AsciiTable(rows, title).table)

    def _measure(self, runner: Runner, epoch: int) -> None:
        top1 = self.test.top1(runner.model)
        first = self.records[0]['top1'] if self.records else top1
        record = dict(epoch=epoch, iter=runner.iter, top1=top1, change=top1 - first)
        self.records.append(record)
        hub = runner.message_hub
        hub.update_info('retention', list(self.records))
        hub.update_scalar('retention/top1', top1)
        hub.update_scalar('retention/change', top1 - first)
        runner.logger.info(
            f'retention: epoch {epoch}, top-1 {top1:.2f} %, {top1 - first:+.2f} since '
            'the first'
        )
        if is_main_process():
            self._write(Path(runner.work_dir) / RETENTION_FILE)

    def _write(self, path: Path) -> None:
        content = dict(
            names=self.test.names,
            num_images=len(self.test.images),
            num_boxes=self.test.num_boxes,
            records=self.records,
        )
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_atomic(path, f'{text}\n'.encode())
