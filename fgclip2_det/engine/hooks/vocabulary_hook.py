"""Set the detector's vocabulary from the data set's classes."""

from __future__ import annotations

from typing import cast

from mmdet.registry import HOOKS
from mmengine.dataset import BaseDataset
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseAveragedModel
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fgclip2_det.models.roi_heads.hard_names import HardNames
from fgclip2_det.models.roi_heads.name_parts import NameParts
from fgclip2_det.models.roi_heads.region_text_classifier import RegionTextClassifier
from fgclip2_det.models.segmentors.open_vocab_segmentor import OpenVocabSegmentor
from fgclip2_det.vocabulary import Vocabulary

from ..label_order import unify_metainfo
from ..unwrap import unwrap_model
from .label_order_hook import check_labels

# modules whose own buffers all follow from the names
_OF_NAMES = (RegionTextClassifier, HardNames, NameParts, OpenVocabSegmentor)


@HOOKS.register_module()
class OpenVocabVocabularyHook(Hook):
    """Set the vocabulary from ``metainfo`` before training, validation and test.

    Class names are thus defined in one place, the data set, and detector, metric and
    drawn images use the same labels. A vocabulary in the model's config keeps its
    aliases and templates; its names must be those of the data set. If the vocabulary
    does not change, the embeddings in a checkpoint are reused. Copies of the model that
    an ``EMAHook`` averages have the same vocabulary at any time, whatever names the
    checkpoint was trained with.

    Args:
        shift_novel: a control experiment. Novel class i gets the name of novel class
            i + shift_novel (cyclic); a detector that uses names must then fail on novel
            classes. 0 for the correct names.
    """

    priority = 'VERY_HIGH'

    def __init__(self, shift_novel: int = 0) -> None:
        self.shift_novel = shift_novel

    def before_run(self, runner: Runner) -> None:
        """Check labels and set the vocabulary before hooks such as ``EMAHook`` copy the
        model.

        Raises:
            ValueError: if data set or metric use another label order.
        """
        unify_metainfo(runner)
        check_labels(runner)
        self._set_for_training(runner)

    def before_train(self, runner: Runner) -> None:
        """Set the training set's classes; its base classes are the trained ones."""
        self._set_for_training(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Set the validation set's classes, if they differ from the training set's."""
        self._set(runner, runner.val_loop.dataloader)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Restore the training set's classes."""
        self._set_for_training(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Set the test set's classes."""
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
            head = getattr(model, 'roi_head', None)  # a segmentor has none
            federated = None if head is None else head.bbox_head.federated
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
        for hook in getattr(runner, 'hooks', ()):
            if isinstance(hook, EMAHook) and hasattr(hook, 'ema_model'):
                _share_names(model, hook.ema_model)


def _shift_novel(names: list, entries: list, base: set, shift: int) -> list:
    """Entries with those of the novel names shifted cyclically by ``shift``."""
    novel = [i for i, name in enumerate(names) if name not in base]
    if not novel or shift % len(novel) == 0:
        raise ValueError(
            f'shift_novel={shift} moves none of the {len(novel)} novel names; choose a '
            'value that is not a multiple of their number'
        )
    entries = list(entries)
    moved = [entries[i] for i in novel]
    for place, i in enumerate(novel):
        entries[i] = moved[(place + shift) % len(novel)]
    return entries


def _share_names(model: nn.Module, average: BaseAveragedModel) -> None:
    """Give an EMA copy the model's name embeddings, which are never averaged: a
    checkpoint may have set others, of another number."""
    copies = dict(unwrap_model(average.module).named_modules())
    shared: dict[int, Tensor] = {}  # EMA pairs buffers by place, equal ones once
    for path, module in model.named_modules():
        if not isinstance(module, _OF_NAMES):
            continue
        for name, value in module.named_buffers(recurse=False, remove_duplicate=False):
            if id(value) not in shared:
                device = getattr(copies[path], name).device
                shared[id(value)] = value.detach().to(device, copy=True)
            setattr(copies[path], name, shared[id(value)])
    if average.update_buffers:  # its dictionary still has the tensors replaced above
        average.avg_parameters = average.module.state_dict()
