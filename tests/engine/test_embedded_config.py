"""A config inside a checkpoint is data: nothing it says is imported, run or written."""

import sys
import warnings

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.engine.embedded_config import MAX_CHARACTERS, embedded_config

PIPELINE = (
    "test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackDetInputs')]))\n"
)


def read(model: str):
    return embedded_config(f'model = {model}\n{PIPELINE}', 'x.pth')


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A package on the path, whose import leaves a trace."""
    package = tmp_path / 'marker_package'
    package.mkdir()
    trace = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    for name in ('__init__', 'registry', 'config'):
        text = f"{trace}model = dict(type='RetinaNet')\n"
        (package / f'{name}.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert not (tmp_path / 'ran').exists() and 'marker_package' not in sys.modules


@pytest.mark.parametrize(
    ('model', 'named'),
    [
        ("dict(type='RetinaNet', _scope_='marker_package')", '_scope_'),
        ("dict(type='RetinaNet', neck=dict(type='FPN', _scope_='marker_package'))",
         '_scope_'),
        ("dict(type='RetinaNet', neck=[dict(_base_='marker_package/config.py')])",
         '_base_'),
        ("dict(type='RetinaNet', custom_imports=dict(imports=['marker_package']))",
         'custom_imports'),
        ("dict(type='marker_package.Net')", 'not registered'),
        ("dict(type='marker_package.RetinaNet')", 'not registered'),
        ("dict(type=['RetinaNet'])", 'damaged config'),
        ("dict(type='FGCLIP2Rescorer', detector='marker_package/config.py')",
         'a file to run'),
        ("dict(type='FGCLIP2Rescorer', detector='marker_package/config')",
         'a file to run'),
        ("dict(type='KnowledgeDistillationSingleStageDetector', "
         "teacher_config='marker_package/config.py')", 'a file to run'),
        ("dict(type='RetinaNet', teacher_ckpt='evil.PTH')", 'a file to run'),
        ("dict(type='RetinaNet', weights=['https://example.org/x'])", 'a file to run'),
        ("dict(type='FGCLIP2Rescorer', encoder='someone/else')", 'an encoder from'),
        ("dict(text_encoder=dict(pretrained='someone/else'), type='RetinaNet')",
         'an encoder from'),
        ("dict(text_encoder=dict(pretrained='qihoo360/../x'), type='RetinaNet')",
         'an encoder from'),
        ("dict(text_encoder=dict(pretrained=3), type='RetinaNet')", 'an encoder from'),
        ("dict(type='RetinaNet', neck=__import__('marker_package'))", 'damaged config'),
        ('[' * 400 + ']' * 400, 'damaged config'),
        ("dict(type='RetinaNet', x=" + '1+' * 20000 + '1)', 'damaged config'),
        ("dict(type='RetinaNet', x='" + 'y' * MAX_CHARACTERS + "')", 'at most'),
    ],
)  # fmt: skip
def test_refused(marker, model: str, named: str):
    with pytest.raises(ValueError, match=r'^x\.pth') as caught:
        read(model)
    assert named in str(caught.value) and 'config=FILE' in str(caught.value)


def test_what_detectors_are_made_of_passes(tmp_path):
    encoder = tmp_path / 'encoder'
    encoder.mkdir()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        cfg = read(
            f"dict(type='mmdet.RetinaNet', text=dict(pretrained={str(encoder)!r}), "
            "own=dict(pretrained='fgclip2_tiny'), hub=dict(pretrained="
            "'qihoo360/fg-clip2-base'), cache_dir='/somewhere/else', "
            "backbone=dict(type='ResNet', init_cfg=dict(type='Pretrained', "
            "checkpoint='torchvision://resnet50')), "
            "neck=dict(init_cfg=[dict(type='Normal', std=0.01)]))"
        )
    assert cfg.model.type == 'mmdet.RetinaNet' and cfg.model.cache_dir is None
    assert cfg.model.backbone.init_cfg is None and cfg.model.neck.init_cfg is None
    (warning,) = [str(w.message) for w in caught if 'left out' in str(w.message)]
    assert "x.pth: cache_dir='/somewhere/else'" in warning
