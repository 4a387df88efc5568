"""Faster R-CNN on any backbone, with text embeddings as the classifier's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmdet.models.detectors import FasterRCNN
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.models.detectors.open_vocab_mixin import OpenVocabMixin
from fgclip2_det.models.image_memory import inputs_of, memory_of, without


@MODELS.register_module()
class OpenVocabFasterRCNN(OpenVocabMixin, FasterRCNN):
    """MMDetection's Faster R-CNN, trained on base classes, tested on any classes.

    Its image features are not aligned with text: novel classes are recognised through
    the text embeddings alone. It is the baseline detector for re-scoring.

    Args:
        text_encoder: ``dict(pretrained=folder or hub id)`` or ``dict(size='tiny')``;
            embeds the names and is not part of the detector.
        roi_head: a ``StandardRoIHead`` with an ``OpenVocabBBoxHead`` of softmax.
        vocabulary, templates, cache_dir, parts, competitors: see
            ``OpenVocabTwoStageDetector``.
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
        competitors: dict | bool = True,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.roi_head.bbox_head.loss_cls, 'use_sigmoid', False):
            raise ValueError(
                'roi_head.bbox_head.loss_cls must have use_sigmoid=False: '
                "StandardRoIHead's scores are a softmax"
            )
        self.init_vocabulary(
            text_encoder, vocabulary, templates, cache_dir, parts, competitors
        )

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
        """As in ``FasterRCNN``. Images whose samples carry an :class:`.ImageMemory` go
        through the RoI head one by one; pyramid and proposals are kept there."""
        self.check_vocabulary(batch_data_samples)
        memories = [memory_of(sample) for sample in batch_data_samples]
        if any(memory is None for memory in memories):
            return super().predict(batch_inputs, batch_data_samples, rescale)
        self._remember(batch_inputs, batch_data_samples)
        results: list[InstanceData] = []
        for sample, memory in zip(batch_data_samples, memories, strict=True):
            assert memory is not None
            x, proposals = memory['regions']
            results += self.roi_head.predict(x, [proposals], [sample], rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _remember(self, batch_inputs: Tensor, samples: SampleList) -> None:
        """Put pyramid and proposals into the memories that lack them."""
        new = without(samples, 'regions')
        if not new:
            return
        samples = [samples[i] for i in new]
        x = self.extract_feat(inputs_of(batch_inputs, new))
        proposals = self.rpn_head.predict(x, samples, rescale=False)
        for i, sample in enumerate(samples):
            memory = memory_of(sample)
            assert memory is not None
            own = tuple(level[i : i + 1].clone() for level in x)
            memory['regions'] = own, proposals[i]
