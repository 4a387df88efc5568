"""English articles, plurals and singulars."""

from .english_words import IRREGULAR_PLURALS, IRREGULAR_SINGULARS, UNCOUNTED

# singular although they end in -s
_NO_PLURAL_S = ('ss', 'us', 'is')
_HARD_VOWELS = ('one', 'uni', 'use', 'usu', 'uk', 'eu', 'ufo', 'u-')
_SILENT_H = ('hour', 'honest', 'honor', 'honour', 'heir')
_SPELLED_WITH_VOWEL = frozenset('aefhilmnorsx')  # "an L-shaped"


def article(word: str) -> str:
    """'a' or 'an', whichever stands before ``word``."""
    word = word.lower()
    if word[:1].isalpha() and not word[1:2].isalpha():
        return 'an' if word[0] in _SPELLED_WITH_VOWEL else 'a'
    if word.startswith(_HARD_VOWELS):
        return 'a'
    if word in ('8', '11', '18') or word.startswith(_SILENT_H):
        return 'an'
    return 'an' if word[:1] in tuple('aeiou') else 'a'


def pluralize(word: str) -> str:
    """Plural of a lower-case noun."""
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if word.endswith('man') and word not in ('human', 'german', 'roman', 'woman'):
        return word[:-3] + 'men'
    if word.endswith('woman'):
        return word[:-5] + 'women'
    if word.endswith(('s', 'x', 'z', 'ch', 'sh')):
        return f'{word}es'
    if word.endswith('y') and word[-2:-1] not in tuple('aeiou'):
        return f'{word[:-1]}ies'
    return f'{word}s'


def is_plural(word: str) -> bool:
    """Whether a lower-case noun looks like a plural that has a singular."""
    if word in UNCOUNTED:
        return False
    if word in IRREGULAR_SINGULARS:
        return True
    return len(word) > 3 and word.endswith('s') and not word.endswith(_NO_PLURAL_S)


def singularize(word: str) -> str:
    """Singular of a lower-case noun; any other word as it is."""
    if not is_plural(word):
        return word
    if word in IRREGULAR_SINGULARS:
        return IRREGULAR_SINGULARS[word]
    if word.endswith('ies') and len(word) > 4:
        return f'{word[:-3]}y'
    if word.endswith(('sses', 'xes', 'zes', 'ches', 'shes')):
        return word[:-2]
    return word[:-1]
