"""Word lists of the hard negatives: the built-in ones, and users' own."""

import json

import pytest

from fgclip2_det.vocabulary.hard_negatives.lexicon import built_in
from fgclip2_det.vocabulary.hard_negatives.word_lists import read_word_file
from pretrain.hard_negatives import HardNegativeWriter, Lexicon, read_lexicon


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_lexicon_sizes(language):
    lexicon = Lexicon(language, built_in(language))
    names: dict[str, set[str]] = {}
    for axis in lexicon.axes:
        actual = names.setdefault(axis.family, set())
        for entry in axis.entries.values():
            actual.update(w for words in entry.forms.values() for w in words)
    least = dict(color=20, shape=20, material=20, size=14, count=12, relation=16)
    for family, number in (least | dict(pattern=12)).items():
        assert len(names[family]) >= number, family


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_every_entry_has_a_contrast(language):
    for axis in Lexicon(language, built_in(language)).axes:
        for name, near in axis.near.items():
            assert name in near
            assert set(axis.entries) - near - axis.silent, (axis.name, name)
        for near in (axis.near, axis.kinds):
            assert all(a in near[b] for a in near for b in near[a])


USER = {
    'en': {
        'families': {
            'weather': {
                'sky': {
                    'rule': 'attributive',
                    'entries': ['sunny', ['rainy', 'wet'], 'snowy'],
                    'near': [['rainy', 'snowy']],
                }
            },
            'color': {'color': {'entries': ['fuchsia'], 'near': [['fuchsia', 'pink']]}},
        },
        'protected': ['red tape'],
    }
}


def test_user_lexicon(tmp_path):
    path = tmp_path / 'words.json'
    path.write_text(json.dumps(USER), encoding='utf-8')
    writer = HardNegativeWriter(num=1000, lexicon=path)
    assert set(writer.write('a wet street')) == {'a sunny street'}
    assert 'a blue hat' in writer.write('a fuchsia hat')
    assert 'a fuchsia hat' in writer.write('a red hat')
    assert 'a fuchsia hat' not in writer.write('a pink hat')
    assert writer.write('red tape') == []
    same = HardNegativeWriter(num=1000, lexicon=read_lexicon(path))
    assert same.write('a wet street') == writer.write('a wet street')
    plain = HardNegativeWriter(num=1000)
    assert 'a fuchsia hat' not in plain.write('a red hat')  # the built-in one is kept


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'cannot be read as JSON'),
        ('[]', 'the file must be an object'),
        ('{"fr": {}}', "must be one of .*'en', 'zh'.* got 'fr'"),
        ('{"en": {"words": []}}', "got 'words'"),
        ('{"en": {"protected": [" "]}}', 'expected words'),
        ('{"en": {"families": []}}', '"families" must be an object'),
        ('{"en": {"families": {"a": {"b": []}}}}', 'axis a/b must be an object'),
        ('{"en": {"families": {"a": {"b": {"x": 1}}}}}', "axis a/b holds 'x'"),
        (
            '{"en": {"families": {"a": {"b": {"rule": "bare"}}}}}',
            "rule of axis a/b .*'b",
        ),
        ('{"en": {"families": {"a": {"b": {"entries": "red"}}}}}', 'must be a list'),
        ('{"en": {"families": {"a": {"b": {"entries": [3]}}}}}', 'expected words, got'),
        ('{"en": {"families": {"a": {"b": {"entries": [[]]}}}}}', 'an empty list'),
        ('{"en": {"families": {"a": {"b": {"entries": [{}]}}}}}', 'names no word'),
        ('{"en": {"families": {"a": {"b": {"entries": ["x", "x"]}}}}}', "'x' twice"),
        (
            '{"en": {"families": {"a": {"b": {"entries": ["x", ["y", "x"]]}}}}}',
            "'x' belongs to 'x' and to 'y'",
        ),
        (
            '{"en": {"families": {"a": {"b": {"entries": ["x"], "near": [["z"]]}}}}}',
            "names 'z', which is not an entry",
        ),
        (
            '{"en": {"families": {"color": {"color": {"entries": ["grey"]}}}}}',
            "'grey' belongs to 'gray' and to 'grey'",
        ),
    ],
)
def test_wrong_lexicons(tmp_path, content, message):
    path = tmp_path / 'words.json'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(ValueError, match=message) as error:
        HardNegativeWriter(lexicon=path)
    assert str(path) in str(error.value)


def test_shared_lists_are_written_out(tmp_path):
    path = tmp_path / 'words.json'
    lists = {'cats': ['cat', 'kitten'], 'pets': ['@cats', 'dog']}
    content = {'about': 'pets', 'lists': lists, 'words': {'all': ['@pets', ['@cats']]}}
    path.write_text(json.dumps(content), encoding='utf-8')
    pets = ['cat', 'kitten', 'dog', ['cat', 'kitten']]
    assert read_word_file(path) == {'words': {'all': pets}}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('[]', 'must hold an object'),
        ('{"lists": []}', 'must hold an object'),
        ('{"words": {"a": ["@b"]}}', '\'@b\' is not in "lists"'),
        ('{"words": {"a": ["x", "x"]}}', 'expected distinct words'),
        ('{"words": {"a": [""]}}', 'expected distinct words'),
    ],
)
def test_wrong_word_files(tmp_path, content, message):
    path = tmp_path / 'words.json'
    path.write_text(content, encoding='utf-8')
    with pytest.raises(ValueError, match=message) as error:
        read_word_file(path)
    assert str(path) in str(error.value)
