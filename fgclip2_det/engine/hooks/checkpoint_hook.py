"""Checkpoints that are written atomically, with all that a training goes on with."""

from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from fgclip2_det.engine.accumulation import (
    gather_gradients,
    own_gradients,
    restore_gradients,
)
from fgclip2_det.io.atomic import write_atomic

GRADIENTS = 'accumulated_gradients'  # in checkpoints within an update


@HOOKS.register_module()
class OpenVocabCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook with atomic writes and accumulated gradients.

    MMEngine writes checkpoints and ``last_checkpoint`` in place and deletes the oldest
    checkpoint before it writes the new one, so an interruption can leave nothing to
    resume. Here a new file is written under a temporary name and renamed, and old
    checkpoints are deleted afterwards.

    MMEngine's checkpoints lose the gradients of an unfinished update
    (``optim_wrapper.accumulative_counts``). Those written here hold them, and a resumed
    training gets them back; not one of a ``FlexibleRunner``, whose weights are shards.

    Args:
        args, kwargs: as in ``CheckpointHook``.
        backend_args: as in ``CheckpointHook``; local files by default.

    Example:
        >>> default_hooks = dict(
        ...     checkpoint=dict(type='OpenVocabCheckpointHook', interval=1))
    """

    def __init__(
        self, *args: Any, backend_args: dict | None = None, **kwargs: Any
    ) -> None:
        if backend_args is None and '://' not in str(kwargs.get('out_dir')):
            backend_args = {'backend': 'atomic_local'}
        super().__init__(*args, backend_args=backend_args, **kwargs)
        self._gradients: Any = None  # to be saved, or loaded

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the gradients until it is known whether the training is resumed."""
        self._gradients = own_gradients(checkpoint.pop(GRADIENTS, None))

    def before_train(self, runner: Runner) -> None:
        """As in ``CheckpointHook``; a resumed training gets its gradients back."""
        super().before_train(runner)
        gradients, self._gradients = self._gradients, None
        restore_gradients(runner, gradients)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the gradients of an unfinished update."""
        if self._gradients is not None:
            checkpoint[GRADIENTS] = self._gradients

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, int]
    ) -> None:
        outdated = self._keep(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        if self.save_optimizer:  # in all processes, of which the first one saves
            self._gradients = gather_gradients(runner)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        self._gradients = None
        if is_main_process():
            pointer = Path(runner.work_dir) / 'last_checkpoint'
            write_atomic(pointer, self.last_ckpt.encode())
            for path in outdated:
                if self.file_backend.isdir(path):  # DeepSpeed's are folders
                    self.file_backend.rmtree(path)
                elif self.file_backend.exists(path):
                    self.file_backend.remove(path)

    def _keep(self, runner: Runner, step: int) -> list[str]:
        """Add ``step`` to the kept checkpoints; returns the files to delete."""
        if self.max_keep_ckpts <= 0 or step in self.keep_ckpt_ids:
            return []
        steps = [*self.keep_ckpt_ids, step]
        self.keep_ckpt_ids.append(step)  # a deque of max_keep_ckpts
        runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        return [
            self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
            for old in steps[: -self.max_keep_ckpts]
        ]
