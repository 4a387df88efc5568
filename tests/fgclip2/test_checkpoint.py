"""Folders: round trip, strictness, config keys from tensors, clear errors."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config, TextConfig, VisionConfig
from fgclip2_det.fgclip2.random_weights import init_random


def small_config(width: int = 32) -> FGCLIP2Config:
    text = TextConfig(width, 64, 1, 4, 2048, projection_size=width)
    return FGCLIP2Config(text, VisionConfig(width, 64, 2, 4))


@pytest.fixture(scope='module')
def model() -> FGCLIP2:
    tiny = FGCLIP2.from_size('tiny', device='meta')
    model = FGCLIP2(small_config(), tiny.tokenizer)
    return init_random(model, torch.Generator().manual_seed(0))


@pytest.fixture
def folder(model, tmp_path):
    return model.save_pretrained(tmp_path / 'model')


def rewrite(folder, change) -> None:
    state = load_file(folder / 'model.safetensors')
    change(state)
    save_file(state, folder / 'model.safetensors')


def test_round_trip(model, folder):
    again = FGCLIP2.from_pretrained(folder)
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert torch.equal(again.tokenize('红色 circle'), model.tokenize('红色 circle'))
    assert not list(folder.glob('*tmp*'))


def test_folder_has_the_released_files(folder):
    """What ``transformers`` reads from it by itself: the stock image processor, whose
    pixels are ours (``test_preprocess.py``)."""
    assert {path.name for path in folder.iterdir()} == {
        'config.json',
        'model.safetensors',
        'preprocessor_config.json',
        'tokenizer.model',
        'tokenizer_config.json',
    }
    module = pytest.importorskip(
        'transformers.models.siglip2.image_processing_pil_siglip2',
        reason='needs the PIL processor of SigLIP 2 (transformers 5)',
    )
    processor = module.Siglip2ImageProcessorPil.from_pretrained(folder)
    assert processor.to_dict() == module.Siglip2ImageProcessorPil().to_dict()


def test_towers_apart(model, folder):
    text = FGCLIP2.from_pretrained(folder, towers='text')
    vision = FGCLIP2.from_pretrained(folder, towers='vision')
    torch.testing.assert_close(
        text.encode_text(['red circle']), model.encode_text(['red circle'])
    )
    assert not hasattr(vision, 'text_model')
    with pytest.raises(ValueError, match='both towers'):
        vision.save_pretrained(folder)


def test_dtype(folder):
    assert FGCLIP2.from_pretrained(folder, torch.bfloat16).logit_scale.dtype == (
        torch.bfloat16
    )
    rewrite(folder, lambda s: s.update({k: v.half() for k, v in s.items()}))
    assert FGCLIP2.from_pretrained(folder).logit_scale.dtype == torch.float32


def test_training_extras_are_tolerated(folder):
    extra = {
        'logit_scale_finegraind': torch.tensor(4.6052),
        'logit_scale_hardneg': torch.tensor(4.6052),
    }
    rewrite(folder, lambda state: state.update(extra))
    FGCLIP2.from_pretrained(folder)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda s: s.pop('boxtext_head.weight'), 'boxtext_head.weight is missing'),
        (lambda s: s.update(other=torch.zeros(1)), 'other is unexpected'),
        (
            lambda s: s.update({'longtext_head.bias': torch.zeros(33)}),
            r'longtext_head.bias is \(33,\) instead of \(32,\)',
        ),
        (
            lambda s: s.update({'text_filip_projection.weight': torch.zeros(1)}),
            'FG-CLIP 1',
        ),
        (lambda s: s.pop('dense_feature_head.probe'), 'from_siglip2'),
        (
            lambda s: s['boxtext_head.bias'].fill_(float('nan')),
            'boxtext_head.bias holds',
        ),
    ],
)
def test_other_weights_are_refused(folder, change, match):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=match):
        FGCLIP2.from_pretrained(folder)


def test_another_size(folder):
    config = json.loads((folder / 'config.json').read_text())
    config['vision_config']['hidden_size'] = 48
    config['text_config'].update(hidden_size=48, projection_size=48)
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='do not fit the model'):
        FGCLIP2.from_pretrained(folder)


def test_truncated_missing_and_no_folder(folder, tmp_path):
    path = folder / 'model.safetensors'
    whole = path.read_bytes()
    for length in (0, 4, 100, len(whole) - 1000):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match='truncated'):
            FGCLIP2.from_pretrained(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r'holds no model\.safetensors'):
        FGCLIP2.from_pretrained(folder)
    with pytest.raises(ValueError, match='hub id'):
        FGCLIP2.from_pretrained(tmp_path / 'absent')
    path.write_bytes(whole)
    (folder / 'config.json').write_text('{')
    with pytest.raises(ValueError, match='not valid JSON'):
        FGCLIP2.from_pretrained(folder)
    (folder / 'config.json').unlink()
    with pytest.raises(ValueError, match=r'holds no config\.json'):
        FGCLIP2.from_pretrained(folder)


def test_pickled_weights_are_not_read(folder):
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')
    with pytest.raises(ValueError, match='only safetensors'):
        FGCLIP2.from_pretrained(folder)


def test_shards(model, folder):
    state = load_file(folder / 'model.safetensors')
    names = sorted(state)
    parts = {'a.safetensors': names[::2], 'b.safetensors': names[1::2]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps({'weight_map': weight_map})
    )
    (folder / 'model.safetensors').unlink()
    torch.testing.assert_close(
        FGCLIP2.from_pretrained(folder).boxtext_head.weight, model.boxtext_head.weight
    )
    (folder / 'b.safetensors').unlink()
    with pytest.raises(ValueError, match=r'names b\.safetensors'):
        FGCLIP2.from_pretrained(folder)


def test_sizes_come_from_tensors(model, folder):
    """Only the number of heads cannot be seen in a tensor's shape."""
    config = {key: {'num_attention_heads': 4} for key in
              ('text_config', 'vision_config')}  # fmt: skip
    (folder / 'config.json').write_text(json.dumps(config))
    assert FGCLIP2.from_pretrained(folder).config == model.config
    (folder / 'config.json').write_text('{}')
    with pytest.raises(ValueError, match='text_config lacks num_attention_heads'):
        FGCLIP2.from_pretrained(folder)


