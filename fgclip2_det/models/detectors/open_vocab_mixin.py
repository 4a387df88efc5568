"""Mixin for detectors that classify by text, with an exchangeable vocabulary."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch
from mmdet.structures import SampleList
from torch import Tensor

from fgclip2_det.compat import det_inferencer
from fgclip2_det.datasets.transforms.recolor_objects import LABEL_BITS
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.models.competing_texts import CompetingTexts, find_competitors
from fgclip2_det.models.detectors.text_prompts import (
    are_asked,
    let_texts_through,
    names_of_samples,
)
from fgclip2_det.models.encoders import text_source
from fgclip2_det.vocabulary import Vocabulary, fingerprint, parts_of
from fgclip2_det.vocabulary.competitors import Competitors
from fgclip2_det.vocabulary.name_checks import uncomposed_names
from fgclip2_det.vocabulary.negatives import NegativeTexts

Names = Vocabulary | Sequence[str | Sequence[str]] | str


def as_vocabulary(
    names: Names,
    templates: str | Sequence[str],
    trained_classes: Sequence[str],
    parts: Mapping[str, Sequence[str]] | None = None,
) -> Vocabulary:
    """A vocabulary from a string, a list of names or a ``Vocabulary``; templates, split
    and parts that it does not define are the detector's.
    """
    if not isinstance(names, Vocabulary):
        names = Vocabulary(names if isinstance(names, str) else list(names))
    return names.resolved(templates, trained_classes, parts)


def leaves_split_open(names: Names) -> bool:
    """Whether names are a user's; the classes of a data set come with a split and
    without negatives."""
    if not isinstance(names, Vocabulary):
        return True
    shown = names.images is not None and names.images.owners
    return names.is_base is None or names.negatives is not None or bool(shown)


def has_parts(names: Names) -> bool:
    """Whether names say what they are composed of, or that they are not."""
    return isinstance(names, Vocabulary) and names.has_given_parts


def with_negatives(names: Names, negatives: NegativeTexts | None) -> Names:
    """Names with negatives; the names as they are where None is given."""
    if negatives is None:
        return names
    if isinstance(names, Vocabulary):
        return names.with_negatives(negatives)
    return Vocabulary(names, negatives=negatives)


class OpenVocabMixin:
    """Vocabulary of a two-stage detector with an ``OpenVocabBBoxHead``.

    The text tower is not part of the detector: names are embedded once, whenever the
    vocabulary changes, and the embeddings are saved in the checkpoint.

    MMDetection's ``init_detector``, ``inference_detector`` and ``DetInferencer`` are
    supported: they set ``dataset_meta`` from the checkpoint, whose classes become the
    vocabulary, and pass ``text_prompt`` or ``texts`` with an image; such names are used
    for that call only.

    Attributes:
        vocabulary: the current vocabulary, or None.
        configured_vocabulary: the vocabulary of the config, or None.
        dataset_meta: the current ``classes``, ``base_classes`` and ``novel_classes``,
            and other entries set by a checkpoint or a user; None if empty.
        cfg: the config that ``init_detector`` built the detector from, or None.
        keep_text_encoder: set to True if vocabularies change often; the text tower then
            stays in memory after its first use.
    """

    roi_head: Any  # the detector's
    training: bool

    def init_vocabulary(
        self,
        text_encoder: str | dict,
        vocabulary: dict | None,
        templates: str | Sequence[str],
        cache_dir: str | None,
        parts: Mapping[str, Sequence[str]] | None = None,
        competitors: dict | bool = True,
    ) -> None:
        """Initialise the vocabulary, at the end of a detector's ``__init__``."""
        self.text_encoder, self.parts = text_encoder, parts
        self.templates, self.cache_dir = templates, cache_dir
        self.competitors = CompetingTexts.build(competitors)
        self.vocabulary: Vocabulary | None = None
        # arguments of set_vocabulary; in a tuple, so that the encoder is no submodule
        self._given: tuple = (None, None)
        self._before_texts: tuple | None = None  # those before names of an image
        self.keep_text_encoder = False
        self._kept_text_encoder: list[DualEncoder] = []  # in a list: no submodule
        self._kept_background: dict[str, Tensor] = {}  # its text -> (1, D)
        self._kept_trained: dict[tuple, Tensor] = {}  # names, templates -> (T, D)
        if vocabulary is not None:
            self.set_vocabulary(Vocabulary(**vocabulary))
        self.configured_vocabulary = self.vocabulary

    @property
    def classifier(self):
        """The region-text classifier that holds the embeddings."""
        return self.roi_head.bbox_head.fc_cls

    def set_vocabulary(
        self,
        names: Names,
        encoder: DualEncoder | None = None,
        negatives: NegativeTexts | None = None,
    ) -> Vocabulary:
        """Change the classes; weights do not change, labels index the new names.

        Args:
            names: a vocabulary, a list of names, or 'black cat. 白色杯子'. Without a
                split, names the detector was trained on are base, others novel;
                without templates or parts, the detector's own hold. Names without a
                split are a user's and compete with those of the training as well, see
                ``competitors``; with one they are the classes of a data set.
            encoder: text tower to use, for this vocabulary alone; the detector's own,
                loaded only if the names are new, when None.
            negatives: names that compete and are not reported, see ``Vocabulary``.

        Returns:
            The new vocabulary.

        Raises:
            ValueError: for empty or duplicate names, or prompts beyond 64 tokens.
        """
        names = with_negatives(names, negatives)
        vocabulary = as_vocabulary(
            names, self.templates, self.trained_classes, self.parts
        )
        digest = self._digest(vocabulary, encoder)
        source, own = encoder, self.classifier.class_embeds()
        changed: tuple[Tensor, DualEncoder | str] | None = None
        if not torch.equal(digest, self.classifier.digest.cpu()):
            source = encoder or self._text_source()
            embeds = vocabulary.embed(source, self.cache_dir)
            own = embeds.detach().to(own.device)
            if self.classifier.background is not None:
                extra = self._background_embeds(source, encoder is None)
                embeds = torch.cat([embeds, extra.to(embeds)])
            changed = embeds, source
        is_open = leaves_split_open(names)
        if is_open and not has_parts(names):
            self._warn_uncomposed(vocabulary)
        competitors = self._compete(vocabulary, encoder, own) if is_open else None
        fusion = self._fusion_of(vocabulary, encoder, own, competitors)
        # names that are refused leave all as it was: nothing is set before this line
        if changed is not None:
            self.classifier.set_embeds(changed[0], vocabulary.is_base, changed[1])
            self.classifier.digest.copy_(digest)
        self.classifier.loaded = False
        self.classifier.set_competitors(competitors)
        self.classifier.is_open = is_open and self.competitors is not None
        if fusion is not None:
            self.roi_head.fusion = fusion
        self.roi_head.bbox_head.num_classes = len(vocabulary)
        self.vocabulary, self._given = vocabulary, (names, encoder)
        if self.training and not is_open:
            self._set_training_texts(source)
        self._before_texts = None
        self._update_dataset_meta(vocabulary)
        return vocabulary

    def _warn_uncomposed(self, vocabulary: Vocabulary) -> None:
        """Names without the parts that this detector's names are composed of."""
        shown = () if vocabulary.images is None else vocabulary.images.names
        texts = [name for name in vocabulary.names if name not in shown]
        if doubts := uncomposed_names(texts, self.parts or (), self.trained_classes):
            warnings.warn(doubts, stacklevel=3)

    def _background_embeds(self, source: DualEncoder | str, own: bool) -> Tensor:
        """(1, D) of the background's text; that of the detector's own text tower is
        computed once."""
        text = self.classifier.background
        if own and text in self._kept_background:
            return self._kept_background[text]
        embeds = Vocabulary([text]).embed(source, self.cache_dir)
        if own:
            self._kept_background[text] = embeds
        return embeds

    def _fusion_of(self, vocabulary, encoder, embeds, competitors) -> Any:
        """The fusion rule with its weights of these names; None without one."""
        rule = getattr(self.roi_head, 'fusion', None)
        known = vocabulary.is_base.to(embeds.device)
        if competitors is not None:
            known = known | competitors.known.to(known)
        unasked = set(self.trained_classes) - set(vocabulary.names)
        needed = rule is not None and rule.needs_trained and unasked
        trained = self.trained_embeds(encoder) if needed else None
        return rule and rule.with_names(embeds, known, trained)

    def trained_embeds(self, encoder: DualEncoder | None = None) -> Tensor:
        """(T, D) text embeddings of ``trained_classes`` with the detector's templates;
        those of its own text tower, used if ``encoder`` is None, are computed once."""
        names = self.trained_classes
        own: Any = dict(base_classes=[], check=False, parts=parts_of(names, self.parts))
        texts = Vocabulary(list(names), self.templates, **own)
        if encoder is not None:
            return texts.embed(encoder, self.cache_dir)
        key = names, tuple(texts.templates)
        if key not in self._kept_trained:
            embeds = texts.embed(self._text_source(), self.cache_dir)
            self._kept_trained = {key: embeds}
        return self._kept_trained[key]

    def _compete(
        self, vocabulary: Vocabulary, encoder: DualEncoder | None, embeds: Tensor
    ) -> Competitors | None:
        """What names of a user, embedded, compete with; None: each other alone."""
        return find_competitors(
            self.competitors, vocabulary, embeds, self.trained_classes,
            lambda texts: texts.embed(encoder or self._text_source(), self.cache_dir),
            None if encoder is None else fingerprint(encoder), self.parts,
        )  # fmt: skip

    def _update_dataset_meta(self, vocabulary: Vocabulary) -> None:
        """Update in place: MMDetection's visualizer holds the same dictionary."""
        meta = {} if self.dataset_meta is None else self.dataset_meta
        meta.update(
            classes=tuple(vocabulary.names),
            base_classes=tuple(vocabulary.base_classes or ()),
            novel_classes=tuple(vocabulary.novel_classes or ()),
        )
        palette = meta.get('palette')
        if isinstance(palette, list | tuple) and len(palette) < len(vocabulary):
            meta['palette'] = 'random'  # a colour a name
        self.dataset_meta = meta

    @property
    def dataset_meta(self) -> dict | None:
        """See the class."""
        return self.__dict__.get('_dataset_meta')

    @dataset_meta.setter
    def dataset_meta(self, meta: dict | None) -> None:
        self.__dict__['_dataset_meta'] = meta

    @property
    def cfg(self) -> MutableMapping | None:
        """See the class."""
        return self.__dict__.get('_cfg')

    @cfg.setter
    def cfg(self, cfg: MutableMapping | None) -> None:
        self.__dict__['_cfg'] = cfg
        if cfg is not None:
            let_texts_through(cfg)
            det_inferencer.install()

    def _set_training_texts(self, source: DualEncoder | str | None = None) -> None:
        """Set hard negatives and parts of the names, if the head uses any."""
        head, digest = self.roi_head.bbox_head, self.classifier.digest.cpu()
        users = [u for u in (head.hard_names, head.name_parts) if u is not None]
        if all(torch.equal(digest, user.digest.cpu()) for user in users):
            return
        names = self.classifier.class_embeds()
        source = source or self._given[1]

        def embed(texts: Vocabulary) -> Tensor:
            return texts.embed(source or self._text_source(), self.cache_dir)

        extra = [user.set_vocabulary(self.vocabulary, names, embed) for user in users]
        self.classifier.extra_texts = torch.cat([t.to(names) for t in extra])
        for user in users:
            user.digest = self.classifier.digest.clone()

    @property
    def trained_classes(self) -> tuple[str, ...]:
        """Names with boxes in training; saved in the checkpoint."""
        return self.classifier.trained_classes

    @trained_classes.setter
    def trained_classes(self, names: Sequence[str]) -> None:
        self.classifier.trained_classes = names

    def check_vocabulary(self, batch_data_samples: SampleList = ()) -> None:
        """Use the vocabulary given with the images, else the current one, else that of
        the checkpoint.

        Raises:
            ValueError: if there is none, or the images of a batch have different ones.
        """
        if self.vocabulary is not None and self.classifier.loaded:
            self.set_vocabulary(*self._given)  # a checkpoint does not replace it
        if self.vocabulary is None and self.classifier.loaded:
            self._take_checkpoints_names()
        self._take_texts(names_of_samples(batch_data_samples))
        if self.vocabulary is None:
            raise ValueError(
                "the detector has no vocabulary; call set_vocabulary(['cat', '狗']) "
                'or add OpenVocabVocabularyHook to custom_hooks'
            )

    def _take_checkpoints_names(self) -> None:
        """Use the names of ``dataset_meta`` or those of the training, whichever match
        the number of loaded embeddings."""
        meta, count = self.dataset_meta or {}, len(self.classifier.is_base)
        for names, base in (
            (meta.get('classes'), meta.get('base_classes')),
            (self.trained_classes, None),
        ):
            if names and len(names) == count:
                given = Vocabulary(names, base_classes=base, check=False)
                # resolved: the classes of a data set, not names of a user
                self.set_vocabulary(
                    given.resolved(self.templates, self.trained_classes, self.parts)
                )
                return

    def _take_texts(self, names: list[list[str]] | None) -> None:
        """Use the names given with an image; the previous vocabulary is restored."""
        before = self._before_texts
        if names is None:
            if before is not None:
                self.set_vocabulary(*before)
        elif self.vocabulary is None or not are_asked(names, self.vocabulary):
            before = before or (self._given if self.vocabulary else None)
            self.keep_text_encoder = True
            self.set_vocabulary(names)
            self._before_texts = before

    def check_training_boxes(self, batch_data_samples: SampleList) -> None:
        """Raise ``ValueError`` for a training box of a novel class or with a label
        beyond the vocabulary, or if there is no vocabulary."""
        self.check_vocabulary()
        if not self.trained_classes and leaves_split_open(self._given[0]):
            assert self.vocabulary is not None
            self.trained_classes = self.vocabulary.names  # from now on
            self.set_vocabulary(*self._given)
        self._set_training_texts()
        is_base = self.classifier.is_base
        assert self.vocabulary is not None  # checked above
        for sample in batch_data_samples:
            labels = sample.gt_instances.labels
            if len(labels) and int(labels.max()) >> LABEL_BITS:
                raise ValueError(
                    f'{sample.img_path} has recoloured objects, whose labels are not '
                    'taken apart; end its pipeline with PackOpenVocabInputs'
                )
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

    def _text_source(self) -> DualEncoder | str:
        return text_source(
            self.text_encoder,
            self.cache_dir,
            self._kept_text_encoder if self.keep_text_encoder else None,
        )

    def _digest(self, vocabulary: Vocabulary, encoder: DualEncoder | None) -> Tensor:
        """(32,) uint8 digest of encoder, prompts and split; a given encoder is
        identified by its weights, the detector's own by its config."""
        own = self.text_encoder
        if encoder is not None:
            own = {'fingerprint': fingerprint(encoder)}
        key = [
            own if isinstance(own, str) else dict(own),
            vocabulary.prompts(),
            vocabulary.known_split().tolist(),
            self.classifier.background,
        ]
        if vocabulary.images is not None:
            key.append(vocabulary.images.key)
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).digest()
        return torch.frombuffer(bytearray(digest), dtype=torch.uint8)
