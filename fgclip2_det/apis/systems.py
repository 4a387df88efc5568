"""The systems behind ``OpenVocabInferencer``: a model, its pipeline and its names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample, SampleList
from mmengine.config import Config
from mmengine.runner import load_state_dict
from mmengine.structures import InstanceData

from fgclip2_det.apis.pipelines import ImagePipeline
from fgclip2_det.engine.config import read_config
from fgclip2_det.engine.embedded_config import embedded_config
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from fgclip2_det.models.detectors.detector_text import (
    check_names_were_read,
    give_names,
    names_to_give,
    reads_chunks,
    reads_text,
)
from fgclip2_det.models.detectors.open_vocab_mixin import (
    Names,
    OpenVocabMixin,
    as_vocabulary,
)
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.models.image_memory import memory_of
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.synonyms import match_names

if TYPE_CHECKING:
    from fgclip2_det.apis.prompt_free import PromptFree

# trained by the README's first command, see assets/ovd_ovshapes/README.md
EMBEDDED = Path(__file__).resolve().parents[1] / 'assets/ovd_ovshapes/detector.pth'


@dataclass
class System:
    """A model that detects objects by name.

    Args:
        model: a detector of this package or MMDetection, or a re-scorer.
        pipeline: of its config; None for a model that reads images itself.
        default: names until others are set; None: the user has to give some.
        own_classes: of a detector with fixed classes; None for one that takes any.
        config: of the model; None where none was read.
        prompt_free: names everything, until names are set; None: names are set.
    """

    model: BaseDetector
    pipeline: ImagePipeline | None = None
    default: Vocabulary | None = None
    own_classes: tuple[str, ...] | None = None
    config: Config | None = None
    prompt_free: PromptFree | None = None
    _chosen: Vocabulary | None = field(default=None, repr=False)
    _label_of: torch.Tensor | None = field(default=None, repr=False)
    _texts: list[str] | None = field(default=None, repr=False)
    _last: Vocabulary | None = field(default=None, repr=False)  # set by the system
    _again: Callable[[], Vocabulary] | None = field(default=None, repr=False)

    @property
    def detector(self) -> BaseDetector:
        """The detector itself, without a re-scorer around it."""
        return getattr(self.model, 'detector', self.model)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The current names, or None."""
        if self.prompt_free is not None:
            return self.prompt_free.vocabulary
        if self.own_classes is None and hasattr(self.model, 'set_vocabulary'):
            return self.model.vocabulary
        return self._chosen

    @property
    def one_by_one(self) -> bool:
        """Whether images cannot be batched."""
        return reads_chunks(self.detector)

    def set_vocabulary(self, names: Names) -> Vocabulary:
        """Change the names.

        Raises:
            ValueError: for invalid names, and for names that a detector with fixed
                classes does not have or another one cannot read; what was detected
                before stays in force.
        """
        self._check_negatives(names)
        self._last = self._set(names)
        self.prompt_free, self._again = None, partial(self.set_vocabulary, names)
        return self._last

    def name_everything(self, make: Callable[[], PromptFree]) -> Vocabulary:
        """Detect without a prompt from now on.

        Args:
            make: sets what the model is given, and returns the rest; called again
                when other names were set in between, see :meth:`hold`.
        """
        self.prompt_free = make()
        self._last = self.prompt_free.vocabulary
        self._again = partial(self.name_everything, make)
        return self._last

    def hold(self) -> Callable[[], None]:
        """A function that sets what is detected now again, where it is not in force:
        work that takes long keeps its names, whatever is set in between."""
        vocabulary, again = self.vocabulary, self._again
        if again is None or vocabulary is not self._last:  # set in the model itself
            again = self._as_in_model()

        def keep() -> None:
            nonlocal vocabulary
            if self.vocabulary is not vocabulary:
                vocabulary = again()

        return keep

    def _as_in_model(self) -> Callable[[], Vocabulary]:
        """Sets what the model has now, with what it was given beside the names."""
        given: Any = getattr(self.model, '_given', self.vocabulary)
        own = given if isinstance(self.model, OpenVocabMixin) else (given,)

        def again() -> Vocabulary:
            vocabulary = cast(Any, self.model).set_vocabulary(*own)
            self.prompt_free = None
            return vocabulary

        return again

    def _set(self, names: Names) -> Vocabulary:
        if self.own_classes is not None:
            self._chosen = self._choose(names, self.own_classes)
            return self._chosen
        if hasattr(self.model, 'set_vocabulary'):
            return self.model.set_vocabulary(names)
        vocabulary = as_vocabulary(names, 'raw', ())
        self._texts = names_to_give(self.model, vocabulary)
        self._chosen = vocabulary
        return vocabulary

    def image_encoder(self) -> DualEncoder:
        """Both towers of the encoder that names are embedded with.

        Raises:
            ValueError: for a detector that compares no embeddings.
        """
        own = getattr(self.model, 'encoder_config', None)
        own = own or getattr(self.model, 'text_encoder', None)
        if own is None or self.own_classes is not None:
            raise ValueError(
                'image prompts need a detector whose names are compared as embeddings; '
                'take one that reads names, with an encoder'
            )
        return build_encoder(own)

    def _check_negatives(self, names: Names) -> None:
        """Refuse negatives and image prompts where no embeddings are compared."""
        if not isinstance(names, Vocabulary) or (
            names.negatives is None and names.images is None
        ):
            return
        fixed = self.own_classes is not None
        if fixed or not hasattr(self.model, 'competitors'):
            raise ValueError(
                'negatives and image prompts need names that are compared as '
                'embeddings, but the detector '
                f'{"has fixed classes" if fixed else "is not re-scored"}; leave them '
                'out, or take a detector that reads names, with an encoder'
            )

    def _choose(self, names: Names, own: tuple[str, ...]) -> Vocabulary:
        """Some of the fixed classes, in the user's words and order."""
        vocabulary = as_vocabulary(names, 'raw', ())
        matches = match_names(vocabulary.aliases, own)
        missing = [
            names[0]
            for names, match in zip(vocabulary.aliases, matches, strict=True)
            if match is None
        ]
        if missing:
            raise ValueError(
                f'the detector has no class {missing[0]!r} ({len(missing)} of '
                f'{len(matches)} names); it has fixed classes, {len(own)}: '
                f'{", ".join(own[:8])}{", ..." if len(own) > 8 else ""}'
            )
        self._label_of = torch.full((len(own),), -1)
        for label, match in enumerate(matches):
            assert match is not None
            self._label_of[own.index(match)] = label
        if hasattr(self.model, 'set_vocabulary') and self.model.vocabulary is None:
            assert self.default is not None
            self.model.set_vocabulary(self.default)
        return vocabulary

    def __call__(self, batch: Sequence[Mapping[str, Any]]) -> list[InstanceData]:
        """Boxes, scores and labels of images that went through the pipeline."""
        if self.pipeline is None:
            samples: SampleList = [data['data_samples'] for data in batch]
            samples = cast(Any, self.model).predict(None, samples)
        else:
            data = {key: [each[key] for each in batch] for key in batch[0]}
            if self._texts is not None:
                give_names(data['data_samples'], self._texts)
            samples = self.model.test_step(data)
        return [self._result(sample) for sample in samples]

    def _result(self, sample: DetDataSample) -> InstanceData:
        if self._texts is not None:
            assert self._chosen is not None
            check_names_were_read(sample, self._chosen)
        instances = sample.pred_instances.cpu()
        if self._label_of is not None:
            labels = self._label_of[instances.labels]
            instances = instances[labels >= 0]
            instances.labels = labels[labels >= 0]
        order = instances.scores.argsort(descending=True, stable=True)
        if self.prompt_free is not None:
            return self.prompt_free(instances[order], memory_of(sample))
        return instances[order]


