"""Check the label order of data sets and metrics before the first iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from fgclip2_det.models.detectors.detector_text import reads_text

from ..label_order import (
    check_dataset,
    check_metrics,
    check_trained_classes,
    unify_metainfo,
)


@HOOKS.register_module()
class OpenVocabLabelOrderHook(Hook):
    """Check that data set, vocabulary, detector and metric use the same label order.

    With a vocabulary or one of this package's data sets, a different order is an error
    that shows both orders. In a run of MMDetection's own classes it is a warning: the
    metrics are correct, but class names in drawn images are wrong. A ``ConcatDataset``
    of files with the same class names gets one common ``metainfo``.

    ``tools/train.py`` and ``tools/test.py`` add it to every config;
    ``OpenVocabVocabularyHook`` makes the same checks under MMDetection's own tools.

    Raises:
        ValueError: if the orders differ; the message shows both.
    """

    priority = 'HIGHEST'  # before OpenVocabVocabularyHook reads metainfo

    def __init__(self) -> None:
        self.trained: tuple[str, ...] = ()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the classes that the checkpoint's detector was trained with."""
        meta = checkpoint.get('meta')
        meta = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
        classes = meta.get('classes') if isinstance(meta, Mapping) else None
        self.trained = tuple(classes or ())

    def before_run(self, runner: Runner) -> None:
        """Check the loops that are already built."""
        unify_metainfo(runner)
        check_labels(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Check the classes of the checkpoint, which is loaded by now."""
        metainfo = runner.test_loop.dataloader.dataset.metainfo
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        detector = getattr(model, 'detector', model)
        by_name = hasattr(detector, 'set_vocabulary') or reads_text(detector)
        if self.trained and 'classes' in metainfo and not by_name:
            check_trained_classes(self.trained, metainfo['classes'])


def check_labels(runner: Runner) -> None:
    """Check data sets and metrics of the loops that are built.

    Raises:
        ValueError: if the orders differ and the class names matter; the message shows
            both orders.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        if not isinstance(loop, BaseLoop):
            continue
        dataset = loop.dataloader.dataset
        metainfo = getattr(dataset, 'metainfo', None) or {}
        if 'classes' not in metainfo:
            continue
        strict = hasattr(model, 'set_vocabulary') or 'base_classes' in metainfo
        _run(runner, strict, check_dataset, dataset)
        if hasattr(loop, 'evaluator'):
            _run(runner, strict, check_metrics, loop.evaluator, metainfo['classes'])


def _run(runner: Runner, strict: bool, check: Callable, *args: object) -> None:
    try:
        check(*args)
    except ValueError as error:
        if strict:
            raise
        runner.logger.warning(f'{error} (class names in drawn images are swapped)')
