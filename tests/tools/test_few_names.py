"""tools/test.py --few-names and tools/evaluate.py --protocol few-names, end to end."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'ovd_fgclip2.py'
DETECTOR = ROOT / 'fgclip2_det' / 'assets' / 'ovd_ovshapes' / 'detector.pth'
ENCODER = ROOT / 'fgclip2_det' / 'assets' / 'fgclip2_tiny'


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    """Folder of a small OVShapes."""
    return generate_ovshapes(tmp_path_factory.mktemp('ovshapes'), 1, 6)


def words(shapes: Path, *more: object) -> list:
    options = [f'test_dataloader.dataset.{key}={value}' for key, value in (
        ('data_root', shapes.parent), ('num_train', 1), ('num_val', 6))]  # fmt: skip
    return ['--few-names', '--cfg-options', *options, *more]


def read(path: Path):
    return json.loads(path.read_text(encoding='utf-8'))


def test_a_detector_is_asked_for_a_few_names_at_a_time(run_tool, shapes, tmp_path):
    options = ['--few-names-ks', 2, 'all', '--few-names-mode', 'hard']
    options += ['--few-names-seed', 4, '--work-dir', tmp_path / 'run']
    code, out, err = run_tool('test', CONFIG, DETECTOR, *words(shapes), *options)
    assert code == 0, err
    asks = read(tmp_path / 'run' / 'few_names.asks.json')
    rows = read(tmp_path / 'run' / 'few_names.bbox.json')
    found = read(tmp_path / 'run' / 'few_names.json')
    assert asks['draw']['mode'] == 'hard' and asks['draw']['seed'] == 4
    assert [a['k'] for a in asks['asks'][:2]] == [2, 'all'] and len(asks['asks']) == 12
    assert found['metrics']['few-names/kall/all/AP50'] > 0.7
    assert found['protocol']['asks']['ks'] == [2, 'all']
    assert found['protocol']['notes'] == {'model': 'OpenVocabTwoStageDetector'}
    assert (tmp_path / 'run' / 'few_names.png').read_bytes().startswith(b'\x89PNG')
    assert 'names group ' in out and '12 asks, absent names hard, seed 4, en' in out

    # the same as a user gets who gives these names and this picture
    inferencer = OpenVocabInferencer()
    for ask in asks['asks'][:4]:
        inferencer.set_vocabulary(ask['names'])
        (same,) = inferencer(str(shapes / 'val' / ask['file_name']))
        own = [row for row in rows if row['ask_id'] == ask['id']]
        assert {row['image_id'] for row in own} == {ask['image_id']}
        np.testing.assert_allclose(
            [row['score'] for row in own], same.scores.numpy(), atol=1e-4
        )
        labels = [ask['category_ids'].index(row['category_id']) for row in own]
        assert np.mean(labels == same.labels.numpy()) > 0.98  # equal scores may swap

    # a foreign detector with these answers
    words_ = ['--protocol', 'few-names', '--ann', shapes / 'val.json']
    files = ['--predictions', tmp_path / 'run' / 'few_names.bbox.json']
    files += ['--out', tmp_path / 'other.json', '--picture', tmp_path / 'other.png']
    given = ['--asks', tmp_path / 'run' / 'few_names.asks.json']
    code, out, err = run_tool('evaluate', *words_, *files, *given)
    assert code == 0, err
    assert read(tmp_path / 'other.json')['metrics'] == found['metrics']
    assert (tmp_path / 'other.png').is_file() and 'absent names hard' in out
    code, _, err = run_tool('evaluate', *words_, *files)
    assert code == 2 and 'has rows with an ask_id, but no asks are given' in err


def test_asks_of_a_file_are_asked_of_a_rescorer(run_tool, shapes, tmp_path):
    file = tmp_path / 'asks.json'
    draw = ['--protocol', 'few-names', '--ann', shapes / 'val.json', '--ks', 1, 2]
    code, out, err = run_tool('evaluate', *draw, '--write-asks', file)
    assert code == 0, err
    assert '12 asks about 6 images, absent names random, seed 0' in out
    config = tmp_path / 'rescored.py'
    config.write_text(
        f'_base_ = r"{CONFIG}"\n'
        'model = dict(_delete_=True, type="FGCLIP2Rescorer", detector={{_base_.model}},'
        f'encoder=dict(pretrained=r"{ENCODER}"), fusion='
        'dict(type="OpenVocabGeometricFusion", temperature=0.05))\n'
    )
    options = ['--few-names-asks', file, '--work-dir', tmp_path / 'run']
    code, _, err = run_tool('test', config, DETECTOR, *words(shapes), *options)
    assert code == 0, err
    found = read(tmp_path / 'run' / 'few_names.json')
    assert read(tmp_path / 'run' / 'few_names.asks.json') == read(file)
    assert found['protocol']['notes'] == {'model': 'FGCLIP2Rescorer'}
    assert found['metrics']['few-names/k2/all/recall'] > 0.3


def test_chinese_names_follow_the_data_set(run_tool, shapes, tmp_path):
    options = ['test_dataloader.dataset.language=zh', '--few-names-ks', 1]
    done = run_tool(
        'test', CONFIG, DETECTOR, *words(shapes, *options), '--work-dir', tmp_path / 'r'
    )
    assert done[0] == 0, done[2]
    ask = read(tmp_path / 'r' / 'few_names.asks.json')['asks'][0]
    assert ask['names'][0] >= '一'
    assert (
        read(tmp_path / 'r' / 'few_names.json')['protocol']['asks']['language'] == 'zh'
    )


def test_refusals(run_tool, shapes, write_config, tmp_path):
    def refuse(message: str, *options: object, tool: str = 'test', config=CONFIG):
        words = (config, DETECTOR) if tool == 'test' else ()
        code, _, err = run_tool(tool, *words, *options)
        assert code == 2 and message in err, err

    refuse('--few-names-mode belongs to --few-names', '--few-names-mode', 'hard')
    refuse('leave out --out', '--few-names', '--out', 'r.json')
    refuse('leave out --tta', '--few-names', '--tta')
    options = ['--cfg-options', 'train_cfg.max_epochs=1', '--work-dir', tmp_path / 'w']
    code, _, err = run_tool('train', write_config(), *options)
    assert code == 0, err
    code, _, err = run_tool('test', write_config(), tmp_path / 'w' / 'epoch_1.pth',
                            '--few-names')  # fmt: skip
    assert code == 2 and 'RetinaNet cannot be asked for names; run it with' in err
    val = ['--ann', shapes / 'val.json']
    few = ['--protocol', 'few-names', *val]
    for message, options in (
        ('--seed belongs to --protocol few-names, not coco',
         ['--protocol', 'coco', *val, '--seed', 1]),
        ('leave out --out', [*few, '--write-asks', 'a.json', '--out', 'm.json']),
        ('--predictions and --out are needed', few),
        ('--classwise and --iou-type are no options',
         [*few, '--predictions', 'r', '--out', 'm', '--classwise']),
    ):  # fmt: skip
        refuse(message, *options, tool='evaluate')
