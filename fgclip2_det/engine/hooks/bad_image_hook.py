"""Log the number of images that training skipped."""

from collections.abc import Iterator
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fgclip2_det.datasets import OpenVocabCocoDataset


@HOOKS.register_module()
class OpenVocabBadImageHook(Hook):
    """Log the number of unreadable images after every epoch.

    Counts the images that datasets with ``on_bad_image='skip'``, wrapped or not, have
    skipped since the start of training, in all processes. Logs nothing if there are
    none.
    """

    priority = 'LOW'

    def after_train_epoch(self, runner: Runner) -> None:
        """Log one line for every dataset with skipped images."""
        for dataset in _open_vocab_datasets(runner.train_dataloader.dataset):
            flags = dataset.bad_image_flags.clone()
            all_reduce(flags, op='max')  # every process has its own flags
            if flags.any():
                runner.logger.warning(
                    f'{int(flags.sum())} of {len(dataset)} images of '
                    f'{dataset.ann_file} could not be read so far and were skipped'
                )


def _open_vocab_datasets(dataset: Any) -> Iterator[OpenVocabCocoDataset]:
    """Datasets that skip bad images, without their wrappers."""
    if getattr(dataset, 'on_bad_image', None) == 'skip':
        yield dataset
    inner = getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)])
    for child in inner:
        if child is not None:
            yield from _open_vocab_datasets(child)
