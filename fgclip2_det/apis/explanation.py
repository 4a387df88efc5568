"""Why a box has its name and score: numbers, JSON and an image."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from fgclip2_det.visualization.explanation_sheet import Bars, explanation_sheet


@dataclass(frozen=True)
class Candidate:
    """A name, a silent competitor or a text beside others, for one box.

    Attributes:
        name: its text.
        cosine: of the box's region embedding with it.
        similarity: its probability in the softmax of names and competitors; None for
            an alias, which is in no softmax.
        det_score: the detector's probability of a name; None for others.
        score: the final score of a name; None for others.
    """

    name: str
    cosine: float
    similarity: float | None = None
    det_score: float | None = None
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Attributes that it has."""
        return {k: v for k, v in vars(self).items() if v is not None}


@dataclass(frozen=True)
class Explanation:
    """How the score of one box came about.

    ``score`` is ``calibrate(fuse(det_score, similarity))``, and exactly what the
    detection has.

    Attributes:
        image: path of the image, or ''.
        name: of the box.
        bbox: xyxy in the image's pixels.
        score: the reported one.
        fused: before calibration.
        det_score: the detector's probability of the name, as passed to the rule.
        similarity: the encoder's, as the rule has it: the name's probability among
            names and competitors, for ``OpenVocabLogitFusion`` its logit.
        cosine: of the region embedding with the name's.
        weight: of the similarity in the rule.
        rule: class of the fusion rule.
        background: probability of the background in a two-stage detector's softmax;
            None for other detectors.
        competing: probability of all silent competitors in the similarity's softmax.
        names: the nearest other names by cosine, at most five.
        competitors: the nearest silent competitors, at most five.
        texts: what the name's aliases, or parts, give by themselves.
        heat: (h, w) float32, cosine of each cell of the dense map with the name.
        heat_size: (w, h) in the image's pixels that ``heat`` covers; a last row or
            column of cells may lie partly beyond the image.
        rgb: upright RGB.
    """

    image: str
    name: str
    bbox: tuple[float, float, float, float]
    score: float
    fused: float
    det_score: float
    similarity: float
    cosine: float
    weight: float
    rule: str
    background: float | None
    competing: float
    names: tuple[Candidate, ...]
    competitors: tuple[Candidate, ...]
    texts: tuple[Candidate, ...]
    heat: np.ndarray = field(repr=False)
    heat_size: tuple[float, float]
    rgb: Image.Image = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values of all attributes but the image."""
        content = {k: v for k, v in vars(self).items() if k != 'rgb'}
        for key in ('names', 'competitors', 'texts'):
            content[key] = [each.to_dict() for each in content[key]]
        content['bbox'] = list(self.bbox)
        content['heat'] = [[round(v, 5) for v in row] for row in self.heat.tolist()]
        content['heat_size'] = list(self.heat_size)
        return content

    def to_json(self) -> str:
        """JSON text of :meth:`to_dict`."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def plot(self) -> Image.Image:
        """One sheet: the image with the box, the heat map, and bars of all values."""
        return explanation_sheet(
            self.rgb, self.bbox, self.name, self.score, self.heat, self.heat_size,
            [self._score_bars(), *self._cosine_bars()],
        )  # fmt: skip

    def _score_bars(self) -> Bars:
        rows = [
            ('detector', self.det_score),
            (f'similarity (weight {self.weight:.2f})', self.similarity),
            ('fused', self.fused),
            ('score, calibrated', self.score),
        ]
        if self.background is not None:
            rows.append(('background (detector)', self.background))
        rows.append(('silent competitors (similarity)', self.competing))
        return Bars(self.rule, rows, (0.0, 1.0))

    def _cosine_bars(self) -> list[Bars]:
        own = (self.name, self.cosine)
        groups = {
            'cosine: nearest names': [own, *_pairs(self.names)],
            'cosine: silent competitors': [own, *_pairs(self.competitors)],
            'cosine: texts of the name': _pairs(self.texts),
        }
        values = [value for rows in groups.values() for _, value in rows]
        low, high = min(values), max(values)
        span = low - 0.25 * (high - low) - 1e-3, high
        return [Bars(title, rows, span) for title, rows in groups.items() if rows]


def _pairs(candidates: tuple[Candidate, ...]) -> list[tuple[str, float]]:
    return [(each.name, each.cosine) for each in candidates]
