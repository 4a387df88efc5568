"""Options of MMDetection's tools/test.py in ours."""

import json
from pathlib import Path

import mmengine
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmengine.config import Config

from fgclip2_det.engine.test_options import (
    dump_predictions,
    show_results,
    use_tta,
)


@pytest.fixture
def checkpoint(write_config, tmp_path):
    """(config, weights): the tiny detector as its seed leaves it."""
    config = write_config()
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    path = tmp_path / 'random.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return config, path


def test_dump_and_lists_in_any_order(checkpoint, run_tool, tmp_path):
    """The checkpoint may follow options, as in MMDetection; both files hold the same
    boxes, and nothing else is left."""
    config, path = checkpoint
    out = tmp_path / 'out'
    for name in ('a.pkl', 'a.json'):
        words = ['--work-dir', tmp_path / 'w', '--out', out / name]
        code, _, err = run_tool('test', *words, config, path)
        assert code == 0, err
    assert sorted(p.name for p in out.iterdir()) == ['a.bbox.json', 'a.pkl']
    samples = mmengine.load(out / 'a.pkl')
    assert [sample['img_id'] for sample in samples] == [0, 1, 2, 3]
    assert 'gt_instances' not in samples[0]
    scores = torch.cat([sample['pred_instances']['scores'] for sample in samples])
    rows = json.loads((out / 'a.bbox.json').read_text())
    assert scores.tolist() == pytest.approx([row['score'] for row in rows])


def test_a_dump_that_fails_leaves_nothing(tmp_path):
    out = tmp_path / 'a.pkl'
    out.write_bytes(b'old')
    cfg = Config(dict(test_evaluator=dict(type='CocoMetric')))
    with pytest.raises(KeyError), dump_predictions(cfg, str(out)):
        partial = Path(cfg.test_evaluator[1].out_file_path)
        assert partial.parent == tmp_path and partial.suffix == '.pkl'
        partial.write_bytes(b'half')
        raise KeyError
    assert out.read_bytes() == b'old' and list(tmp_path.iterdir()) == [out]


def test_other_processes_write_no_dump(tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    cfg = Config(dict(test_evaluator=[dict(type='CocoMetric')]))
    with dump_predictions(cfg, str(tmp_path / 'a.pkl')):
        assert len(cfg.test_evaluator) == 2
    assert list(tmp_path.iterdir()) == []


def test_tta_adds_the_mirrored_image(checkpoint, run_tool, tmp_path):
    """Boxes of the mirrored view are the view's own, turned back; the plain view's are
    there as well."""
    config, path = checkpoint
    keep = (  # every box: what is found in a view is what is merged
        "model['test_cfg'].update(nms=dict(type='nms', iou_threshold=0.99))\n"
        "tta_model = dict(type='DetTTAModel', tta_cfg=dict(\n"
        "    nms=dict(type='nms', iou_threshold=1.0), max_per_img=999))\n"
    )
    config.write_text(config.read_text() + keep)
    mirror = config.with_name('mirror.py')
    flip = "test_dataloader['dataset']['pipeline'] = test_pipeline[:-1] + [\n"
    flip += "    dict(type='RandomFlip', prob=1.0), test_pipeline[-1]]\n"
    mirror.write_text(config.read_text() + flip)
    boxes = []
    for words in ([config, path], [mirror, path], [config, '--tta', path]):
        words = [*words, '--work-dir', tmp_path / 'w', '--out', tmp_path / 'x.pkl']
        code, _, err = run_tool('test', *words)
        assert code == 0, err
        samples = mmengine.load(tmp_path / 'x.pkl')
        boxes.append([sample['pred_instances']['bboxes'] for sample in samples])
    for plain, mirrored, both in zip(*boxes, strict=True):
        turned = mirrored.clone()
        turned[:, [0, 2]] = 160 - mirrored[:, [2, 0]]
        wanted = torch.cat([plain, turned])
        assert len(both) == len(wanted)
        distance = (wanted[:, None] - both[None]).abs().amax(-1)
        assert distance.min(1).values.max() < 1e-3


def test_another_ending_is_refused(checkpoint, run_tool):
    code, _, err = run_tool('test', *checkpoint, '--out', 'x.txt')
    assert code == 2
    assert '--out must end with .pkl, .pickle or .json' in err.splitlines()[-1]


def test_models_without_tta(monkeypatch):
    with pytest.raises(ValueError, match='a re-scorer reads the original image'):
        use_tta(Config(dict(model=dict(type='FGCLIP2Rescorer'))))
    head = dict(type='StandardRoIHead', mask_head=dict(type='FCNMaskHead'))
    with pytest.raises(ValueError, match='boxes but not masks'):
        use_tta(Config(dict(model=dict(type='MaskRCNN', roi_head=head))))
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('sys.platform', 'linux')
    with pytest.raises(ValueError, match='--show needs a display'):
        show_results(Config(), 2)
    monkeypatch.setenv('DISPLAY', ':0')
    cfg = Config()
    show_results(cfg, 0.5)
    assert cfg.default_hooks.visualization == dict(
        type='mmdet.DetVisualizationHook', draw=True, show=True, wait_time=0.5
    )
