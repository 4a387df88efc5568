"""FG-CLIP 2 and its detector in ONNX: export with PyTorch, run without it.

``Detector`` and ``Encoder`` need onnxruntime, NumPy, Pillow and tokenizers; what
exports needs PyTorch, MMDetection, onnx and onnxscript as well. Names are imported when
they are used.
"""

from typing import TYPE_CHECKING

from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
    from fgclip2_det.onnx.detector import Detector
    from fgclip2_det.onnx.detector_export import export_detector
    from fgclip2_det.onnx.encoder import Encoder
    from fgclip2_det.onnx.exporting import export_encoder
    from fgclip2_det.onnx.name_embeds import NameEmbeds

__all__ = ['Detector', 'Encoder', 'NameEmbeds', 'export_detector', 'export_encoder']

__getattr__ = lazy_names(
    __name__,
    {
        'Detector': 'fgclip2_det.onnx.detector',
        'Encoder': 'fgclip2_det.onnx.encoder',
        'NameEmbeds': 'fgclip2_det.onnx.name_embeds',
        'export_detector': 'fgclip2_det.onnx.detector_export',
        'export_encoder': 'fgclip2_det.onnx.exporting',
    },
)
