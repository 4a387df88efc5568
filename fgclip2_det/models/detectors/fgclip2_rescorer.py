"""Re-scoring of any detector with FG-CLIP 2, without training."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.runner import load_state_dict
from mmengine.structures import InstanceData
from torch import Tensor

from fgclip2_det.fgclip2.detector_image import detector_image
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from fgclip2_det.models.competing_texts import CompetingTexts, find_competitors
from fgclip2_det.models.detectors.detector_text import (
    check_names_were_read,
    check_same_classes,
    give_names,
    names_to_give,
    reads_chunks,
    reads_text,
)
from fgclip2_det.models.detectors.open_vocab_mixin import (
    Names,
    as_vocabulary,
    leaves_split_open,
    text_source,
    with_negatives,
)
from fgclip2_det.models.detectors.wrapped_detector import competitors_of, model_config
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.models.image_memory import inputs_of, memory_of, without
from fgclip2_det.models.name_ranker import NameRanker, names_of
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.models.score_calibration import ScoreCalibration
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.negatives import NegativeTexts


@MODELS.register_module()
class FGCLIP2Rescorer(BaseDetector):
    """Wrapper of a detector that re-scores its boxes with FG-CLIP 2's similarities.

    The detector runs unchanged. Then the image is read from ``img_path`` in its
    original size and in the orientation that the detector saw (EXIF orientation applied
    or not, flipped or not), encoded once, and all boxes are compared with all names;
    see :class:`PredictionRescorer`. Results have the detector's scores as
    ``det_scores``.

    The weights of this model are the detector's, under their own names:
    ``tools/test.py CONFIG CHECKPOINT`` takes the detector's checkpoint. The encoder's
    are loaded from ``encoder``.

    The default mode 'keep' only changes the scores and thus the order of results: it
    needs no NMS, creates no duplicates and works with any detector. 'joint' can correct
    a wrong label if the detector gives a box several labels or ``floor`` is set.

    A detector that reads its class names from each data sample, like MMDetection's
    Grounding DINO and GLIP, gets the names of the vocabulary instead of the data set's.

    Args:
        detector: a model config, or the path of a config file with a ``model``; any
            registered detector whose ``predict`` returns boxes, labels and scores in
            [0, 1].
        encoder: ``dict(pretrained=folder or hub id)`` or ``dict(size='base')``.
        checkpoint: checkpoint of the detector; None if ``load_from`` or tools/test.py
            loads it.
        fusion: a rule of :mod:`fgclip2_det.models.fusion`; FG-CLIP 2's geometric mean.
        mode, labels_per_box, floor, nms_iou, merge_iou, max_per_image,
            max_num_patches: of :class:`PredictionRescorer`.
        one_by_one: pass images to the detector one at a time; always so for Grounding
            DINO and GLIP with ``test_cfg.chunked_size``, which require it.
        vocabulary: options of ``Vocabulary``; None if ``OpenVocabVocabularyHook`` sets
            the data set's classes.
        templates: prompt templates of FG-CLIP 2.
        competitors: what the names of a user compete with in the similarity, see
            ``OpenVocabTwoStageDetector``; None: as in a detector of this package, and
            for another one, whose training is not known, the names of COCO and
            Objects365.
        calibration: options of :class:`.ScoreCalibration`, for the same names.
        cache_dir: folder for text embeddings on disk; None keeps no cache.
        ranker: folder of a ranker of regions, for ``OpenVocabRankingFusion``.

    Attributes:
        detector: the wrapped detector.
        vocabulary: the current vocabulary, or None.

    Example:
        >>> rescorer = MODELS.build(dict(
        ...     type='FGCLIP2Rescorer', detector='faster-rcnn.py',
        ...     checkpoint='faster-rcnn.pth', encoder=dict(pretrained='fgclip2_tiny')))
        >>> rescorer.set_vocabulary(['red circle', '蓝色星形'])

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 4.2.3 and appendix B.
    """

    def __init__(
        self,
        detector: dict | str | os.PathLike,
        encoder: str | dict,
        checkpoint: str | None = None,
        fusion: dict | None = None,
        mode: str = 'keep',
        labels_per_box: int = 1,
        floor: float = 0.0,
        nms_iou: float | None = None,
        merge_iou: float | None = None,
        max_per_image: int | None = None,
        max_num_patches: int | str = 'auto',
        one_by_one: bool = False,
        vocabulary: dict | None = None,
        templates: str | Sequence[str] = 'raw',
        cache_dir: str | None = None,
        data_preprocessor: dict | None = None,
        competitors: dict | bool | None = None,
        calibration: dict | None = None,
        ranker: str | os.PathLike | None = None,
    ) -> None:
        super().__init__()
        self.detector = MODELS.build(model_config(detector))
        if data_preprocessor is not None:
            raise ValueError("data_preprocessor belongs in the detector's config")
        self.data_preprocessor = self.detector.data_preprocessor
        self.encoder_config, self.one_by_one = encoder, one_by_one
        # in a list: no submodule, so that checkpoints are the detector's
        self._encoder = [build_encoder(encoder, towers='vision').eval()]
        self._options: dict[str, Any] = dict(
            fusion=MODELS.build(fusion or dict(type='OpenVocabGeometricFusion')),
            mode=mode, labels_per_box=labels_per_box, floor=floor, nms_iou=nms_iou,
            merge_iou=merge_iou, max_per_image=max_per_image,
            max_num_patches=max_num_patches,
        )  # fmt: skip
        if competitors is None:
            competitors = competitors_of(self.detector)
        self.competitors = CompetingTexts.build(competitors)
        self.calibration, self.ranker = calibration or {}, ranker
        self._rescorer: PredictionRescorer | None = None
        self.templates, self.cache_dir = templates, cache_dir
        self.vocabulary: Vocabulary | None = None
        self._given: Names | None = None
        self._key: tuple | None = None  # of the vocabulary in force
        self._loaded = False  # weights came after the vocabulary was set
        self.trained_classes: Sequence[str] = ()
        self.keep_text_encoder = False
        self._text_encoder: list = []
        self._register_load_state_dict_pre_hook(self._load_detector)
        if checkpoint is not None:
            self._load_checkpoint(checkpoint)
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**vocabulary))
        self.configured_vocabulary = self.vocabulary

    @property
    def encoder(self):
        """The image tower that scores the boxes."""
        return self._encoder[0]

    def set_vocabulary(
        self, names: Names, negatives: NegativeTexts | None = None
    ) -> Vocabulary:
        """Change the classes of the re-scorer, and of an open-vocabulary detector.

        Args:
            names: a vocabulary, a list of names, or 'black cat. 白色杯子'. Without a
                split, names the detector was trained on are base, others novel;
                without parts, the detector's own are used.
            negatives: names that compete in the similarity and are not reported, see
                ``Vocabulary``.

        Returns:
            The new vocabulary.

        Raises:
            ValueError: for invalid names; for a detector with fixed classes, if names
                or their order differ from its classes; for names that the detector's
                text model cannot tokenize.
        """
        names = with_negatives(names, negatives)
        trained = self.trained_classes or getattr(self.detector, 'trained_classes', ())
        parts = getattr(self.detector, 'parts', None)
        vocabulary = as_vocabulary(names, self.templates, trained, parts)
        self._check_classes(vocabulary)
        to_give: list[str] = []
        if reads_text(self.detector):
            to_give = names_to_give(self.detector, vocabulary)
        is_open = leaves_split_open(names)
        key = vocabulary.prompts(), vocabulary.known_split().tolist(), is_open
        given = vocabulary.negatives, vocabulary.images
        key = *key, *(None if each is None else each.key for each in given)
        rescorer = self._rescorer
        if self.vocabulary is None or key != self._key:
            rescorer = self._build_rescorer(vocabulary, is_open, trained, parts)
        if hasattr(self.detector, 'set_vocabulary'):
            templates = getattr(self.detector, 'templates', 'raw')
            own = Vocabulary(
                vocabulary.aliases,
                templates,
                base_classes=None if is_open else vocabulary.base_classes,
                parts=vocabulary.parts,
                negatives=vocabulary.given_negatives,
                images=vocabulary.images,
                check=False,
            )
            if self.trained_classes:
                self.detector.trained_classes = self.trained_classes
            self.detector.set_vocabulary(own)
        # names that are refused leave all as it was: nothing is set before this line
        self._key, self._rescorer, self._names_to_give = key, rescorer, to_give
        self.vocabulary, self._given, self._loaded = vocabulary, names, False
        self.dataset_meta = dict(
            classes=tuple(vocabulary.names),
            base_classes=tuple(vocabulary.base_classes or ()),
            novel_classes=tuple(vocabulary.novel_classes or ()),
        )
        return vocabulary

    def _build_rescorer(
        self,
        vocabulary: Vocabulary,
        is_open: bool,
        trained: Sequence[str],
        parts: Mapping[str, Sequence[str]] | None,
    ) -> PredictionRescorer:
        """A re-scorer of these names, with competitors where they are a user's."""
        kept = self._text_encoder if self.keep_text_encoder else None

        def embed(texts: Vocabulary) -> Tensor:
            source = text_source(self.encoder_config, self.cache_dir, kept)
            return texts.embed(source, self.cache_dir)

        embeds, options = embed(vocabulary), dict(self._options)
        options['fusion'] = copy.copy(options['fusion'])  # which is set to the names
        is_base, found = vocabulary.is_base, None
        if is_open:
            found = find_competitors(
                self.competitors, vocabulary, embeds, trained, embed, None, parts
            )
            options['competitors'] = found
        if found is not None and self.competitors is not None:
            is_base = vocabulary.known_split() | found.known
            options['calibration'] = ScoreCalibration(**self.calibration)
        if options['fusion'].needs_trained and set(trained) - set(vocabulary.names):
            options['trained_embeds'] = embed(
                Vocabulary(list(trained), self.templates, base_classes=[], check=False)
            )
        if self.ranker is not None:
            texts = build_encoder(self.encoder_config, towers='text').eval()
            options['ranker'] = NameRanker.load(
                self.ranker, self.encoder, texts, names_of(vocabulary, found),
                getattr(options['fusion'], 'num_ranked', 1),
            )  # fmt: skip
        return PredictionRescorer(self.encoder, embeds, is_base=is_base, **options)

    def refresh_vocabulary(self) -> None:
        """Update the split after loading weights, which may define the base classes."""
        if self._loaded and self._given is not None:
            self.set_vocabulary(self._given)

    def predict(
        self,
        batch_inputs: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """The detector's results with fused scores.

        Raises:
            ValueError: without a vocabulary, for data samples without ``img_path``,
                images of another size than the detector's, more names than the
                detector can process at once, and as in :class:`PredictionRescorer`,
                naming the image.
        """
        if self._rescorer is None:
            raise ValueError(
                "the re-scorer has no vocabulary; call set_vocabulary(['cat', '狗']) "
                'or add OpenVocabVocabularyHook to custom_hooks'
            )
        if not rescale:
            raise ValueError(
                'boxes must be in the pixels of the original image: set rescale=True'
            )
        self.refresh_vocabulary()
        self.encoder.to(next(self.detector.parameters()).device)
        samples = self._detect(batch_inputs, batch_data_samples)
        for i, sample in enumerate(samples):
            inputs = None if batch_inputs is None else batch_inputs[i]
            sample.pred_instances = self._rescore(sample, inputs)
        return samples

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Raises ``NotImplementedError``: there is nothing to train."""
        raise NotImplementedError(
            'a re-scorer is not trained; train its detector with its own config'
        )

    def _forward(self, batch_inputs: Tensor, batch_data_samples=None):
        return self.detector._forward(batch_inputs, batch_data_samples)

    def extract_feat(self, batch_inputs: Tensor):
        """Features of the detector."""
        return self.detector.extract_feat(batch_inputs)

    def state_dict(self, *args, **kwargs) -> dict:
        """Weights of the detector, without a prefix."""
        return self.detector.state_dict(*args, **kwargs)

    def _detect(self, inputs: Tensor, samples: SampleList) -> SampleList:
        """The detector's results; from the images' memories where they hold those of a
        detector with fixed classes. One that reads names runs again for others."""
        if self.adapts:
            return self._run_detector(inputs, samples)
        new = without(samples, 'detections')
        fresh = [samples[i] for i in new]
        if fresh:
            fresh = self._run_detector(inputs_of(inputs, new), fresh)
        for i, sample in zip(new, fresh, strict=True):
            samples[i] = sample
            if (memory := memory_of(sample)) is not None:
                memory['detections'] = sample.pred_instances.clone()
        for sample in samples:
            if (memory := memory_of(sample)) is not None:
                sample.pred_instances = memory['detections'].clone()
        return samples

    @property
    def adapts(self) -> bool:
        """Whether the detector is told the names; False: it has fixed classes."""
        return reads_text(self.detector) or hasattr(self.detector, 'set_vocabulary')

    def _run_detector(self, inputs: Tensor, samples: SampleList) -> SampleList:
        if reads_text(self.detector):
            give_names(samples, self._names_to_give)
        if not (self.one_by_one or reads_chunks(self.detector)):
            return self.detector.predict(inputs, samples, rescale=True)
        return [
            self.detector.predict(inputs_of(inputs, [i]), [sample], rescale=True)[0]
            for i, sample in enumerate(samples)
        ]

    def _rescore(self, sample, inputs: Tensor | None) -> InstanceData:
        assert self.vocabulary is not None and self._rescorer is not None
        memory = memory_of(sample)
        known = memory is not None and self._rescorer.knows(memory)
        image = None if known else detector_image(sample.metainfo, inputs)
        if reads_text(self.detector):
            check_names_were_read(sample, self.vocabulary)
        instances = sample.pred_instances
        height, width = sample.ori_shape[:2]
        bboxes = instances.bboxes.cpu()
        limit = bboxes.new_tensor([width, height, width, height])
        touches = (bboxes[:, 2:] >= 0).all(1) & (bboxes[:, :2] <= limit[:2]).all(1)
        # boxes beside the image come to its border; others stay distinct, as in a list
        moved = bboxes.clamp(min=0).minimum(limit)
        bboxes = torch.where(touches[:, None], bboxes, moved)
        try:
            fused = self._rescorer(
                image, bboxes, instances.scores.cpu(), instances.labels.cpu(), memory
            )
        except ValueError as error:
            raise ValueError(f'{sample.img_path}: {error}') from error
        device = instances.bboxes.device
        result = instances.cpu()[fused.source].to(device)
        result.labels, result.scores = fused.labels.to(device), fused.scores.to(device)
        result.det_scores = fused.det_scores.to(device)
        if 'label_names' in result:
            names = self.vocabulary.names
            result.label_names = [names[label] for label in fused.labels.tolist()]
        return result

    def _check_classes(self, vocabulary: Vocabulary) -> None:
        """Check that a detector with fixed classes has those of the vocabulary."""
        own = (getattr(self.detector, 'dataset_meta', None) or {}).get('classes')
        if own is None or self.adapts:
            return
        check_same_classes(own, vocabulary.names)

    def _load_checkpoint(self, path: str) -> None:
        checkpoint = read_checkpoint(Path(path))
        weights = checkpoint.get('state_dict', checkpoint)
        check_weights(self.detector, weights, path)
        load_state_dict(self.detector, weights)
        meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        if 'classes' in meta and not hasattr(self.detector, 'set_vocabulary'):
            self.detector.dataset_meta = meta

    def _load_detector(self, state_dict: dict, prefix: str, *args) -> None:
        """Prefix the detector's parameter names with ``detector.``, before loading."""
        own = {name: state_dict.pop(name) for name in list(state_dict)
               if name.startswith(prefix)}  # fmt: skip
        own = {name.removeprefix(prefix): value for name, value in own.items()}
        check_weights(self.detector, own, 'the checkpoint')
        self._loaded = self.vocabulary is not None
        state_dict.update({f'{prefix}detector.{k}': v for k, v in own.items()})
