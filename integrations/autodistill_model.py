"""A base model of autodistill: prompts and classes in, labels of a folder out.

``label`` is autodistill's own: YOLO files, split into train and valid::

    from autodistill.detection import CaptionOntology
    from autodistill_model import FGCLIP2Base

    ontology = CaptionOntology({'a ceramic mug': 'cup', '杯子': 'cup', '黑猫': 'cat'})
    model = FGCLIP2Base(ontology, detector='iSEE-Laboratory/llmdet_tiny',
                        encoder='qihoo360/fg-clip2-base', score_thr=0.4)
    model.label('photos', extension='.jpg', output_folder='labels')
"""

from __future__ import annotations

from typing import Any

import numpy as np
import supervision as sv
from autodistill.detection import CaptionOntology, DetectionBaseModel
from PIL import Image

from fgclip2_det.apis.named_detector import NamedDetector
from fgclip2_det.vocabulary.ontology_file import as_ontology


class FGCLIP2Base(DetectionBaseModel):
    """Any system of ``OpenVocabInferencer`` as a base model.

    Prompts of one class are embedded together, and the class is there once:
    autodistill itself would write it into ``data.yaml`` once for each prompt.

    Args:
        ontology: prompts and their classes.
        options: ``score_thr``, ``detector``, ``weights``, ``encoder`` and others of
            ``fgclip2_det.apis.named_detector.DetectorOptions``; those that are not
            given come from the environment (``FGCLIP2_DETECTOR``).
    """

    ontology: CaptionOntology

    def __init__(self, ontology: CaptionOntology, **options: Any) -> None:
        self.ontology = joined(ontology)
        names = dict(self.ontology.promptMap)
        self.detector = NamedDetector({**options, 'names': names})

    def set_ontology(self, ontology: CaptionOntology) -> None:
        """Other classes, from the next image on."""
        self.ontology = joined(ontology)

    def predict(
        self, input: str | np.ndarray | Image.Image, confidence: float | None = None
    ) -> sv.Detections:
        """Detect in one image.

        Args:
            input: a path, a PIL image, or an (h, w, 3) BGR array, as autodistill reads
                images.
            confidence: lowest score of this image; None: that of the options.

        Returns:
            Boxes in pixels; ``class_id`` counts ``ontology.classes()``.
        """
        found = self.detector(
            input, dict(self.ontology.promptMap), confidence, channel_order='bgr'
        )
        return found.to_supervision()


def joined(ontology: CaptionOntology) -> CaptionOntology:
    """An ontology with each class once, its prompts joined by '|'.

    Raises:
        ValueError: for one whose prompts are no texts, or that names a prompt twice.
    """
    prompts = dict(ontology.promptMap)
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError(
            'expected prompts that are texts, as in CaptionOntology({"a mug": "cup"}), '
            f'got {ontology.prompts()!r:.80}'
        )
    classes = as_ontology(prompts).classes
    return CaptionOntology({'|'.join(each.prompts): each.name for each in classes})
