from fgclip2_det.models.backbones.fgclip1_vit import FGCLIP1ViT
from fgclip2_det.models.backbones.fgclip2_vit import FGCLIP2ViT

__all__ = ['FGCLIP1ViT', 'FGCLIP2ViT']
