"""Labels for a folder of images, and a person's corrections of them."""

from fgclip2_det.apis.annotating.options import AnnotateOptions
from fgclip2_det.apis.annotating.reviewing import ReviewReport, apply_review
from fgclip2_det.apis.annotating.run import Annotation, Annotator, annotate

__all__ = [
    'AnnotateOptions',
    'Annotation',
    'Annotator',
    'ReviewReport',
    'annotate',
    'apply_review',
]
