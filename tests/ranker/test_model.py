"""The ranker: what it reads, its files, and what it refuses."""

import json

import pytest
import torch
from PIL import Image

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.io import InputError
from fgclip2_det.ranker import MatchLogits, Ranker, RankerConfig, match_scores
from fgclip2_det.ranker.match import match_log_odds
from fgclip2_det.ranker.texts import encode_tokens

TEXTS = ['red circle', 'a', '白色杯子 beside a green triangle']


@pytest.fixture(scope='module', params=[FGCLIP2, FGCLIP1])
def encoder(request):
    return request.param.from_size(
        'tiny', generator=torch.Generator().manual_seed(0)
    ).eval()


def ranker_of(encoder, **options) -> Ranker:
    options = dict(num_hidden_layers=1, reads='region', region_grid=2) | options
    return Ranker.for_encoder(encoder, torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize('num_layers', [1, 2])
@pytest.mark.parametrize('sides', ['both', 'text', 'image'])
@torch.no_grad()
def test_regions_and_texts_together_as_one_by_one(encoder, sides, num_layers):
    ranker = ranker_of(encoder, sides=sides, num_hidden_layers=num_layers).eval()
    batch = encoder.preprocess(Image.effect_noise((64, 48), 90).convert('RGB'))
    boxes = torch.tensor([[0.0, 0, 20, 20], [5, 5, 64, 40]])
    regions = ranker.regions(encoder.encode_grids(batch)[1][0], (48, 64), boxes)
    states, mask = encode_tokens(encoder, TEXTS)
    every = range(len(boxes))
    found = ranker(
        regions,
        torch.stack([states for _ in every]),
        torch.stack([mask for _ in every]),
    )
    assert [part is None for part in found] == [sides == 'image', sides == 'text']
    scores = match_scores(found)
    assert scores.shape == (2, 3) and ((scores > 0) & (scores < 1)).all()
    for i in every:
        for j, text in enumerate(TEXTS):
            alone, _ = encoder.text_tokens([text])
            one = ranker(regions[i : i + 1], alone[None])
            assert scores[i, j] == pytest.approx(float(match_scores(one)), abs=1e-5)


@pytest.mark.parametrize('num_layers', [1, 2])
@torch.no_grad()
def test_images_of_several_grids_as_one_by_one(encoder, num_layers):
    ranker = ranker_of(encoder, reads='image', num_hidden_layers=num_layers).eval()
    images = [
        Image.effect_noise(size, 90).convert('RGB') for size in ((64, 48), (96, 96))
    ]
    tokens, mask = encoder.image_tokens(encoder.preprocess(images, 49))
    states, text_mask = encode_tokens(encoder, TEXTS[:1])
    both = ranker(
        tokens,
        states.expand(2, -1, -1)[:, None],
        text_mask.expand(2, -1)[:, None],
        mask,
    )
    for i, image in enumerate(images):
        alone, _ = encoder.image_tokens(encoder.preprocess(image, 49))
        one = match_scores(ranker(alone, states[None]))
        assert float(match_scores(both)[i]) == pytest.approx(float(one), abs=1e-5)


@torch.no_grad()
def test_the_first_tokens_are_the_pooled_ones(encoder):
    ids = encoder.tokenize(TEXTS, 'box')
    states, mask = encoder.text_tokens(ids)
    torch.testing.assert_close(states[:, 0], encoder.text_model(ids, 'box'))
    lengths = mask.sum(1)
    assert lengths[2] > lengths[0] > lengths[1] > 1
    batch = encoder.preprocess(Image.new('RGB', (64, 48), 'red'))
    tokens, _ = encoder.image_tokens(batch)
    whole = tokens[:, 0]
    if hasattr(encoder, 'visual_projection'):
        whole = encoder.visual_projection(whole)
    torch.testing.assert_close(whole, encoder.encode_image(batch), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_maps_of_one_pass_are_those_of_two(encoder):
    images = [
        Image.effect_noise(size, 90).convert('RGB') for size in ((64, 48), (96,) * 2)
    ]
    batch = encoder.preprocess(images, 49)
    dense, states = encoder.encode_grids(batch)
    for one, other in zip(dense, encoder.dense_grids(batch), strict=True):
        torch.testing.assert_close(one, other)
    tokens, mask = encoder.image_tokens(batch)
    for one, own, real in zip(states, tokens, mask, strict=True):
        torch.testing.assert_close(one.flatten(0, 1), own[real][1:])


def test_padding_of_texts_does_not_count(encoder):
    with torch.no_grad():
        alone, _ = encoder.text_tokens(TEXTS[:1])
        together, mask = encoder.text_tokens(TEXTS)
    length = alone.shape[1]
    torch.testing.assert_close(together[:1, :length], alone, atol=1e-5, rtol=1e-4)
    assert mask[0].tolist() == [True] * length + [False] * (mask.shape[1] - length)


def test_files_come_back(encoder, tmp_path):
    ranker = ranker_of(encoder)
    folder = ranker.save_pretrained(tmp_path / 'ranker', encoder)
    again = Ranker.from_pretrained(folder, encoder)
    assert again.config.encoder.keys() == {'vision', 'text'}
    for name, weight in ranker.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    assert sorted(path.name for path in folder.iterdir()) == [
        'config.json', 'model.safetensors'
    ]  # fmt: skip


def test_another_encoder_is_refused(encoder, tmp_path):
    folder = ranker_of(encoder).save_pretrained(tmp_path / 'ranker', encoder)
    other = type(encoder).from_size('tiny', generator=torch.Generator().manual_seed(9))
    with pytest.raises(InputError, match=r'another encoder \(vision tower'):
        Ranker.from_pretrained(folder, other)
    with pytest.raises(InputError, match='float32, the encoder has bfloat16'):
        Ranker.from_pretrained(folder, other.bfloat16())
    text = type(encoder).from_size('tiny', towers='text')
    text.load_state_dict(encoder.state_dict(), strict=False)
    Ranker.from_pretrained(folder, text)  # its half is right


def test_one_version_does_not_read_the_other(tmp_path):
    generator = torch.Generator().manual_seed(0)
    one = FGCLIP1.from_size('tiny', generator=generator)
    two = FGCLIP2.from_size('tiny', generator=generator)
    folder = ranker_of(one).save_pretrained(tmp_path / 'ranker', one)
    with pytest.raises(
        InputError, match=r'widths \(64, 96\), the encoder has \(128, 128'
    ):
        Ranker.from_pretrained(folder, two)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model_type='fgclip2'), "type 'fgclip2', expected 'fgclip2_ranker'"),
        (dict(colour=1), r"unknown keys \['colour'\]"),
        (dict(reads='video'), 'reads must be one of'),
        (dict(sides='none'), 'sides must be one of'),
        (dict(source='dense'), 'source must be one of'),
        (dict(num_hidden_layers=10**9), 'num_hidden_layers must be'),
        (dict(region_grid=1000), r'region_grid must lie in \[1, 64\]'),
        (dict(region_context=0.5), 'region_context must lie in'),
        (dict(dropout=True), 'dropout must lie in'),
        (dict(encoder='abc'), "digests of 'vision' and 'text'"),
        (dict(num_attention_heads=5), 'is not divisible by'),
        (dict(text_width=64), 'do not fit the model'),
    ],
)
def test_configs_that_are_refused(tmp_path, changes, message):
    encoder = FGCLIP2.from_size('tiny')
    folder = ranker_of(encoder).save_pretrained(tmp_path / 'ranker')
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        Ranker.from_pretrained(folder)


