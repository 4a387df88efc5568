"""Classes shown by images: their embeddings, vocabularies and files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.vocabulary.competitors import select_competitors
from fgclip2_det.vocabulary.image_prompts import (
    ImageEmbeds,
    ImagePrompt,
    parse_example,
)

BOX = (60, 80, 140, 160)


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture(scope='module')
def picture() -> Image.Image:
    image = Image.new('RGB', (256, 192), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse(BOX, fill='red')
    canvas.rectangle((160, 20, 220, 80), fill='blue')
    return image


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm()


def region(encoder, picture, box) -> torch.Tensor:
    batch = encoder.preprocess([picture], 'auto')
    boxes = [torch.tensor([box], dtype=torch.float32)]
    return unit(encoder.region_features(batch, boxes)[0][0].detach())


def test_the_mean_of_the_examples(encoder, picture, tmp_path):
    picture.save(tmp_path / 'a.png')
    other = picture.rotate(180)
    examples = [(tmp_path / 'a.png', BOX), (other, (116, 32, 196, 112)), (picture, BOX)]
    shown = ImageEmbeds.encode([ImagePrompt('thing', examples)], encoder)
    rows = [region(encoder, p, b)
            for p, b in ((picture, BOX), examples[1], (picture, BOX))]  # fmt: skip
    torch.testing.assert_close(shown.embeds[0], unit(sum(rows) / 3))
    assert shown.texts == (None,) and shown.weights == (1.0,)


def test_a_vocabulary_of_both(encoder, picture):
    prompts = [
        ImagePrompt('thing', [(picture, BOX)]),
        ImagePrompt('mine', [(picture, (160, 20, 220, 80))], 'blue square', 0.25),
    ]
    shown = ImageEmbeds.encode(prompts, encoder)
    vocabulary = shown.vocabulary([['red circle', '红色圆形'], 'ring'])
    assert vocabulary.names == ['red circle', 'ring', 'thing', 'mine']
    found = vocabulary.resolved('raw', ['ring']).embed(encoder)
    texts = Vocabulary(
        [['red circle', '红色圆形'], 'ring', 'thing', 'blue square'], check=False
    ).embed(encoder)
    torch.testing.assert_close(found[:2], texts[:2])
    torch.testing.assert_close(found[2], region(encoder, *prompts[0].examples[0]))
    own = region(encoder, *prompts[1].examples[0])
    torch.testing.assert_close(found[3], unit(0.25 * own + 0.75 * texts[3]))


def test_negative_boxes(encoder, picture, tmp_path):
    """Each competes with its own class; two classes may have several."""
    square, corner = (160, 20, 220, 80), (0, 150, 40, 190)
    first = ImagePrompt('thing', [(picture, BOX)],
                        negatives=[(picture, square), (picture, corner)])  # fmt: skip
    plain = ImagePrompt('other', [(picture, square)])
    last = ImagePrompt('third', [(picture, corner)], negatives=[(picture, BOX)])
    shown = ImageEmbeds.join(
        [
            ImageEmbeds.encode([first, plain], encoder),
            ImageEmbeds.encode([last], encoder),
        ]
    )
    assert shown.owners == (0, 0, 2)
    for row, box in zip(shown.negatives, (square, corner, BOX), strict=True):
        torch.testing.assert_close(row, region(encoder, picture, box))
    vocabulary = shown.vocabulary(['ring'])
    counters = shown.counters(vocabulary.names)
    assert counters.texts == ('not thing (1)', 'not thing (2)', 'not third (1)')
    assert np.argwhere(counters.against).tolist() == [[1, 0], [1, 1], [3, 2]]
    assert not counters.names.any()
    assert ImageEmbeds.encode([plain], encoder).counters(['other']) is None
    shown.save(tmp_path / 'a.safetensors')
    read = ImageEmbeds.load(tmp_path / 'a.safetensors', encoder)
    assert read.key == shown.key


def test_the_nearest_text_does_not_compete():
    """It is what the image shows: with it, the image's class would lose."""
    texts = torch.eye(30)
    shown = unit(torch.nn.functional.one_hot(torch.tensor(7), 30) + 0.4 * texts[3])
    names = [f'name {i}' for i in range(30)]
    for given, left in ((), names), (('thing',), [n for n in names if n != 'name 7']):
        found = select_competitors(
            [['thing'], ['other']], torch.stack([shown, unit(texts.sum(0))]), names,
            texts, shown=given,
        )  # fmt: skip
        assert sorted(found.rivals(0)) == sorted(left)
        assert sorted(found.rivals(1)) == sorted(names)


def test_a_file(encoder, picture, tmp_path):
    prompts = [ImagePrompt('东西', [(picture, BOX)], 'red circle', 0.3)]
    shown = ImageEmbeds.encode(prompts, encoder)
    shown.save(tmp_path / 'mine.safetensors')
    read = ImageEmbeds.load(tmp_path / 'mine.safetensors', encoder)
    assert read.key == shown.key and read.encoder == shown.encoder
    assert torch.equal(
        read.vocabulary().embed(encoder), shown.vocabulary().embed(encoder)
    )
    other = FGCLIP2.from_pretrained('fgclip2_tiny')
    with torch.no_grad():
        other.boxtext_head.weight.add_(0.1)
    with pytest.raises(ValueError, match='was written with another encoder; encode'):
        ImageEmbeds.load(tmp_path / 'mine.safetensors', other)
    with pytest.raises(ValueError, match='with another encoder than the names'):
        read.vocabulary().embed(other)
    (tmp_path / 'mine.safetensors').write_bytes(b'{}')
    for name in ('mine.safetensors', 'none.safetensors'):
        with pytest.raises(ValueError, match='is no file of image prompts'):
            ImageEmbeds.load(tmp_path / name)
    from safetensors.torch import save_file

    save_file({'embeds': torch.eye(2)}, tmp_path / 'foreign.safetensors')
    with pytest.raises(ValueError, match='is no file of image prompts; write one'):
        ImageEmbeds.load(tmp_path / 'foreign.safetensors')


