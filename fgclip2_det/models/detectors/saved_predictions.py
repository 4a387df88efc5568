"""A detector that returns saved results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from logging import WARNING

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, SampleList
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor, nn

from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.coco.result_lists import row_score
from fgclip2_det.datasets.config_labels import label_order_of
from fgclip2_det.fgclip2.image import describe_sizes, read_header


@MODELS.register_module()
class SavedPredictions(BaseDetector):
    """Detector that returns the rows of a result file, for ``FGCLIP2Rescorer``.

    Its classes are the categories of the annotation file, base before novel if they
    have a ``split``; a data set with other classes or another order is rejected.
    Images are matched by ``img_id``; an image without results has no detections.

    Args:
        predictions: COCO result list, or MMDetection's pickle.
        ann_file: COCO file with the images and categories of the predictions.
        unpickle, language, label_order, ids, categories: see
            :func:`.predictions.read_predictions`.

    Raises:
        ValueError: as in :func:`.predictions.read_predictions`; also for images that
            are not in the annotation file, have another size there, or are flipped.

    Example:
        >>> model = dict(type='FGCLIP2Rescorer', encoder='qihoo360/fg-clip2-base',
        ...              detector=dict(type='SavedPredictions', ann_file='val.json',
        ...                            predictions='results.bbox.json'))
    """

    def __init__(
        self,
        predictions: str | os.PathLike,
        ann_file: str | os.PathLike,
        unpickle: bool = False,
        language: str = 'en',
        label_order: str | Sequence[str] | None = None,
        ids: str = 'id',
        categories: str = 'id',
    ) -> None:
        super().__init__()
        content = read_predictions(
            predictions,
            ann_file,
            language,
            None,
            unpickle,
            label_order_of(label_order),
            ids,
            categories,
        )
        for line in content.counts.lines():
            print_log(f'{predictions}: {line}', 'current', WARNING)
        self.images, self.rows = content.images, content.rows
        self.ann_file, self.split = ann_file, content.split
        self.dataset_meta = dict(classes=tuple(content.split.classes))
        self.device_of = nn.Parameter(torch.zeros(0), requires_grad=False)

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """The rows of each image, in the order of the file."""
        label = {c: i for i, c in enumerate(self.split.category_ids)}
        device = self.device_of.device
        for sample in batch_data_samples:
            if sample.img_id not in self.images:
                raise ValueError(
                    f'{self.ann_file} has no image {sample.img_id!r}; predictions and '
                    'data set must have the same annotation file'
                )
            self._check_frame(sample)
            rows = self.rows.get(sample.img_id, [])
            boxes = torch.tensor([row['bbox'] for row in rows], dtype=torch.float64)
            boxes = boxes.reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            sample.pred_instances = InstanceData(
                bboxes=boxes.float().to(device),
                scores=torch.tensor([row_score(row) for row in rows], device=device),
                labels=torch.tensor(
                    [label[row['category_id']] for row in rows],
                    dtype=torch.long,
                    device=device,
                ),
            )
        return batch_data_samples

    def _check_frame(self, sample: DetDataSample) -> None:
        """Check that the file's boxes are in pixels of the loaded image."""
        if sample.get('flip'):
            raise ValueError(
                f'image {sample.img_id!r} is flipped but saved results are not; test '
                'without augmentation'
            )
        entry, shape = self.images[sample.img_id], sample.get('ori_shape')
        annotated = entry['width'], entry['height']
        if shape is None or annotated == (shape[1], shape[0]):
            return
        header = read_header(sample.img_path)
        sizes = describe_sizes(header, annotated, (shape[1], shape[0]))
        raise ValueError(
            f'{self.ann_file}: image {sample.img_id!r} ({sample.img_path}): {sizes}; '
            'results and data set must have the same image: correct the annotation '
            'file, or load images with OpenVocabLoadImage, which makes them upright'
        )

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Raises ``NotImplementedError``: a result file cannot be trained."""
        raise NotImplementedError('saved predictions cannot be trained')

    def _forward(self, batch_inputs: Tensor, batch_data_samples=None):
        raise NotImplementedError('use predict')

    def extract_feat(self, batch_inputs: Tensor):
        """Raises ``NotImplementedError``."""
        raise NotImplementedError('use predict')
