from fgclip2_det.models.backbones.fgclip2_vit import FGCLIP2ViT

__all__ = ['FGCLIP2ViT']
