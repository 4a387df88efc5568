"""A segmentor from training to a benchmark, by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.zeroshot.suite import BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/segmentation/fgclip2-cost_tiny_ovshapes.py'
SMALL = [
    'train_dataloader.batch_size=1',
    'train_dataloader.dataset.num_train=2',
    'train_dataloader.dataset.num_val=2',
    'val_dataloader.dataset.num_train=2',
    'val_dataloader.dataset.num_val=2',
    'test_dataloader.dataset.num_train=2',
    'test_dataloader.dataset.num_val=2',
    'model.num_train_names=3',
]


@pytest.fixture
def trained(run_tool, tmp_path, monkeypatch) -> Path:
    """Work dir of two steps on OVShapes."""
    monkeypatch.setenv('OVSHAPES_ROOT', str(tmp_path / 'shapes'))
    work_dir = tmp_path / 'run'
    words = [CONFIG, '--work-dir', work_dir, '--cfg-options', *SMALL]
    code, _, err = run_tool('train', *words)
    assert code == 0, err
    return work_dir


def test_train_test_and_benchmark(trained, run_tool, tmp_path):
    checkpoint = trained / 'epoch_1.pth'
    metrics = json.loads((trained / 'metrics.json').read_text())
    prefix = 'open_vocab_seg/'
    assert {f'{prefix}all_miou', f'{prefix}background_miou'} <= set(metrics)
    assert len(list((trained / 'vis').glob('*.png'))) == 2

    options = ['--cfg-options', *SMALL[1:]]
    out = ['--work-dir', tmp_path / 'test', '--show-dir', tmp_path / 'shown']
    code, _, err = run_tool('test', CONFIG, checkpoint, *out, *options)
    assert code == 0, err
    assert json.loads((tmp_path / 'test/metrics.json').read_text()) == metrics
    assert len(list((tmp_path / 'shown/vis').glob('*.png'))) == 2

    out = ['--work-dir', tmp_path / 'zero']
    code, _, err = run_tool(
        'test', CONFIG, checkpoint, *out, *options, 'model.zero_shot=True'
    )
    assert code == 0, err
    zero = json.loads((tmp_path / 'zero/metrics.json').read_text())
    assert zero[f'{prefix}all_miou'] != metrics[f'{prefix}all_miou']
    assert f'{prefix}background_miou' not in zero

    for option in ('--few-names', '--tta'):
        done = run_tool('test', CONFIG, checkpoint, option, *options)
        expect_error(done, 'a segmentor predicts label maps; test it without ' + option)

    for words in (
        ['--detector', CONFIG, '--weights', checkpoint],
        ['--weights', checkpoint],
    ):
        picture = trained / 'detections.png'
        done = run_tool('detect', picture, '--names', 'red circle', *words)
        expect_error(done, 'is of a segmentor, which gives label maps and no boxes')

    root = tmp_path / 'data'
    write_context(root)
    options = ['--data-root', root, '--out-dir', tmp_path / 'out', '--subset']
    code, out, err = run_tool(
        'benchmark', 'pc-59', '--segmentor', CONFIG, checkpoint, *options
    )
    assert code == 0, err
    result = json.loads((tmp_path / 'out/pc-59.json').read_text())
    assert result['counts']['images'] == 2 and 0 <= result['metrics']['miou'] <= 100
    assert result['protocol']['encoder_name'] == 'fgclip2-cost_tiny_ovshapes (trained)'

    given = '--segmentor', CONFIG, checkpoint, *options
    done = run_tool('benchmark', 'coco-box', *given)
    expect_error(done, '--segmentor is for segmentation, coco-box is not; choose among')
    done = run_tool(
        'benchmark', 'pc-59', '--segmentor', CONFIG, checkpoint, *options,
        '--encoder', 'noise',
    )  # fmt: skip
    expect_error(done, '--encoder does not go with --segmentor; leave it out')
    other = ROOT / 'configs/ovd_fgclip2.py'
    done = run_tool('benchmark', 'pc-59', '--segmentor', other, checkpoint, *options)
    expect_error(done, 'is of OpenVocabTwoStageDetector, expected OpenVocabSegmentor')
    done = run_tool('benchmark', 'pc-59', '--segmentor', CONFIG, 'no.pth', *options)
    expect_error(done, 'there is no checkpoint no.pth')


def expect_error(done: tuple[int, str, str], message: str) -> None:
    code, _, err = done
    assert code == 2 and message in err
    assert err.count('error: ') == 1 and 'Traceback' not in err


def write_context(root: Path) -> None:
    """Two images of PASCAL Context's layout, sizes that are no multiples of 16."""
    files = BENCHMARKS['pc-59'].files
    rng = np.random.default_rng(0)
    for number, size in enumerate(((50, 70), (61, 40))):
        for role, suffix in (('images', 'jpg'), ('labels', 'png')):
            path = root / files[role].path / f'2008_{number:06d}.{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            if role == 'labels':
                values = rng.choice([0, 1, 58, 255], size).astype(np.uint8)
            else:
                values = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(values).save(path)
