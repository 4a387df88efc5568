"""Hard negatives for the boxes of annotation records in FineHARD's form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fgclip2_det.vocabulary.hard_negatives import HardNegativeWriter
from pretrain.data.record_files import language_of

EXPRESSIONS = ('short', 'long')


def fill_record(
    record: dict,
    writer: HardNegativeWriter,
    expressions: Sequence[str] = ('short',),
    language: str | None = None,
    overwrite: bool = False,
    min_num: int = 1,
) -> Counter[str]:
    """Write ``short_expr_negs`` and ``flag_short_neg`` of every box, in place.

    A box without negatives gets flag 0. Existing negatives are kept unless
    ``overwrite``.

    Args:
        record: ``{'bbox_info': [{'short_expr': ...}]}``; a record without boxes is
            left as it is.
        writer: generates the negatives.
        expressions: 'short', 'long' (``long_expr_negs``, ``flag_long_neg``) or both.
        language: 'en' or 'zh'; None takes Chinese if the record has ``is_cn``,
            else detects it for each phrase.
        overwrite: replace existing negatives.
        min_num: boxes with fewer get none; 10 for code that needs exactly ten.

    Returns:
        Counts of phrases: 'full', 'fewer' than ``writer.num``, 'none' (no attribute
        to change), 'kept', 'forbidden' (kept, but with a forbidden name), 'absent'
        (no phrase).

    Raises:
        ValueError: if a part of the record does not have this form.
    """
    if not isinstance(record, dict):
        raise ValueError(f'a record must be an object, got {record!r:.80}')
    boxes = record.get('bbox_info')
    if boxes is not None and not isinstance(boxes, list):
        raise ValueError(f'bbox_info must be a list, got {boxes!r:.80}')
    if language is None and language_of(record) == 'zh':
        language = 'zh'
    counts: Counter[str] = Counter()
    for number, box in enumerate(boxes or ()):
        if not isinstance(box, dict):
            raise ValueError(f'box {number} must be an object, got {box!r:.80}')
        for kind in expressions:
            try:
                counts.update(
                    _fill_box(box, kind, writer, language, overwrite, min_num)
                )
            except ValueError as error:
                raise ValueError(f'box {number}: {error}') from None
    return counts


def _fill_box(
    box: dict,
    kind: str,
    writer: HardNegativeWriter,
    language: str | None,
    overwrite: bool,
    min_num: int,
) -> list[str]:
    """Names of the counts to increase."""
    if kind not in EXPRESSIONS:
        raise ValueError(f'expression must be in {EXPRESSIONS}, got {kind!r}')
    key, flag = f'{kind}_expr_negs', f'flag_{kind}_neg'
    phrase, old = box.get(f'{kind}_expr'), box.get(key)
    if old is not None and not isinstance(old, dict):
        raise ValueError(f'{key} must be an object {{"0": text}}, got {old!r:.80}')
    if old and not overwrite:
        forbidden = any(writer.forbidden.find(text) for text in map(str, old.values()))
        return ['kept', 'forbidden'] if forbidden else ['kept']
    if phrase is not None and not isinstance(phrase, str):
        raise ValueError(f'{kind}_expr must be a text, got {phrase!r:.80}')
    negatives = writer.write(phrase, language) if phrase else []
    if len(negatives) < min_num:
        negatives = []
    box.pop(key, None)
    box[flag] = int(bool(negatives))
    if negatives:
        box[key] = {str(i): text for i, text in enumerate(negatives)}
    if not phrase:
        return ['absent']
    if not negatives:
        return ['none']
    return ['full' if len(negatives) == writer.num else 'fewer']
