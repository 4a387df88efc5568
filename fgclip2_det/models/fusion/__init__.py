from fgclip2_det.models.fusion.open_vocab_fvit_fusion import OpenVocabFViTFusion

__all__ = ['OpenVocabFViTFusion']
