"""The FG-CLIP 2 encoder in plain PyTorch.

Names are imported when they are used: images, grids and tokens need no PyTorch.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
    from fgclip2_det.fgclip2.config import FGCLIP2Config, TextConfig, VisionConfig
    from fgclip2_det.fgclip2.dual_encoder import DualEncoder
    from fgclip2_det.fgclip2.image import load_image
    from fgclip2_det.fgclip2.model import FGCLIP2
    from fgclip2_det.fgclip2.preprocess import ImageBatch, preprocess
    from fgclip2_det.fgclip2.roi import separable_roi_align
    from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer

__all__ = [
    'FGCLIP2',
    'DualEncoder',
    'FGCLIP2Config',
    'FGCLIP2Tokenizer',
    'ImageBatch',
    'TextConfig',
    'VisionConfig',
    'load_image',
    'preprocess',
    'separable_roi_align',
]

_MODULES = {
    'DualEncoder': 'fgclip2_det.fgclip2.dual_encoder',
    'FGCLIP2': 'fgclip2_det.fgclip2.model',
    'FGCLIP2Config': 'fgclip2_det.fgclip2.config',
    'FGCLIP2Tokenizer': 'fgclip2_det.fgclip2.tokenizer',
    'ImageBatch': 'fgclip2_det.fgclip2.preprocess',
    'TextConfig': 'fgclip2_det.fgclip2.config',
    'VisionConfig': 'fgclip2_det.fgclip2.config',
    'load_image': 'fgclip2_det.fgclip2.image',
    'preprocess': 'fgclip2_det.fgclip2.model',  # which has the function, not the module
    'separable_roi_align': 'fgclip2_det.fgclip2.roi',
}
__getattr__ = lazy_names(__name__, _MODULES)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # the import of a submodule would hide the function of its name
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
