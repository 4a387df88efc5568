"""An inferencer with the images that were sent to it; one thread uses it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import nn

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inferencer import OpenVocabInferencer
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.vision import VisionTower
from fgclip2_det.vocabulary import Vocabulary, check_names, normalize_name
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt
from fgclip2_det.vocabulary.negatives import find_negatives, join_negatives
from fgclip2_det.web.asks import Ask, Example
from fgclip2_det.web.limits import Limits, Refused
from fgclip2_det.web.pictures import Picture, Pictures, Upload, as_file

KEPT_PROMPTS = 256  # classes that were shown, a row of numbers each


class Service:
    """What a server computes. Not thread-safe: the inferencer has one vocabulary.

    Args:
        inferencer: from now on keeps features of ``limits.kept`` images.
        limits: of the server.

    Attributes:
        encoder_passes: of FG-CLIP 2's vision tower, since the start.
    """

    def __init__(self, inferencer: OpenVocabInferencer, limits: Limits) -> None:
        self.inferencer, self.limits = inferencer, limits
        inferencer.cache_size = limits.kept
        self.pictures = Pictures(limits)
        self.encoder_passes = 0
        self._wording: tuple | None = None  # of the names in force
        self._set: Vocabulary | None = None  # what became of them
        self._prompts: OrderedDict[tuple, ImageEmbeds] = OrderedDict()
        self._encoder: DualEncoder | None = (
            None  # of image prompts, once there are some
        )
        for model in (inferencer.model, inferencer.system.detector):
            if hasattr(model, 'cache_dir'):
                model.cache_dir = None  # names from a network fill no disk
        self._count_passes(inferencer.model)

    def _count_passes(self, model: Any) -> None:
        encoder = getattr(model, 'encoder', None)  # a re-scorer's is no submodule
        owners = [each for each in (model, encoder) if isinstance(each, nn.Module)]
        towers = {module for owner in owners for module in owner.modules()}
        for module in towers:
            if isinstance(module, VisionTower):
                module.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.encoder_passes += 1

    # ------------------------------------------------------------------ requests
    def add(self, upload: Upload) -> dict[str, Any]:
        """Keep an image; its id and size.

        Raises:
            Refused: if it is no image, or too large.
        """
        return _described(self.pictures.add(upload), upload.label)

    def picture(self, key: str) -> bytes:
        """An image that was sent, upright, as a JPEG file.

        Raises:
            Refused: if it is here no more.
        """
        return as_file(self.pictures.get(key).image)

    def detect(self, ask: Ask) -> dict[str, Any]:
        """Boxes in every image of a request; one that cannot be read has an ``error``.

        Raises:
            Refused: for names that cannot be asked for, or if the only image cannot
                be read.
        """
        start, before = time.perf_counter(), self.encoder_passes
        held = self._held(ask)
        notes = self._use(ask)
        images = []
        for given in ask.images:
            try:
                picture, name = self._picture(given, held)
                images.append(self._detect(picture, name, ask.threshold))
            except Refused as refused:
                if len(ask.images) == 1:
                    raise
                images.append(refused.content)
        vocabulary = self.inferencer.vocabulary
        assert vocabulary is not None
        return {
            'images': images,
            'names': list(vocabulary.names),
            'threshold': ask.threshold,
            'notes': notes,
            'encoder_passes': self.encoder_passes - before,
            'seconds': round(time.perf_counter() - start, 4),
        }

    def explain(self, ask: Ask, index: int) -> dict[str, Any]:
        """Why the detection ``index`` of a request's answer has its score.

        Raises:
            Refused: if there is no such detection, or nothing to explain.
        """
        picture, _ = self._picture(ask.images[0])
        self._use(ask)
        with _refusing('explain'):
            content = self.inferencer.explain(picture.image, None, index).to_dict()
        return {**content, 'image': picture.key}

    # --------------------------------------------------------------------- parts
    def _held(self, ask: Ask) -> dict[str, Picture]:
        """Images that a request names by id and that are here, which the uploads of
        the same request must not push out."""
        named = [each for each in ask.images if isinstance(each, str)]
        return {key: self.pictures.get(key) for key in named if key in self.pictures}

    def _picture(
        self, given: Upload | str, held: Mapping[str, Picture] = MappingProxyType({})
    ) -> tuple[Picture, str]:
        """An image and its name."""
        if isinstance(given, str):
            return held.get(given) or self.pictures.get(given), ''
        return self.pictures.add(given), given.label

    def _detect(self, picture: Picture, name: str, threshold: float) -> dict[str, Any]:
        (outcome,) = self.inferencer.stream([picture.image], None, threshold)
        assert outcome.detections is not None, outcome.error
        return {**_described(picture, name), 'detections': _boxes(outcome.detections)}

    def _use(self, ask: Ask) -> list[str]:
        """Set the names of a request, unless they are in force; what is doubtful."""
        own = self._set is not None and self.inferencer.vocabulary is self._set
        if not own or ask.wording != self._wording:
            vocabulary = self._vocabulary(ask)
            self._set = None  # until the new one is in force
            with _refusing('names'):
                self._set = self.inferencer.set_vocabulary(vocabulary)
            self._wording = ask.wording
        return [finding.message for finding in check_names(ask.names)]

    def _vocabulary(self, ask: Ask) -> Vocabulary:
        names, shown = [list(group) for group in ask.names], ask.shown()
        negatives = {name: list(texts) for name, texts in ask.negatives}
        with _refusing('names'):
            automatic = find_negatives([[name] for name in ask.attributes])
            options: dict[str, Any] = dict(
                negatives=join_negatives(negatives or None, automatic), check=False
            )
            if not shown:
                return Vocabulary(names, **options)
            named = {normalize_name(group[0]) for group in ask.names}
            prompts = [
                self._prompt(name, examples, normalize_name(name) in named)
                for name, examples in shown.items()
            ]
            return ImageEmbeds.join(prompts).vocabulary(names, **options)

    def _prompt(
        self, name: str, examples: list[Example], with_text: bool
    ) -> ImageEmbeds:
        """A class that is shown, encoded once; with its name, half of each counts."""
        key = name, tuple(examples)
        if key not in self._prompts:
            boxes = [(self.pictures.get(e.key).image, e.bbox) for e in examples]
            prompt = ImagePrompt(name, boxes)
            self._prompts[key] = ImageEmbeds.encode([prompt], self._prompt_encoder())
            while len(self._prompts) > KEPT_PROMPTS:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        encoded = self._prompts[key]
        if with_text:
            return replace(encoded, texts=(name,), weights=(ImagePrompt.weight,))
        return encoded

    def _prompt_encoder(self) -> DualEncoder:
        if self._encoder is None:
            self._encoder = self.inferencer.system.image_encoder()
            self._count_passes(self._encoder)
        return self._encoder


@contextmanager
def _refusing(code: str) -> Iterator[None]:
    """A ValueError is the request's fault."""
    try:
        yield
    except ValueError as error:
        raise Refused(422, code, error) from error


def _described(picture: Picture, name: str) -> dict[str, Any]:
    width, height = picture.image.size
    return {
        'id': picture.key,
        'name': name,
        'width': width,
        'height': height,
        'notes': list(picture.notes),
    }


def _boxes(found: Detections) -> list[dict[str, Any]]:
    rows = zip(
        found.names,
        found.labels.tolist(),
        found.scores.tolist(),
        found.bboxes.tolist(),
        strict=True,
    )
    return [dict(name=n, label=c, score=s, bbox=b) for n, c, s, b in rows]
