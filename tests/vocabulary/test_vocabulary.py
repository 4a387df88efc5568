"""Names, splits, prompts, embeddings and their cache."""

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.vocabulary import TEMPLATE_SETS, Vocabulary, parse_texts, parts_of


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))


def test_embeddings_by_hand(encoder):
    """Mean of normalised prompts, normalised again."""
    templates = ['a {}', 'many {}']
    vocabulary = Vocabulary([['traffic_light', '红绿灯'], 'cat'], templates)
    embeds = vocabulary.embed(encoder)
    prompts = ['a traffic light', 'many traffic light', 'a 红绿灯', 'many 红绿灯']
    expected = encoder.encode_text(prompts, 'box', normalize=True).mean(0)
    torch.testing.assert_close(embeds[0], F.normalize(expected, dim=-1))
    assert embeds.shape == (2, 128)
    torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(2))


def test_parts_stand_for_a_name(encoder):
    """Names may share them; the others are embedded as ever."""
    parts = {'White Rook': ['white', 'rook'], 'black rook': ['black', 'rook']}
    vocabulary = Vocabulary(['white_rook', 'black rook', 'cat'], ['a {}'], parts=parts)
    expected = encoder.encode_text(['a white', 'a rook'], 'box', normalize=True).mean(0)
    embeds = vocabulary.embed(encoder)
    torch.testing.assert_close(embeds[0], F.normalize(expected, dim=-1))
    torch.testing.assert_close(embeds[2:], Vocabulary(['cat'], ['a {}']).embed(encoder))
    assert vocabulary.names == ['white_rook', 'black rook', 'cat']
    table = parts | {'dog': ['dog']}
    assert parts_of(['white_rook', 'cat'], table) == {'White Rook': ['white', 'rook']}
    assert parts_of(['white_rook'], None) == {}


def test_small_batches_give_the_same(encoder):
    vocabulary = Vocabulary([f'thing {i}' for i in range(7)])
    torch.testing.assert_close(
        vocabulary.embed(encoder, batch_size=2), vocabulary.embed(encoder)
    )


def test_split():
    vocabulary = Vocabulary(['cat', '狗', 'red_cup'], novel_classes=['Red cup'])
    assert vocabulary.is_base.tolist() == [True, True, False]
    assert vocabulary.base_classes == ['cat', '狗']
    assert vocabulary.novel_classes == ['red_cup']
    other = Vocabulary(['cat', '狗'], base_classes=['狗'])
    assert other.is_base.tolist() == [False, True]
    none = Vocabulary(['cat'])
    assert none.is_base is none.base_classes is none.novel_classes is None
    assert Vocabulary(['cat'], novel_classes=[]).is_base.tolist() == [True]


def test_what_was_left_open_is_the_detectors():
    options = ['a {}'], ['Dog', 'cow'], {'cat': ['fur'], 'cow': ['milk']}
    actual = Vocabulary(['cat', 'dog']).resolved(*options)
    assert actual.base_classes == ['dog'] and actual.novel_classes == ['cat']
    assert actual.prompts() == [['a fur'], ['a dog']]
    given = Vocabulary(['cat', 'dog'], 'raw', ['dog'], parts={})
    assert given.resolved(*options) is given
    half = Vocabulary(['cat', 'dog'], novel_classes=[]).resolved(*options)
    assert half.base_classes == ['cat', 'dog'] and half.parts == {'cat': ['fur']}


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (dict(names=[]), 'at least one name'),
        (dict(names=['cat', ' ']), 'class 1 must be a non-empty string'),
        (dict(names=['cat', 3]), 'class 1 must be a non-empty string'),
        (dict(names=['red_cup', 'dog', 'Red  Cup']), 'class 0 .* and class 2'),
        (dict(names=['cat', []]), 'empty list of aliases'),
        (dict(names=['cat'], novel_classes=['dog']), "'dog' of the base/novel split"),
        (
            dict(names=['a', 'b'], base_classes=['a'], novel_classes=['a']),
            'listed as base and as novel',
        ),
        (dict(names=['cat'], parts={'dog': ['a']}), "given for 'dog', which is not"),
        (dict(names=['cat'], parts={'cat': 'fur'}), "list of texts .* got 'fur'"),
        (dict(names=['cat'], parts={'cat': 3}), 'list of texts .* got 3'),
        (dict(names=['cat'], parts={'cat': []}), r'list of texts .* got \[\]'),
        (dict(names=['cat'], parts={'cat': ['fur', ' ']}), 'list of texts'),
        (dict(names=['cat'], templates='nonsense'), 'templates must be one of'),
        (dict(names=['cat'], templates=['a photo']), "one '{}' each"),
        (dict(names=''), 'expected names'),
        (dict(names=' . '), 'expected names'),
        (dict(names=None), 'expected a list of names, got None'),
        (
            dict(names=['cat'], novel_classes='cat'),
            "expected a list of names, got 'cat'",
        ),
        (dict(names=['cat', '...']), 'class 1 must be a non-empty string'),
        (dict(names=['cat', '\u200b']), 'class 1 must be a non-empty string'),
        (dict(names=['cat'], templates=['{} {x}']), "one '{}' each"),
    ],
)
def test_bad_vocabularies(arguments, match):
    with pytest.raises(ValueError, match=match):
        Vocabulary(**arguments)


def test_texts():
    expected = ['black cat', '白色杯子', '狗']
    assert parse_texts('black cat. 白色杯子。狗') == expected
    assert Vocabulary('black cat. 白色杯子；狗').names == expected


def test_too_long(encoder):
    with pytest.raises(ValueError, match='64 is the limit'):
        Vocabulary(['cat', 'word ' * 80]).embed(encoder)


def test_cache(encoder, tmp_path, monkeypatch):
    vocabulary = Vocabulary(['cat', '狗'])
    embeds = vocabulary.embed(encoder, tmp_path)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr(encoder, 'encode_text', None)  # not needed again
    assert torch.equal(vocabulary.embed(encoder, tmp_path), embeds)
    monkeypatch.undo()
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1))
    assert not torch.equal(vocabulary.embed(other, tmp_path), embeds)
    assert len(list(tmp_path.iterdir())) == 2  # another model, another file
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match='truncated or damaged'):
        vocabulary.embed(encoder, tmp_path)
    for embeds, match in (
        (torch.full((2, 128), float('nan')), 'unit vectors'),
        (torch.ones(2, 7), 'another model or vocabulary'),
    ):
        with safe_open(next(p for p in tmp_path.iterdir() if p != file), 'pt') as whole:
            metadata = whole.metadata()
        other_file = next(p for p in tmp_path.iterdir() if p != file)
        content = other_file.read_bytes()
        save_file({'text_embeds': embeds}, other_file, metadata=metadata)
        with pytest.raises(ValueError, match=match):
            vocabulary.embed(other, tmp_path)
        other_file.write_bytes(content)
    foreign = next(path for path in tmp_path.iterdir() if path != file)
    file.write_bytes(foreign.read_bytes())
    with pytest.raises(ValueError, match='another model or vocabulary'):
        vocabulary.embed(encoder, tmp_path)


def test_imagenet_templates():
    templates = TEMPLATE_SETS['imagenet80']
    assert len(set(templates)) == 80
    assert {'a photo of a {}.', 'itap of my {}.', 'the {} in a video game.'} < set(
        templates
    )
    assert len(Vocabulary(['cat'], 'imagenet80').prompts()[0]) == 80
