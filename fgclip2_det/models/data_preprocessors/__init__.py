from fgclip2_det.models.data_preprocessors.fgclip2_det_data_preprocessor import (
    FGCLIP2DetDataPreprocessor,
)

__all__ = ['FGCLIP2DetDataPreprocessor']
