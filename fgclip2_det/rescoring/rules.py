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
RANKING = 'ranking'  # needs a ranker's log-odds beside the cosines
# what a score dump serves; ranking, if it was made with a ranker
TUNED_RULES = {**FUSION_RULES, RANKING: 'OpenVocabRankingFusion'}
# DetRefiner's takes the whole image's cosines too
ALL_RULES = {**TUNED_RULES, 'detrefiner': 'OpenVocabDetRefinerFusion'}
# a graph has no ranker
EXPORTED_RULES = {k: v for k, v in ALL_RULES.items() if k != RANKING}
