"""Hard negatives of training records; the words are
:mod:`fgclip2_det.vocabulary.hard_negatives`, shared with prompts."""

from fgclip2_det.vocabulary.hard_negatives import (
    HardNegativeWriter,
    Lexicon,
    find_overlap,
    read_lexicon,
)

from .records import fill_record

__all__ = [
    'HardNegativeWriter',
    'Lexicon',
    'fill_record',
    'find_overlap',
    'read_lexicon',
]
