"""FG-CLIP 1: loading, saving, and what does not belong together."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fgclip2_det import FGCLIP1, FGCLIP2, load_encoder
from fgclip2_det.fgclip1 import FGCLIP1Config


@pytest.fixture(scope='module')
def saved(tmp_path_factory) -> Path:
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP1.from_size('tiny', generator=generator)
    return encoder.save_pretrained(tmp_path_factory.mktemp('v1') / 'tiny')


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / 'model'))


def rewrite(folder: Path, change) -> None:
    state = load_file(folder / 'model.safetensors')
    change(state)
    save_file(state, folder / 'model.safetensors', metadata={'format': 'pt'})


def edit_config(folder: Path, change) -> None:
    config = json.loads((folder / 'config.json').read_text())
    change(config)
    (folder / 'config.json').write_text(json.dumps(config))


def clip_folder(folder: Path) -> Path:
    """The folder as one of CLIP: without what FG-CLIP 1 adds."""
    table = 'text_model.embeddings.position_embedding'
    new = ('text_filip_projection.weight', f'{table}_res.weight', f'{table}_ori.weight',
           'logit_scale_finegraind', 'logit_scale_hardneg')  # fmt: skip

    def strip(state: dict) -> None:
        for name in new:
            del state[name]
        state['text_model.embeddings.position_ids'] = torch.arange(77)[None]

    rewrite(folder, strip)
    return folder


def test_a_saved_model_is_read_back_exactly(saved):
    encoder = load_encoder(saved)
    generator = torch.Generator().manual_seed(0)
    first = FGCLIP1.from_size('tiny', generator=generator)
    assert type(encoder) is FGCLIP1 and encoder.config == first.config
    state = first.state_dict()
    assert encoder.state_dict().keys() == state.keys()
    assert all(torch.equal(x, state[n]) for n, x in encoder.state_dict().items())
    for mode in ('short', 'box', 'long'):
        texts = ['a red circle', '红色圆形', '']
        embeds = encoder.encode_text(texts, mode, True)
        assert embeds.equal(first.encode_text(texts, mode, True))
        assert embeds.shape == (3, encoder.embed_dims)
    assert encoder.settings() == first.settings()


@pytest.mark.parametrize('towers', ['vision', 'text'])
def test_one_tower(saved, towers):
    half, whole = load_encoder(saved, towers=towers), load_encoder(saved)
    names = half.state_dict().keys()
    assert any(n.startswith(f'{towers}_model.') for n in names)
    other = {'vision': 'text', 'text': 'vision'}[towers]
    assert not any(n.startswith((f'{other}_model.', f'{other}_proj')) for n in names)
    if towers == 'text':
        assert half.encode_text(['cat']).equal(whole.encode_text(['cat']))
    else:
        batch = half.preprocess(Image.new('RGB', (50, 70), 'red'))
        assert half.encode_image(batch).equal(whole.encode_image(batch))
    with pytest.raises(ValueError, match='both towers'):
        half.save_pretrained('nowhere')


def test_a_version_2_folder_is_told_apart(fgclip2_tiny):
    assert type(load_encoder(fgclip2_tiny)) is FGCLIP2
    assert type(load_encoder('fgclip2_tiny', towers='text')) is FGCLIP2


def test_clip_is_a_baseline(folder):
    """Short and box texts are CLIP's; long ones have 248 positions."""
    first = load_encoder(folder)
    clip = load_encoder(clip_folder(folder))
    assert type(clip) is FGCLIP1
    for mode in ('short', 'box'):
        assert clip.encode_text(['cat'], mode).equal(first.encode_text(['cat'], mode))
    assert clip.encode_text(['cat ' * 40], 'long').shape == (1, 80)
    assert clip.encode_text(['cat'], 'short').allclose(
        clip.encode_text(['cat'], 'long'), atol=1e-5
    )
    half = load_encoder(folder, towers='text')
    assert not hasattr(half, 'vision_model')
    assert half.encode_text(['cat']).equal(clip.encode_text(['cat']))


def both(*words: str) -> str:
    return '.*'.join(words)


