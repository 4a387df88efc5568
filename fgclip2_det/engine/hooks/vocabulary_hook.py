"""The data set's classes become the detector's vocabulary."""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from fgclip2_det.vocabulary import Vocabulary


@HOOKS.register_module()
class OpenVocabVocabularyHook(Hook):
    """Sets the vocabulary from ``metainfo`` before training, validation and test.

    So classes are named in one place, the data set, and a label means the same
    to the detector, the metric and the pictures. Equal vocabularies cost
    nothing: the embeddings in a checkpoint are kept.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """The training set's classes; its base classes count as trained."""
        self._set(runner, runner.train_dataloader, trained=True)

    def before_val(self, runner: Runner) -> None:
        """The validation set's classes."""
        self._set(runner, runner.val_dataloader)

    def before_val_epoch(self, runner: Runner) -> None:
        """The validation set's classes, if they differ from training."""
        self._set(runner, runner.val_dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Back to the training set's classes."""
        if runner.train_loop is not None and isinstance(
            runner.train_dataloader, DataLoader
        ):
            self._set(runner, runner.train_dataloader, trained=True)

    def before_test(self, runner: Runner) -> None:
        """The test set's classes."""
        self._set(runner, runner.test_dataloader)

    def _set(self, runner: Runner, loader: DataLoader, trained: bool = False) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'set_vocabulary'):
            return  # a closed-set detector
        meta = loader.dataset.metainfo
        names = [list(meta[key]) for key in ('base_classes', 'novel_classes')]
        if trained:
            model.trained_classes = tuple(names[0])
        model.set_vocabulary(
            Vocabulary(
                list(meta['classes']),
                model.templates,
                base_classes=names[0],
                novel_classes=names[1],
            )
        )
