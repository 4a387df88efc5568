"""Open-vocabulary detection with onnxruntime, without PyTorch."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgclip2_det.fgclip2.image import ImageLike, load_image
from fgclip2_det.io import InputError
from fgclip2_det.onnx.class_nms import class_nms
from fgclip2_det.onnx.folder import CANDIDATES, DETECTOR, ModelFolder
from fgclip2_det.onnx.name_embeds import NameEmbeds, embed_names, read_arrays
from fgclip2_det.onnx.pictures import to_input
from fgclip2_det.onnx.sessions import CPU, Session
from fgclip2_det.onnx.text_encoder import TextEncoder
from fgclip2_det.vocabulary.class_names import ClassNames
from fgclip2_det.vocabulary.names import parts_of
from fgclip2_det.vocabulary.negatives import NegativeTexts

Names = ClassNames | NameEmbeds | Sequence[str | Sequence[str]] | str


@dataclass(frozen=True)
class Found:
    """Detections of one image.

    Attributes:
        bboxes: (n, 4) float32 xyxy in the upright image's pixels.
        scores: (n,) float32, descending.
        labels: (n,) int64 indices into ``classes``.
        classes: the names.
    """

    bboxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.bboxes)

    @property
    def names(self) -> list[str]:
        """(n,) class names."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, score_thr: float) -> Found:
        """Those that score at least ``score_thr``."""
        rows = self.scores >= score_thr
        return Found(
            self.bboxes[rows], self.scores[rows], self.labels[rows], self.classes
        )