def test_folders_of_others_are_named(folder, fgclip2_tiny, tmp_path):
    with pytest.raises(ValueError, match=both('FG-CLIP 2', 'FG-CLIP 1', 'FGCLIP2')):
        FGCLIP1.from_pretrained(fgclip2_tiny)
    with pytest.raises(ValueError, match=both('FG-CLIP 2', 'expected CLIP')):
        FGCLIP1.from_clip(fgclip2_tiny)
    with pytest.raises(ValueError, match=both('FG-CLIP 1', 'FG-CLIP 2', 'FGCLIP1')):
        FGCLIP2.from_pretrained(folder)
    with pytest.raises(ValueError, match=both('FG-CLIP 1', 'SigLIP 2', 'FGCLIP1')):
        FGCLIP2.from_siglip2(folder)
    with pytest.raises(ValueError, match=both('CLIP', 'FG-CLIP 1', 'from_clip')):
        FGCLIP1.from_pretrained(clip_folder(folder))
    siglip2 = Path(shutil.copytree(fgclip2_tiny, tmp_path / 'siglip2'))
    rewrite(siglip2, lambda s: s.pop('dense_feature_head.probe'))
    for load in (load_encoder, FGCLIP1.from_pretrained):
        with pytest.raises(ValueError, match=both('SigLIP 2', 'from_siglip2')):
            load(siglip2)
    rewrite(siglip2, lambda s: s.pop('text_model.head.weight'))
    with pytest.raises(ValueError, match='no known kind'):
        load_encoder(siglip2)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda s: s.pop('visual_projection.weight'), 'visual_projection.weight is mi'),
        (lambda s: s.pop('logit_scale_hardneg'), 'logit_scale_hardneg is missing'),
        (lambda s: s.update(other=torch.zeros(1)), 'other is unexpected'),
        (
            lambda s: s.update({'text_projection.weight': torch.ones(80, 65)}),
            r'text_projection.weight is \(80, 65\) instead of \(80, 64\)',
        ),
        (lambda s: s['visual_projection.weight'].zero_(), 'zero throughout'),
        (lambda s: s['logit_scale'].fill_(float('nan')), 'logit_scale holds NaN'),
        (
            lambda s: s.update(
                {'vision_model.embeddings.position_embedding.weight': torch.ones(9, 96)}
            ),
            'such as 197, got 9',
        ),
    ],
    ids=['missing', 'no scale', 'other', 'shape', 'zero', 'nan', 'no square'],
)
def test_damaged_weights(folder, change, match):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=match):
        FGCLIP1.from_pretrained(folder)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda c: c['text_config'].update(hidden_size=32), 'hidden_size is 32'),
        (lambda c: c['vision_config'].update(image_size=336), 'image_size is 336'),
        (lambda c: c['vision_config'].update(hidden_act='gelu'), "'quick_gelu', got"),
        (lambda c: c.update(vision_config=[1]), 'must be a JSON object'),
        (lambda c: c.update(projection_dim=81), 'projection_dim is 81'),
        (lambda c: c['text_config'].update(num_attention_heads=7), 'not divisible'),
        (lambda c: c['text_config'].update(num_attention_heads=-1), 'positive integer'),
    ],
    ids=['width', 'image', 'activation', 'list', 'projection', '7 heads', '-1 heads'],
)
def test_damaged_configs(folder, change, match):
    edit_config(folder, change)
    with pytest.raises(ValueError, match=match):
        FGCLIP1.from_pretrained(folder)


def test_sizes_left_out_come_from_tensors_and_defaults(folder):
    """As transformers writes them: what equals a default is absent."""
    wanted = load_encoder(folder).config

    def shorten(config: dict) -> None:
        for key in ('text_config', 'vision_config'):
            heads = config[key]['num_attention_heads']
            config[key] = dict(num_attention_heads=heads)

    edit_config(folder, shorten)
    assert load_encoder(folder).config == wanted


@pytest.mark.parametrize(
    ('size', 'millions', 'side'), [('base', 150, 14), ('large', 428, 24)]
)
def test_released_sizes(size, millions, side):
    """CLIP ViT-B/16 has 149.6 million parameters, ViT-L/14 at 336 px 427.9 million; two
    tables of 248 rows and a projection are new."""
    model = FGCLIP1.from_size(size, device='meta')
    text = model.config.text
    new = text.hidden_size * (2 * 248 + model.embed_dims) + 2
    clip = sum(p.numel() for p in model.parameters()) - new
    assert round(clip / 1e6) == millions
    assert model.config.vision.grid_side == side
    again = FGCLIP1Config.from_dict(
        model.config.to_dict(), {n: tuple(p.shape) for n, p in model.named_parameters()}
    )
    assert again == model.config


def test_texts_do_not_depend_on_their_batch():
    encoder = FGCLIP1.from_size('tiny', generator=torch.Generator().manual_seed(0))
    texts = ['cat', 'a much longer text about two dogs', '']
    together = encoder.encode_text(texts, 'long')
    apart = torch.cat([encoder.encode_text([text], 'long') for text in texts])
    torch.testing.assert_close(together, apart)
    assert encoder.encode_text(torch.zeros(0, 77).long()).shape == (0, 80)


def test_ids_of_another_model():
    encoder = FGCLIP1.from_size('tiny')
    with pytest.raises(ValueError, match='text 1 has no EOS'):
        ids = torch.zeros(2, 77).long()
        ids[0, 3] = 513
        encoder.encode_text(ids)
    with pytest.raises(ValueError, match=r'must be \(texts, 248\)'):
        encoder.encode_text(ids, 'long')
    with pytest.raises(ValueError, match=r'\[0, 514\), got up to 514'):
        encoder.encode_text(torch.full((1, 77), 514))


def test_dense_features_learn():
    """Gradients reach every parameter that the two image outputs use."""
    encoder = FGCLIP1.from_size('tiny', towers='vision')
    embeds, grids = encoder.encode(encoder.preprocess(Image.new('RGB', (64, 48))))
    (embeds.sum() + grids[0].square().sum()).backward()
    silent = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert silent == ['logit_scale', 'logit_scale_finegraind', 'logit_scale_hardneg']


@pytest.mark.parametrize('budget', [0, -1, 2.5, 'all', True], ids=str)
def test_budgets(budget):
    encoder = FGCLIP1.from_size('tiny', device='meta')
    with pytest.raises(ValueError, match="positive integer or 'auto'"):
        encoder.preprocess(Image.new('RGB', (64, 48)), budget)
