"""Class names and their text embeddings."""

from fgclip2_det.coco.names import normalize_name
from fgclip2_det.vocabulary.check import check_vocabulary
from fgclip2_det.vocabulary.embedding import class_cosines, fingerprint
from fgclip2_det.vocabulary.name_checks import Finding, check_names
from fgclip2_det.vocabulary.name_lists import LIST_NAMES, NameList, load_list
from fgclip2_det.vocabulary.names import parts_of, read_texts
from fgclip2_det.vocabulary.templates import TEMPLATE_SETS
from fgclip2_det.vocabulary.texts import parse_texts
from fgclip2_det.vocabulary.vocabulary import Vocabulary

__all__ = [
    'LIST_NAMES',
    'TEMPLATE_SETS',
    'Finding',
    'NameList',
    'Vocabulary',
    'check_names',
    'check_vocabulary',
    'class_cosines',
    'fingerprint',
    'load_list',
    'normalize_name',
    'parse_texts',
    'parts_of',
    'read_texts',
]
