"""Faster R-CNN on any backbone, with text embeddings as the classifier's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from fgclip2_det.models.detectors.open_vocab_mixin import OpenVocabMixin


@MODELS.register_module()
class OpenVocabFasterRCNN(OpenVocabMixin, FasterRCNN):
    """MMDetection's Faster R-CNN, trained on base classes, tested on any classes.

    Its image features are not aligned with text: novel classes are recognised through
    the text embeddings alone. It is the baseline detector for re-scoring.

    Args:
        text_encoder: ``dict(pretrained=folder or hub id)`` or ``dict(size='tiny')``;
            embeds the names and is not part of the detector.
        roi_head: a ``StandardRoIHead`` with a softmax ``OpenVocabBBoxHead``.
        vocabulary, templates, cache_dir, parts: see ``OpenVocabTwoStageDetector``.
        kwargs: of ``FasterRCNN``.

    Reference: ViLD (arXiv:2104.13921), section 3.2, ViLD-text.
    """

    def __init__(
        self,
        *args,
        text_encoder: str | dict,
        vocabulary: dict | None = None,
        templates: str | Sequence[str] = 'raw',
        cache_dir: str | None = None,
        parts: Mapping[str, Sequence[str]] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.roi_head.bbox_head.loss_cls, 'use_sigmoid', False):
            raise ValueError(
                'roi_head.bbox_head.loss_cls must have use_sigmoid=False: '
                "StandardRoIHead's scores are a softmax"
            )
        self.init_vocabulary(text_encoder, vocabulary, templates, cache_dir, parts)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """As in ``FasterRCNN``; raises for training boxes of novel classes."""
        self.check_training_boxes(batch_data_samples)
        return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """As in ``FasterRCNN``."""
        self.check_vocabulary(batch_data_samples)
        return super().predict(batch_inputs, batch_data_samples, rescale)
