"""Open-vocabulary object detection for MMDetection with FG-CLIP 2.

Importing the package makes it ready: missing compiled ops are filled in and every
class joins MMDetection's registry. Without the mm packages the encoder and the
vocabulary work alone, after one warning.
"""

from fgclip2_det import compat

HAS_MM = compat.prepare()

from fgclip2_det.fgclip2 import FGCLIP2  # noqa: E402
from fgclip2_det.vocabulary import Vocabulary  # noqa: E402

__version__ = '0.1.0'
__all__ = ['FGCLIP2', 'Vocabulary']

if HAS_MM:
    from fgclip2_det import (  # noqa: F401
        datasets,
        engine,
        evaluation,
        models,
        visualization,
    )
    from fgclip2_det.apis import OpenVocabInferencer

    __all__ += ['OpenVocabInferencer']
