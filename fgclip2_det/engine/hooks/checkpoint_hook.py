"""Checkpoints that are written atomically."""

from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from fgclip2_det.io.atomic import write_atomic


@HOOKS.register_module()
class OpenVocabCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook with atomic writes.

    MMEngine writes checkpoints and ``last_checkpoint`` in place and deletes the oldest
    checkpoint before it writes the new one, so an interruption can leave nothing to
    resume. Here a new file is written under a temporary name and renamed, and old
    checkpoints are deleted afterwards.

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

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, int]
    ) -> None:
        outdated = self._keep(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
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