class Detector:
    """An exported detector.

    Needs onnxruntime, NumPy, Pillow and tokenizers. Names are exchanged as with
    ``OpenVocabInferencer``, with the same competitors, calibration and results.

    Args:
        folder: that ``fgclip2-det export`` wrote.
        threads: of one operator; None for one a core.
        providers: of onnxruntime, the preferred one first.
        verify: compare the files with their digests first.

    Attributes:
        vocabulary: the names that were set; None before, and where they came embedded.
        embeds: their :class:`.NameEmbeds`; None before.

    Raises:
        InputError: for a folder that is damaged or has no detector, and without
            onnxruntime.

    Example:
        >>> detector = Detector('exported')
        >>> detector('street.jpg', 'black cat; 白色杯子', score_thr=0.3)[0].names
        ['白色杯子']
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
        verify: bool = True,
    ) -> None:
        self.folder = ModelFolder(folder, verify)
        path = self.folder.need(DETECTOR, 'the detector')
        self.options: dict[str, Any] = self.folder['detector']
        self.session = Session(path, threads, providers)
        self.text = TextEncoder(self.folder, threads, providers)
        self.vocabulary: ClassNames | None = None
        self.embeds: NameEmbeds | None = None
        self._given: Any = None
        self._candidates: tuple[list[str], np.ndarray] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in force; those of the training until some are set."""
        if self.embeds is None:
            self._set_default()
        assert self.embeds is not None
        return self.embeds.classes

    def set_vocabulary(
        self, names: Names, negatives: NegativeTexts | None = None
    ) -> ClassNames | None:
        """Set the names to detect.

        Args:
            names: 'black cat. 白色杯子', a list, a ``ClassNames``, or names that were
                embedded before.
            negatives: names that compete for boxes and are not reported: 'shadow;
                reflection', or a mapping name -> its negatives.

        Raises:
            InputError: names of another encoder, a model whose names are baked in, or
                negatives of names that were embedded before.
            ValueError: invalid names.
        """
        self._check_exchangeable()
        if isinstance(names, NameEmbeds):
            _refuse_negatives(negatives)
            names.check(self.folder['encoder'], self.folder['embed_dims'])
            self.vocabulary, self.embeds, self._given = None, names, None
            return None
        embeds, vocabulary = self._embedded(names, negatives)
        self.vocabulary, self.embeds = vocabulary, embeds
        self._given = copy.deepcopy((names, negatives))
        return vocabulary

    def embed(self, names: Names, negatives: NegativeTexts | None = None) -> NameEmbeds:
        """Embed names, to be saved or set; arguments as in :meth:`set_vocabulary`."""
        if isinstance(names, NameEmbeds):
            _refuse_negatives(negatives)
            return names
        return self._embedded(names, negatives)[0]

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        names: Names | None = None,
        score_thr: float = 0.0,
        negatives: NegativeTexts | None = None,
    ) -> list[Found]:
        """Detect objects in images.

        Args:
            images: one image or several: a path, a PIL image or an (h, w, 3) uint8 RGB
                array each.
            names: as in :meth:`set_vocabulary`; None for those in force.
            score_thr: detections that score lower are left out.
            negatives: of ``names``.

        Raises:
            InputError: naming an image that cannot be read, or whose grid is beyond
                what was exported.
        """
        self._use(names, negatives)
        several: Sequence[Any] = (
            images if isinstance(images, list | tuple) else [images]
        )
        return [found.above(score_thr) for found in self._stream(several)]

    def _stream(self, images: Sequence[ImageLike]) -> Iterator[Found]:
        for each in images:
            image = load_image(each)
            pixels = to_input(
                image,
                self.options['max_num_patches'],
                self.folder['patch_size'],
                self.folder['max_side'],
            )
            outputs = [part[0] for part in self.run(pixels[None])]
            height, width = pixels.shape[1:]
            factors = np.array(
                [width / image.width, height / image.height] * 2, np.float32
            )
            yield self._found(outputs, factors)

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Outputs of the graph for (B, 3, H, W) float32, RGB in -1 to 1, with the names
        in force; see ``docs/export.md``."""
        if self.embeds is None:
            self._set_default()
        assert self.embeds is not None
        return self.session({**self.embeds.inputs(), 'images': images})

    def _found(self, outputs: Sequence[np.ndarray], factors: np.ndarray) -> Found:
        """Detections of one image, whose boxes are divided by factors (w, h, w, h)."""
        if self.options['nms_inside']:
            boxes, scores, labels = outputs
            rows = labels >= 0
            boxes, scores, labels = boxes[rows] / factors, scores[rows], labels[rows]
        else:
            boxes, scores, labels = class_nms(
                outputs[0] / factors,
                outputs[1],
                self.options['score_thr'],
                self.options['iou_threshold'],
                self.options['max_per_img'],
            )
        return Found(boxes, scores, labels, self.classes)

    # ------------------------------------------------------------------- names
    def _use(self, names: Names | None, negatives: NegativeTexts | None) -> None:
        if names is None:
            if negatives is not None:
                raise InputError("negatives need names; pass names='black cat' as well")
            if self.embeds is None:
                self._set_default()
        elif isinstance(names, NameEmbeds) or (names, negatives) != self._given:
            self.set_vocabulary(names, negatives)

    def _set_default(self) -> None:
        """The baked-in names, or those of the training."""
        path = self.folder.need('names.npz', 'a list of names')
        embeds = NameEmbeds.load(path)
        embeds.check(self.folder['encoder'], self.folder['embed_dims'], path)
        self.embeds = embeds

    def _check_exchangeable(self) -> None:
        if 'names' not in self.session.inputs:
            raise InputError(
                f'the names of {self.folder.path} are baked in '
                f'({", ".join(self.classes[:4])}, ...); export it without --names to '
                'exchange them'
            )

    def _embedded(
        self, names: Any, negatives: NegativeTexts | None
    ) -> tuple[NameEmbeds, ClassNames]:
        given = names
        if not isinstance(given, ClassNames):
            given = ClassNames(given if isinstance(given, str) else list(given))
        if negatives is not None:
            given = given.with_negatives(negatives)
        is_open = given.is_base_class is None or given.negatives is not None
        options = self.options
        vocabulary = given.resolved(
            options['templates'], options['trained_classes'], options.get('parts')
        )
        embeds = embed_names(
            vocabulary,
            is_open,
            lambda own: self.text.of_groups(own.prompts()),
            options,
            self._candidates_of,
            self.folder['encoder'],
        )
        return embeds, vocabulary

    def _candidates_of(self, vocabulary: ClassNames, texts: list[str]) -> np.ndarray:
        """Embeddings of competitors' candidates; those with the detector's own
        templates came with the folder."""
        own = tuple(vocabulary.templates) == tuple(self.options['templates'])
        if own and CANDIDATES in self.folder:
            if self._candidates is None:
                arrays = read_arrays(self.folder.path / CANDIDATES, ('texts', 'embeds'))
                self._candidates = arrays['texts'].tolist(), arrays['embeds']
            if self._candidates[0] == texts:
                return self._candidates[1]
        own_parts = parts_of(texts, self.options.get('parts'))
        given = ClassNames(
            texts, vocabulary.templates, base_classes=[], check=False, parts=own_parts
        )
        return self.text.of_groups(given.prompts())


def _refuse_negatives(negatives: NegativeTexts | None) -> None:
    """InputError for negatives beside names that were embedded."""
    if negatives is not None:
        raise InputError(
            'these names were embedded before, with what they compete with; give '
            'negatives when they are embedded: Detector.embed(names, negatives)'
        )


def to_json(found: Found) -> str:
    """Detections as a JSON list of name, score and box."""
    rows = zip(found.names, found.scores.tolist(), found.bboxes.tolist(), strict=True)
    return json.dumps(
        [dict(name=name, score=score, bbox=box) for name, score, box in rows],
        ensure_ascii=False,
    )
