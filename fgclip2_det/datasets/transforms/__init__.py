"""Transforms of the data pipelines."""

from .fgclip2_resize import FGCLIP2Resize
from .open_vocab_load_image import OpenVocabLoadImage, UnreadableImageError

__all__ = ['FGCLIP2Resize', 'OpenVocabLoadImage', 'UnreadableImageError']