def test_a_ranker_of_dense_maps_is_refused(tmp_path):
    folder = ranker_of(FGCLIP2.from_size('tiny')).save_pretrained(tmp_path / 'ranker')
    path = folder / 'config.json'
    content = json.loads(path.read_text())
    del content['source']
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'trained on dense maps.*train it again'):
        Ranker.from_pretrained(folder)


def test_folders_of_something_else(tmp_path):
    with pytest.raises(InputError, match='no folder'):
        Ranker.from_pretrained(tmp_path / 'none')
    encoder = FGCLIP2.from_size('tiny')
    with pytest.raises(InputError, match="type 'fgclip2', expected 'fgclip2_ranker'"):
        Ranker.from_pretrained(encoder.save_pretrained(tmp_path / 'encoder'))


def test_tokens_of_other_widths():
    ranker = Ranker(RankerConfig(64, 32, 1, 4, 128))
    with pytest.raises(ValueError, match=r'image tokens \(K, N, 32\)'):
        ranker(torch.zeros(1, 5, 64), torch.zeros(1, 1, 5, 64))
    with pytest.raises(ValueError, match="expected reads='region'"):
        ranker.regions(torch.zeros(4, 4, 32), (64, 64), torch.zeros(0, 4))


def test_scores_by_hand():
    text = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]])
    image = torch.tensor([[[0.0, 3.0], [0.0, 0.0]]])
    both = match_scores(MatchLogits(text, image))
    torch.testing.assert_close(
        both, torch.tensor([[(0.7310586 + 0.9525741) / 2, 0.3096015]])
    )
    odds = match_log_odds(MatchLogits(text, image))
    torch.testing.assert_close(odds, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(match_log_odds(MatchLogits(None, image)), image[..., 1])
