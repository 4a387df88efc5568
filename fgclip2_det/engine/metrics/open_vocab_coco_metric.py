"""COCO AP on base, novel and all classes, and class-agnostic AP."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import cast

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get
from mmengine.logging import MMLogger
from terminaltables import AsciiTable
from torch import Tensor

from fgclip2_det.coco.annotation_file import CocoFile, parse_coco
from fgclip2_det.coco.entries import names_of
from fgclip2_det.coco.ground_truths import to_truths
from fgclip2_det.coco.result_writer import result_rows, write_results
from fgclip2_det.evaluation.average_precision import mean
from fgclip2_det.evaluation.coco_ap import box_ap
from fgclip2_det.evaluation.image_boxes import (
    ImageBoxes,
    merge_classes,
    merge_duplicates,
)
from fgclip2_det.io.text import decode_json


@METRICS.register_module()
class OpenVocabCocoMetric(BaseMetric):
    """COCO AP in the generalised setting of OV-COCO.

    The detector predicts base and novel classes together; AP is then averaged over
    base, novel and all classes that have ground truth. Metric names, with the prefix
    ``open_vocab/``: ``base_ap50``, ``novel_ap50``, ``all_ap50``, ``base_ap``,
    ``novel_ap``, ``all_ap`` (IoU 0.50:0.95) and the class-agnostic ``agnostic_ap50``.
    Values are 0 to 1, or -1 if no class has ground truth.

    Only processed images are evaluated, each of them once.

    Args:
        ann_file: COCO file with the ground truth. If None, the ground truth is taken
            from ``gt_instances`` and ``ignored_instances`` (crowd) of the data samples,
            which must be in the original image's pixels: load annotations after
            resizing.
        max_dets: detections per image and class (per image for ``agnostic_ap50``).
        agnostic_iou: IoU above which boxes of one image are merged into one prediction
            for ``agnostic_ap50``, whatever their labels.
        classwise: also log a table of all classes.
        outfile_prefix: write the predictions as a COCO result list to
            ``{outfile_prefix}.bbox.json``. Category ids are those of ``ann_file`` or
            of the data set; detections of classes without a category are left out.
        backend_args: arguments of the file backend for ``ann_file``.
        collect_device, prefix: as in MMEngine.

    Raises:
        ValueError: for boxes or scores that are not finite, labels beyond the
            vocabulary, unknown images, classes that differ from ``ann_file``'s, two
            images with the same id, or ``outfile_prefix`` without category ids.

    Reference: Bansal et al. (arXiv:1804.04340), section 4; COCO detection evaluation.

    Example:
        >>> metric = OpenVocabCocoMetric(ann_file='data/chess/valid.json')
        >>> metric.dataset_meta = dataset.metainfo
        >>> metric.process({}, data_samples); metric.evaluate(len(dataset))
        {'open_vocab/base_ap50': 0.61, ...}
    """

    default_prefix = 'open_vocab'

    def __init__(
        self,
        ann_file: str | None = None,
        max_dets: int = 100,
        agnostic_iou: float = 0.9,
        classwise: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if max_dets < 1 or not 0 < agnostic_iou <= 1:
            raise ValueError(
                'max_dets must be at least 1 and agnostic_iou in (0, 1], '
                f'got {max_dets} and {agnostic_iou}'
            )
        self.ann_file, self.backend_args = ann_file, backend_args
        self.max_dets, self.agnostic_iou = max_dets, agnostic_iou
        self.classwise, self.outfile_prefix = classwise, outfile_prefix

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the boxes of a batch.

        Args:
            data_batch: not used.
            data_samples: dictionaries with ``img_id`` and ``pred_instances`` (bboxes
                (n, 4) xyxy, scores (n,), labels (n,)).
        """
        num_classes = len(self.dataset_meta['classes'])
        if self.outfile_prefix and not self.ann_file:
            self._check_ids_are_known()
        for sample in data_samples:
            image_id, instances = sample['img_id'], sample['pred_instances']
            detections = ImageBoxes(
                _xywh(instances['bboxes']),
                _array(instances['labels'], np.int64),
                _array(instances['scores'], np.float64),
            )
            _check_detections(image_id, detections, num_classes)
            truth = None if self.ann_file else _truth_of_sample(sample)
            path = sample.get('img_path') or ''
            self.results.append(((image_id, path), detections, truth))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """AP of all processed images, by name without prefix."""
        by_image = {}
        for image, detections, truth in results:  # a sampler may repeat images
            by_image.setdefault(image, (detections, truth))
        images = sorted(by_image)  # COCO's evaluation breaks ties in this order
        image_ids = [image_id for image_id, _ in images]
        if self.ann_file or self.outfile_prefix:
            self._check_ids_are_unique(images)
        detections = [by_image[i][0] for i in images]
        category_ids, groups = self._category_ids(), self._groups()
        if self.outfile_prefix:
            self._write_results(image_ids, detections, category_ids)
        if self.ann_file:
            truths = self._truths_of_file(image_ids, category_ids)
        else:
            truths = [by_image[i][1] for i in images]
        aps = box_ap(truths, detections, len(category_ids), self.max_dets)
        if self.classwise:
            self._log_table(aps, truths, groups)
        metrics = {}
        for group, labels in groups.items():
            metrics[f'{group}_ap50'] = mean(aps[labels, 0])
            metrics[f'{group}_ap'] = mean(aps[labels])
        merged = [merge_duplicates(d, self.agnostic_iou) for d in detections]
        merged_truths = [merge_classes(t) for t in truths]
        aps = box_ap(merged_truths, merged, 1, self.max_dets)
        return metrics | {'agnostic_ap50': mean(aps[:, 0])}

    @cached_property
    def _coco(self) -> CocoFile:
        """``ann_file``; annotations of categories that it does not list are left out,
        as MMDetection's data sets do."""
        path = cast(str, self.ann_file)
        content = decode_json(get(path, backend_args=self.backend_args), path)
        return parse_coco(
            content, path, image_keys=(), keep_outside=True, drop_unlisted=True
        )

    def _groups(self) -> dict[str, list[int]]:
        """Labels of base, novel and all classes."""
        classes = list(self.dataset_meta['classes'])
        novel = list(self.dataset_meta.get('novel_classes', ()))
        rest = [c for c in classes if c not in novel]
        base = list(self.dataset_meta.get('base_classes', rest))
        if sorted(base + novel) != sorted(classes):
            stray = next(iter(set(classes) ^ set(base + novel)), 'a class in both')
            raise ValueError(
                f'base_classes and novel_classes must together be classes, but '
                f'{stray!r} is not; build the dataset with lists that agree'
            )
        groups = {'base': base, 'novel': novel, 'all': classes}
        return {k: [classes.index(c) for c in names] for k, names in groups.items()}

    def _check_ids_are_known(self) -> None:
        if not self.dataset_meta.get('category_ids'):
            raise ValueError(
                f"outfile_prefix={self.outfile_prefix!r} needs the file's category "
                'ids, which this data set does not have; give the metric an ann_file, '
                'or use OpenVocabCocoDataset'
            )

    def _check_ids_are_unique(self, images: list[tuple]) -> None:
        for (image_id, path), (other_id, other) in pairwise(images):
            if image_id == other_id:
                raise ValueError(
                    f'image id {image_id} is used for {path!r} and for {other!r}; give '
                    'the images of several files unique ids, or leave out ann_file and '
                    'outfile_prefix'
                )

    def _category_ids(self) -> list[int | None]:
        """Category id of each label, checked against ``ann_file``; None if unknown."""
        classes = self.dataset_meta['classes']
        ids = self.dataset_meta.get('category_ids')
        if not self.ann_file:
            return list(ids or [None] * len(classes))
        entries = list(self._coco.categories.values())
        if not ids:  # a supercategory with the name of a class comes after it
            entries = [*self._coco.classes(), *entries]
        names = {c['id']: names_of(c) for c in entries}
        ids = ids or [next((i for i in names if c in names[i]), None) for c in classes]
        for name, category_id in zip(classes, ids, strict=True):
            if name not in names.get(category_id, ()):
                raise ValueError(
                    f'class {name!r} has category id {category_id} in the dataset, but '
                    f'{self.ann_file} has {names.get(category_id, "none")} under that '
                    'id; give dataset and metric the same annotation file'
                )
        return list(ids)

    def _truths_of_file(
        self, image_ids: list[int], category_ids: list[int | None]
    ) -> list[ImageBoxes]:
        """Ground truth of the processed images, without other classes."""
        coco = self._coco
        unknown = [i for i in image_ids if i not in coco.images]
        if unknown:
            raise ValueError(
                f'image {unknown[0]} is not in {self.ann_file}; give dataset and '
                'metric the same annotation file'
            )
        if len(image_ids) < len(coco.images):
            MMLogger.get_current_instance().warning(
                f'{len(image_ids)} of the {len(coco.images)} images of '
                f'{self.ann_file} were processed; the others are not evaluated'
            )
        counted = [i for i in category_ids if i is not None]
        truths = to_truths(coco, image_ids=image_ids, category_ids=counted)
        labels = {category_id: label for label, category_id in enumerate(category_ids)}
        label_of = np.array([labels[c['id']] for c in truths.categories], np.int64)
        order = np.argsort(truths.image, kind='stable')
        ends = np.cumsum(np.bincount(truths.image, minlength=len(truths.images)))
        rows = np.split(order, ends[:-1]) if len(ends) else []
        return [
            ImageBoxes(
                truths.bboxes[own],
                label_of[truths.category[own]],
                crowd=truths.crowd[own],
            )
            for own in (rows[truths.image_index[i]] for i in image_ids)
        ]

    def _write_results(
        self,
        image_ids: list[int],
        detections: list[ImageBoxes],
        category_ids: list[int | None],
    ) -> None:
        """Write a COCO result list, without classes that have no category."""
        num_rows = sum(len(image.labels) for image in detections)
        num_written = write_results(
            f'{self.outfile_prefix}.bbox.json',
            (
                row
                for image_id, image in zip(image_ids, detections, strict=True)
                for row in result_rows(
                    image_id,
                    image.bboxes,
                    image.labels,
                    cast(np.ndarray, image.scores),
                    category_ids,
                )
            ),
        )
        if num_written < num_rows:
            MMLogger.get_current_instance().warning(
                f'{num_rows - num_written} of {num_rows} detections are of classes '
                'that the annotation file lacks; the result list leaves them out'
            )

    def _log_table(
        self, aps: np.ndarray, truths: list[ImageBoxes], groups: dict[str, list[int]]
    ) -> None:
        labels = [t.labels[~cast(np.ndarray, t.crowd)] for t in truths]
        counts = np.bincount(np.concatenate(labels), minlength=len(aps))
        rows = [['class', 'split', 'boxes', 'AP', 'AP50']]
        for label, name in enumerate(self.dataset_meta['classes']):
            split = 'novel' if label in groups['novel'] else 'base'
            values = [f'{v:.3f}' for v in (aps[label].mean(), aps[label, 0])]
            values = values if counts[label] else ['-', '-']
            rows.append([name, split, counts[label], *values])
        MMLogger.get_current_instance().info('\n' + AsciiTable(rows).table)


