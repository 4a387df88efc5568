"""Transforms of the data pipelines."""

from fgclip2_det.compat import mm

from .cached_views import FGCLIP2ApplyView, FGCLIP2LoadView, FGCLIP2PackView
from .fgclip2_resize import FGCLIP2Resize
from .open_vocab_load_image import OpenVocabLoadImage, UnreadableImageError
from .recolor_objects import PackOpenVocabInputs, RecolorObjects

__all__ = [
    'FGCLIP2ApplyView',
    'FGCLIP2LoadView',
    'FGCLIP2PackView',
    'FGCLIP2Resize',
    'OpenVocabLoadImage',
    'PackOpenVocabInputs',
    'RecolorObjects',
    'UnreadableImageError',
]
