"""Function words, verbs and other closed classes of English captions.

The lists are in ``data/words_en.json``, where each is explained.
"""

from .word_lists import word_file, word_sets

_WORDS = word_sets('words_en')

ADVERBS = _WORDS['adverbs']
COLOR_WORDS = _WORDS['color_words']
CONNECTORS = frozenset(('and', 'or', ',', '&', '/'))
COPULAS = _WORDS['copulas']
DETERMINERS = _WORDS['determiners'] | _WORDS['numbers']
GROUP_WORDS = _WORDS['group_words']
NO_COUNT_AFTER = _WORDS['no_count_after']
NO_COUNT_BEFORE = _WORDS['no_count_before']
NOUNS_IN_ED = _WORDS['nouns_in_ed']
NOUNS_IN_ING = _WORDS['nouns_in_ing']
OBJECT_MATERIALS = _WORDS['object_materials']
POSSESSIVES = _WORDS['possessives']
PREPOSITIONS = _WORDS['prepositions']
PRONOUNS = _WORDS['pronouns']
UNCOUNTED = _WORDS['uncounted']
VERBS = _WORDS['verbs']

FUNCTION_WORDS = (
    _WORDS['determiners'] | PREPOSITIONS | COPULAS | _WORDS['function_words']
)
# singular -> plural, and back: two plurals may have one singular
IRREGULAR_PLURALS: dict[str, str] = word_file('words_en')['irregular_plurals']
IRREGULAR_SINGULARS = {
    **{plural: singular for singular, plural in IRREGULAR_PLURALS.items()},
    **word_file('words_en')['further_plurals'],
}
