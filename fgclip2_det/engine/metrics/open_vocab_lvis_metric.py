"""LVIS AP: standard AP and fixed AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmdet.structures.mask import encode_mask_results
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger
from pycocotools import mask as mask_utils
from terminaltables import AsciiTable

from fgclip2_det.coco.entries import NAME_KEYS
from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths, read_truths
from fgclip2_det.coco.masks import mask_fault
from fgclip2_det.coco.results import Results, join_results, no_results
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.evaluation.protocols import check_protocol, evaluate_results, keep_for

from .open_vocab_coco_metric import _array, _check_detections, _xywh

_PROTOCOLS = {
    frozenset(['lvis']): 'lvis',
    frozenset(['fixed']): 'lvis-fixed',
    frozenset(['lvis', 'fixed']): 'lvis-both',
}
_PREFIXES = {'lvis': '', 'lvis-fixed': 'fixed_'}
_PRUNE_ROWS = 4_000_000


@METRICS.register_module()
class OpenVocabLVISMetric(BaseMetric):
    """LVIS AP with 300 detections per image, 10,000 per class ("fixed AP"), or both.

    Metric names, with the prefix ``open_vocab_lvis/``: ``bbox_AP``, ``bbox_AP50``,
    ``bbox_AP75``, ``bbox_AP`` with ``s``, ``m``, ``l``, ``r``, ``c``, ``f``, and
    ``bbox_AR`` with ``s``, ``m``, ``l``; ``fixed_bbox_AP`` and so on for the flavour
    'fixed'. Values are 0 to 1, or -1 if no class has ground truth.

    Only processed images are evaluated, each of them once: if an image was processed
    repeatedly, its first detections are used.

    Args:
        ann_file: LVIS annotation file.
        flavour: 'lvis', 'fixed' or both.
        iou_types: 'bbox', 'segm' or both; masks come from ``pred_instances.masks``,
            (n, H, W) bool in the original image's size, or RLE.
        classwise: also log a table of all classes.
        backend_args: arguments of the file backend for ``ann_file``.
        collect_device, prefix: as in MMEngine.

    Raises:
        ValueError: for unknown flavours, boxes or scores that are not finite, labels
            beyond the vocabulary, unknown images, or classes that differ from
            ``ann_file``'s.

    Reference: Gupta et al. (arXiv:1908.03195); Dave et al. (arXiv:2102.01066).

    Example:
        >>> metric = OpenVocabLVISMetric('lvis_v1_val.json', flavour=('lvis', 'fixed'))
        >>> metric.dataset_meta = dataset.metainfo
        >>> metric.process({}, data_samples); metric.evaluate(len(dataset))
        {'open_vocab_lvis/bbox_AP': 0.31, ...}
    """

    default_prefix = 'open_vocab_lvis'
    results: list[Any]  # Results of images; in evaluate one tuple per process

    def __init__(
        self,
        ann_file: str,
        flavour: str | Sequence[str] = 'lvis',
        iou_types: str | Sequence[str] = 'bbox',
        classwise: bool = False,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        flavours = [flavour] if isinstance(flavour, str) else list(flavour)
        if frozenset(flavours) not in _PROTOCOLS:
            raise ValueError(
                f"flavour must be 'lvis', 'fixed' or both, got {flavour!r}"
            )
        self.protocol = _PROTOCOLS[frozenset(flavours)]
        self.iou_types = [iou_types] if isinstance(iou_types, str) else list(iou_types)
        check_protocol(self.protocol, self.iou_types)
        self.ann_file, self.backend_args = ann_file, backend_args
        self.classwise = classwise
        self._seen: set[int] = set()
        self._pending = 0

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the detections of a batch.

        Args:
            data_batch: not used.
            data_samples: dictionaries with ``img_id`` and ``pred_instances`` (bboxes
                (n, 4) xyxy, scores (n,), labels (n,), and masks for 'segm').
        """
        for sample in data_samples:
            image = self._truths.image_index.get(sample['img_id'])
            if image is None:
                raise ValueError(
                    f'image {sample["img_id"]} is not in {self.ann_file}; give dataset '
                    'and metric the same annotation file'
                )
            if image in self._seen:  # a sampler may repeat images
                continue
            self._seen.add(image)
            self.results.append(self._read(sample, image))
            self._pending += len(self.results[-1])
        if self._pending >= _PRUNE_ROWS:
            self.results = [self._joined()]
            self._pending = 0

    def evaluate(self, size: int) -> dict:
        """Metrics over the images of all processes; ``size`` is not used."""
        # one entry per process, because MMEngine interleaves and truncates entries
        self.results = [(sorted(self._seen), self._joined())]
        self._seen, self._pending = set(), 0
        return super().evaluate(get_world_size())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP of all processed images, by name without prefix."""
        counted = np.zeros(len(self._truths.images), bool)
        parts = []
        for images, part in results:
            fresh = np.zeros_like(counted)
            fresh[images] = True
            fresh &= ~counted
            counted |= fresh
            parts.append(part.select(fresh[part.image]))
        joined = join_results(parts)
        joined = joined.select(np.argsort(joined.image, kind='stable'))
        truths = self._truths
        if not counted.all():
            MMLogger.get_current_instance().warning(
                f'{counted.sum()} of the {len(counted)} images of {self.ann_file} were '
                'processed; the others are not evaluated'
            )
            ids = [truths.images[i]['id'] for i in np.flatnonzero(counted)]
            truths = self._read_truths(ids)
            joined = replace(joined, image=(np.cumsum(counted) - 1)[joined.image])
        figures = evaluate_results(self.protocol, truths, joined, self.iou_types)
        if self.classwise:
            self._log_tables(figures.classwise)
        metrics = {}
        for name, value in figures.metrics.items():
            flavour, iou_type, short = name.split('/')
            metrics[f'{_PREFIXES[flavour]}{iou_type}_{short}'] = value
        return metrics

    @cached_property
    def _truths(self) -> Truths:
        return self._read_truths()

    def _read_truths(self, image_ids: list | None = None) -> Truths:
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            return read_truths(path, True, 'segm' in self.iou_types, image_ids)

    @cached_property
    def _categories(self) -> np.ndarray:
        """(C,) index of the file's category for each label."""
        classes = self.dataset_meta['classes']
        index = self._truths.category_index
        ids = self.dataset_meta.get('category_ids')
        if ids is None:
            names = {
                c[key]: c['id']
                for c in self._truths.categories
                for key in NAME_KEYS
                if c.get(key)
            }
            ids = [names.get(name, name) for name in classes]
        for name, category_id in zip(classes, ids, strict=True):
            if category_id is not None and category_id not in index:
                raise ValueError(
                    f'class {name!r} of the dataset is not in {self.ann_file}; give '
                    'dataset and metric the same annotation file'
                )
        return np.array([LEFT_OUT if i is None else index[i] for i in ids])

    def _read(self, sample: dict, image: int) -> Results:
        pred_instances = sample['pred_instances']
        boxes = ImageBoxes(
            _xywh(pred_instances['bboxes']),
            _array(pred_instances['labels'], np.int64),
            _array(pred_instances['scores'], np.float64),
        )
        _check_detections(sample['img_id'], boxes, len(self._categories))
        category = self._categories[boxes.labels].astype(np.int32)
        columns = [np.full(len(category), image, np.int32), category]
        columns += [boxes.bboxes, boxes.scores]
        if 'segm' in self.iou_types:
            entry = self._truths.images[image]
            masks = _encoded(sample['img_id'], pred_instances, entry)
            areas = [int(mask_utils.area(mask)) for mask in masks]
            columns += [np.array(areas, np.float64), masks]
        return Results(*columns).select(category != LEFT_OUT)

    def _joined(self) -> Results:
        results = join_results([*self.results, no_results('segm' in self.iou_types)])
        keep = keep_for(self.protocol)
        return results if keep is None else results.select(keep(results))

    def _log_tables(self, classwise: dict) -> None:
        for title, rows in classwise.items():
            cells = [[title, 'AP', 'AP50']]
            for name, row in rows.items():
                values = ['-' if v is None else f'{v:.3f}' for v in row.values()]
                cells.append([name, *values])
            MMLogger.get_current_instance().info('\n' + AsciiTable(cells).table)


def _encoded(image_id: int | str, pred_instances: dict, entry: dict) -> np.ndarray:
    """(n,) RLE masks of an image."""
    if 'masks' not in pred_instances:
        raise ValueError(
            f"image {image_id}: 'segm' needs pred_instances.masks; use a detector "
            "with masks, or iou_types='bbox'"
        )
    masks = pred_instances['masks']
    if not isinstance(masks, list):
        masks = encode_mask_results(_array(masks, np.uint8))
    else:
        for number, mask in enumerate(masks):
            fault = mask_fault(mask, entry.get('height'), entry.get('width'))
            if fault:
                raise ValueError(f'image {image_id}: mask {number} (from 0): {fault}')
    encoded = np.empty(len(masks), object)
    encoded[:] = masks
    return encoded
