"""A system with its names and lowest score, as plug-ins of other tools run it.

The tools start plug-ins themselves, so what they run comes from their own options or
from environment variables: ``FGCLIP2_NAMES``, ``FGCLIP2_SCORE_THR``,
``FGCLIP2_WEIGHTS`` and so on, see :class:`DetectorOptions`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inferencer import OpenVocabInferencer
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.fgclip2.image import ImageLike
from fgclip2_det.vocabulary.names import parse_entries
from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass
from fgclip2_det.vocabulary.ontology_file import as_ontology
from fgclip2_det.vocabulary.texts import parse_texts
from fgclip2_det.vocabulary.vocabulary import Vocabulary

PREFIX = 'FGCLIP2_'
OntologyLike = Ontology | Mapping | Sequence | str | os.PathLike


@dataclass(frozen=True)
class DetectorOptions:
    """What a plug-in runs.

    Args:
        names: what to detect: names ('black cat; 白色杯子'), a file of one class a
            line, or an ontology as for ``fgclip2-det annotate``; None: the names of
            the detector's training.
        score_thr: lowest score; a class's ``threshold`` in an ontology goes before it.
        weights, detector, encoder, fusion, chunk_size, device, dtype: of
            :class:`.OpenVocabInferencer`.

    Raises:
        ValueError: naming the option.
    """

    names: OntologyLike | None = None
    score_thr: float = 0.3
    weights: str | None = None
    detector: str | None = None
    encoder: str | None = None
    fusion: str | None = None
    chunk_size: int | None = None
    device: str | None = None
    dtype: str = 'float32'

    @classmethod
    def read(
        cls,
        given: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> DetectorOptions:
        """Options of a tool, and where it gives none (or None) of the environment.

        Args:
            given: by their names, as above.
            environ: variables ``FGCLIP2_NAMES`` and so on; None: those of the process.
        """
        known = [field.name for field in fields(cls)]
        for name in given or ():
            if name not in known:
                raise ValueError(
                    f'unknown option {name!r}; known are {", ".join(known)}'
                )
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for name in known:
            variable = f'{PREFIX}{name.upper()}'
            value, source = (given or {}).get(name), name
            if value is None:
                value, source = environ.get(variable) or None, variable
            if value is not None:
                found[name] = _converted(name, value, source)
        return cls(**found)

    def build(self) -> OpenVocabInferencer:
        """The system.

        Raises:
            FileNotFoundError, ValueError: as :class:`.OpenVocabInferencer` does.
        """
        system = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ('names', 'score_thr')
        }
        return OpenVocabInferencer(system.pop('weights'), **system)


class NamedDetector:
    """A system with its classes; may be called by several threads.

    Args:
        given: options of the tool, see :class:`DetectorOptions`.
        environ: variables; None: those of the process.
        inferencer: the system; None builds it.

    Raises:
        FileNotFoundError, ValueError: naming the option that cannot be used.

    Example:
        >>> detector = NamedDetector({'names': 'red circle; 蓝色正方形'})
        >>> detector.classes
        ['red circle', '蓝色正方形']
        >>> detector('shapes.png', score_thr=0.5).names
        ['red circle']
    """

    def __init__(
        self,
        given: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        inferencer: OpenVocabInferencer | None = None,
    ) -> None:
        self.options = DetectorOptions.read(given, environ)
        names = self.options.names
        self.ontology = None if names is None else as_ontology(names)
        self.inferencer = self.options.build() if inferencer is None else inferencer
        self._lock = threading.RLock()
        self._current: Ontology | None = None
        self._set: Vocabulary | None = None  # of it, as the system has it
        with self._lock:
            self._use(self.ontology)

    @property
    def classes(self) -> list[str]:
        """Class names of the options, or of the detector's training, by label."""
        if self.ontology is not None:
            return self.ontology.names
        default = self.inferencer.system.default
        return [] if default is None else list(default.names)

    def __call__(
        self,
        image: ImageLike,
        ontology: OntologyLike | None = None,
        score_thr: float | None = None,
        channel_order: str = 'rgb',
    ) -> Detections:
        """Detect in one image.

        Names are encoded when they change, not for each image.

        Args:
            image: as for :class:`.OpenVocabInferencer`.
            ontology: other classes than those of the options, for this image. A text
                may name a file; for what people type see :func:`prompted`.
            score_thr: lowest score of this image; boxes also need the ``threshold``
                of their class, if it has one.
            channel_order: of an (h, w, 3) array, 'rgb' or 'bgr'.

        Returns:
            Detections whose ``classes`` are the ontology's.

        Raises:
            ValueError: for an image that cannot be read, or names that cannot be used.
        """
        own = self.ontology if ontology is None else as_ontology(ontology)
        with self._lock:
            self._use(own)
            (found,) = self.inferencer(image, None, 0.0, channel_order)
        if own is None:
            default = self.options.score_thr if score_thr is None else score_thr
            return found.above(default)
        lowest = torch.tensor(self._thresholds(own, score_thr))
        found = replace(found, classes=tuple(own.names))
        return found.take((found.scores >= lowest[found.labels]).nonzero()[:, 0])

    def _thresholds(self, ontology: Ontology, score_thr: float | None) -> list[float]:
        """Lowest score of each of C classes."""
        own = [each.threshold for each in ontology.classes]
        if score_thr is None:
            return [self.options.score_thr if t is None else t for t in own]
        return [max(score_thr, t or 0.0) for t in own]

    def _use(self, ontology: Ontology | None) -> None:
        """Set the classes of a call, unless they are in force."""
        inferencer = self.inferencer
        in_force = self._set is not None and inferencer.vocabulary is self._set
        if in_force and ontology == self._current:
            return
        self._set = None
        if ontology is not None:
            names = ontology.vocabulary(inferencer.encode_prompts)
        elif inferencer.system.default is not None:
            names = inferencer.system.default
        else:
            raise ValueError(
                'expected names of objects to detect, for a detector that has no '
                f"names of its own; set {PREFIX}NAMES='black cat; 白色杯子' or the "
                'option names'
            )
        self._set, self._current = inferencer.set_vocabulary(names), ontology


