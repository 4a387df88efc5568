"""WiSE-FT: the ends are exact, the middle is by hand, the tool writes what it says."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from fgclip2_det import FGCLIP2
from fgclip2_det.apis import OpenVocabInferencer
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.wise_ft import WiseFT, table
from fgclip2_det.models.backbones.lora import merge_lora

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs/ovshapes'
LORA = CONFIGS / 'ovd_fgclip2_lora.py'
PLAIN = CONFIGS / 'ovd_fgclip2_finetuned.py'
LAYER = 'vision_model.encoder.layers.2.self_attn.q_proj'


def detector(config: Path, seed: int = 0):
    """As after a training: everything that trains has moved."""
    init_default_scope('mmdet')
    model = MODELS.build(load_config(config).model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.02 * noise)
    return model


@pytest.fixture(scope='module')
def released() -> dict:
    return FGCLIP2.from_pretrained('fgclip2_tiny').state_dict()


def encoder_of(state_dict: dict) -> dict:
    return {
        name.removeprefix('backbone.'): value
        for name, value in state_dict.items()
        if name.startswith('backbone.')
    }


@pytest.mark.parametrize('config', [LORA, PLAIN], ids=['lora', 'all'])
def test_both_ends_and_the_middle(config, released):
    model = detector(config)
    state = model.state_dict()
    backbone = load_config(config).model.backbone
    wise = WiseFT(backbone, state, 'x.pth')
    tuned = model.backbone
    merge_lora(tuned)
    tuned = tuned.state_dict()
    ends = {alpha: encoder_of(wise.state_dict(alpha)) for alpha in (0, 0.5, 1)}
    for mixed in ends.values():
        assert set(mixed) == set(tuned) <= set(released)
    changed = 0
    for name, value in tuned.items():
        assert torch.equal(ends[0][name], released[name]), name
        assert torch.equal(ends[1][name], value), name
        middle = (released[name].double() + value.double()) / 2
        torch.testing.assert_close(ends[0.5][name], middle.float(), atol=1e-7, rtol=0)
        changed += not torch.equal(value, released[name])
    assert changed == (8 if config is LORA else len(tuned) - 1)  # the probe is frozen


def test_the_rest_is_the_checkpoints():
    state = detector(LORA).state_dict()
    wise = WiseFT(load_config(LORA).model.backbone, state, 'x.pth')
    for name, value in wise.state_dict(0.25).items():
        if not name.startswith('backbone.'):
            assert torch.equal(value, state[name]), name


def test_lora_at_half_is_half_the_adapter(released):
    """W + 0.5 * (W + s B A - W) = W + 0.5 s B A."""
    state = detector(LORA).state_dict()
    wise = WiseFT(load_config(LORA).model.backbone, state, 'x.pth')
    a = state[f'backbone.{LAYER}.lora_A.default.weight'].double()
    b = state[f'backbone.{LAYER}.lora_B.default.weight'].double()
    expected = released[f'{LAYER}.weight'] + 0.5 * 2 * b @ a
    actual = wise.state_dict(0.5)[f'backbone.{LAYER}.weight']
    torch.testing.assert_close(actual, expected.float(), atol=1e-6, rtol=0)


def test_what_is_refused():
    cfg = load_config(LORA)
    frozen = MODELS.build(load_config(ROOT / 'configs/ovd_fgclip2.py').model)
    state = detector(LORA).state_dict()
    plain = {**cfg.model.backbone, 'lora': None}
    with pytest.raises(ValueError, match='nothing to interpolate'):
        WiseFT(plain, frozen.state_dict(), 'x.pth')
    with pytest.raises(ValueError, match='does not fit the model of the config'):
        WiseFT(plain, state, 'x.pth')
    with pytest.raises(ValueError, match='FGCLIP2ViT as backbone, got ResNet'):
        WiseFT(dict(type='ResNet'), state, 'x.pth')
    with pytest.raises(ValueError, match=r'alpha must be in \[0, 1\], got 1.5'):
        WiseFT(cfg.model.backbone, state, 'x.pth').state_dict(1.5)


def test_table_without_a_split():
    rows = [{'alpha': 0.5, 'retention_top1': 50.0, 'coco/bbox_mAP': 0.25, 'b': None}]
    assert '| 0.5   | 0.2500   | - | 50.00         |' in table(rows)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    model = detector(LORA)
    model.set_vocabulary(['red circle', 'blue square'])
    path = tmp_path / 'tuned.pth'
    torch.save(dict(meta=dict(epoch=3), state_dict=model.state_dict()), path)
    return path


def test_tool_writes_a_checkpoint_without_adapters(checkpoint, run_tool, tmp_path):
    """It carries its config, so that the inferencer takes it without any other."""
    out = tmp_path / 'half.pth'
    code, shown, err = run_tool('wise_ft', LORA, checkpoint, '--out', out)
    assert code == 0, err
    assert f'alpha 0.5: {out}' in shown
    saved = torch.load(out, weights_only=True)
    assert saved['meta']['wise_ft_alpha'] == 0.5
    assert saved['meta']['epoch'] == 3
    tuned = torch.load(checkpoint, weights_only=True)['state_dict']
    expected = WiseFT(load_config(LORA).model.backbone, tuned, '').state_dict(0.5)
    assert set(saved['state_dict']) == set(expected)
    inferencer = OpenVocabInferencer(out, device='cpu')
    assert inferencer.config.model.backbone.lora is None
    for name, value in inferencer.model.backbone.state_dict().items():
        assert torch.equal(value, expected[f'backbone.{name}']), name


@pytest.mark.slow
def test_tool_evaluates_several(checkpoint, run_tool, tmp_path):
    options = [f'data_root={tmp_path / "data"}', 'num_train=2', 'num_val=4']
    folder = tmp_path / 'wd'
    arguments = (LORA, checkpoint, '--eval', '--work-dir', folder)
    arguments = (*arguments, '--alpha', 0, 1, '--out', tmp_path / 'w_{}.pth')
    code, shown, err = run_tool('wise_ft', *arguments, '--cfg-options', *options)
    assert code == 0, err
    rows = json.loads((folder / 'wise_ft.json').read_text())
    assert [row['alpha'] for row in rows] == [0, 1]
    assert rows[0]['retention_top1'] > 50
    head = '| alpha | base_ap50 | base_ap | novel_ap50 | novel_ap | retention (%) |'
    assert head in shown
    assert f'{rows[1]["open_vocab/novel_ap50"]:.4f}' in shown
    assert not (folder / 'metrics.json').exists()

    # the checkpoint gives what the table says
    again = tmp_path / 'again'
    plain = [*options, 'model.backbone.lora=None']
    tested = ('test', LORA, tmp_path / 'w_1.pth', '--work-dir', again)
    code, _, err = run_tool(*tested, '--cfg-options', *plain)
    assert code == 0, err
    metrics = json.loads((again / 'metrics.json').read_text())
    for name, value in metrics.items():
        assert rows[1][name] == value, name


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'nothing to do; give --out FILE, --eval or both'),
        (['--alpha', 0, 1, '--out', 'a.pth'], 'would be written 2 times'),
        (['--alpha', 2, '--out', 'a.pth'], '--alpha must be in [0, 1], got 2'),
        (['--out', 'a.pth'], 'there is no checkpoint nowhere.pth'),
    ],
)
def test_bad_input_is_one_sentence(run_tool, words, message):
    code, _, err = run_tool('wise_ft', LORA, 'nowhere.pth', *words)
    assert code == 2
    assert err.startswith('error: ')
    assert message in err
    assert err.count('\n') == 1


def test_help_shows_an_example(run_tool):
    code, out, _ = run_tool('wise_ft', '--help')
    assert code == 0
    assert 'python tools/wise_ft.py configs/ovshapes/ovd_fgclip2_lora.py' in out
