from fgclip2_det.models.necks.fgclip2_simple_fpn import FGCLIP2SimpleFPN

__all__ = ['FGCLIP2SimpleFPN']