def trained_system(
    weights: str | os.PathLike, config: str | os.PathLike | Config | None
) -> System:
    """A detector that ``tools/train.py`` trained, from its checkpoint.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged or of another config, or of another kind.
    """
    checkpoint = read_checkpoint(weights)
    meta = checkpoint.get('meta', {})
    cfg = config_of(config, meta, weights)
    model = _built(cfg, weights, of_checkpoint=config is None)
    if not hasattr(model, 'set_vocabulary'):
        raise ValueError(
            f'{type(model).__name__} is not an open-vocabulary detector; expected a '
            'config with OpenVocabTwoStageDetector, or give this one as '
            'detector=CONFIG, weights=CHECKPOINT'
        )
    state = checkpoint.get('state_dict', checkpoint)
    check_weights(model, state, weights)
    load_state_dict(model, state)
    trained = meta.get('dataset_meta') or {}
    names = list(trained.get('classes', ()))
    default = None
    if names:
        base = trained.get('base_classes')
        default = Vocabulary(names, base_classes=base, check=False)
    return System(model, ImagePipeline(cfg), default, config=cfg)


def _built(cfg: Config, weights: object, of_checkpoint: bool) -> BaseDetector:
    """The model of a config; a checkpoint's own that does not fit is a sentence."""
    refuse_segmentor(cfg, weights)
    if not of_checkpoint:
        return MODELS.build(cfg.model)
    try:
        return MODELS.build(cfg.model)
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        raise ValueError(
            f'{weights}: the model of its config cannot be built '
            f'({type(error).__name__}: {error}); pass config=FILE'
        ) from error


