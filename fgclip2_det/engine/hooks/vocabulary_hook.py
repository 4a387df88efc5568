"""Set the detector's vocabulary from the data set's classes."""

from __future__ import annotations

from typing import cast

from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from fgclip2_det.vocabulary import Vocabulary

from ..label_order import settle_metainfo
from ..unwrap import unwrap_model
from .label_order_hook import check_labels


@HOOKS.register_module()
class OpenVocabVocabularyHook(Hook):
    """Sets the vocabulary from ``metainfo`` before training, validation and test.

    So classes are named in one place, the data set, and a label means the same
    to the detector, the metric and the drawn images. A vocabulary in the model's
    config keeps its aliases and templates; its names must be the data set's.
    Equal vocabularies cost nothing: the embeddings in a checkpoint are kept.

    Args:
        shift_novel: a control for tests. Novel class i answers to the name of novel
            class i + shift_novel, around; a detector that reads names must then fail
            on novel classes. 0 leaves the names where they belong.
    """

    priority = 'VERY_HIGH'

    def __init__(self, shift_novel: int = 0) -> None:
        self.shift_novel = shift_novel

    def before_run(self, runner: Runner) -> None:
        """Before other hooks copy the model (``EMAHook`` does).

        Raises:
            ValueError: if a label means another name to data set or metric.
        """
        settle_metainfo(runner)
        check_labels(runner)
        self._set_for_training(runner)

    def before_train(self, runner: Runner) -> None:
        """The training set's classes; its base classes count as trained."""
        self._set_for_training(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """The validation set's classes, if they differ from training."""
        self._set(runner, runner.val_loop.dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Back to the training set's classes."""
        self._set_for_training(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """The test set's classes."""
        self._set(runner, runner.test_loop.dataloader, shift=self.shift_novel)

    def _set_for_training(self, runner: Runner) -> None:
        if isinstance(runner._train_loop, BaseLoop):  # built: this run trains
            self._set(runner, runner._train_loop.dataloader, trained=True)

    def _set(
        self,
        runner: Runner,
        loader: DataLoader,
        trained: bool = False,
        shift: int = 0,
    ) -> None:
        model = unwrap_model(runner.model)
        if not hasattr(model, 'set_vocabulary'):
            return  # a closed-set detector
        meta = cast(BaseDataset, loader.dataset).metainfo
        names = list(meta['classes'])
        base = list(meta.get('base_classes', names))  # a plain data set: all base
        if trained:
            model.trained_classes = base
            federated = model.roi_head.bbox_head.federated
            if federated is not None:
                federated.set_image_counts(meta.get('image_counts'))
        entries, templates, parts = names, None, None  # the model's own
        given = model.configured_vocabulary
        if given is not None:
            if given.names != names:
                raise ValueError(
                    f"the model's vocabulary ({given}) and the data set's {len(names)} "
                    f'classes ({names[0]}, ...) differ; give both the same names in '
                    'the same order, or leave the vocabulary to the data set'
                )
            entries, templates, parts = given.aliases, given.templates, given.parts
        if shift:
            entries = _shift_novel(names, entries, set(base), shift)
        vocabulary = Vocabulary(
            entries, templates, base_classes=base, check=False, parts=parts
        )
        model.set_vocabulary(vocabulary)


def _shift_novel(names: list, entries: list, base: set, shift: int) -> list:
    """Entries with those of the novel names moved along by ``shift`` places."""
    novel = [i for i, name in enumerate(names) if name not in base]
    if not novel or shift % len(novel) == 0:
        raise ValueError(
            f'shift_novel={shift} moves none of the {len(novel)} novel names; choose '
            'one that is no multiple of their number'
        )
    entries = list(entries)
    moved = [entries[i] for i in novel]
    for place, i in enumerate(novel):
        entries[i] = moved[(place + shift) % len(novel)]
    return entries
