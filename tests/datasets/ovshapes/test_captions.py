"""Captions, phrases and hard negatives of OVShapes, read back by another parser."""

import itertools
import re

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.datasets.ovshapes.captions import (
    describe,
    hard_negatives,
    region_phrases,
)
from fgclip2_det.datasets.ovshapes.classes import OVSHAPES_CLASSES, classes_of
from fgclip2_det.datasets.ovshapes.render import ShapeObject
from fgclip2_det.fgclip2 import FGCLIP2Tokenizer
from fgclip2_det.fgclip2.model import ASSETS

LANGUAGES = 'en', 'zh'
TEXTURES = {'solid': '纯色', 'striped': '条纹', 'dotted': '圆点'}
COLORS = {
    'red': '红色',
    'orange': '橙色',
    'yellow': '黄色',
    'green': '绿色',
    'blue': '蓝色',
    'purple': '紫色',
    'black': '黑色',
    'white': '白色',
}
SHAPES = {
    'circle': '圆形',
    'square': '正方形',
    'triangle': '三角形',
    'diamond': '菱形',
    'star': '星形',
    'heart': '心形',
    'cross': '十字形',
    'arrow': '箭头',
    'crescent': '月牙形',
    'ring': '圆环',
}
COUNTS = {'two': '两个', 'three': '三个'}
WORDS = COUNTS, TEXTURES, COLORS, SHAPES


def any_of(words, optional: bool) -> str:
    return f'({"|".join(words)}){"?" if optional else ""}'


# count, texture, colour, shape; the first two may be absent
PATTERNS = {
    'en': re.compile(
        r'\b(?:(two|three) )?(?:(solid|striped|dotted) )?'
        f'{any_of(COLORS, False)} {any_of(SHAPES, False)}(?:e?s)?\\b'
    ),
    'zh': re.compile(
        ''.join(any_of(words.values(), i < 2) for i, words in enumerate(WORDS))
    ),
}


def parse(text: str, language: str) -> list[tuple]:
    """(count, texture, colour, shape) of every object named, in English words."""
    back = [{zh: en for en, zh in words.items()} for words in WORDS]
    return [
        tuple(
            word and (word if language == 'en' else translate[word])
            for translate, word in zip(back, actual, strict=True)
        )
        for actual in (match.groups() for match in PATTERNS[language].finditer(text))
    ]


def make_object(number: int, x: float = 50, y: float = 60) -> ShapeObject:
    """Class ``number`` of 80 with a texture of its own, centred at (x, y)."""
    texture = list(TEXTURES)[number % 3]
    w, h = 10 + number % 7, 12 + number % 5
    box = x - w, y - h, x + w, y + h
    return ShapeObject(OVSHAPES_CLASSES[number % 80], texture, box, angle=0.0)


def make_scene(rng: np.random.Generator, num: int) -> list[ShapeObject]:
    return [
        make_object(int(rng.integers(240)), *rng.uniform(14, 242, 2))
        for _ in range(num)
    ]


def named(actual: ShapeObject) -> tuple[str, str]:
    return actual.shape_class.color, actual.shape_class.shape


def test_parser_reads_what_it_must():
    """Names in the middle of other words, and those that begin alike."""
    assert parse('a red circle and two dotted blue crosses', 'en') == [
        (None, None, 'red', 'circle'),
        ('two', 'dotted', 'blue', 'cross'),
    ]
    assert parse('红色圆环、三个圆点红色圆形', 'zh') == [
        (None, None, 'red', 'ring'),
        ('three', 'dotted', 'red', 'circle'),
    ]
    assert parse('a red wagon', 'en') == []


@pytest.mark.parametrize('language', LANGUAGES)
def test_phrases_name_the_object(language):
    for number in range(240):
        actual = make_object(number)
        short, long = region_phrases(actual, language)
        assert parse(short, language) == [(None, None, *named(actual))]
        assert parse(long, language) == [(None, actual.texture, *named(actual))]
        assert short in long
    first = make_object(0)
    expected = dict(
        en=('red circle', 'solid red circle'), zh=('红色圆形', '纯色红色圆形')
    )
    assert region_phrases(first, language) == expected[language]


# ---------------------------------------------------------------------- hard negatives
@pytest.mark.parametrize('language', LANGUAGES)
@pytest.mark.parametrize('splits', [('base',), ('base', 'novel', 'unused')])
def test_negatives_are_ten_and_one_attribute_off(language, splits):
    """Every base object in every texture: ten different texts, each of which differs
    from the object in count, texture, colour or shape, and in that alone."""
    allowed = classes_of(*splits)
    pairs = {(c.color, c.shape) for c in allowed}
    kinds = set()
    for number in range(240):
        actual = make_object(number)
        if named(actual) not in {(c.color, c.shape) for c in classes_of('base')}:
            continue
        rng = np.random.default_rng(number)
        texts = hard_negatives(actual, language, rng, allowed)
        assert len(texts) == len(set(texts)) == 10
        truth = (None, actual.texture, *named(actual))
        for text in texts:
            [said] = parse(text, language)
            different = [i for i in range(4) if said[i] != truth[i]]
            assert len(different) == 1, text
            kinds.add(different[0])
            assert said[2:] in pairs, text
        assert not set(texts) & set(region_phrases(actual, language))
    assert kinds >= {1, 2, 3}


def test_negatives_of_all_classes_without_a_list():
    rng = np.random.default_rng(0)
    said = {
        parse(text, 'en')[0][2:]
        for number in range(240)
        for text in hard_negatives(make_object(number), 'en', rng)
    }
    assert len(said) == 80


