"""Zero-shot region classification with names held out from training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.detectors import BaseDetector
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from tqdm import tqdm

from fgclip2_det.fgclip2 import separable_roi_align
from fgclip2_det.models import FGCLIP2ViT
from fgclip2_det.models.detectors.open_vocab_mixin import text_source
from fgclip2_det.vocabulary import Vocabulary


class RetentionTest:
    """Classification of ground-truth boxes by a detector's encoder alone.

    The dense map is pooled at each box and compared with the text embeddings of the
    names, without box head, fusion or proposals. Crowd boxes are left out.

    Args:
        dataset: config of a dataset with ``metainfo['classes']``; 'base' and 'novel'
            also need ``base_classes`` and ``novel_classes``. Its pipeline may resize
            images, but not flip or crop them.
        classes: classes of the boxes, also the names to choose from: 'novel', 'base',
            'all' or a list of names.
        max_images: number of images with such boxes to use, from the first; None for
            all.
        templates: prompt templates of the names.

    Attributes:
        names: C names.
        images: for each image its index in the dataset, (n, 4) boxes xyxy in the
            original image's pixels and (n,) labels, indices into ``names``.

    Raises:
        ValueError: if the classes are unknown or have no boxes, or if the pipeline is
            random.

    Example:
        >>> test = RetentionTest(config.val_dataloader.dataset, 'novel')
        >>> test.top1(detector)
        87.5
    """

    def __init__(
        self,
        dataset: dict,
        classes: str | Sequence[str] = 'novel',
        max_images: int | None = None,
        templates: str | Sequence[str] = 'raw',
    ) -> None:
        if max_images is not None and max_images < 1:
            raise ValueError(
                f'retention: max_images must be 1 or more, got {max_images}'
            )
        self.dataset = DATASETS.build({**dataset, 'test_mode': True})
        self.dataset.full_init()
        for step in self.dataset.pipeline.transforms:
            if 'Random' in type(step).__name__:
                raise ValueError(
                    f'retention: the pipeline has {type(step).__name__}, which moves '
                    "boxes at random; use the validation's pipeline"
                )
        known = self.dataset.metainfo
        self.names = _names(known, classes)
        self.vocabulary = Vocabulary(self.names, templates, check=False)
        self.images = self._boxes(list(known['classes']), max_images)
        if not self.images:
            raise ValueError(
                f'retention: the dataset has no box of {len(self.names)} classes '
                f'({self.names[0]!r}, ...); is only_base set, or is it the train split?'
            )
        self._embeds: Tensor | None = None

    @property
    def num_boxes(self) -> int:
        """Number of boxes in all images."""
        return sum(len(labels) for _, _, labels in self.images)

    def _boxes(
        self, known: list[str], max_images: int | None
    ) -> list[tuple[int, Tensor, Tensor]]:
        label = {known.index(name): i for i, name in enumerate(self.names)}
        images = []
        for index in range(len(self.dataset)):
            entries = [
                (instance['bbox'], label[instance['bbox_label']])
                for instance in self.dataset.get_data_info(index)['instances']
                if instance['bbox_label'] in label and not instance['ignore_flag']
            ]
            if entries:
                bboxes, labels = zip(*entries, strict=True)
                images.append((index, torch.tensor(bboxes), torch.tensor(labels)))
        return images[:max_images]

    @torch.no_grad()
    def top1(self, model: BaseDetector) -> float:
        """Top-1 accuracy over all boxes in percent; a tie counts as wrong.

        Collective: call it in every process; each evaluates a share of the images. The
        modules' training modes and the random states are restored.

        Args:
            model: a detector with a ``data_preprocessor`` and an ``FGCLIP2ViT`` whose
                output includes the dense map.

        Raises:
            ValueError: for another backbone.
        """
        model = model.module if is_model_wrapper(model) else model
        backbone = getattr(model, 'backbone', None)
        if not isinstance(backbone, FGCLIP2ViT) or backbone.output == 'tokens':
            raise ValueError(
                "retention needs an FGCLIP2ViT with output='both' or 'dense' as "
                f'model.backbone, got {type(backbone).__name__}'
            )
        rank = get_rank()
        images = self.images[rank :: get_world_size()]
        correct = torch.zeros((), dtype=torch.int64)
        with _unchanged(model):
            model.eval()
            embeds = self._text_embeds(model)
            hide = None if rank == 0 else True
            for index, bboxes, labels in tqdm(
                images, 'retention', leave=False, unit='image', disable=hide, delay=1
            ):
                cosines = self._cosines(model, index, bboxes, embeds)
                own = cosines.gather(1, labels[:, None])
                correct += ((cosines >= own).sum(1) == 1).sum()
        all_reduce(correct)
        return 100 * correct.item() / self.num_boxes

    def _cosines(
        self, model: BaseDetector, index: int, bboxes: Tensor, embeds: Tensor
    ) -> Tensor:
        """(n, C) cosines of one image's boxes with the names, on the CPU."""
        data = model.data_preprocessor(pseudo_collate([self.dataset[index]]), False)
        (sample,), backbone = data['data_samples'], model.backbone
        _, dense = backbone.extract(data['inputs'])
        ((h, w),) = backbone.grid_sizes(data['inputs'])
        scale = torch.tensor(sample.metainfo.get('scale_factor', (1.0, 1.0)))
        cells = bboxes * scale.repeat(2) / backbone.patch_size
        image = dense[0, :, :h, :w].permute(1, 2, 0).float()
        regions = separable_roi_align(image, cells.to(image))[:, 0, 0]
        return (F.normalize(regions, dim=-1) @ embeds.to(regions).T).cpu()

    def _text_embeds(self, model: BaseDetector) -> Tensor:
        """(C, D); the text tower is loaded by the first call only."""
        if self._embeds is None:
            cache_dir = getattr(model, 'cache_dir', None)
            source = text_source(model.backbone.encoder, cache_dir, None)
            self._embeds = self.vocabulary.embed(source, cache_dir)
        return self._embeds


def _names(meta: dict, classes: str | Sequence[str]) -> list[str]:
    known = list(meta['classes'])
    if classes == 'all':
        names = known
    elif classes in ('base', 'novel'):
        names = list(meta.get(f'{classes}_classes', ()))
    elif isinstance(classes, str):
        raise ValueError(
            "retention: classes must be 'novel', 'base', 'all' or a list of names, got "
            f'{classes!r}'
        )
    else:
        names = list(classes)
    missing = [name for name in names if name not in known]
    if missing or not names:
        wrong = f'no class {missing[0]!r}' if missing else f'no {classes} class'
        raise ValueError(
            f'retention: the dataset has {wrong}; it has {len(known)} classes '
            f'({", ".join(map(str, known[:3]))}, ...)'
        )
    return names


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Restore the training mode of each module and all random states."""
    modes = [(module, module.training) for module in model.modules()]
    python, numpy = random.getstate(), np.random.get_state()
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = [torch.cuda.current_device()] if used else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for module, training in modes:
            module.training = training
