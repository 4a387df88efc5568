"""Open-vocabulary two-stage detector on FG-CLIP 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.models.detectors.open_vocab_mixin import OpenVocabMixin
from fgclip2_det.models.image_memory import inputs_of, memory_of, without
from fgclip2_det.models.roi_heads.open_vocab_roi_head import FeaturePyramid


@MODELS.register_module()
class OpenVocabTwoStageDetector(OpenVocabMixin, TwoStageDetector):
    """F-ViT style detector: one encoder for boxes, names and region scores.

    Args:
        backbone: an ``FGCLIP2ViT`` with ``output='both'``.
        roi_head: an ``OpenVocabRoIHead``.
        vocabulary: options of ``Vocabulary``; None if ``OpenVocabVocabularyHook`` sets
            the data set's classes.
        templates: prompt templates of names that are set later.
        cache_dir: folder for text embeddings on disk; None keeps no cache.
        parts: texts that names are composed of, as in ``Vocabulary``; of names that
            are set later, too, where they are among them.
        competitors: what the names of a user compete with, unreported: options of
            :class:`fgclip2_det.vocabulary.competitors.CompetitorOptions`, or True for
            its defaults. False: each other alone, as the classes of a data set do.
        kwargs: of ``TwoStageDetector``.

    Example:
        >>> detector = MODELS.build(config.model)
        >>> detector.set_vocabulary(['black cat', '白色杯子'])
        >>> detector.vocabulary
        Vocabulary(2 classes: black cat, 白色杯子)

    Reference: CLIPSelf (arXiv:2310.01403), F-ViT.
    """

    def __init__(
        self,
        *args,
        vocabulary: dict | None = None,
        templates: str | Sequence[str] = 'raw',
        cache_dir: str | None = None,
        parts: Mapping[str, Sequence[str]] | None = None,
        competitors: dict | bool = True,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.backbone, 'output', None) != 'both':
            raise ValueError("backbone must be an FGCLIP2ViT with output='both'")
        if not self.backbone.frozen and not self.roi_head.region_loss_weight:
            raise ValueError(
                'a trained encoder needs roi_head.region_loss_weight > 0, or its '
                'region scores drift; or freeze it with backbone.frozen_stages='
                f'{self.backbone.num_layers}'
            )
        self.init_vocabulary(
            self.backbone.encoder, vocabulary, templates, cache_dir, parts, competitors
        )

    def extract_feat(self, batch_inputs: Tensor) -> FeaturePyramid:
        """(B, 3, H, W) -> pyramid levels, with the dense map where it is used."""
        with_dense = not self.training or self.roi_head.region_loss_weight > 0
        maps, dense = self.backbone.extract(batch_inputs, with_dense)
        return FeaturePyramid.of(self.neck(maps), dense)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """As in ``TwoStageDetector``.

        Raises:
            ValueError: without a vocabulary, or for a training box of a novel class or
                with a label beyond the vocabulary.
        """
        self.check_training_boxes(batch_data_samples)
        return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Detections of B images.

        The encoder runs on the batch; the later stages process each image on its own
        grid, so results depend on batching by rounding only. Samples that carry an
        :class:`.ImageMemory` keep their regions in it; only the comparison with names
        is computed for those that have them.
        """
        self.check_vocabulary(batch_data_samples)
        new = without(batch_data_samples, 'regions')
        samples = [batch_data_samples[i] for i in new]
        encoded = self._encode(inputs_of(batch_inputs, new), samples)
        results = []
        for sample in batch_data_samples:
            memory = memory_of(sample)
            if memory is None:
                x, proposals = next(encoded)
            else:
                if 'regions' not in memory:
                    x, proposals = next(encoded)
                    x = self.roi_head.keep_regions(x, sample.metainfo, *proposals)
                    memory['regions'] = x, proposals
                x, proposals = memory['regions']
            results += self.roi_head.predict(x, proposals, [sample], rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _encode(
        self, batch_inputs: Tensor, samples: SampleList
    ) -> Iterator[tuple[FeaturePyramid, list[InstanceData]]]:
        """Pyramid and proposals of one image after the other, once they are asked for;
        the encoder runs on the batch, and so do neck and RPN where it has no padding.
        """
        maps, dense = self.backbone.extract(batch_inputs)
        grids = self.backbone.grid_sizes(batch_inputs)
        if len(samples) > 1 and set(grids) == {tuple(dense.shape[2:])}:  # no padding
            levels = self.neck(maps)
            proposals = self.rpn_head.predict(levels, samples, rescale=False)
            for i, own in enumerate(proposals):
                x = tuple(level[i : i + 1] for level in levels)
                yield FeaturePyramid.of(x, dense[i : i + 1].contiguous()), [own]
            return
        for i, (sample, (h, w)) in enumerate(zip(samples, grids, strict=True)):
            own = [x[i : i + 1, :, :h, :w].contiguous() for x in (*maps, dense)]
            x = FeaturePyramid.of(self.neck(tuple(own[:-1])), own[-1])
            yield x, self.rpn_head.predict(x, [sample], rescale=False)
