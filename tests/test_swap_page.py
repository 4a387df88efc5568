"""The snippets and the list of ``docs/swap.md``, on tiny models."""

import functools
import re
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from tests.swap_models import (  # noqa: F401  (two fixtures)
    NAMES,
    ROOT,
    attention_op,
    build,
    build_on_meta,
    check_round_trip,
    one_thread,
    tiny,
)

PAGE = ROOT / 'docs' / 'swap.md'
ENCODERS = ('b16', 'l16', 'so16')


@functools.cache
def blocks() -> list[str]:
    return re.findall('```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.S)


def child(tmp_path: Path, text: str) -> Config:
    init_default_scope('mmdet')
    (tmp_path / 'child.py').write_text(text, encoding='utf-8')
    return Config.fromfile(tmp_path / 'child.py')


def test_documented_dict_trains_another_detector(tmp_path):
    cfg = child(tmp_path, blocks()[0])
    assert cfg.model.type == 'GFL'
    tiny(cfg, bert_folder='')
    check_round_trip(cfg, tmp_path, with_masks=False)


@pytest.mark.parametrize(
    'base', ['tood/tood_r50_fpn_1x_coco.py', 'vfnet/vfnet_r50_fpn_1x_coco.py']
)
def test_documented_dict_builds_other_detectors(base, tmp_path, monkeypatch):
    """Their deformable convolutions need compiled ops to run, not to build."""
    text, count = re.subn("_base_ = '.*'", f"_base_ = 'mmdet::{base}'", blocks()[0])
    assert count == 1
    model = build_on_meta(child(tmp_path, text).model, '', monkeypatch)
    assert model.backbone.embed_dims == 768
    assert model.bbox_head.prior_generator.strides[0] == (8, 8)
    assert len(model.bbox_head.prior_generator.strides) == 5


def test_documented_lines_of_python_do_the_same(tmp_path):
    names: dict = {}
    exec(blocks()[1], names)
    cfg = child(tmp_path, blocks()[0])
    for part in ('model', 'optim_wrapper'):
        expected = {k: v for k, v in cfg[part].to_dict().items() if k != '_scope_'}
        assert names['cfg'][part].to_dict() == expected


def test_documented_layer_decay(tmp_path):
    """0.7 ** 5 of 1e-4 for the embeddings before four blocks, 1e-4 for the head."""
    cfg = child(tmp_path, blocks()[0])
    cfg.merge_from_dict(child(tmp_path, blocks()[2]).to_dict())
    model = build(tiny(cfg, bert_folder=''), seed=0)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = [group['lr'] for group in optimizer.param_groups]
    assert min(rates) == pytest.approx(1e-4 * 0.7**5) and max(rates) == 1e-4


def test_page_lists_every_config():
    listed = set(
        re.findall(r'^\| `([^`]*)` \|', PAGE.read_text(encoding='utf-8'), re.M)
    )
    listed = {x for x in listed if x.endswith('.py')}
    names = {x.format(size=size) for x in listed for size in ENCODERS}
    assert names == set(NAMES)
