"""One pass over images and texts gives what the encoder's own methods give."""

import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder, ImageItem

SIZES = [(160, 96), (400, 300), (64, 200), (380, 320)]  # (w, h)
BOXES = [[(0, 0, 50, 40), (8.5, 3, 150, 90)], [], [(1, 2, 30, 190)], [(5, 5, 9, 300)]]


@pytest.fixture
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture
def items(tmp_path) -> list[ImageItem]:
    made = []
    for i, (size, bboxes) in enumerate(zip(SIZES, BOXES, strict=True)):
        path = tmp_path / f'图{i}.png'
        noise = Image.effect_noise(size, 80)
        Image.merge('RGB', [noise, noise.rotate(90).resize(size), noise]).save(path)
        made.append(ImageItem(path, bboxes, size))
    return made


@torch.no_grad()
@pytest.mark.parametrize('image_batch', [1, 3])
def test_images_equal_the_encoders_own_methods(encoder, items, image_batch):
    """Each image with its own budget (128, 576, 128, 576), whatever the batch."""
    embedder = Embedder(encoder, image_batch=image_batch)
    whole, regions = embedder.images(items)
    own = [encoder.preprocess(item.path) for item in items]
    expected = torch.cat([encoder.encode_image(batch, normalize=True) for batch in own])
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=0)
    expected = torch.cat(
        [
            encoder.region_features(batch, [item.bboxes], normalize=True)[0]
            for batch, item in zip(own, items, strict=True)
        ]
    )
    assert expected.shape == (4, 128)
    torch.testing.assert_close(regions, expected, atol=1e-5, rtol=0)
    reverse, _ = embedder.images(items[::-1], regions=False)
    torch.testing.assert_close(reverse.flip(0), whole, atol=1e-5, rtol=0)


def test_the_tower_sees_every_image_once(encoder, items, monkeypatch):
    seen = []
    run = encoder.encode_tokens
    monkeypatch.setattr(
        encoder, 'encode_tokens', lambda b: seen.append(len(b)) or run(b)
    )
    Embedder(encoder).images(items)
    assert sum(seen) == len(items)
    assert Embedder(encoder).images(items, whole=False, regions=False) == (None, None)


def test_a_batch_holds_equal_budgets(encoder, items, monkeypatch):
    seen = []
    run = encoder.encode_tokens
    monkeypatch.setattr(
        encoder, 'encode_tokens', lambda b: seen.append(len(b)) or run(b)
    )
    Embedder(encoder, image_batch=2).images([items[0]] * 3 + [items[1]] * 2)
    assert seen == [2, 1, 2]
    seen.clear()
    Embedder(encoder, max_num_patches=40).images(items)
    assert seen == [4]


@torch.no_grad()
def test_texts_are_encoded_once_and_in_order(encoder, monkeypatch):
    texts = ['red circle', '红色圆形', 'Red Circle', 'blue star', '红色圆形']
    expected = encoder.encode_text(texts, 'box', normalize=True)
    seen = []
    run = encoder.encode_text
    monkeypatch.setattr(
        encoder,
        'encode_text',
        lambda ids, mode: seen.append(len(ids)) or run(ids, mode),
    )
    embedder = Embedder(encoder, text_batch=2)
    actual = embedder.texts(texts, 'box')
    assert seen == [2, 1]
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)
    assert torch.equal(actual[0], actual[2])
    assert embedder.texts([], 'long').shape == (0, 128)


def test_cut_texts_are_counted(encoder):
    """64 tokens with EOS fit, 65 do not."""
    fits = next(
        text
        for n in range(200)
        if encoder.tokenizer.count(text := 'circle' + ' circle' * n) >= 64
    )
    assert encoder.tokenizer.count(fits) == 64
    embedder = Embedder(encoder)
    embedder.texts([fits, fits + ' circle', 'short'], 'box')
    embedder.texts([fits + ' circle'], 'long')
    assert embedder.num_truncated == {'box': 1, 'long': 0}


def test_boxes_may_be_whole_numbers(encoder, items):
    item = ImageItem(items[0].path, [(0, 0, 50, 40)])
    _, whole = Embedder(encoder).images([item])
    item = ImageItem(items[0].path, [(0.0, 0.0, 50.0, 40.0)])
    assert torch.equal(whole, Embedder(encoder).images([item])[1])


def test_what_cannot_be_encoded_is_named(encoder, items, tmp_path):
    wrong = ImageItem(items[0].path, [], (96, 160))
    with pytest.raises(
        ValueError, match=r'图0.png: .* has 160 x 96 pixels, the annot.* 96 x 160'
    ):
        Embedder(encoder).images([wrong])
    path = tmp_path / 'cut.png'
    path.write_bytes(items[0].path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r'cut\.png cannot be read'):
        Embedder(encoder).images([*items, ImageItem(path)])
    with torch.no_grad():
        encoder.boxtext_head.weight[0] = torch.nan
        encoder.dense_feature_head.layernorm.weight[0] = torch.inf
    with pytest.raises(ValueError, match="of text 'a cat' is not finite; the check"):
        Embedder(encoder).texts(['a cat'], 'box')
    with pytest.raises(ValueError, match=r'of box \[0, 0, 50, 40\] of image .*图0.png'):
        Embedder(encoder).images(items)
