"""Hard negatives from word lists: captions with one attribute changed."""

from .lexicon import Lexicon, read_lexicon
from .overlap import find_overlap
from .records import fill_record
from .writer import HardNegativeWriter

__all__ = [
    'HardNegativeWriter',
    'Lexicon',
    'fill_record',
    'find_overlap',
    'read_lexicon',
]
