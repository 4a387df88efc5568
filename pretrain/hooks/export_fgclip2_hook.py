"""Hook that exports the trained encoder as a folder."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from pretrain.export import export_encoder
from pretrain.runs import trained_encoder


@HOOKS.register_module()
class ExportFGCLIP2Hook(Hook):
    """Write the trained encoder as a folder in the released layout.

    ``FGCLIP2.from_pretrained`` and the reference's loader read it. If an EMAHook
    keeps an average of the weights, the average is written, as in its checkpoints.

    Args:
        folder: output folder; ``model`` in the work dir by default.
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