def prompted(text: str, labels: Ontology | None = None) -> Ontology:
    """The classes of what a person typed: names and nothing else, never a file.

    Args:
        text: names as for ``fgclip2-det detect``: 'black cat; cup|杯子'.
        labels: the classes that a project has. Each name is then one of them, one of
            their prompts, or has its class before it: 'Cup=red cup|红色杯子'.

    Raises:
        ValueError: for a text without a name, a name that is there twice, or one that
            is no class of ``labels``.
    """
    entries = parse_entries(parse_texts(text))
    if not entries:
        raise ValueError(
            f"expected names such as 'black cat; 白色杯子', got {text!r:.80}"
        )
    if labels is None:
        return as_ontology(entries)
    classes: dict[str, list[str]] = {}
    for words in entries:
        name, own = _label_of(words, labels)
        classes.setdefault(name, []).extend(own)
    return Ontology(
        tuple(OntologyClass(name, tuple(own)) for name, own in classes.items()),
        source='the prompt',
    )


def _label_of(words: list[str], labels: Ontology) -> tuple[str, list[str]]:
    """The class that a name of a prompt belongs to, and its texts."""
    known = {normalize_name(p): c.name for c in labels.classes for p in c.prompts}
    known |= {normalize_name(name): name for name in labels.names}
    label, mark, first = words[0].partition('=')
    if mark and normalize_name(label) in known and first.strip():
        return known[normalize_name(label)], [first.strip(), *words[1:]]
    for word in words:
        if normalize_name(word) in known:
            return known[normalize_name(word)], words
    raise ValueError(
        f'{words[0]!r} is no label of the project, which has '
        f'{", ".join(labels.names)}; to ask for one of them so, write '
        f'"{labels.names[0]}={words[0]}"'
    )


def _converted(name: str, value: Any, source: str) -> Any:
    """A value of an option in its type."""
    if name == 'score_thr':
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= 1:
            raise ValueError(f'{source} must be a number from 0 to 1, got {value!r}')
        return number
    if name == 'chunk_size':
        if not str(value).isdecimal() or int(value) < 1:
            raise ValueError(f'{source} must be a whole number from 1, got {value!r}')
        return int(value)
    return os.fspath(value) if isinstance(value, Path) else value
