"""Datasets with base and novel classes, their transforms, and the feature cache."""

from typing import TYPE_CHECKING

from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
    from fgclip2_det.datasets.open_vocab_coco import OpenVocabCocoDataset
    from fgclip2_det.datasets.open_vocab_lvis import OpenVocabLVISDataset
    from fgclip2_det.datasets.ovshapes.dataset import OVShapesDataset
    from fgclip2_det.datasets.transforms import (
        FGCLIP2Resize,
        OpenVocabLoadImage,
        UnreadableImageError,
    )

_MODULES = {
    'FGCLIP2Resize': 'transforms',
    'OVShapesDataset': 'ovshapes.dataset',
    'OpenVocabCocoDataset': 'open_vocab_coco',
    'OpenVocabLVISDataset': 'open_vocab_lvis',
    'OpenVocabLoadImage': 'transforms',
    'UnreadableImageError': 'transforms',
}
__all__ = [
    'FGCLIP2Resize',
    'OVShapesDataset',
    'OpenVocabCocoDataset',
    'OpenVocabLVISDataset',
    'OpenVocabLoadImage',
    'UnreadableImageError',
]

__getattr__ = lazy_names(
    __name__, {name: f'{__name__}.{module}' for name, module in _MODULES.items()}
)
