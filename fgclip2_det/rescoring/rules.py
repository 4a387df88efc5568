"""Fusion rules by the names that command lines use."""

FUSION_RULES = {
    'geometric': 'OpenVocabGeometricFusion',
    'arithmetic': 'OpenVocabArithmeticFusion',
    'logit': 'OpenVocabLogitFusion',
    'vild': 'OpenVocabViLDFusion',
    'fvlm': 'OpenVocabFVLMFusion',
    'fvit': 'OpenVocabFViTFusion',
    'lami': 'OpenVocabLaMIFusion',
    'confidence': 'OpenVocabConfidenceFusion',
    'novelty': 'OpenVocabNoveltyFusion',
}
# DetRefiner's takes the whole image's cosines too
ALL_RULES = {**FUSION_RULES, 'detrefiner': 'OpenVocabDetRefinerFusion'}
