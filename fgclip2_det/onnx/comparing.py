"""How far an exported model agrees with the one that it was exported from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fgclip2_det.fgclip2.image import load_image
from fgclip2_det.onnx.detector import Detector, Found
from fgclip2_det.onnx.encoder import Encoder
from fgclip2_det.onnx.text_encoder import MODES

SURE = 0.3  # score of a detection that is shown
SAME = 0.5  # IoU of two boxes of one object
NUM_RANKED = 10  # best boxes of a picture whose ranks are compared
TEXTS = ('a red circle', '红色圆形', 'two people and a dog', '窗边的白色杯子')


@dataclass
class Agreement:
    """Detections of two runtimes on the same pictures.

    Attributes:
        pictures: number of them.
        boxes: of the first runtime.
        unmatched: boxes of either without a counterpart of the same name.
        sure: boxes of either that score at least :data:`SURE`.
        sure_unmatched: those without a counterpart.
        score: largest difference of the scores of two counterparts.
        pixels: of their coordinates.
        moves: mean number of ranks that the best boxes of a picture moved.
    """

    pictures: int = 0
    boxes: int = 0
    unmatched: int = 0
    sure: int = 0
    sure_unmatched: int = 0
    score: float = 0.0
    pixels: float = 0.0
    _moves: list[int] = field(default_factory=list, repr=False)

    @property
    def moves(self) -> float:
        """See the class."""
        return float(np.mean(self._moves)) if self._moves else 0.0

    def add(self, first: Found, second: Found) -> None:
        """Count one picture."""
        partner = counterparts(first, second)
        self.pictures += 1
        self.boxes += len(first)
        alone = partner < 0, ~np.isin(np.arange(len(second)), partner)
        for found, lonely in zip((first, second), alone, strict=True):
            sure = found.scores >= SURE
            self.sure += int(sure.sum())
            self.unmatched += int(lonely.sum())
            self.sure_unmatched += int((lonely & sure).sum())
        rows = np.flatnonzero(partner >= 0)
        if len(rows):
            others = partner[rows]
            scores = abs(first.scores[rows] - second.scores[others])
            pixels = abs(first.bboxes[rows] - second.bboxes[others])
            self.score = max(self.score, float(scores.max()))
            self.pixels = max(self.pixels, float(pixels.max()))
            best = rows < NUM_RANKED
            self._moves += abs(rows - others)[best].tolist()

    def __str__(self) -> str:
        return (
            f'{self.pictures} pictures, {self.boxes} boxes: {self.unmatched} without '
            f'counterpart, of {self.sure} that score {SURE} or more '
            f'{self.sure_unmatched}; scores differ by up to {self.score:.2g}, corners '
            f'by up to {self.pixels:.2g} pixels; the {NUM_RANKED} best of a picture '
            f'moved by {self.moves:.2f} ranks on average'
        )


def counterparts(first: Found, second: Found) -> np.ndarray:
    """(n,) index of the second's box of the same name that overlaps each of the
    first's most, each taken once, the best scored first; -1 for none."""
    partner = np.full(len(first), -1)
    free = np.ones(len(second), bool)
    for row in range(len(first)):
        able = free & (second.labels == first.labels[row])
        overlaps = np.where(able, _ious(first.bboxes[row], second.bboxes), 0.0)
        if len(overlaps) and overlaps.max() >= SAME:
            partner[row] = overlaps.argmax()
            free[partner[row]] = False
    return partner


def _ious(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inter = (high - low).clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    union = areas - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def agreement(
    first: Callable[[Any], Found], second: Callable[[Any], Found], images: Iterable
) -> Agreement:
    """Agreement of two functions, image -> detections."""
    result = Agreement()
    for image in images:
        loaded = load_image(image)
        result.add(first(loaded), second(loaded))
    return result


def compare_detectors(
    inferencer: Any, folder: str | os.PathLike, images: Sequence[Path]
) -> Agreement:
    """Agreement of an ``OpenVocabInferencer`` and the folder it was exported to."""
    detector = Detector(folder)

    def exact(image: Any) -> Found:
        (found,) = inferencer(image)
        boxes, scores, labels = found.bboxes, found.scores, found.labels
        return Found(boxes.numpy(), scores.numpy(), labels.numpy(), found.classes)

    return agreement(exact, lambda image: detector(image)[0], images)


def compare_encoders(
    encoder: Any, folder: str | os.PathLike, images: Sequence[Path]
) -> str:
    """Least cosines between the embeddings of an encoder and of its export:
    images, nine regions of each, and texts of every mode."""
    import torch

    exported, least = Encoder(folder), dict(images=1.0, regions=1.0)
    with torch.no_grad():
        for path in images:
            image = load_image(path)
            batch = encoder.preprocess(image)
            boxes = nine_boxes(image.width, image.height)
            pairs = dict(
                images=(
                    encoder.encode_image(batch)[0].numpy(),
                    exported.encode_image(image),
                ),
                regions=(
                    encoder.region_features(batch, [boxes])[0].numpy(),
                    exported.region_features(image, boxes),
                ),
            )
            for name, pair in pairs.items():
                least[name] = min(least[name], _least_cosine(*pair))
        if 'text.onnx' in exported.folder:
            for mode in MODES:
                exact = encoder.encode_text(list(TEXTS), mode).numpy()
                own = exported.encode_text(TEXTS, mode)
                least[f'{mode} texts'] = _least_cosine(exact, own)
    rows = ', '.join(f'{name} {value:.6f}' for name, value in least.items())
    return f'{len(images)} pictures, least cosine to PyTorch: {rows}'


def nine_boxes(width: int, height: int) -> np.ndarray:
    """(9, 4) boxes of a three by three grid, each larger than its cell."""
    x, y = np.meshgrid(np.arange(3), np.arange(3))
    low = np.stack([x, y], -1).reshape(-1, 2) * 0.25
    boxes = np.concatenate([low, low + 0.5], 1)
    return (boxes * np.array([width, height] * 2)).astype(np.float32)


def _least_cosine(first: np.ndarray, second: np.ndarray) -> float:
    dots = (first * second).sum(-1)
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return float((dots / norms).min())
