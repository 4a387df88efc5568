"""Names of a string, a file and a list: aliases, braces, and what braces bring."""

import warnings

import pytest
import torch
from mmengine.structures import BaseDataElement
from PIL import Image, ImageDraw

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.vocabulary import read_texts
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt
from fgclip2_det.vocabulary.name_checks import check_names
from fgclip2_det.vocabulary.names import read_prompts
from fgclip2_det.vocabulary.negatives import find_negatives

TEXT = 'red circle|红色圆形; 黑色正方形; blue {star|ring}'
BOX = (60, 80, 140, 160)


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture(scope='module')
def picture() -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    ImageDraw.Draw(image).ellipse(BOX, fill='red')
    return image


def test_a_string_is_read_as_on_a_command_line(tmp_path):
    wanted = [['red circle', '红色圆形'], ['黑色正方形'], ['blue star'], ['blue ring']]
    assert Vocabulary(TEXT).aliases == wanted == read_texts(TEXT)
    (tmp_path / 'names.txt').write_text(TEXT.replace('; ', '\n'), 'utf-8')
    assert read_texts(str(tmp_path / 'names.txt')) == wanted
    with pytest.raises(ValueError, match='has braces and aliases'):
        Vocabulary('red {cup|plate}|mug')
    with pytest.raises(
        ValueError, match="of class 0 must be a non-empty string, got ''"
    ):
        Vocabulary('cat|')


def test_a_text_of_images_too():
    pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
    from fgclip2_det.models.detectors.text_prompts import names_of_samples

    sample = BaseDataElement(metainfo=dict(text='red circle|红色圆形. cat'))
    assert names_of_samples([sample]) == [['red circle', '红色圆形'], ['cat']]


def test_a_list_is_taken_as_it_is_and_says_so():
    for name in 'red circle|红色圆形', 'red {circle|square}':
        with pytest.warns(UserWarning, match=r"is not split at '\|' or braces: 'red"):
            assert Vocabulary([name, 'cat']).aliases == [[name], ['cat']]
    (finding,) = check_names([['a|b'], ['cat'], ['{c}']])
    assert finding.kind == 'marks' and finding.names == ('a|b', '{c}')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Vocabulary(TEXT)
        Vocabulary([['red circle', '红色圆形'], 'cat'])


def test_names_of_braces_alone_have_attribute_negatives(tmp_path):
    text = 'red {circle|square}; blue star'
    wanted = find_negatives([['red circle'], ['red square']])
    assert Vocabulary(text).given_negatives == wanted
    path = tmp_path / 'names.txt'
    path.write_text(text.replace('; ', '\n'), 'utf-8')
    assert [braces for _, braces in read_prompts(str(path))] == [True, True, False]
    assert Vocabulary.from_file(path).given_negatives == wanted
    given = Vocabulary.from_file(path, negatives='shadow').given_negatives
    assert given == {'*': ['shadow'], **wanted}
    for options in dict(novel_classes=['blue star']), dict(attribute_negatives=0):
        assert Vocabulary.from_file(path, **options).negatives is None
    assert set(Vocabulary(text, attribute_negatives=2).given_negatives) == {
        'red circle', 'red square', 'blue star'
    }  # fmt: skip


def test_all_aliases_of_a_class_that_is_shown(encoder, picture):
    prompt = ImagePrompt('Red circle', [(picture, BOX)], 'Red circle', 0.25)
    shown = ImageEmbeds.encode([prompt], encoder)
    vocabulary = shown.vocabulary([['red circle', '红色圆形', 'red disk'], 'star'])
    assert vocabulary.aliases == [['star'], ['Red circle', '红色圆形', 'red disk']]
    text = Vocabulary([['red circle', '红色圆形', 'red disk']]).embed(encoder)[0]
    mixed = 0.25 * shown.embeds[0] + 0.75 * text
    actual = vocabulary.embed(encoder)[1]
    torch.testing.assert_close(actual, mixed / mixed.norm())
    with pytest.raises(ValueError, match='names both class'):
        shown.vocabulary([['red circle'], ['Red circle']])


def test_the_detectors_parts_hold_beside_an_image_prompt(encoder, picture):
    prompt = ImagePrompt('mine', [(picture, BOX)], 'red circle')
    shown = ImageEmbeds.encode([prompt], encoder)
    parts = {'White rook': ['white', 'rook'], 'mine': ['other'], 'cat': ['fur']}
    vocabulary = shown.vocabulary(['white rook', 'star'])
    assert not vocabulary.has_given_parts
    found = vocabulary.resolved('raw', [], parts)
    assert found.parts == {'white rook': ['white', 'rook'], 'mine': ['red circle']}
    assert found.has_given_parts and found.resolved('raw', [], parts) is found
    for own in {}, {'mine': ['blue']}, {'star': ['five', 'points']}:
        given = shown.vocabulary(['white rook', 'star'], parts=own)
        found = given.resolved('raw', [], parts)
        assert found.prompts()[0] == ['white rook'] and given.has_given_parts
        assert found.prompts()[2] == ['red circle']
    assert found.prompts()[1] == ['five', 'points']
