"""Names with blanks of any sort are the names that a reader sees."""

import pytest
import torch

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.coco.blanks import plain_blanks
from fgclip2_det.vocabulary import normalize_name

BLANKS = [
    'red\u3000circle', 'red\tcircle', 'red\u00a0circle', 'red circle ', ' red circle',
    'red  circle', 'red\ncircle', 'red\r\ncircle', 'red\u2003circle', 'red\u202fcircle',
    'red\u2028circle', 'red\u2800circle', 'red\u3164circle', 'red_circle',
    'red__ circle_',
    '\ufeffred circle', 'red\u200b circle', 'r\u00aded circle', 'red \u2060circle',
    '\u202ared circle\u202c', 'red\u200d circle', 'red circle\u200c',
    '\u200dred circle',
]  # fmt: skip


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture(scope='module')
def expected(encoder):
    return encoder.encode_text(['red circle'], 'box', normalize=True)


@pytest.mark.parametrize('name', BLANKS)
@torch.no_grad()
def test_the_name_that_is_seen(encoder, expected, name):
    """As a name, alias, part, and where a template has the blank."""
    for vocabulary in (
        Vocabulary([name], check=False),
        Vocabulary([['dot', name]], check=False, parts={'dot': [name]}),
        Vocabulary(['circle'], [name.replace('_', ' ').replace('circle', '{}')]),
        Vocabulary([name], [' {}\u3000'], check=False),
    ):
        assert vocabulary.prompts() == [['red circle']]
        torch.testing.assert_close(vocabulary.embed(encoder), expected)
    aliases = Vocabulary([['red circle', name]], check=False).embed_aliases(encoder)
    assert torch.equal(aliases[0], aliases[1])
    assert normalize_name(name) == 'red circle'
    with pytest.raises(ValueError, match='names both class 0'):
        Vocabulary(['red circle', name])


@torch.no_grad()
def test_raw_texts_stay_as_they_are(encoder, expected):
    """Token for token as the reference reads them: no names, no templates."""
    actual = encoder.encode_text(['red\u3000circle'], 'box', normalize=True)
    assert float(actual @ expected.T) < 0.9
    assert Vocabulary(['red\u3000circle']).names == ['red\u3000circle']


def test_words_without_a_blank_stay_one_word():
    assert plain_blanks('red\u200bcircle') == 'redcircle'
    assert plain_blanks('\u7ea2\u8272\u200d\u5706\u5f62') == '\u7ea2\u8272\u5706\u5f62'
    assert plain_blanks('\u7ea2\u8272\u3000\u5706\u5f62') == '\u7ea2\u8272 \u5706\u5f62'


@pytest.mark.parametrize(
    'text',
    [
        '\U0001f468\u200d\U0001f469\u200d\U0001f467',  # a family, one emoji
        '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645',  # Persian, half space
        '\u0915\u094d\u200d\u0937',  # Devanagari, half form
        'caf\u00e9 au lait',
    ],
)
def test_characters_that_mean_something_stay(text):
    assert plain_blanks(text) == text


@pytest.mark.parametrize('name', ['\u3164', '\u2800\u200b', '\u200d', '_\u3000'])
def test_nothing_to_see_is_no_name(name):
    for arguments in (dict(names=['cat', name]), dict(names=['cat'],
                      parts={'cat': [name]})):  # fmt: skip
        with pytest.raises(ValueError, match=r'class 1 must be a non-empty|list of'):
            Vocabulary(**arguments)
