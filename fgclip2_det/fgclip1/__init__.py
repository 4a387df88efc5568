"""The FG-CLIP 1 encoder in plain PyTorch."""

from fgclip2_det.fgclip1.config import (
    FGCLIP1Config,
    FGCLIP1TextConfig,
    FGCLIP1VisionConfig,
)
from fgclip2_det.fgclip1.load import load_encoder
from fgclip2_det.fgclip1.model import FGCLIP1
from fgclip2_det.fgclip1.tokenizer import FGCLIP1Tokenizer

__all__ = [
    'FGCLIP1',
    'FGCLIP1Config',
    'FGCLIP1TextConfig',
    'FGCLIP1Tokenizer',
    'FGCLIP1VisionConfig',
    'load_encoder',
]