def test_heads_of_released_widths():
    shapes = {
        f'{tower}_model.{name}': shape
        for tower in ('text', 'vision')
        for name, shape in {
            'embeddings.position_embedding.weight': (64, 1152),
            'encoder.layers.26.mlp.fc1.weight': (4304, 1152),
            'encoder.layers.0.mlp.fc1.weight': (4304, 1152),
        }.items()
    }
    config = FGCLIP2Config.from_dict({}, shapes)
    assert (config.vision.num_attention_heads, config.text.num_hidden_layers) == (
        16,
        27,
    )


def test_num_patches_follows_the_table(folder):
    """A 24 x 24 table (fixed 384-px SigLIP 2) needs no other code (A.1 note)."""
    key = 'vision_model.embeddings.position_embedding.weight'
    rewrite(folder, lambda state: state.update({key: torch.randn(576, 32)}))
    config = json.loads((folder / 'config.json').read_text())
    config['vision_config'].pop('num_patches')
    (folder / 'config.json').write_text(json.dumps(config))
    model = FGCLIP2.from_pretrained(folder)
    assert model.config.vision.num_patches == 576
    assert model.vision_model.embeddings.positions(24, 24).shape == (576, 32)


def test_other_activation(folder):
    config = json.loads((folder / 'config.json').read_text())
    config['text_config']['hidden_act'] = 'quick_gelu'
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='quick_gelu'):
        FGCLIP2.from_pretrained(folder)


def siglip2_folder(folder, fixed: bool, patch: int = 16):
    """A SigLIP 2 folder made from ours: the (+) names removed, for a fixed resolution
    a Conv2d patch embedding, and for other patches a weight of other columns."""

    def change(state):
        for name in list(state):
            if name.startswith(('dense_feature_head', 'longtext_head', 'boxtext_head')):
                del state[name]
        for name in ('res', 'ori'):
            del state[f'text_model.embeddings.position_embedding_{name}.weight']
        key = 'vision_model.embeddings.patch_embedding.weight'
        if patch != 16:
            state[key] = torch.ones(len(state[key]), 3 * patch**2)
        if fixed:
            weight = state[key].view(-1, patch, patch, 3)  # row, column, channel
            state[key] = weight.permute(0, 3, 1, 2).contiguous()
            state['vision_model.embeddings.position_ids'] = torch.arange(256)[None]

    rewrite(folder, change)
    config = json.loads((folder / 'config.json').read_text())
    config['vision_config']['patch_size'] = patch
    if fixed:
        config['vision_config'].pop('num_patches')
        config['vision_config']['image_size'] = 16 * patch
    for key in ('keep_len', 'longtext_len'):
        config['text_config'].pop(key)
    (folder / 'config.json').write_text(json.dumps(config))


