"""Captions and region phrases of OVShapes, in English and Chinese."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from .classes import COLORS, EXTRA_COLORS, OVSHAPES_CLASSES, SHAPES, ShapeClass
from .render import TEXTURES, ShapeObject

LANGUAGES = ('en', 'zh')
NUM_HARD_NEGATIVES = 10
_TEXTURES_ZH = {'solid': '纯色', 'striped': '条纹', 'dotted': '圆点'}
_COUNTS = {'en': ('two {}', 'three {}'), 'zh': ('两个{}', '三个{}')}
_RELATIONS = {
    'en': {'left': 'left of', 'right': 'right of', 'above': 'above', 'below': 'below'},
    'zh': {'left': '左边', 'right': '右边', 'above': '上方', 'below': '下方'},
}


def region_phrases(shape_object: ShapeObject, language: str) -> tuple[str, str]:
    """The name of an object, and the name with its texture.

    Returns:
        ``('red circle', 'striped red circle')``, or the same in Chinese.
    """
    pair = shape_object.shape_class.color, shape_object.shape_class.shape
    return _name(*pair, language), _phrase(shape_object.texture, *pair, language)


def hard_negatives(
    shape_object: ShapeObject,
    language: str,
    rng: np.random.Generator,
    allowed: Collection[ShapeClass] | None = None,
) -> list[str]:
    """Ten phrases that differ from an object's textured one in one attribute.

    Args:
        shape_object: the object.
        language: 'en' or 'zh'.
        rng: chooses ten if there are more, and their order.
        allowed: classes that may be named. Training passes the base classes, since a
            negative with a novel pair would teach that the pair never occurs. None
            allows all 80.

    If colour, shape and texture give fewer than ten (an allowed class has at least
    nine), phrases with another count are added: 'two striped red circles'.
    """
    color, shape = shape_object.shape_class.color, shape_object.shape_class.shape
    named = OVSHAPES_CLASSES if allowed is None else allowed
    named = {(c.color, c.shape) for c in named}
    pairs = [(c, shape) for c in COLORS | EXTRA_COLORS] + [(color, s) for s in SHAPES]
    pairs = [pair for pair in pairs if pair in named]
    texts = [
        _phrase(shape_object.texture, *p, language)
        for p in pairs
        if p != (color, shape)
    ]
    texts += [
        _phrase(t, color, shape, language)
        for t in TEXTURES
        if t != shape_object.texture
    ]
    texts = rng.permutation(texts)[:NUM_HARD_NEGATIVES].tolist()
    several = _phrase(shape_object.texture, color, shape, language)
    several = _plural(several) if language == 'en' else several
    texts += [count.format(several) for count in _COUNTS[language]]
    return texts[:NUM_HARD_NEGATIVES]


def describe(
    objects: Sequence[ShapeObject], language: str, rng: np.random.Generator
) -> dict[str, str]:
    """Short and long caption of an image.

    The short caption names up to three objects; the long one names all objects with
    their textures from left to right, and the relation of each to the next one.

    Args:
        objects: objects of one image, at least one.
        language: 'en' or 'zh'.
        rng: chooses the objects of the short caption and the direction of relations.

    Returns:
        ``{'short': ..., 'long': ...}``: at most 64 and 196 tokens.
    """
    chosen = [objects[i] for i in rng.permutation(len(objects))[:3]]
    names = [region_phrases(o, language)[0] for o in chosen]
    ordered = sorted(objects, key=lambda o: o.center)
    phrases = [region_phrases(o, language)[1] for o in ordered]
    relations = [
        _relation(a, b, language) if rng.random() < 0.5 else _relation(b, a, language)
        for a, b in pairwise(ordered)
    ]
    if language == 'zh':
        long = '。'.join([f'从左到右：{_join(phrases, language)}', *relations]) + '。'
    else:
        start = f'from left to right: {_join(phrases, language)}'
        long = '. '.join([start, *relations]) + '.'
    return {'short': _join(names, language), 'long': long}


def _relation(one: ShapeObject, other: ShapeObject, language: str) -> str:
    """'the red circle is left of the blue star': the larger offset decides."""
    dx, dy = np.subtract(one.center, other.center)
    if abs(dx) >= abs(dy):
        kind = 'left' if dx < 0 else 'right'
    else:
        kind = 'above' if dy < 0 else 'below'
    word = _RELATIONS[language][kind]
    first, second = (region_phrases(o, language)[0] for o in (one, other))
    if language == 'zh':
        return f'{first}在{second}的{word}'
    return f'the {first} is {word} the {second}'


def _name(color: str, shape: str, language: str) -> str:
    if language == 'zh':
        return (COLORS | EXTRA_COLORS)[color] + SHAPES[shape]
    if language == 'en':
        return f'{color} {shape}'
    raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')


def _phrase(texture: str, color: str, shape: str, language: str) -> str:
    name = _name(color, shape, language)
    return _TEXTURES_ZH[texture] + name if language == 'zh' else f'{texture} {name}'


def _plural(text: str) -> str:
    return f'{text}es' if text.endswith('s') else f'{text}s'


def _join(parts: Sequence[str], language: str) -> str:
    if language == 'zh':
        return '、'.join(parts[:-1]) + '和' + parts[-1] if parts[1:] else parts[0]
    parts = [f'{"an" if part[0] in "aeiou" else "a"} {part}' for part in parts]
    return ', '.join(parts[:-1]) + ' and ' + parts[-1] if parts[1:] else parts[0]
