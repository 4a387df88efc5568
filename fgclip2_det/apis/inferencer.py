"""Open-vocabulary inference with a trained detector."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_state_dict

from fgclip2_det.apis.detections import Detections
from fgclip2_det.engine.config import read_config
from fgclip2_det.engine.embedded_config import embedded_config
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from fgclip2_det.vocabulary import Vocabulary

# trained by the README's first command, see assets/ovd_ovshapes/README.md
EMBEDDED = Path(__file__).resolve().parents[1] / 'assets/ovd_ovshapes/detector.pth'


class OpenVocabInferencer:
    """Open-vocabulary detection with a trained detector.

    Args:
        weights: checkpoint of ``tools/train.py``; None for the embedded detector, which
            was trained on coloured shapes only.
        config: config of the weights; None for the one saved in the checkpoint.
        device: 'cpu', 'cuda', ...; None for a GPU if there is one.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged or of another config, or if its saved config has a
            ``type`` that is not registered by this package or MMDetection.

    Example:
        >>> inferencer = OpenVocabInferencer('work_dirs/ovd_fgclip2/epoch_3.pth')
        >>> inferencer('val/000000.jpg', 'orange circle; 黑色圆形')[0].names
        ['orange circle', '黑色圆形']
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        config: str | os.PathLike | Config | None = None,
        device: str | None = None,
    ) -> None:
        init_default_scope('mmdet')
        weights = EMBEDDED if weights is None else weights
        checkpoint = read_checkpoint(weights)
        meta = checkpoint.get('meta', {})
        self.config = _config(config, meta, weights)
        self.model = MODELS.build(self.config.model)
        if not hasattr(self.model, 'set_vocabulary'):
            raise ValueError(
                f'{type(self.model).__name__} is not an open-vocabulary detector; '
                'expected a config with OpenVocabTwoStageDetector'
            )
        state = checkpoint.get('state_dict', checkpoint)
        check_weights(self.model, state, weights)
        load_state_dict(self.model, state)
        trained = meta.get('dataset_meta') or {}
        self.trained_vocabulary = list(trained.get('classes', ()))
        self.trained_split = trained.get('base_classes')
        device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
        self.model.to(device).eval()
        self.pipeline = _pipeline(self.config)
        self.model.keep_text_encoder = True

    def set_vocabulary(
        self, texts: Vocabulary | Sequence[str | Sequence[str]] | str
    ) -> Vocabulary:
        """Set the names to detect; see the detector's method."""
        return self.model.set_vocabulary(texts)

    @torch.no_grad()
    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        texts: Vocabulary | Sequence[str | Sequence[str]] | str | None = None,
        score_thr: float = 0.0,
        channel_order: str = 'bgr',
    ) -> list[Detections]:
        """Detect objects in images.

        Args:
            images: one or several, as for ``fgclip2_det.fgclip2.load_image``, except
                for the channel order of arrays.
            texts: names, e.g. 'black cat. 白色杯子'; None for the current vocabulary,
                initially that of the training.
            score_thr: detections with lower scores are left out.
            channel_order: channel order of (h, w, 3) NumPy arrays: 'bgr', as in OpenCV
                and MMDetection's ``DetInferencer``, or 'rgb'. Files, PIL images and
                tensors are RGB.

        Returns:
            One entry per image.

        Raises:
            ValueError: for another channel order, and as in ``load_image``.
        """
        if channel_order not in ('bgr', 'rgb'):
            raise ValueError(
                f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}"
            )
        if texts is not None:
            self.set_vocabulary(texts)
        elif self.model.vocabulary is None:
            names, base = self.trained_vocabulary, self.trained_split
            self.set_vocabulary(Vocabulary(names, base_classes=base))
        several = isinstance(images, list | tuple)
        batch = list(images) if several else [cast(ImageLike, images)]
        if channel_order == 'bgr':
            batch = [_to_rgb(image) for image in batch]
        return [self._detect(image, score_thr) for image in batch]

    def _detect(self, image: ImageLike, score_thr: float) -> Detections:
        bgr = np.asarray(load_image(image))[..., ::-1]
        data = self.pipeline(dict(img=np.ascontiguousarray(bgr), img_id=0))
        (sample,) = self.model.test_step(pseudo_collate([data]))
        pred_instances = sample.pred_instances
        pred_instances = pred_instances[pred_instances.scores >= score_thr].cpu()
        classes = tuple(self.model.vocabulary.names)
        return Detections(
            pred_instances.bboxes, pred_instances.scores, pred_instances.labels, classes
        )


def _to_rgb(image: ImageLike) -> ImageLike:
    """Convert a BGR array to RGB; other images are returned unchanged."""
    if isinstance(image, np.ndarray) and image.ndim == 3:
        return image[..., ::-1]
    return image


def _config(config, meta: Mapping, weights) -> Config:
    if isinstance(config, Config):
        return config
    if config is not None:
        return read_config(config)
    if not isinstance(meta.get('cfg'), str):
        raise ValueError(f'{weights} contains no config; pass config=FILE')
    return embedded_config(meta['cfg'], weights)


def _pipeline(config: Config) -> Compose:
    """The test pipeline for arrays instead of files."""
    loaders = ('Load', 'OpenVocabLoad')
    steps = [
        step
        for step in config.test_dataloader.dataset.pipeline
        if not step['type'].split('.')[-1].startswith(loaders)
    ]
    pack = dict(steps[-1])
    keys = pack.get('meta_keys', ('img_id', 'img_shape', 'ori_shape', 'scale_factor'))
    pack['meta_keys'] = tuple(key for key in keys if key != 'img_path')
    return Compose([dict(type='LoadImageFromNDArray'), *steps[:-1], pack])
