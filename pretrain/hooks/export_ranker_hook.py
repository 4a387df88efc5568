"""Hook that exports the trained ranker as a folder."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel

from pretrain.runs import model_of


@HOOKS.register_module()
class ExportRankerHook(Hook):
    """Write the trained ranker, which names the encoder whose tokens it reads.

    ``Ranker.from_pretrained`` reads it. The encoder is to be exported in the type that
    it is trained in, as ``ExportFGCLIP2Hook`` does by default: a rounded one is another
    encoder. If an EMAHook keeps an average of the weights, the average is written.

    Args:
        folder: output folder; ``ranker`` in the work dir by default.
    """

    priority = 'LOWEST'

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def before_train(self, runner: Runner) -> None:
        """Refuse a model that this hook cannot write, before it is trained.

        Raises:
            ValueError: if it has no ranker, or is sharded.
        """
        if not hasattr(model_of(runner), 'ranker'):
            raise ValueError(
                'ExportRankerHook needs a model with a ranker (R2D2Alignment), got '
                f'{type(model_of(runner)).__name__}; take the hook out'
            )
        if isinstance(runner.model, FullyShardedDataParallel):
            raise ValueError(
                'ExportRankerHook cannot gather a sharded ranker; train with DDP'
            )

    def after_train(self, runner: Runner) -> None:
        """Write once, from the first process."""
        if not is_main_process():
            return
        model = model_of(runner)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                model = hook.ema_model.module
        folder = Path(self.folder or Path(runner.work_dir) / 'ranker')
        model.ranker.save_pretrained(folder, model.encoder)
        runner.logger.info(f'ranker: {folder}')
