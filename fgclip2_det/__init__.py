"""Open-vocabulary object detection for MMDetection with FG-CLIP 2.

Names are imported when they are used. What MMDetection's registry builds is in
``fgclip2_det.registration``, which configs name in ``custom_imports``; a config that
names ``fgclip2_det`` alone gets it too.
"""

from typing import TYPE_CHECKING

from fgclip2_det.lazy import in_mmengine, lazy_names
from fgclip2_det.version import __version__

if TYPE_CHECKING:
    from fgclip2_det.apis.inferencer import OpenVocabInferencer
    from fgclip2_det.fgclip1 import FGCLIP1, load_encoder
    from fgclip2_det.fgclip2 import FGCLIP2
    from fgclip2_det.vocabulary import Vocabulary

__all__ = [
    'FGCLIP1',
    'FGCLIP2',
    'OpenVocabInferencer',
    'Vocabulary',
    '__version__',
    'load_encoder',
]

__getattr__ = lazy_names(
    __name__,
    {
        'FGCLIP1': 'fgclip2_det.fgclip1',
        'FGCLIP2': 'fgclip2_det.fgclip2',
        'HAS_MM': 'fgclip2_det.compat.has_mm',
        'OpenVocabInferencer': 'fgclip2_det.apis',
        'Vocabulary': 'fgclip2_det.vocabulary',
        'load_encoder': 'fgclip2_det.fgclip1',
    },
)

if in_mmengine():
    from fgclip2_det import registration
