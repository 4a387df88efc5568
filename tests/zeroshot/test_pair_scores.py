"""Probabilities of pairs of images and texts, in bounded memory."""

import pytest
import torch

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder, ImageItem
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.pair_scores import ControlScorer
from fgclip2_det.zeroshot.ranker_scores import RankerScorer, make_scorer
from fgclip2_det.zeroshot.tokens import image_tokens, text_bytes, text_tokens
from tests.ccmb_folders import write_images
from tests.random_rankers import slow_scores, vivid_ranker

TEXTS = ['a cat', '一只狗', 'two red cups on a long table', 'x', '雪山下的公共汽车']


@pytest.fixture(scope='module', params=[FGCLIP2, FGCLIP1])
def encoder(request):
    return request.param.from_size('tiny', generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='module')
def items(tmp_path_factory) -> list[ImageItem]:
    folder = tmp_path_factory.mktemp('images')
    return [ImageItem(p) for p in write_images(folder, [f'{i}.png' for i in range(6)])]


@pytest.mark.parametrize('sides', ['both', 'text', 'image'])
def test_equals_pairs_one_by_one(encoder, items, sides):
    ranker = vivid_ranker(encoder.eval(), sides=sides)
    generator = torch.Generator().manual_seed(0)
    keys = torch.randperm(len(items) * len(TEXTS), generator=generator)[:17]
    pairs = torch.stack([keys // len(TEXTS), keys % len(TEXTS)], 1)
    expected = slow_scores(encoder, ranker, items, TEXTS, pairs.tolist())
    assert expected.std() > 1e-3
    embedder = Embedder(encoder, progress=False)
    for token_bytes, pair_tokens in ((1 << 30, 1 << 14), (1, 1), (150_000, 120)):
        scorer = RankerScorer(ranker, token_bytes, pair_tokens)
        actual = scorer.scores(embedder, items, TEXTS, 'short', pairs)
        torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6)


def test_an_image_is_encoded_once_and_texts_are_kept_where_they_fit(items, monkeypatch):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1))
    embedder = Embedder(encoder.eval(), progress=False)
    counts = dict(images=0, texts=0)
    of_images, of_texts = encoder.image_tokens, encoder.text_tokens

    def count_images(batch):
        counts['images'] += len(batch.pixel_values)
        return of_images(batch)

    def count_texts(texts, mode):
        counts['texts'] += len(texts)
        return of_texts(texts, mode)

    monkeypatch.setattr(encoder, 'image_tokens', count_images)
    monkeypatch.setattr(encoder, 'text_tokens', count_texts)
    pairs = torch.cartesian_prod(torch.arange(1, 5), torch.arange(4))
    ranker = vivid_ranker(encoder)
    RankerScorer(ranker).scores(embedder, items, TEXTS, 'short', pairs)
    assert counts == dict(images=4, texts=4)  # neither image 0 and 5 nor text 4
    counts.update(images=0, texts=0)  # an image a block, which makes its texts anew
    RankerScorer(ranker, 1).scores(embedder, items, TEXTS, 'short', pairs)
    assert counts == dict(images=4, texts=4 * 4)


def test_memory_is_bounded(items, monkeypatch):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1))
    embedder = Embedder(encoder.eval(), progress=False)
    budget = 3 * text_bytes(embedder, 'short')
    scorer = RankerScorer(vivid_ranker(encoder), budget)
    of_batches, held = scorer._batches, []

    def watch(block, tokens, *rest):
        sizes = [sum(t.nbytes for t in group.values()) for group in (block, tokens)]
        held.append((*sizes, len(block), len(tokens)))
        return of_batches(block, tokens, *rest)

    monkeypatch.setattr(scorer, '_batches', watch)
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(5))
    scorer.scores(embedder, items, TEXTS, 'short', pairs)
    largest = max(tokens.nbytes for tokens in image_tokens(embedder, items))
    of_images, of_texts, num_images, num_texts = zip(*held, strict=True)
    assert max(of_images) < budget + largest and max(of_texts) <= budget
    assert max(num_texts) == 3 and 1 < max(num_images) < 6


def test_tokens_are_those_of_single_images_and_texts(encoder, items):
    embedder = Embedder(encoder.eval(), progress=False, image_batch=4)
    for item, tokens in zip(items, image_tokens(embedder, items), strict=True):
        states, mask = encoder.image_tokens(encoder.preprocess(item.path))
        assert mask.all()
        torch.testing.assert_close(tokens, states[0], rtol=1e-5, atol=1e-5)
    for text, tokens in zip(TEXTS, text_tokens(embedder, TEXTS, 'short'), strict=True):
        states, mask = encoder.text_tokens([text], 'short')
        assert mask.all() and tokens.nbytes <= text_bytes(embedder, 'short')
        torch.testing.assert_close(tokens, states[0], rtol=1e-5, atol=1e-5)


def test_damaged_weights_name_the_pair(items):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1))
    embedder = Embedder(encoder.eval(), progress=False)
    ranker = vivid_ranker(encoder)
    ranker.text_head.bias.data[0] = torch.nan
    pairs = torch.tensor([[2, 1]])
    with pytest.raises(ValueError, match=r"2\.png and '一只狗' is not finite"):
        RankerScorer(ranker).scores(embedder, items, TEXTS, 'short', pairs)
    encoder.text_model.final_layer_norm.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="tokens of text 'x' are not finite"):
        next(text_tokens(embedder, ['x'], 'short'))


def test_rankers_that_cannot_be_used(tmp_path):
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(1))
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(2))
    folder = vivid_ranker(encoder).save_pretrained(tmp_path / 'ranker', encoder)
    region = vivid_ranker(encoder, reads='region').save_pretrained(tmp_path / 'region')
    for name, given, message in (
        (folder, other, 'trained on the tokens of another encoder'),
        (region, encoder, r"need one that reads whole images \(reads='image'\)"),
        (tmp_path / 'none', encoder, 'is no folder; expected the folder of a ranker'),
        (tmp_path, encoder, r'config\.json'),
        (folder, None, 'a control has none; rank with oracle or noise'),
    ):
        with pytest.raises(ValueError, match=message):
            make_scorer(str(name), given)
    scorer = make_scorer(str(folder), encoder)
    assert scorer.kind is None and len(scorer.digest()) == 64
    (folder / 'model.safetensors').unlink()
    with pytest.raises(ValueError, match=r'model\.safetensors'):
        make_scorer(str(folder), encoder)


def test_controls():
    items = [ImageItem('a', captions=['A cat']), ImageItem('b', captions=['狗', 'x'])]
    texts = ['a cat', '狗', 'X']
    pairs = torch.cartesian_prod(torch.arange(2), torch.arange(3))
    oracle = make_scorer('oracle', None)
    actual = oracle.scores(ControlEmbedder('oracle'), items, texts, 'short', pairs)
    assert actual.tolist() == [1, 0, 0, 0, 1, 1]
    first, second, third = (
        ControlScorer('noise', seed).scores(
            ControlEmbedder('noise'), items, texts, 'short', pairs
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)
    with pytest.raises(ValueError, match='a control is one of'):
        ControlScorer('truth')
