"""A machine learning backend of Label Studio: boxes, and a prompt that is kept.

    FGCLIP2_WEIGHTS=epoch_3.pth python integrations/label_studio_backend.py 9090

The labels of ``RectangleLabels`` are detected, by their ``predicted_values`` if they
have some. A text typed into a ``TextArea`` asks for others, "Cup=red cup; 黑猫",
in this task and those after it. docs/integrations.md has a labeling interface.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, ClassVar

from label_studio_ml.model import LabelStudioMLBase
from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.named_detector import NamedDetector, prompted
from fgclip2_det.fgclip2 import load_image
from fgclip2_det.vocabulary.ontology import Ontology, OntologyClass

detector = cache(NamedDetector)  # of the environment; backends come with requests
PROMPT = 'fgclip2_prompt'


class FGCLIP2Backend(LabelStudioMLBase):
    """Rectangles for tasks with an image; for label-studio-ml 1.0.9 and 2.0."""

    _prompts: ClassVar[dict[str, str]] = {}  # for 1.0.9, which keeps nothing

    def predict(
        self, tasks: list[dict], context: dict | None = None, **kwargs: Any
    ) -> list[dict]:
        """One prediction per task, in percent of the upright image; ValueError for a
        project without ``RectangleLabels``, or a prompt for what is no label."""
        name, tag = _rectangles(self.parsed_label_config)
        ontology = _labels(tag)
        typed = _typed(context)
        if prompt := typed or self._kept():
            ontology = prompted(prompt, ontology)
        if typed and hasattr(self, 'set'):
            self.set(PROMPT, typed)
        elif typed:
            self._prompts[self.label_config] = typed
        known = {'from_name': name, 'to_name': tag['to_name'][0], 'image_rotation': 0}
        key = tag['inputs'][0]['value'].lstrip('$')
        return [self._predict(task, key, ontology, known) for task in tasks]

    def _predict(self, task: dict, key: str, ontology: Ontology, known: dict) -> dict:
        options = {'task_id': task.get('id')} if hasattr(self, 'set') else {}
        image = load_image(self.get_local_path(task['data'][key], **options))
        found = detector()(image, ontology)
        rows = [known | _rectangle(found, row, image) for row in range(len(found))]
        return {'result': rows, 'score': max((r['score'] for r in rows), default=0.0)}

    def _kept(self) -> str | None:
        own = hasattr(self, 'get')  # 2.0 has a database, by project
        return self.get(PROMPT) if own else self._prompts.get(self.label_config)


def _rectangles(config: dict) -> tuple[str, dict]:
    """Name and content of the first ``RectangleLabels`` of an image."""
    for name, tag in config.items():
        if tag['type'] == 'RectangleLabels' and tag['inputs'][0]['type'] == 'Image':
            return name, tag
    raise ValueError('the project has no RectangleLabels of an Image; add some')


def _labels(tag: dict) -> Ontology:
    """The labels, asked for by ``predicted_values`` or their own text."""
    classes = []
    for label in tag['labels']:
        words = (tag['labels_attrs'][label].get('predicted_values') or '').split(',')
        own = tuple(word.strip() for word in words if word.strip())
        classes.append(OntologyClass(label, own or (label,)))
    return Ontology(tuple(classes), source="the project's labels")


def _typed(context: dict | None) -> str:
    """What was typed into a ``TextArea``; '' where nothing was."""
    rows = (context or {}).get('result') or ()
    texts = [row['value'].get('text') for row in rows if row.get('type') == 'textarea']
    return '; '.join(t if isinstance(t, str) else '; '.join(t) for t in texts if t)


def _rectangle(found: Detections, row: int, image: Image.Image) -> dict:
    (w, h), box = image.size, found.bboxes[row].double()
    x1, y1, x2, y2 = (box / box.new_tensor([w, h, w, h]) * 100).clamp(0, 100).tolist()
    value = {'x': x1, 'y': y1, 'width': x2 - x1, 'height': y2 - y1, 'rotation': 0,
             'rectanglelabels': [found.names[row]]}  # fmt: skip
    return {'type': 'rectanglelabels', 'value': value, 'original_width': w,
            'original_height': h, 'score': float(found.scores[row])}  # fmt: skip


if __name__ == '__main__':
    from label_studio_ml.api import init_app

    detector()  # what is wrong with the options is said now, not at the first task
    init_app(model_class=FGCLIP2Backend).run(port=int((sys.argv[1:] or ['9090'])[0]))
