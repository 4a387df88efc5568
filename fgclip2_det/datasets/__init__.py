"""Datasets with base and novel classes, their transforms, and the feature cache."""

from fgclip2_det.lazy import lazy_names

_MODULES = {
    'FGCLIP2Resize': 'transforms',
    'OVShapesDataset': 'ovshapes.dataset',
    'OpenVocabCocoDataset': 'open_vocab_coco',
    'OpenVocabLVISDataset': 'open_vocab_lvis',
    'OpenVocabLoadImage': 'transforms',
    'UnreadableImageError': 'transforms',
}
__all__ = sorted(_MODULES)

__getattr__ = lazy_names(
    __name__, {name: f'{__name__}.{module}' for name, module in _MODULES.items()}
)
