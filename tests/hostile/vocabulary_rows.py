"""Vocabularies, their caches, and files of image prompts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.fgclip2.checkpoint import ASSETS
from fgclip2_det.vocabulary.negatives import parse_negatives
from fgclip2_det.vocabulary.templates import resolve_templates
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import write


@cache
def encoder() -> FGCLIP2:
    """The embedded model."""
    return FGCLIP2.from_pretrained(ASSETS)


def _vocabulary(folder: Path, given: dict) -> object:
    return Vocabulary(**{'names': ['cat', 'dog'], 'check': False} | given)


ARGUMENTS = {
    'no names': ({'names': []}, 'at least one name'),
    'names: none': ({'names': None}, 'expected a list'),
    'names: number': ({'names': 3}, 'expected a list'),
    'names: dict': ({'names': {'cat': 1}}, 'expected a list'),
    'names: set': ({'names': {'cat'}}, 'expected a list'),
    'names: empty text': ({'names': ''}, 'expected names'),
    'name: none': ({'names': ['cat', None]}, 'class 1'),
    'name: number': ({'names': ['cat', 3]}, 'class 1'),
    'name: empty': ({'names': ['cat', '']}, 'class 1'),
    'name: blanks': ({'names': ['cat', '\u3000\t']}, 'class 1'),
    'name: signs alone': ({'names': ['cat', '...']}, 'class 1'),
    'name: zero-width space': ({'names': ['cat', '\u200b']}, 'class 1'),
    'name: bytes': ({'names': ['cat', b'dog']}, 'class 1'),
    'name: dict': ({'names': ['cat', {}]}, 'class 1'),
    'aliases: empty': ({'names': ['cat', []]}, 'class 1'),
    'aliases: number in them': ({'names': ['cat', ['dog', 3]]}, 'class 1'),
    'aliases: nested': ({'names': ['cat', [['dog']]]}, 'class 1'),
    'twice': ({'names': ['cat', 'cat']}, 'names both class'),
    'twice but for case': ({'names': ['cat', 'CAT']}, 'names both class'),
    'twice but for spaces': ({'names': ['red cup', 'red_cup']}, 'names both class'),
    'alias of two': ({'names': [['a', 'x'], ['b', 'x']]}, 'names both class'),
    'templates: unknown': ({'templates': 'clip'}, 'templates must be one of'),
    'templates: none in it': ({'templates': []}, 'templates must be'),
    'templates: no place': ({'templates': ['a photo']}, 'templates must be'),
    'templates: two places': ({'templates': ['{} and {}']}, 'templates must be'),
    'templates: attribute': ({'templates': ['{0.__class__}']}, 'templates must be'),
    'templates: index': ({'templates': ['{0[0]}']}, 'templates must be'),
    'templates: brace open': ({'templates': ['{} {']}, 'templates must be'),
    'templates: width': ({'templates': ['{:99999999}']}, 'templates must be'),
    'templates: number in it': ({'templates': [3]}, 'templates must be'),
    'templates: number': ({'templates': 3}, 'templates must be'),
    'novel: unknown': ({'novel_classes': ['cow']}, 'not in the vocabulary'),
    'novel: number in it': ({'novel_classes': [3]}, 'novel'),
    'novel: text': ({'novel_classes': 'cat'}, 'expected a list'),
    'novel: number': ({'novel_classes': 3}, 'expected a list'),
    'base: unknown': ({'base_classes': ['cow']}, 'not in the vocabulary'),
    'base and novel': (
        {'base_classes': ['cat'], 'novel_classes': ['cat']}, 'base and as novel',
    ),
    'parts: unknown name': ({'parts': {'cow': ['a']}}, 'not in the vocabulary'),
    'parts: a text': ({'parts': {'cat': 'white'}}, 'list of texts'),
    'parts: empty': ({'parts': {'cat': []}}, 'list of texts'),
    'parts: numbers': ({'parts': {'cat': [1]}}, 'list of texts'),
    'parts: list': ({'parts': ['cat']}, 'parts'),
    'parts: number as a name': ({'parts': {3: ['a']}}, 'parts'),
    'negatives: one of the names': ({'negatives': ['cat']}, 'asked for and a negative'),
    'negatives: unknown name': ({'negatives': {'cow': 'x'}}, 'not asked for'),
    'negatives: number': ({'negatives': 3}, 'negatives must be texts'),
    'negatives: numbers': ({'negatives': [3]}, 'negatives must be texts'),
    'negatives: blank': ({'negatives': [' ']}, 'negatives must be texts'),
    'negatives: number as a name': ({'negatives': {3: 'x'}}, 'not asked for'),
    'attribute negatives: -1': ({'attribute_negatives': -1}, '0 or more'),
    'attribute negatives: text': ({'attribute_negatives': 'many'}, 'number of'),
    'attribute negatives: 0.5': ({'attribute_negatives': 0.5}, 'number of'),
    'braces without end': ({'names': '{a|b'}, 'not closed'),
    'emoji': ({'names': ['🐱', '🐶']}, None),
    'chinese and english': ({'names': ['猫', 'cat']}, None),
    'right to left': ({'names': ['قط', 'cat']}, None),
    'name of 10,000 letters': ({'names': ['x' * 10_000]}, None),
}  # fmt: skip


def _embedded(folder: Path, names: list) -> object:
    embeds = Vocabulary(names, check=False).embed(encoder())
    assert embeds.isfinite().all()
    return embeds


TOKENS = {
    'name of 500 words': (['cat', 'word ' * 500], 'is the limit'),
    'name of 10,000 letters': (['x' * 10_000], 'is the limit'),
    'half a surrogate pair': (['cat', 'a\ud800'], 'Unicode'),
    'null character': (['a\0b'], None),
    'special token as a name': (['<eos>'], None),
    'pad token as a name': (['<pad>'], None),
    'emoji family': (['👨‍👩‍👧‍👦'], None),
    'combining marks': (['e' + '\u0301' * 10], None),
}


def _coco(folder: Path, categories: object) -> object:
    path = write(folder, 'ann.json', {'categories': categories})
    return Vocabulary.from_coco(path, aliases=True, check=False)


def _category(**changes) -> list:
    return [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'} | changes]


CATEGORIES = {
    'synonyms: a text': (_category(synonyms='puppy'), 'synonyms'),
    'synonyms: numbers': (_category(synonyms=[1]), 'synonyms'),
    'synonyms: a name of another': (_category(synonyms=['cat']), 'names both class'),
    'synonyms: empty text': (_category(synonyms=['']), 'class 1'),
    'name: number': (_category(name=3), 'name'),
    'name: null': (_category(name=None), 'name'),
    'name twice': (_category(name='cat'), 'names both class'),
    'name_zh: number': (_category(name_zh=3), 'name_zh'),
    'name_en: list': (_category(name_en=['dog']), 'name_en'),
    'no categories': ([], 'at least one name'),
    'categories: object': ({}, 'categories'),
    'categories: null': (None, 'categories'),
    'category: null': ([None], 'category entry 0'),
    'category: text': (['cat'], 'category entry 0'),
    'id twice': (_category(id=1), 'occurs twice'),
    'id missing': ([{'name': 'cat'}], 'id'),
    'synonyms: null': (_category(synonyms=None), None),
}


def _split(folder: Path, split: object) -> object:
    entries = [{'id': 1, 'name': 'cat', 'split': 'base'}]
    entries.append({'id': 2, 'name': 'dog', 'split': split})
    path = write(folder, 'ann.json', {'categories': entries})
    return Vocabulary.from_coco(path, check=False)


SPLITS = {
    'split: another word': ('seen', 'split'),
    'split: number': (1, 'split'),
    'split: list': (['novel'], 'split'),
    'split: novel': ('novel', None),
    'split: null counts as none': (None, None),
}


ROWS: list[Row] = [
    *table('vocabulary', _vocabulary, ARGUMENTS),
    *table('tokens', _embedded, TOKENS),
    *table('vocabulary of coco', _coco, CATEGORIES),
    *table('vocabulary of coco', _split, SPLITS),
    *table(
        'templates',
        lambda folder, given: resolve_templates(given),
        {'set': ({'{}'}, None), 'bytes': (b'{}', 'templates')},
    ),
    *table(
        'negatives',
        lambda folder, given: parse_negatives(given),
        {
            'no text': (['cup='], 'expected names'),
            'empty': ([''], 'expected names'),
            'no name': (['=shadow'], 'expected names'),
        },
    ),
]
