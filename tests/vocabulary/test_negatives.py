"""Negative prompts: what competes with what."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fgclip2_det import Vocabulary
from fgclip2_det.vocabulary.competitors import Competitors, add_negatives
from fgclip2_det.vocabulary.negatives import (
    Negatives,
    parse_negatives,
)

NAMES = [['circle'], ['star', '星形'], ['ring']]


def test_negatives_of_all_names():
    read = Negatives.read('shadow; Reflection；倒影', NAMES)
    assert read.texts == ('shadow', 'Reflection', '倒影')
    assert read.against.all() and read.against.shape == (3, 3) and not read.names.any()


def test_negatives_of_one_name_may_be_another_name():
    read = Negatives.read(
        {'Circle': ['shadow', 'ring'], '星形': 'moon, shadow', '*': ['cloud']}, NAMES
    )
    assert read.texts == ('shadow', 'moon', 'cloud')
    assert read.against.tolist() == [
        [True, False, True],
        [True, True, True],
        [False, False, True],
    ]
    assert np.argwhere(read.names).tolist() == [[0, 2]]


@pytest.mark.parametrize('given', [None, '', [], {}, {'star': []}])
def test_nothing(given):
    assert Vocabulary(['star'], negatives=given).negatives is None


@pytest.mark.parametrize(
    'given, message',
    [
        (['shadow', 'STAR'], "'STAR' is asked for and a negative of all names"),
        ({'star': '星形'}, "'星形' is asked for and a negative of itself"),
        ({'moon': 'sun'}, "given for 'moon', which is not asked for; expected one"),
        (['shadow', ' '], 'negatives must be texts such as'),
        (7, 'negatives must be texts such as'),
        ({'star': [3]}, 'negatives must be texts such as'),
    ],
)
def test_bad_negatives(given, message):
    with pytest.raises(ValueError, match=message):
        Negatives.read(given, NAMES)


def test_a_command_lines_negatives():
    assert parse_negatives([]) is None
    assert parse_negatives(['a; b', 'cup = mug; glass', 'c']) == {
        '*': ['a', 'b', 'c'],
        'cup': ['mug', 'glass'],
    }
    with pytest.raises(ValueError, match='expected names'):
        parse_negatives(['cup='])


def test_several_names_of_one_option():
    found = {'red circle': ['red disk'], 'blue star': ['blue cross', '蓝色十字']}
    text = 'red circle=red disk; blue star=blue cross; 蓝色十字'
    assert parse_negatives([text]) == found
    assert parse_negatives([f'shadow; {text}', '*=moon', '"salt, pepper"=x']) == {
        '*': ['shadow', 'moon'], **found, 'salt, pepper': ['x'],
    }  # fmt: skip
    for text in 'cup=glass=mug', '*=a=b':
        with pytest.raises(ValueError, match=r"no negative of '(cup|\*)' before"):
            parse_negatives([text])


def test_a_symbol_is_a_negative():
    assert Negatives.read('🚗; shadow', NAMES).texts == ('🚗', 'shadow')
    with pytest.raises(ValueError, match='negatives must be texts'):
        Negatives.read(['-'], NAMES)


def test_they_stand_before_the_competitors_and_take_the_place_of_equal_ones():
    rows = F.normalize(torch.randn(7, 5, generator=torch.Generator().manual_seed(1)))
    apart = torch.zeros(3, 3, dtype=torch.bool)
    apart[0, 2] = apart[2, 0] = True
    silent = Competitors(('moon', 'cup', 'sun'), rows[:3], apart, torch.zeros(3) > 0)
    read = Negatives.read(
        {'circle': ['ring', 'cup', 'hoop'], '*': ['moon', 'shadow']}, NAMES
    )
    assert read.texts == ('cup', 'hoop', 'moon', 'shadow')
    found = add_negatives(silent, read, rows[3:])
    assert found.names == ('hoop', 'moon', 'shadow', 'cup', 'sun')
    torch.testing.assert_close(found.embeds, rows[[4, 5, 6, 1, 2]])
    # circle and ring compete now, for circle; hoop competes with circle alone
    assert found.apart.tolist() == [
        [False, False, False, False],
        [False, False, False, True],
        [True, False, False, True],
    ]


def test_a_vocabulary_keeps_them_when_a_detector_completes_it():
    given = Vocabulary(['red star', 'ring'], negatives={'ring': 'hoop'})
    whole = given.resolved('photo', ['ring'])
    assert whole.negatives.key == given.negatives.key and whole.base_classes == ['ring']
    other = whole.with_negatives('moon')
    assert other.negatives.texts == ('moon',) and other.base_classes == ['ring']
    assert other.templates == whole.templates