def content(**changes) -> dict[str, str]:
    whole = dict(
        kind='fgclip2_det image prompts 2', names=['a', 'b'], texts=[None, 'x'],
        weights=[1.0, 0.5], encoder='e', text_tower='t', owners=[1],
    )  # fmt: skip
    return {'prompts': json.dumps(whole | changes)}


@pytest.mark.parametrize(
    'changes, tensors',
    [
        (dict(kind='another'), {}),
        (dict(names=['a']), {}),
        (dict(names='ab'), {}),
        (dict(names=['a', '']), {}),
        (dict(names=['a', 3]), {}),
        (dict(texts=[None, 3]), {}),
        (dict(weights=[1.0, 2.0]), {}),
        (dict(weights=[True, 1.0]), {}),
        (dict(owners=[2]), {}),
        (dict(owners=[]), {}),
        (dict(owners=3), {}),
        (dict(encoder=None), {}),
        ({}, dict(embeds=2 * torch.eye(2))),
        ({}, dict(embeds=torch.eye(2).int())),
        ({}, dict(embeds=torch.full((2, 2), float('nan')))),
        ({}, dict(embeds=torch.ones(2))),
        ({}, dict(negatives=torch.eye(3)[:1])),
        ({}, dict(negatives=torch.eye(2))),
    ],
)
def test_damaged_files(tmp_path, changes, tensors):
    from safetensors.torch import save_file

    whole = dict(embeds=torch.eye(2), negatives=torch.eye(2)[:1])
    save_file(whole, tmp_path / 'a.safetensors', content())
    assert ImageEmbeds.load(tmp_path / 'a.safetensors').names == ('a', 'b')
    save_file(whole | tensors, tmp_path / 'a.safetensors', content(**changes))
    with pytest.raises(ValueError, match=r'a\.safetensors is no file of image prompts'):
        ImageEmbeds.load(tmp_path / 'a.safetensors')


def test_a_file_of_the_first_kind(tmp_path):
    """Written before there were negatives."""
    from safetensors.torch import save_file

    old = content(kind='fgclip2_det image prompts 1', owners=[])
    save_file({'embeds': torch.eye(2)}, tmp_path / 'a.safetensors', old)
    read = ImageEmbeds.load(tmp_path / 'a.safetensors')
    assert read.negatives.shape == (0, 2) and read.owners == ()


@pytest.mark.parametrize(
    'box, message',
    [
        ((10, 10, 10, 50), 'is empty; expected x1 < x2 and y1 < y2'),
        ((10, 10, 300, 50), 'is not within its image of 256 x 192 pixels'),
        ((-1, 10, 30, 50), 'is not within its image'),
        ((1, 10, 30), 'must be x1, y1, x2, y2'),
        ((1, 10, 30, float('nan')), 'must be x1, y1, x2, y2'),
    ],
)
def test_bad_boxes(encoder, picture, box, message):
    with pytest.raises(ValueError, match=message):
        ImageEmbeds.encode([ImagePrompt('thing', [(picture, box)])], encoder)


def test_other_bad_prompts(encoder, picture, tmp_path):
    prompt = ImagePrompt('thing', [(picture, BOX)])
    with pytest.raises(ValueError, match="two image prompts are called 'Thing'"):
        ImageEmbeds.encode([prompt, ImagePrompt('Thing', [(picture, BOX)])], encoder)
    with pytest.raises(ValueError, match='at least one image prompt'):
        ImageEmbeds.encode([], encoder)
    with pytest.raises(ValueError, match='has no examples'):
        ImagePrompt('thing', [])
    with pytest.raises(ValueError, match='needs a name'):
        ImagePrompt(' ', [(picture, BOX)])
    with pytest.raises(ValueError, match=r'must lie in \(0, 1\], got 0'):
        ImagePrompt('thing', [(picture, BOX)], 'cup', 0)
    (tmp_path / 'bad.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'bad\.png'):
        ImageEmbeds.encode([ImagePrompt('a', [(tmp_path / 'bad.png', BOX)])], encoder)
    shown = ImageEmbeds.encode([prompt], encoder)
    with pytest.raises(ValueError, match="'thing' names both class"):
        shown.vocabulary(['thing'])


def test_examples_of_a_command_line():
    assert parse_example(r'C:\a=b.png:1,2.5,3,4=my cup') == (
        'my cup', (r'C:\a=b.png', [1.0, 2.5, 3.0, 4.0]),
    )  # fmt: skip
    for text in (
        'a.png:1,2,3=x',
        'a.png=x',
        '1,2,3,4=x',
        'a.png:1,2,3,4',
        'a:1,2,3,b=x',
    ):
        with pytest.raises(ValueError, match=r'written image\.png:x1,y1,x2,y2=name'):
            parse_example(text)