def test_negatives_take_turns():
    """No attribute, and no place in the list, gives them away."""
    actual = make_object(2)
    rng = np.random.default_rng(0)
    lists = [hard_negatives(actual, 'en', rng, classes_of('base')) for _ in range(200)]
    assert len({tuple(texts) for texts in lists}) > 150
    assert len({texts[0] for texts in lists}) > 8


# ---------------------------------------------------------------------------- captions
RELATIONS = {
    'en': re.compile(r'the ([a-z ]+?) is (left of|right of|above|below) the ([a-z ]+)'),
    'zh': re.compile('([^。：、]+?)在([^。]+?)的(左边|右边|上方|下方)'),
}
HOLDS = {
    ('left of', '左边'): lambda dx, dy: dx < 0 and abs(dx) >= abs(dy),
    ('right of', '右边'): lambda dx, dy: dx > 0 and abs(dx) >= abs(dy),
    ('above', '上方'): lambda dx, dy: dy < 0 and abs(dy) >= abs(dx),
    ('below', '下方'): lambda dx, dy: dy > 0 and abs(dy) >= abs(dx),
}


def relations_in(text: str, language: str) -> list[tuple]:
    """(first, second, predicate of the offset first - second)."""
    actual = RELATIONS[language].findall(text)
    if language == 'zh':
        actual = [(one, word, other) for one, other, word in actual]
    return [
        (
            parse(one, language)[0][2:],
            parse(other, language)[0][2:],
            next(holds for words, holds in HOLDS.items() if word in words),
        )
        for one, word, other in actual
    ]


@pytest.mark.parametrize('language', LANGUAGES)
def test_captions_are_true(language):
    """Order from left to right, textures, and every relation, of 300 scenes; one that
    names two alike is true if some two of them stand so."""
    rng, seen = np.random.default_rng(1), set()
    for scene in range(300):
        objects = make_scene(rng, 1 + scene % 6)
        text = describe(objects, language, rng)['long']
        centers = {id(o): np.add(o.bbox[:2], o.bbox[2:]) / 2 for o in objects}
        ordered = sorted(objects, key=lambda o: centers[id(o)][0])
        head = re.split(r'。|\. |\.$', text)[0]
        said = parse(head, language)
        assert said == [(None, o.texture, *named(o)) for o in ordered]
        relations = relations_in(text[len(head) :], language)
        assert len(relations) == len(objects) - 1
        for one, other, holds in relations:
            candidates = itertools.permutations(objects, 2)
            offsets = [
                centers[id(a)] - centers[id(b)]
                for a, b in candidates
                if (named(a), named(b)) == (one, other)
            ]
            assert any(holds(*offset) for offset in offsets), text
            seen.add(holds)
    assert len(seen) == 4


@pytest.mark.parametrize('language', LANGUAGES)
def test_short_captions_name_up_to_three(language):
    rng = np.random.default_rng(2)
    for scene in range(60):
        objects = make_scene(rng, 1 + scene % 6)
        said = parse(describe(objects, language, rng)['short'], language)
        assert len(said) == min(len(objects), 3)
        names = [(None, None, *named(o)) for o in objects]
        for each in said:
            names.remove(each)  # as often as it is there


def test_how_captions_read():
    objects = [make_object(1, 150, 40), make_object(12, 100, 60)]  # orange triangle
    rng = np.random.default_rng(0)
    english = describe(objects, 'en', rng)
    assert english['long'] in {
        'from left to right: a solid orange triangle and a striped red square. '
        f'the {pair}.'
        for pair in (
            'red square is right of the orange triangle',
            'orange triangle is left of the red square',
        )
    }
    assert sorted(english['short'].split(' and ')) == [
        'a red square',
        'an orange triangle',
    ]
    chinese = describe(objects, 'zh', rng)
    assert chinese['long'].startswith('从左到右：纯色橙色三角形和条纹红色正方形。')
    assert chinese['long'].endswith('边。')


@pytest.mark.parametrize('language', LANGUAGES)
def test_captions_fit_the_tower(language):
    """Six objects, the most there are, of the classes with the longest names."""
    tokenizer = FGCLIP2Tokenizer.from_folder(ASSETS)
    count = tokenizer.count
    worst = max(
        range(240), key=lambda n: count(region_phrases(make_object(n), language)[1])
    )
    rng = np.random.default_rng(3)
    for scene in range(40):
        objects = make_scene(rng, 6)
        if scene < 10:
            objects = [make_object(worst, *rng.uniform(14, 242, 2)) for _ in range(6)]
        texts = describe(objects, language, rng)
        assert count(texts['short']) <= 64
        assert count(texts['long']) <= 196
        tokenizer(
            [texts['long']], 196, truncation=False
        )  # raises where one does not fit


@pytest.mark.parametrize('language', LANGUAGES)
def test_texts_depend_on_the_seed_alone(language):
    objects = make_scene(np.random.default_rng(4), 5)
    base = classes_of('base')

    def write(seed):
        rng = np.random.default_rng(seed)
        texts = describe(objects, language, rng)
        return texts, [hard_negatives(o, language, rng, base) for o in objects]

    np.random.seed(0)
    first = write(0)
    np.random.seed(1)
    assert write(0) == first
    assert write(1) != first


def test_another_language_is_refused():
    with pytest.raises(ValueError, match="one of \\('en', 'zh'\\), got 'de'"):
        region_phrases(make_object(0), 'de')
