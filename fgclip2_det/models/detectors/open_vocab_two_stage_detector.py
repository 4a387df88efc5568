"""Open-vocabulary two-stage detector on FG-CLIP 2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.models.roi_heads.open_vocab_roi_head import FeaturePyramid
from fgclip2_det.vocabulary import Vocabulary, normalize_name, parse_texts


@MODELS.register_module()
class OpenVocabTwoStageDetector(TwoStageDetector):
    """F-ViT style detector: one encoder for boxes, names and region scores.

    The text tower is no part of it: names are embedded once, whenever the
    vocabulary changes, and the embeddings travel with the checkpoint.

    Args:
        backbone: an ``FGCLIP2ViT`` with ``output='both'``.
        roi_head: an ``OpenVocabRoIHead``.
        vocabulary: options of ``Vocabulary``; None leaves it to
            ``OpenVocabVocabularyHook``, which reads the data set's classes.
        templates: prompt templates of names that are set later.
        cache_dir: folder for text embeddings on disk; None keeps no cache.
        kwargs: of ``TwoStageDetector``.

    Attributes:
        keep_text_encoder: set it where vocabularies change often; the text tower
            then stays in memory after its first use.

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
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.templates, self.cache_dir = templates, cache_dir
        self.vocabulary: Vocabulary | None = None
        self.keep_text_encoder = False
        self._text_encoder: list[FGCLIP2] = []  # in a list: no part of the detector
        if getattr(self.backbone, 'output', None) != 'both':
            raise ValueError("backbone must be an FGCLIP2ViT with output='both'")
        if not self.backbone.frozen and not self.roi_head.region_loss_weight:
            raise ValueError(
                'a trained encoder needs roi_head.region_loss_weight > 0, or its '
                'region scores drift; or freeze it with backbone.frozen_stages='
                f'{self.backbone.num_layers}'
            )
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**{'templates': templates, **vocabulary}))
        self.configured_vocabulary = self.vocabulary

    # ------------------------------------------------------------- vocabulary
    @property
    def classifier(self):
        """The region-text classifier that holds the embeddings."""
        return self.roi_head.bbox_head.fc_cls

    def set_vocabulary(
        self,
        names: Vocabulary | Sequence[str] | str,
        encoder: FGCLIP2 | None = None,
    ) -> Vocabulary:
        """Change the classes; no weight changes, labels index the new names.

        Args:
            names: a vocabulary, a list of names, or 'black cat. 白色杯子'. In a
                list, names the detector was trained on are base, others novel.
            encoder: text tower to use; the backbone's own, loaded only if the
                names are new, when None.

        Returns:
            The vocabulary now in force.

        Raises:
            ValueError: empty or duplicate names, prompts beyond 64 tokens.
        """
        vocabulary = self._as_vocabulary(names)
        digest = self._digest(vocabulary)
        known = torch.equal(digest, self.classifier.digest.cpu())
        if encoder is not None or not known:
            encoder = encoder or self._own_text_encoder()
            embeds = vocabulary.embed(encoder, self.cache_dir)
            if self.classifier.background is not None:
                background = Vocabulary([self.classifier.background])
                embeds = torch.cat([embeds, background.embed(encoder)])
            self.classifier.set_embeds(embeds, vocabulary.is_base, encoder)
            self.classifier.digest.copy_(digest)
        self.classifier.loaded = False
        self.roi_head.bbox_head.num_classes = len(vocabulary)
        self.vocabulary = vocabulary
        self.dataset_meta = dict(
            classes=tuple(vocabulary.names),
            base_classes=tuple(vocabulary.base_classes),
            novel_classes=tuple(vocabulary.novel_classes),
        )
        return vocabulary

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Names that training had boxes of; they travel with the checkpoint."""
        return self.classifier.trained_classes

    @trained_classes.setter
    def trained_classes(self, names: Sequence[str]) -> None:
        self.classifier.trained_classes = names

    def _own_text_encoder(self) -> FGCLIP2:
        if self._text_encoder:
            return self._text_encoder[0]
        encoder = build_encoder(self.backbone.encoder, towers='text')
        if self.keep_text_encoder:
            self._text_encoder.append(encoder)
        return encoder

    def _as_vocabulary(self, names: Vocabulary | Sequence[str] | str) -> Vocabulary:
        if isinstance(names, Vocabulary):
            return names
        names = parse_texts(names) if isinstance(names, str) else list(names)
        trained = {normalize_name(name) for name in self.trained_classes}
        firsts = [n if isinstance(n, str) or not n else n[0] for n in names]
        base = [
            n for n in firsts if isinstance(n, str) and normalize_name(n) in trained
        ]
        return Vocabulary(names, self.templates, base_classes=base)

    def _digest(self, vocabulary: Vocabulary) -> Tensor:
        """(32,) uint8: the encoder, the prompts and the split, but no weights."""
        encoder = self.backbone.encoder
        key = [
            encoder if isinstance(encoder, str) else dict(encoder),
            vocabulary.prompts(),
            vocabulary.is_base.tolist(),
            self.classifier.background,
        ]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).digest()
        return torch.frombuffer(bytearray(digest), dtype=torch.uint8)

    # ---------------------------------------------------------------- forward
    def extract_feat(self, batch_inputs: Tensor) -> FeaturePyramid:
        """(B, 3, H, W) -> pyramid levels, with the dense map where it is used."""
        with_dense = not self.training or self.roi_head.region_loss_weight > 0
        maps, dense = self.backbone.extract(batch_inputs, with_dense)
        return FeaturePyramid.of(self.neck(maps), dense)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """As in ``TwoStageDetector``.

        Raises:
            ValueError: no vocabulary, or a training box of a novel class or
                beyond the vocabulary.
        """
        self._check_vocabulary()
        is_base = self.classifier.is_base
        for sample in batch_data_samples:
            labels = sample.gt_instances.labels
            if len(labels) and int(labels.max()) >= len(is_base):
                raise ValueError(
                    f'{sample.img_path} has a box of label {int(labels.max())}, the '
                    f"vocabulary holds {len(is_base)} names; set the data set's "
                    f'classes as vocabulary'
                )
            if not is_base[labels].all():
                label = int(labels[~is_base[labels]][0])
                raise ValueError(
                    f'{sample.img_path} has a training box of the novel class '
                    f'{self.vocabulary.names[label]!r}; load the data set with '
                    f'only_base=True'
                )
        return super().loss(batch_inputs, batch_data_samples)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Detections of B images.

        The encoder runs on the batch; everything after it sees each image on
        its own grid, so a batch gives what its images give one by one.
        """
        self._check_vocabulary()
        maps, dense = self.backbone.extract(batch_inputs)
        grids = self.backbone.grid_sizes(batch_inputs)
        results = []
        for i, (sample, (h, w)) in enumerate(
            zip(batch_data_samples, grids, strict=True)
        ):
            own = [x[i : i + 1, :, :h, :w] for x in (*maps, dense)]
            x = FeaturePyramid.of(self.neck(tuple(own[:-1])), own[-1])
            proposals = self.rpn_head.predict(x, [sample], rescale=False)
            results += self.roi_head.predict(x, proposals, [sample], rescale=rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _check_vocabulary(self) -> None:
        if self.vocabulary is not None and self.classifier.loaded:
            self.set_vocabulary(self.vocabulary)  # what was set outlives a load
        if self.vocabulary is None:
            raise ValueError(
                "the detector has no vocabulary; call set_vocabulary(['cat', '狗']) "
                'or add OpenVocabVocabularyHook to custom_hooks'
            )
