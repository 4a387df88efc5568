"""MMEngine's hooks learn that this package's metrics are better when greater."""

from mmengine.hooks import CheckpointHook, EarlyStoppingHook

# Parts of metric names, whatever prefix an evaluator gives them: of
# OpenVocabCocoMetric, of OpenVocabLVISMetric and MMDetection's LVIS metrics, of the
# retention hook. None is part of the name of a loss, of which less is better.
GREATER = (
    'base_ap', 'novel_ap', 'all_ap', 'agnostic_ap',
    'bbox_ap', 'bbox_ar', 'segm_ap', 'segm_ar', 'fixed_ap',
    'retention/',
)  # fmt: skip


def install() -> None:
    """Lets ``save_best`` and ``EarlyStoppingHook`` infer their rule; an explicit
    ``rule`` or ``greater_keys`` wins as before."""
    for hook in (CheckpointHook, EarlyStoppingHook):
        known = hook._default_greater_keys
        hook._default_greater_keys = list(dict.fromkeys([*known, *GREATER]))
