"""Table, json, curves and config of a comparison of fusion settings."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmengine.config import Config

from fgclip2_det.coco.ground_truths import make_truths
from fgclip2_det.rescoring.tuning import DETECTOR, Setting, SettingFigures, untuned
from fgclip2_det.rescoring.tuning_report import (
    best_of,
    config_fragment,
    curves,
    describe_best,
    describe_tuning,
    format_table,
    selected_metric,
    write_report,
)
from fgclip2_det.rescoring.tuning_truths import TuningTruths

DUMP = SimpleNamespace(image_ids=[1, 2], header=SimpleNamespace(encoder='f00d'))
TRUTHS = TuningTruths(
    make_truths([dict(id=i) for i in (1, 2, 3)], [], [], [], []),
    scored=np.array([1, 1, 0, 0], bool),
    is_base=np.array([1, 1, 1, 0], bool),
    dropped=4,
)


def figures_of(values: dict[Setting, float]) -> list[SettingFigures]:
    return [
        SettingFigures(s, dict(base_ap=v / 2, base_ap50=v), 0.1)
        for s, v in values.items()
    ]


def test_report(tmp_path):
    best = Setting('fvit', 0.3, 0.8, 0.02, 'box', 0.7)
    figures = figures_of(
        {
            DETECTOR: 0.55,
            best: 0.6,
            Setting('fvit', 0.1, 0.8, 0.02, 'box', 0.7): 0.4,
            Setting('fvit', 0.1, 0.8, 0.05, 'box', 0.7): 0.5,
            untuned('geometric'): 0.3,
        }
    )
    metric = selected_metric(figures, 'ap50')
    assert metric == 'base_ap50' and best_of(figures, metric).setting == best
    assert curves(figures, metric) == {
        'fvit box, T 0.02, beta 0.8, NMS 0.7': [(0.1, 0.4), (0.3, 0.6)],
        'geometric keep, T 0.01': [(0.5, 0.3)],
    }
    protocol = describe_tuning(DUMP, TRUTHS, 50)
    assert protocol['line'] == (
        '3 images (1 without results), 4 names (1 novel), base classes only: 2 base '
        'and 0 novel classes scored, at most 50 rows an image (box, joint) and 100 an '
        'image and class'
    )
    lines = format_table(figures, metric).splitlines()[3:-1]
    assert [line.split('|')[8].strip() for line in lines] == [
        '0.6000', '0.5500', '0.5000', '0.4000', '0.3000'
    ]  # fmt: skip
    assert [line.split('|')[9].strip() for line in lines] == [
        'best', 'detector alone', '', '', 'untuned'
    ]  # fmt: skip
    files = write_report(figures, metric, protocol, tmp_path / 'new')
    assert [path.name for path in files] == ['tune.json', 'best.py', 'curves.png']
    config = Config.fromfile(files[1])
    assert config.fusion == dict(
        type='OpenVocabFViTFusion', alpha=0.3, beta=0.8, temperature=0.02
    )
    assert (config.mode, config.nms_iou, config.max_per_image) == ('box', 0.7, 50)
    assert files[2].read_bytes().startswith(b'\x89PNG')
    content = json.loads(files[0].read_text())
    assert content['best'] == asdict(best) and content['protocol'] == protocol
    assert not content['best_is_detector_alone']
    assert describe_best(figures, metric) == 'best base_ap50 0.6000'
    assert [row['base_ap50'] for row in content['settings']] == [
        0.6,
        0.55,
        0.5,
        0.4,
        0.3,
    ]
    kept = figures_of({untuned('geometric'): 0.3})[0]
    text = config_fragment(kept, metric, protocol)
    assert 'max_per_image = None' in text and 'nms_iou = None' in text


@pytest.mark.parametrize('other', [0.975, 0.9805])
def test_the_detector_alone_wins_where_no_fusion_is_better(tmp_path, other):
    figures = figures_of({untuned('geometric'): other, DETECTOR: 0.9805})
    assert best_of(figures, 'base_ap50').setting == DETECTOR
    assert describe_best(figures, 'base_ap50') == (
        'no setting is better than the detector alone: base_ap50 0.9805, the best '
        f'fusion {other:.4f}; best.py leaves its scores as they are'
    )
    protocol = describe_tuning(DUMP, TRUTHS, 50)
    files = write_report(figures, 'base_ap50', protocol, tmp_path)
    assert json.loads(files[0].read_text())['best_is_detector_alone']
    assert 'best detector alone' in format_table(figures, 'base_ap50')
    assert 'no fusion was better' in files[1].read_text()
    config = Config.fromfile(files[1])
    fusion = MODELS.build(config.fusion)
    scores = torch.rand(5, 1)
    cosines = torch.rand(5, 3) * 2 - 1
    fused = fusion(scores, cosines, torch.tensor([True, False, True]))
    assert (fused == scores).all() and config.mode == 'keep'
    assert 'detector alone has' in describe_best(figures[1:], 'base_ap50')


def test_the_report_says_so_when_novel_classes_count():
    truths = replace(TRUTHS, scored=np.array([1, 1, 0, 1], bool))
    protocol = describe_tuning(DUMP, truths, 300)
    assert not protocol['base_only'] and 'NOVEL CLASSES INCLUDED' in protocol['line']
    values = dict(base_ap=0.1, novel_ap=0.3, all_ap=0.2)
    assert selected_metric([SettingFigures(DETECTOR, values, 0.1)], 'ap') == 'all_ap'
    with pytest.raises(ValueError, match=r"metric must be one of .* 'ap75'"):
        selected_metric([SettingFigures(DETECTOR, values, 0.1)], 'ap75')
