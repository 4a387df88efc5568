"""Hard negatives from word lists: captions with one attribute changed."""

from .lexicon import Lexicon, read_lexicon
from .overlap import find_overlap
from .writer import HardNegativeWriter

__all__ = ['HardNegativeWriter', 'Lexicon', 'find_overlap', 'read_lexicon']
