"""Class names and their text embeddings."""

from fgclip2_det.vocabulary.templates import TEMPLATE_SETS
from fgclip2_det.vocabulary.vocabulary import Vocabulary, normalize_name, parse_texts

__all__ = ['TEMPLATE_SETS', 'Vocabulary', 'normalize_name', 'parse_texts']
