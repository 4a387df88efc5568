"""mIoU of an open-vocabulary segmentor, over base and over novel names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from fgclip2_det.evaluation.label_maps import count_pixels, segmentation_rates


@METRICS.register_module()
class OpenVocabSegMetric(BaseMetric):
    """Rates of label maps, in the generalised setting: all names compete for a pixel.

    Metric names, with the prefix ``open_vocab_seg/``: ``base_miou``, ``novel_miou`` and
    ``all_miou``, means of intersection / union over those of the names that occur in
    the images; ``all_accuracy``, the mean share of a name's pixels that are right; and
    ``pixel_accuracy``. Values are 0 to 1. A group of which no pixel is there is left
    out. They are those of the zero-shot benchmarks, which give them in percent.

    Pixels whose number is no class count for nothing. With ``background_label`` there
    is also ``background_miou``: the same as ``all_miou``, with the background as a
    further class, which a pixel gets if no name's score reaches ``score_thr``. It needs
    the scores of a trained decoder; cosines have no such threshold.

    Args:
        ignored: numbers in label maps that count for nothing.
        background_label: number of what has none of the names; it counts for nothing
            but ``background_miou``. None: there is no such number.
        score_thr: lowest score of a name.
        classwise: also log a line for each class.
        collect_device, prefix: as in MMEngine.

    Raises:
        ValueError: for a label map with a number that is neither a class nor ignored,
            or without any label map.

    Example:
        >>> metric = OpenVocabSegMetric(background_label=254)
    """

    default_prefix = 'open_vocab_seg'

    def __init__(
        self,
        ignored: Sequence[int] = (255,),
        background_label: int | None = None,
        score_thr: float = 0.5,
        classwise: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignored, self.background_label = tuple(ignored), background_label
        self.score_thr, self.classwise = score_thr, classwise

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: not used.
            data_samples: dictionaries with ``gt_sem_seg`` in the original image's
                pixels (load annotations after resizing) and ``pred_sem_seg``.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            path = sample.get('img_path') or sample.get('img_id')
            if 'gt_sem_seg' not in sample:
                raise ValueError(
                    f'image {path} has no label map; put LoadAnnotations('
                    'with_seg=True) into the pipeline, after resizing'
                )
            raw = sample['gt_sem_seg']['sem_seg'][0].long().cpu()
            labels = self._labels(raw, num_classes, path)
            predicted = sample['pred_sem_seg']['sem_seg'][0].cpu()
            counts = count_pixels(predicted, labels, num_classes)
            scores = sample['pred_sem_seg'].get('scores')
            if self.background_label is None or scores is None:
                self.results.append((path, counts, None))
                continue
            labels = labels.masked_fill(raw == self.background_label, num_classes)
            low = scores[0].cpu() < self.score_thr
            predicted = predicted.masked_fill(low, num_classes)
            whole = count_pixels(predicted, labels, num_classes + 1)
            self.results.append((path, counts, whole))

    def _labels(self, raw: Tensor, num_classes: int, path: object) -> Tensor:
        ignored = list(self.ignored)
        if self.background_label is not None:
            ignored.append(self.background_label)
        unknown = torch.isin(raw, torch.tensor(ignored))
        bad = (raw >= num_classes) & ~unknown
        if bad.any():
            raise ValueError(
                f'the label map of image {path} holds {int(raw[bad][0])}; expected 0 '
                f'to {num_classes - 1}, or {ignored} for what does not count'
            )
        return raw.masked_fill(unknown, -1)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Rates of all processed images, by name without prefix."""
        by_image = {path: (counts, whole) for path, counts, whole in results}
        tables = list(zip(*by_image.values(), strict=True))
        counts = torch.stack(tables[0]).sum(0)
        metrics = {}
        for group, labels in self._groups().items():
            if counts[labels].sum():
                metrics[f'{group}_miou'] = segmentation_rates(counts, labels).miou
        rates = segmentation_rates(counts)
        metrics |= {
            'all_miou': rates.miou,
            'all_accuracy': rates.mean_accuracy,
            'pixel_accuracy': rates.pixel_accuracy,
        }
        if all(table is not None for table in tables[1]):
            whole = torch.stack(tables[1]).sum(0)
            metrics['background_miou'] = segmentation_rates(whole).miou
        if self.classwise:
            self._log_classes(counts)
        return metrics

    def _groups(self) -> dict[str, list[int]]:
        """Labels of base and of novel classes."""
        classes = list(self.dataset_meta['classes'])
        novel = set(self.dataset_meta.get('novel_classes', ()))
        rows = range(len(classes))
        return {
            'base': [i for i in rows if classes[i] not in novel],
            'novel': [i for i in rows if classes[i] in novel],
        }

    def _log_classes(self, counts: Tensor) -> None:
        logger = MMLogger.get_current_instance()
        for row, name in enumerate(self.dataset_meta['classes']):
            if counts[row].sum():
                share = segmentation_rates(counts, [row]).miou
                logger.info(f'{name}: IoU {share:.3f}')
