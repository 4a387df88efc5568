"""Check the data of a resumed training, and record a run's options."""

from __future__ import annotations

from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..resume import compare_data
from ..run_record import write_record
from ..schedule_replay import initial_settings, replay_schedule
from ..train_data import describe_data
from ..work_dir import remove_run, write_fingerprint


@HOOKS.register_module()
class OpenVocabRunRecordHook(Hook):
    """Compare data, replay a changed schedule and write records before the first step.

    Size and digest of the training data are saved in the checkpoints. Nothing is
    written to the work dir before model, data and checkpoint have been checked.

    Args:
        record: result of :func:`~fgclip2_det.engine.run_record.start_record`; None to
            write none.
        changed_schedule: whether the resumed checkpoint had another schedule.
        with_changes: continue even if the data differ from the checkpoint's.
        overwrite: remove checkpoints and metrics of an earlier training.

    Raises:
        ValueError: before the first step, if the data of a resumed training have
            changed.

    Example:
        >>> custom_hooks = [dict(type='OpenVocabRunRecordHook')]
    """

    priority = 'HIGHEST'

    def __init__(
        self,
        record: dict[str, Any] | None = None,
        changed_schedule: bool = False,
        with_changes: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.record, self.with_changes = record, with_changes
        self.overwrite = overwrite
        self.changed_schedule = changed_schedule

    def before_run(self, runner: Runner) -> None:
        """Store the config's learning rates before a checkpoint replaces them."""
        if self.changed_schedule:
            self.settings = initial_settings(runner)

    def before_train(self, runner: Runner) -> None:
        """Check the resumed run, then write this run's record."""
        data = describe_data(runner.train_loop.dataloader)
        if runner.iter:
            self._check(runner, data)
        runner.message_hub.update_info('train_data', data)
        if self.changed_schedule and runner.iter:
            replay_schedule(runner, self.settings)
            runner.logger.info(
                "the schedule differs from the checkpoint's; learning rates are its "
                f'own at iteration {runner.iter}'
            )
        if is_main_process():
            if self.overwrite:
                remove_run(runner.work_dir, runner.cfg)
            write_fingerprint(runner.cfg)
            if self.record is not None:
                write_record(runner.work_dir, self.record)

    def _check(self, runner: Runner, data: dict[str, Any]) -> None:
        before = runner.message_hub.runtime_info.get('train_data')
        if before and before['batch_size'] != data['batch_size']:
            runner.logger.warning(
                f'the total batch size is {data["batch_size"]}, it was '
                f'{before["batch_size"]} before the checkpoint'
            )
        difference = before and compare_data(data, before)
        if not difference:
            return
        if not self.with_changes:
            raise ValueError(
                f'the training data have changed since the checkpoint: {difference}; '
                'resume with the data it was trained on, or pass '
                '--resume-with-changes'
            )
        runner.logger.warning(f'resumed with other training data: {difference}')
