"""Names with alternatives in braces, and negatives that differ in one attribute."""

import pytest

from fgclip2_det import Vocabulary
from fgclip2_det.vocabulary import read_texts
from fgclip2_det.vocabulary.negatives import find_negatives
from fgclip2_det.vocabulary.placeholders import PLACEHOLDERS
from fgclip2_det.vocabulary.texts import MAX_EXPANDED, expand_prompt, expand_prompts


def test_all_combinations_in_order():
    """One loop inside the other."""
    found = expand_prompt('a {red|dark blue}  { star |ring} on {top|a cup}')
    assert found == [
        f'a {colour} {shape} on {place}'
        for colour in ('red', 'dark blue')
        for shape in ('star', 'ring')
        for place in ('top', 'a cup')
    ]
    assert expand_prompt('{红色|蓝色}{圆形|星形}') == [
        '红色圆形', '红色星形', '蓝色圆形', '蓝色星形',
    ]  # fmt: skip
    assert expand_prompt('red cup') == ['red cup']


@pytest.mark.parametrize(
    'prompt, message',
    [
        ('red {cup|{big|small} plate}', 'nested or not closed; expected'),
        ('red {cup|plate', 'nested or not closed'),
        ('red cup|plate}', 'nested or not closed'),
        ('}red{ cup', 'nested or not closed'),
        ('red {cup}', "two or more alternatives.* got 'cup'"),
        ('red {}', "two or more alternatives.* got ''"),
        ('red {cup| }', 'two or more alternatives'),
    ],
)
def test_bad_braces(prompt, message):
    for read in (expand_prompt, Vocabulary, read_texts):
        with pytest.raises(ValueError, match=message):
            read(prompt)


def test_the_number_of_names_is_bounded():
    ten = '{' + '|'.join('abcdefghij') + '}'
    assert len(expand_prompt(f'{ten} {ten} {ten}')) == MAX_EXPANDED == 1000
    with pytest.raises(ValueError, match=r'stand for 10000 names .* at most 1000'):
        expand_prompt(f'{ten} {ten} {ten} {ten}')
    with pytest.raises(ValueError, match='stand for 1001 names'):
        expand_prompts(['cup', f'{ten} {ten} {ten}'])
    assert len(expand_prompts(['cup'] * 1200)) == 1200  # a plain list has no bound


def test_strings_files_and_quotes(tmp_path):
    text = 'red {cup|plate}; "salt, pepper"; sofa|couch'
    wanted = [['red cup'], ['red plate'], ['salt, pepper'], ['sofa', 'couch']]
    assert read_texts(text) == wanted
    file = tmp_path / 'names.txt'
    file.write_text('red {cup|plate}\nsalt, pepper\nsofa | couch\n', 'utf-8')
    assert read_texts(str(file)) == wanted
    assert Vocabulary('red {cup|plate}; 猫').names == ['red cup', 'red plate', '猫']
    with pytest.raises(ValueError, match='has braces and aliases'):
        read_texts('red {cup|plate}|mug')
    with pytest.raises(ValueError, match="'red cup' names both class 0"):
        Vocabulary('red {cup|plate}; red cup')
    assert Vocabulary(['{a|b}']).names == ['{a|b}']  # a list is taken as it is


def changed(name: str, other: str) -> int:
    """Words in which two names differ, position by position; -1: other lengths."""
    pairs = list(zip(name.split(), other.split(), strict=False))
    same_length = len(name.split()) == len(other.split())
    return sum(a != b for a, b in pairs) if same_length else -1


def test_negatives_differ_in_one_attribute():
    found = find_negatives([['red cup'], ['wooden chair', 'oak chair'], ['cat']])
    assert set(found) == {'red cup', 'wooden chair'}
    assert len(found['red cup']) == 8 == len(set(found['red cup']))
    for text in found['red cup']:
        assert text.endswith(' cup') and text != 'red cup'
        assert not {'crimson', 'scarlet', 'maroon'} & set(text.split())
    assert all(changed('wooden chair', text) == 1 for text in found['wooden chair'])
    assert len(find_negatives([['red cup']], 3)['red cup']) == 3
    assert find_negatives([['red cup']], 0) == {}
    assert all(t.endswith('色杯子') for t in find_negatives([['红色杯子']])['红色杯子'])
    with pytest.raises(ValueError, match='must be 0 or more'):
        find_negatives([['red cup']], -1)


def test_an_alias_is_no_negative():
    (first, *_) = find_negatives([['red cup']])['red cup']
    assert first not in find_negatives([['red cup', first.upper()]])['red cup']


def test_a_vocabulary_of_braces_has_them():
    plain = Vocabulary('red cup; red plate')
    assert plain.negatives is None
    given = Vocabulary('red {cup|plate}', negatives='shadow')
    wanted = find_negatives([['red cup'], ['red plate']])
    texts = ['shadow', *wanted['red cup'], *wanted['red plate']]
    assert list(given.negatives.texts) == texts
    for text, column in zip(texts, given.negatives.against.T.tolist(), strict=True):
        assert column == [text == 'shadow' or text.endswith(end)
                          for end in ('cup', 'plate')]  # fmt: skip
    none = Vocabulary('red {cup|plate}', attribute_negatives=0)
    assert none.negatives is None and none.names == given.names
    asked = Vocabulary(['red cup', 'cat'], attribute_negatives=2)
    assert len(asked.negatives.texts) == 2
    assert asked.resolved('raw', ['cat']).negatives.key == asked.negatives.key


def test_placeholders():
    """Lists of attribute words are built in, a user's come first."""
    colours = expand_prompt('{colour} cup')
    assert colours[:3] == ['white cup', 'black cup', 'red cup'] and len(colours) == 11
    assert expand_prompt('{ color } cup') == colours
    assert expand_prompt('{颜色}{noun}', {'noun': '杯子| 盘子'})[:4] == [
        '白色杯子', '白色盘子', '黑色杯子', '黑色盘子',
    ]  # fmt: skip
    assert expand_prompt('{material}')[:2] == ['wooden', 'metal']
    assert expand_prompt('{材质}桌子')[:2] == ['木质桌子', '金属桌子']
    assert expand_prompt('{colour}', {'colour': ['teal']}) == ['teal']
    for name in PLACEHOLDERS:
        words = expand_prompt(f'{{{name}}}')
        assert len(set(words)) == len(words) >= 2
    vocabulary = Vocabulary('{size} {noun}', words={'noun': ['red cup', 'plate']})
    assert vocabulary.names == [
        'large red cup', 'large plate', 'small red cup', 'small plate',
    ]  # fmt: skip
    assert vocabulary.negatives is not None
    assert 'large blue cup' in vocabulary.negatives.texts


def test_bad_placeholders():
    with pytest.raises(ValueError, match=r"name of a list \(noun, colour, .*'nuon'"):
        Vocabulary('{colour} {nuon}', words={'noun': 'cup'})
    for words in '', ['cup', ' '], [], 3, 'cup||plate':
        with pytest.raises(ValueError, match="words of 'noun' must be texts"):
            expand_prompt('{noun}', {'noun': words})


def test_placeholders_of_a_file(tmp_path):
    (tmp_path / 'names.txt').write_text('{size} {noun}\ncat\n', 'utf-8')
    read = read_texts(str(tmp_path / 'names.txt'), {'noun': 'cup|plate'})
    assert read[1:] == [['large plate'], ['small cup'], ['small plate'], ['cat']]
