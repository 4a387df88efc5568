"""Comparison rule of this package's metrics for MMEngine's hooks: greater is better."""

from mmengine.hooks import CheckpointHook, EarlyStoppingHook

# Substrings of metric names, whatever prefix an evaluator adds: of
# OpenVocabCocoMetric, of OpenVocabLVISMetric and MMDetection's LVIS metrics, of the
# retention hook. None of them occurs in the name of a loss, where less is better.
GREATER = (
    'base_ap', 'novel_ap', 'all_ap', 'agnostic_ap',
    'bbox_ap', 'bbox_ar', 'segm_ap', 'segm_ar', 'fixed_ap',
    'retention/',
)  # fmt: skip


def install() -> None:
    """Let ``save_best`` and ``EarlyStoppingHook`` infer the rule.

    An explicit ``rule`` or ``greater_keys`` still takes precedence.
    """
    for hook in (CheckpointHook, EarlyStoppingHook):
        known = hook._default_greater_keys
        hook._default_greater_keys = list(dict.fromkeys([*known, *GREATER]))
