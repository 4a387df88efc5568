"""The data's own files stay, and a config trains on the data or there is none."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

EXPORTS = Path(__file__).resolve().parents[1] / 'data' / 'exports'
COCO = EXPORTS / 'supervision-0.31.2/coco'


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A data set 'over' with train.json, in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(COCO, 'over')
    Path('over/annotations.json').rename('over/train.json')
    return Path('over')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--out', 'over'], 'over is the folder of the data'),
        (['--out', 'link'], 'link is the folder of the data'),
        (['--out', 'below'], 'train.json has labels of the data'),
        (['--out', 'own', '--json', 'over/train.json'], 'has labels of the data'),
    ],
)
def test_labels_are_never_replaced(run_tool, folder, words, message):
    Path('link').symlink_to('over')
    Path('below').mkdir()
    Path('below/train.json').symlink_to('../over/train.json')
    before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    code, _, err = run_tool('init_data', 'over', '--overwrite', *words)
    assert code == 2 and message in err and err.count('\n') == 1
    assert {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()} == before


def test_shapes_for_replay_are_not_written_into_the_data(run_tool, folder, tmp_path):
    shutil.move('over', tmp_path / 'own' / 'ovshapes')
    words = ['--out', 'own', '--replay', 1, '--overwrite']
    code, _, err = run_tool('init_data', 'own/ovshapes', *words)
    assert code == 2 and 'own/ovshapes is the folder of the data' in err


@pytest.mark.parametrize('split', ['val', 'valid', 'test'])
@pytest.mark.parametrize('words', [[], ['--detector', 'faster-rcnn']])
def test_no_config_without_training_images(run_tool, folder, split, words):
    """It would train on the data of the config that it inherits."""
    (folder / 'train.json').rename(folder / f'{split}.json')
    code, _, err = run_tool('init_data', 'over', '--out', 'own', *words)
    own = 'test' if split == 'test' else 'val'
    assert code == 2 and f'no training image with a box, only 3 of {own}; ' in err
    assert not Path('own').exists()
    code, out, _ = run_tool('init_data', 'over', '--check')
    assert code == 0 and f'{own}  ' in out
    code, _, err = run_tool('init_data', 'over', '--check', '--novel', 'auto')
    assert code == 2 and ('no training image' in err or 'for validation' in err)


def test_no_config_of_training_images_without_boxes(run_tool, folder):
    content = json.loads((folder / 'train.json').read_text('utf-8'))
    (folder / 'val.json').write_text(json.dumps(content))
    content['annotations'] = []
    (folder / 'train.json').write_text(json.dumps(content))
    code, _, err = run_tool('init_data', 'over', '--out', 'own')
    assert code == 2
    assert 'no training image with a box, only 3 of train, 3 of val' in err