@pytest.mark.parametrize('fixed', [False, True])
def test_start_from_siglip2(model, folder, fixed):
    siglip2_folder(folder, fixed)
    with pytest.raises(ValueError, match='from_siglip2'):
        FGCLIP2.from_pretrained(folder)
    start = FGCLIP2.from_siglip2(folder)
    for name, tensor in start.state_dict().items():
        for new, copied in (
            ('dense_feature_head.', 'vision_model.head.'),
            ('longtext_head.', 'text_model.head.'),
            ('boxtext_head.', 'text_model.head.'),
        ):
            if name.startswith(new):
                name = name.replace(new, copied)
        if 'position_embedding_' in name:
            continue
        torch.testing.assert_close(tensor, model.state_dict()[name])
    short = model.text_model.embeddings.position_embedding.weight.detach()
    for table in ('res', 'ori'):
        long = getattr(
            start.text_model.embeddings, f'position_embedding_{table}'
        ).weight
        torch.testing.assert_close(long[:20], short[:20])
        # row 20 + 4i + j is j quarters from short row 20 + i to the next
        torch.testing.assert_close(
            long[20 + 4 * 5 + 3], short[25] / 4 + short[26] * 0.75
        )
        torch.testing.assert_close(
            long[195], short[63] + 0.75 * (short[63] - short[62])
        )


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda c: c.update(text_config=5), 'text_config must be a JSON object'),
        (
            lambda c: c['vision_config'].update(num_attention_heads=0),
            'num_attention_heads must be a positive integer',
        ),
        (
            lambda c: c['text_config'].update(num_attention_heads='4'),
            "positive integer, got '4'",
        ),
    ],
)
def test_bad_configs(folder, change, match):
    config = json.loads((folder / 'config.json').read_text())
    change(config)
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match=match):
        FGCLIP2.from_pretrained(folder)


@pytest.mark.parametrize('text', ['{', '{}', '{"weight_map": {"a": "../b"}}'])
def test_bad_index(folder, text):
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(ValueError, match=r'index\.json'):
        FGCLIP2.from_pretrained(folder)


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda s: s.pop('text_model.final_layer_norm.bias'), 'norm.bias is missing'),
        (lambda s: s.update(other=torch.zeros(1)), 'other is unexpected'),
        (
            lambda s: s.update(
                {'text_model.embeddings.position_embedding.weight': torch.zeros(5, 32)}
            ),
            'must have 64 rows, got 5',
        ),
    ],
)
def test_other_siglip2_weights(folder, change, match):
    siglip2_folder(folder, fixed=False)
    rewrite(folder, change)
    with pytest.raises(ValueError, match=match):
        FGCLIP2.from_siglip2(folder)


@pytest.mark.parametrize('fixed', [False, True])
@pytest.mark.parametrize('patch', [8, 14, 32])
def test_other_patches_are_refused(folder, patch, fixed):
    """Whether config.json tells of them, says something else, or nothing."""
    siglip2_folder(folder, fixed, patch)
    path = folder / 'config.json'
    config = json.loads(path.read_text())
    message = f'config.json: .*patch_size must be 16 pixels, .* got {patch}; take'
    with pytest.raises(ValueError, match=message):
        FGCLIP2.from_siglip2(folder)
    config['vision_config'].pop('patch_size')
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        FGCLIP2.from_siglip2(folder)
    config['vision_config']['patch_size'] = 16
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f'patch_size is 16, they have {patch}'):
        FGCLIP2.from_siglip2(folder)


def test_other_patches_of_a_trained_model_are_refused(folder):
    key = 'vision_model.embeddings.patch_embedding.weight'
    rewrite(folder, lambda s: s.update({key: torch.ones(len(s[key]), 3 * 14**2)}))
    config = json.loads((folder / 'config.json').read_text())
    config['vision_config']['patch_size'] = 14
    (folder / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='patch_size must be 16 pixels'):
        FGCLIP2.from_pretrained(folder)


def test_siglip2_start_refuses_fgclip2(folder):
    with pytest.raises(ValueError, match=r'use FGCLIP2\.from_pretrained'):
        FGCLIP2.from_siglip2(folder)


def test_start_from_something_else(folder):
    siglip2_folder(folder, fixed=False)
    rewrite(folder, lambda state: state.pop('text_model.head.weight'))
    with pytest.raises(ValueError, match='no SigLIP 2 weights'):
        FGCLIP2.from_siglip2(folder)


def test_saving_over_a_model_is_atomic(model, folder, monkeypatch):
    """A failing write leaves the old files whole."""
    before = (folder / 'model.safetensors').read_bytes()

    def fail(*args, **kwargs):
        raise OSError('disk full')

    monkeypatch.setattr('fgclip2_det.fgclip2.checkpoint.save_file', fail)
    with pytest.raises(OSError, match='disk full'):
        model.save_pretrained(folder)
    assert (folder / 'model.safetensors').read_bytes() == before
    assert sorted(p.name for p in folder.iterdir() if 'tmp' in p.name) == []
    shutil.rmtree(folder)
