"""A model of X-AnyLabeling-Server: type names in X-AnyLabeling, in either language.

In a checkout of X-AnyLabeling-Server, with this package installed beside it::

    cp integrations/xanylabeling_model.py SERVER/app/models/fgclip2_det_model.py
    cp integrations/fgclip2_det.yaml SERVER/configs/auto_labeling/
    echo '  - fgclip2_det' >> SERVER/configs/models.yaml    # under enabled_models:

``params`` of the YAML file choose the system, as
``fgclip2_det.apis.named_detector.DetectorOptions`` describes; what is not there comes
from the environment (``FGCLIP2_WEIGHTS``). X-AnyLabeling's model is "Remote-Server".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from app.core.registry import register_model
from app.models import BaseModel
from app.schemas.shape import Shape
from PIL import Image

from fgclip2_det.apis.named_detector import NamedDetector, prompted
from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass

OWN = ('conf_threshold',)  # of params, that DetectorOptions calls otherwise
MARKED = 'object'  # what a drawn box shows


@register_model('fgclip2_det')
class FGCLIP2Detector(BaseModel):
    """Boxes for a text prompt, for boxes that were drawn, or for the set names."""

    def load(self) -> None:
        """Build the system; errors are one sentence in the server's log."""
        options = {key: own for key, own in self.params.items() if key not in OWN}
        score_thr = self.params.get('conf_threshold')
        self.detector = NamedDetector({'score_thr': score_thr, **options})

    def predict(self, image: np.ndarray, params: dict[str, Any]) -> dict[str, Any]:
        """Detect in one image.

        Args:
            image: (h, w, 3) BGR uint8.
            params: of the client: ``text_prompt``, ``marks`` (drawn rectangles),
                ``conf_threshold``, ``filter_classes``.
        """
        picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
        text = (params.get('text_prompt') or '').strip()
        drawn = _drawn(params.get('marks'))
        classes = prompted(text) if text else None
        if classes is None and drawn:
            classes = _shown(picture, drawn)
        found = self.detector(picture, classes, params.get('conf_threshold'))
        wanted = set(params.get('filter_classes') or found.classes)
        shapes = [
            Shape(label=name, shape_type='rectangle', points=_corners(box),
                  score=min(score, 1.0))
            for name, box, score in zip(
                found.names, found.bboxes.tolist(), found.scores.tolist(), strict=True
            )
            if name in wanted
        ]  # fmt: skip
        return {'shapes': shapes, 'description': ''}

    def unload(self) -> None:
        """Free the model's memory."""
        del self.detector


def _drawn(marks: list[dict] | None) -> list[tuple[float, ...]]:
    """Boxes (x1, y1, x2, y2) of the rectangles among the marks."""
    boxes = []
    for mark in marks or ():
        if mark.get('type') == 'rectangle' and mark.get('label', 1):
            xs, ys = sorted(mark['data'][0::2]), sorted(mark['data'][1::2])
            boxes.append((float(xs[0]), float(ys[0]), float(xs[1]), float(ys[1])))
    return boxes


def _shown(image: Image.Image, boxes: list[tuple[float, ...]]) -> Ontology:
    """A class that boxes of this image show."""
    return Ontology((OntologyClass(MARKED, examples=tuple((image, b) for b in boxes)),))


def _corners(box: list[float]) -> list[list[float]]:
    x1, y1, x2, y2 = box
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