def _array(values: object, dtype: type) -> np.ndarray:
    """Convert a tensor, MMDetection's boxes or an array-like to an array."""
    values = getattr(values, 'tensor', values)
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype)


def _xywh(bboxes: object) -> np.ndarray:
    """(n, 4) float64 of (n, 4) xyxy boxes."""
    bboxes = _array(bboxes, np.float64).reshape(-1, 4)
    return np.hstack([bboxes[:, :2], bboxes[:, 2:] - bboxes[:, :2]])


def _truth_of_sample(sample: dict) -> ImageBoxes:
    if 'gt_instances' not in sample:
        raise ValueError(
            f'image {sample["img_id"]} has no gt_instances; put LoadAnnotations into '
            'the pipeline, or give the metric an ann_file'
        )
    none = {'bboxes': np.zeros((0, 4)), 'labels': np.zeros(0)}
    parts = [sample['gt_instances'], sample.get('ignored_instances', none)]
    return ImageBoxes(
        np.concatenate([_xywh(p['bboxes']) for p in parts]),
        np.concatenate([_array(p['labels'], np.int64) for p in parts]),
        crowd=np.repeat([False, True], [len(p['labels']) for p in parts]),
    )


def _check_detections(image_id: int, pred: ImageBoxes, num_classes: int) -> None:
    scores = cast(np.ndarray, pred.scores)
    sizes = [len(v) for v in (pred.bboxes, scores, pred.labels)]
    if len(set(sizes)) > 1:
        raise ValueError(
            f'image {image_id}: bboxes, scores and labels must have equal lengths, '
            f'got {sizes}'
        )
    finite = np.isfinite(pred.bboxes).all(1) & np.isfinite(scores)
    if not finite.all():
        i = int(np.argmin(finite))
        raise ValueError(
            f'image {image_id}: prediction {i} is not finite (bbox '
            f'xywh {pred.bboxes[i].tolist()}, score {scores[i]}); look for a '
            'diverged training'
        )
    beyond = pred.labels[(pred.labels < 0) | (pred.labels >= num_classes)]
    if beyond.size:
        raise ValueError(
            f'image {image_id}: label {beyond[0]} is not one of the {num_classes} '
            'classes of the dataset; give detector and dataset the same vocabulary'
        )
