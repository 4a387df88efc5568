"""Names in a row: what separates them and what does not."""

import pytest

from fgclip2_det.vocabulary import Vocabulary, parse_texts, read_texts

NAMES = {
    'red circle. blue star': ['red circle', 'blue star'],
    'St. Bernard. 2.5 l bottle': ['St. Bernard', '2.5 l bottle'],
    'St. Bernard. 2.5 l bottle.': ['St. Bernard', '2.5 l bottle'],
    'U.S. flag. cat': ['U.S. flag', 'cat'],
    'flag of the U.S.': ['flag of the U.S.'],
    'e.g. cat. dog': ['e.g. cat', 'dog'],
    'no. 5 jersey. cat': ['no. 5 jersey', 'cat'],
    'helmet. No. vest': ['helmet', 'No', 'vest'],
    'Vol. 2. 3 books': ['Vol. 2. 3 books'],  # a stop after a digit is none
    'boeing 747; cat. size 10.': ['boeing 747', 'cat', 'size 10'],
    'Dr. Pepper can. Sammy Davis Jr.': ['Dr. Pepper can', 'Sammy Davis Jr.'],
    'Warner Bros. tower. 6 ft. ladder': ['Warner Bros. tower', '6 ft. ladder'],
    'fig. banana': ['fig', 'banana'],  # the fruit
    'cat.dog': ['cat.dog'],
    'node.js logo. .5 l can': ['node.js logo', '.5 l can'],
    'cat... dog… bird...': ['cat', 'dog', 'bird'],
    'cat.\tdog.\u3000bird.\n. fox .': ['cat', 'dog', 'bird', 'fox'],
    'cat, dog;bird\nfox\r\nowl': ['cat', 'dog', 'bird', 'fox', 'owl'],
    '黑猫。白狗；红鸟，蓝鱼、绿蛙': ['黑猫', '白狗', '红鸟', '蓝鱼', '绿蛙'],
    'black cat. 白色杯子。狗': ['black cat', '白色杯子', '狗'],
    '黑猫.白狗. 2.5升瓶子': ['黑猫', '白狗', '2.5升瓶子'],
    'No.1模型. cat': ['No.1模型', 'cat'],
    '"St. Bernard". cat': ['St. Bernard', 'cat'],
    '"salt, pepper and co; all". cat': ['salt, pepper and co; all', 'cat'],
    "'salt. pepper', cat": ['salt. pepper', 'cat'],
    '“盐，胡椒”。「红色。圆形」': ['盐，胡椒', '红色。圆形'],
    '＂盐，胡椒＂；猫': ['盐，胡椒', '猫'],
    '写着“停。车”的牌子。猫': ['写着“停。车”的牌子', '猫'],
    "men's shoe. '90s car. boy's cap": ["men's shoe", "'90s car", "boy's cap"],
    '24" monitor. 27" monitor': ['24" monitor', '27" monitor'],
    '"St. Bernard" puppy. cat': ['"St. Bernard" puppy', 'cat'],
}


@pytest.mark.parametrize('texts', NAMES)
def test_names_of_a_string(texts):
    assert parse_texts(texts) == NAMES[texts]
    assert Vocabulary(texts, check=False).names == NAMES[texts]


@pytest.mark.parametrize('texts', ['', ' ', '.', ' . ,;。\n', '...', '""'])
def test_no_name_at_all(texts):
    with pytest.raises(ValueError, match='expected names such as'):
        parse_texts(texts)


def test_a_quote_without_an_end():
    for texts in ('"St. Bernard. cat', 'dog. “St. Bernard. cat'):
        with pytest.raises(ValueError, match='has no closing'):
            parse_texts(texts)


def test_a_file_of_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'names.txt'
    path.write_text('# pets\nSt. Bernard\nsofa|couch\n\n黑猫\n', encoding='utf-8')
    expected = [['St. Bernard'], ['sofa', 'couch'], ['黑猫']]
    assert read_texts('names.txt') == read_texts(f' {path} ') == expected
    assert read_texts('sofa|couch. cat') == [['sofa', 'couch'], ['cat']]
    (tmp_path / 'cat').write_text('dog')
    assert read_texts('cat') == [['cat']]  # no path is written like that
    for name in ('other.txt', 'folder/other.names'):
        with pytest.raises(ValueError, match=f'there is no file {name}'):
            read_texts(name)
    assert read_texts('cat. other.txt') == [['cat'], ['other.txt']]
    assert len(read_texts('a' * 5000 + '. b')) == 2
