"""The FG-CLIP 2 encoder in plain PyTorch."""

from fgclip2_det.fgclip2.config import FGCLIP2Config, TextConfig, VisionConfig
from fgclip2_det.fgclip2.image import load_image
from fgclip2_det.fgclip2.model import FGCLIP2
from fgclip2_det.fgclip2.preprocess import ImageBatch, preprocess
from fgclip2_det.fgclip2.roi import separable_roi_align
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer

__all__ = [
    'FGCLIP2',
    'FGCLIP2Config',
    'FGCLIP2Tokenizer',
    'ImageBatch',
    'TextConfig',
    'VisionConfig',
    'load_image',
    'preprocess',
    'separable_roi_align',
]
