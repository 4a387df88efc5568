"""Class names and their text embeddings.

Names are imported when they are used: those that embed need PyTorch, the others do not.
"""

from typing import TYPE_CHECKING

from fgclip2_det.lazy import lazy_names

if TYPE_CHECKING:
    from fgclip2_det.coco.names import normalize_name
    from fgclip2_det.vocabulary.check import check_vocabulary
    from fgclip2_det.vocabulary.class_names import ClassNames
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
    'ClassNames',
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

__getattr__ = lazy_names(
    __name__,
    {
        'LIST_NAMES': 'fgclip2_det.vocabulary.name_lists',
        'TEMPLATE_SETS': 'fgclip2_det.vocabulary.templates',
        'ClassNames': 'fgclip2_det.vocabulary.class_names',
        'Finding': 'fgclip2_det.vocabulary.name_checks',
        'NameList': 'fgclip2_det.vocabulary.name_lists',
        'Vocabulary': 'fgclip2_det.vocabulary.vocabulary',
        'check_names': 'fgclip2_det.vocabulary.name_checks',
        'check_vocabulary': 'fgclip2_det.vocabulary.check',
        'class_cosines': 'fgclip2_det.vocabulary.embedding',
        'fingerprint': 'fgclip2_det.vocabulary.embedding',
        'load_list': 'fgclip2_det.vocabulary.name_lists',
        'normalize_name': 'fgclip2_det.coco.names',
        'parse_texts': 'fgclip2_det.vocabulary.texts',
        'parts_of': 'fgclip2_det.vocabulary.names',
        'read_texts': 'fgclip2_det.vocabulary.names',
    },
)