def refuse_segmentor(cfg: Config, source: object) -> None:
    """ValueError for the config of a segmentor, which finds no boxes."""
    if cfg.get('model', {}).get('type') == 'OpenVocabSegmentor':
        raise ValueError(
            f'{source} is of a segmentor, which gives label maps and no boxes; give a '
            'detector, or draw label maps with tools/test.py --show-dir'
        )


def config_of(
    config: str | os.PathLike | Config | None, meta: Mapping, weights: object
) -> Config:
    """The config given, or the one that a checkpoint contains."""
    if isinstance(config, Config):
        return config
    if config is not None:
        return read_config(os.fspath(config))
    if not isinstance(meta.get('cfg'), str):
        raise ValueError(f'{weights} contains no config; pass config=FILE')
    return embedded_config(meta['cfg'], weights)


def finish(system: System) -> System:
    """Find the fixed classes of a system's detector, or the names of its training."""
    detector = system.detector
    if reads_text(detector) or hasattr(detector, 'set_vocabulary'):
        if trained := getattr(detector, 'trained_classes', ()):
            system.default = Vocabulary(trained, base_classes=trained, check=False)
        return system
    classes = _classes(detector, system.config)
    base = classes
    if isinstance(detector, SavedPredictions):
        base = detector.split.base_classes
    system.own_classes = classes
    system.default = Vocabulary(classes, base_classes=base, check=False)
    return system


def _classes(detector: BaseDetector, config: Config | None) -> tuple[str, ...]:
    """Class names in label order: the checkpoint's, else the config's data set's."""
    meta = getattr(detector, 'dataset_meta', None) or {}
    if not meta.get('classes') and config is not None:
        dataset = config.get('test_dataloader', {}).get('dataset', {})
        meta = dataset.get('metainfo') or {}
        if not meta.get('classes'):
            kind = DATASETS.get(str(dataset.get('type')))
            meta = getattr(kind, 'METAINFO', {})
    if not meta.get('classes'):
        raise ValueError(
            'the class names of the detector are not known: neither its checkpoint '
            "(meta['dataset_meta']['classes']) nor its config "
            '(test_dataloader.dataset.metainfo) has them; add them to the config'
        )
    return tuple(meta['classes'])
