"""The FG-CLIP 1 encoder in plain PyTorch.

Names are imported when they are used: images and tokens need no PyTorch.
"""

from typing import TYPE_CHECKING

from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__ = lazy_names(
    __name__,
    {
        'FGCLIP1': 'fgclip2_det.fgclip1.model',
        'FGCLIP1Config': 'fgclip2_det.fgclip1.config',
        'FGCLIP1TextConfig': 'fgclip2_det.fgclip1.config',
        'FGCLIP1Tokenizer': 'fgclip2_det.fgclip1.tokenizer',
        'FGCLIP1VisionConfig': 'fgclip2_det.fgclip1.config',
        'load_encoder': 'fgclip2_det.fgclip1.load',
    },
)
