"""What ``save_best`` and early stopping take our metrics for."""

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
import numpy as np
from mmdet.registry import HOOKS
from mmengine.registry import init_default_scope

from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric

BOX = np.array([[10, 10, 40, 40]], float)


def names_of_the_coco_metric() -> list[str]:
    truth = dict(bboxes=BOX, labels=np.array([0]))
    sample = dict(
        img_id=0,
        pred_instances=dict(bboxes=BOX, labels=np.array([0]), scores=np.array([1.0])),
        gt_instances=truth,
        ignored_instances=dict(bboxes=BOX[:0], labels=np.zeros(0, int)),
    )
    metric = OpenVocabCocoMetric()
    metric.dataset_meta = dict(classes=('cat', 'dog'), novel_classes=('dog',))
    metric.process({}, [sample])
    return list(metric.evaluate(1))


@pytest.fixture
def names() -> list[str]:
    lvis = [f'bbox_{name}' for name in ('AP', 'AP50', 'APr', 'AR', 'ARl')]
    return [
        *names_of_the_coco_metric(),
        *(f'open_vocab_lvis/{flavour}{name}' for flavour in ('', 'fixed_')
          for name in lvis),
        'my_prefix/novel_ap50', 'lvis/bbox_AP', 'lvis_fixed_ap/AP', 'coco/bbox_mAP',
        'retention/top1', 'retention/change',
    ]  # fmt: skip


@pytest.mark.parametrize('hook', ['CheckpointHook', 'OpenVocabCheckpointHook'])
def test_greater_is_better_for_our_metrics(hook, names):
    """Also what 'auto' stands for, the first metric of the first validation."""
    init_default_scope('mmdet')
    assert len(names) > 20
    for name in names:
        built = HOOKS.build(dict(type=hook, save_best=name))
        assert built.rules == ['greater'], name
    automatic = HOOKS.build(dict(type=hook, save_best='auto'))
    automatic._init_rule(automatic.rules, names[:1])
    assert automatic.rules == ['greater'] and automatic.key_indicators == names[:1]


def test_early_stopping(names):
    for name in names:
        built = HOOKS.build(dict(type='EarlyStoppingHook', monitor=name))
        assert built.rule == 'greater', name
    for name in ('loss', 'val/loss_bbox', 'open_vocab/loss_cls'):
        built = HOOKS.build(dict(type='EarlyStoppingHook', monitor=name))
        assert built.rule == 'less'


def test_what_is_said_wins():
    name = 'open_vocab/novel_ap50'
    assert HOOKS.build(
        dict(type='CheckpointHook', save_best=name, rule='less')
    ).rules == ['less']
    assert (
        HOOKS.build(dict(type='EarlyStoppingHook', monitor=name, rule='less')).rule
        == 'less'
    )
    with pytest.raises(ValueError, match='Cannot infer the rule'):
        HOOKS.build(dict(type='CheckpointHook', save_best='no_such_thing'))
