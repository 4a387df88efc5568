"""MMDetection's own tools, in a Python that knows of this package by its ``.pth``."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red circle', 'blue square']
CONFIG = """
_base_ = [{model!r}]
default_scope = 'mmdet'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
test_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OpenVocabCocoDataset', ann_file='ann.json', data_root={root!r},
        novel_classes=['blue square'], test_mode=True, pipeline=[
            dict(type='OpenVocabLoadImage'),
            dict(type='FGCLIP2Resize', max_num_patches=64),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_evaluator = dict(type='OpenVocabCocoMetric', ann_file={root!r} + '/ann.json')
test_cfg = dict(type='TestLoop')
custom_hooks = [dict(type='OpenVocabVocabularyHook')]
default_hooks = dict(visualization=dict(type='DetVisualizationHook'))
visualizer = dict(type='DetLocalVisualizer', vis_backends=[])
"""
START = """
import sys
assert 'fgclip2_det' not in sys.modules and 'torch' not in sys.modules
import json, runpy
config, weights, image, tool, out = sys.argv[1:]
from mmcv.ops import RoIPool  # as OpenMMLab's mmdet.apis does
from mmdet.apis import DetInferencer
assert 'fgclip2_det' not in sys.modules  # the ops are the finder's
inferencer = DetInferencer(config, weights, device='cpu', show_progress=False)
result = inferencer(image, no_save_vis=True)['predictions'][0]
sys.argv = [tool, config, weights, '--work-dir', out, '--out', out + '/results.pkl']
runpy.run_path(tool, run_name='__main__')
print(json.dumps(len(result['labels'])))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Config, image, annotations and checkpoint."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    box = dict(id=1, image_id=1, category_id=1, bbox=[8, 8, 60, 40], area=2400)
    content = dict(
        images=[dict(id=1, file_name='a.png', width=160, height=96)],
        annotations=[box | dict(iscrowd=0)],
        categories=[dict(id=i, name=name) for i, name in enumerate(NAMES, 1)],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    model = str(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    text = CONFIG.format(model=model, root=str(tmp_path))
    (tmp_path / 'config.py').write_text(text)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    detector = MODELS.build(Config.fromfile(tmp_path / 'config.py').model)
    detector.init_weights()
    detector.set_vocabulary(NAMES)
    meta = dict(dataset_meta=dict(CLASSES=tuple(NAMES)))
    content = dict(state_dict=detector.state_dict(), meta=meta)
    save_checkpoint(content, str(tmp_path / 'last.pth'))
    return tmp_path


def test_mmdet_before_this_package(folder: Path, tmp_path: Path):
    """``tools/test.py`` of MMDetection and ``DetInferencer``, in one process."""
    tool = Path(find_spec('mmdet').origin).parent / '.mim' / 'tools' / 'test.py'
    if not tool.is_file():
        pytest.skip(f'MMDetection is installed without its tools ({tool})')
    site = tmp_path / 'site'
    site.mkdir()
    finder = ROOT / 'fgclip2_det' / 'compat' / 'ops_finder.py'
    (site / '_fgclip2_det_ops.py').write_text(finder.read_text())
    (site / 'sitecustomize.py').write_text('import _fgclip2_det_ops\n')  # as the .pth
    words = [folder / 'config.py', folder / 'last.pth', folder / 'a.png', tool]
    environment = {k: v for k, v in os.environ.items() if k != 'FGCLIP2_CHECK_OPS'}
    environment['PYTHONPATH'] = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run(
        [sys.executable, '-c', START, *map(str, words), str(tmp_path / 'out')],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 0
    assert 'open_vocab/all_ap50' in done.stdout + done.stderr
    assert (tmp_path / 'out' / 'results.pkl').is_file()
