"""English articles, plurals and singulars of the words that captions use."""

from .word_lists import word_set

_IRREGULAR = {
    'man': 'men', 'woman': 'women', 'child': 'children', 'person': 'people',
    'policeman': 'policemen', 'fireman': 'firemen', 'fisherman': 'fishermen',
    'snowman': 'snowmen', 'businessman': 'businessmen', 'foot': 'feet',
    'tooth': 'teeth', 'goose': 'geese', 'mouse': 'mice', 'ox': 'oxen',
    'sheep': 'sheep', 'deer': 'deer', 'fish': 'fish', 'aircraft': 'aircraft',
    'knife': 'knives', 'wife': 'wives', 'life': 'lives', 'leaf': 'leaves',
    'loaf': 'loaves', 'shelf': 'shelves', 'bookshelf': 'bookshelves',
    'calf': 'calves', 'half': 'halves', 'wolf': 'wolves', 'scarf': 'scarves',
    'elf': 'elves', 'thief': 'thieves', 'potato': 'potatoes', 'tomato': 'tomatoes',
    'mango': 'mangoes', 'hero': 'heroes', 'buffalo': 'buffaloes', 'bus': 'buses',
    'gas': 'gases', 'lens': 'lenses', 'cactus': 'cacti', 'quiz': 'quizzes',
    'tie': 'ties', 'pie': 'pies', 'cookie': 'cookies', 'movie': 'movies',
    'axe': 'axes', 'shoe': 'shoes', 'toe': 'toes', 'horseshoe': 'horseshoes',
    'canoe': 'canoes', 'cache': 'caches', 'headache': 'headaches',
}  # fmt: skip
_SINGULARS = {plural: singular for singular, plural in _IRREGULAR.items()}
_SINGULARS |= {'scarfs': 'scarf', 'buffalos': 'buffalo', 'mangos': 'mango'}
_SINGULARS |= {'cactuses': 'cactus', 'busses': 'bus', 'persons': 'person'}
# singular though they end in -s, and words that have no other number
_NO_PLURAL_S = ('ss', 'us', 'is')
UNCOUNTED = word_set("""
    scissors pants jeans shorts trousers glasses sunglasses goggles clothes tongs
    pajamas headphones binoculars pliers leggings tights series species stairs
    surroundings tennis grass water rice bread food hair furniture luggage equipment
    fruit traffic snow sand sheep deer fish aircraft
""")
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
    if word in _IRREGULAR:
        return _IRREGULAR[word]
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
    if word in _SINGULARS:
        return True
    return len(word) > 3 and word.endswith('s') and not word.endswith(_NO_PLURAL_S)


def singularize(word: str) -> str:
    """Singular of a lower-case noun; any other word as it is."""
    if not is_plural(word):
        return word
    if word in _SINGULARS:
        return _SINGULARS[word]
    if word.endswith('ies') and len(word) > 4:
        return f'{word[:-3]}y'
    if word.endswith(('sses', 'xes', 'zes', 'ches', 'shes')):
        return word[:-2]
    return word[:-1]
