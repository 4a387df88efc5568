"""What ``fgclip2-det detect`` writes never replaces what it reads, nor itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.apis.output_files import keep_inputs
from fgclip2_det.cli import detect as command

NAMES = 'red circle; 蓝色正方形'


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(autouse=True)
def one_model(monkeypatch, inferencer):
    monkeypatch.setattr(command, 'build', lambda args: inferencer)


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(['detect', *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def draw(path: Path, color: str = 'red', left: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new('RGB', (256, 256), 'gray')
    ImageDraw.Draw(image).ellipse((left, 80, left + 80, 160), fill=color)
    image.save(path)
    return path


@pytest.mark.parametrize('given', ['folder', 'png', 'explained'])
def test_inputs_are_never_written_over(tmp_path, capsys, given):
    same = tmp_path / 'same'
    files = [draw(same / 'a.jpg'), draw(same / 'a.png', 'blue')]
    files.append(draw(same / 'explained' / 'a-1.png'))
    before = [file.read_bytes() for file in files]
    images = {'folder': [same], 'png': [same / 'a.png']}.get(given)
    images = images or [same / 'a.jpg', files[2]]
    more = ['--explain', 2] if given == 'explained' else []
    code, _, err = run(capsys, *images, '--names', NAMES, '--out', same, *more)
    name = files[2 if given == 'explained' else 1]
    assert code == 2 and err == (
        f'error: {name} would be written over, and it is an input; name another '
        'folder for the results\n'
    )
    assert [file.read_bytes() for file in files] == before
    assert not (same / 'detections.json').exists()


def test_the_folder_of_other_images_is_fine(tmp_path, capsys):
    """a.png is drawn beside a.jpg, and is an input the next time."""
    draw(tmp_path / 'a.jpg')
    words = tmp_path, '--names', NAMES, '--out', tmp_path
    assert run(capsys, *words)[0] == 0 and (tmp_path / 'a.png').exists()
    assert run(capsys, *words)[0] == 2


def test_images_that_show_a_class_stay(tmp_path, capsys):
    desk = draw(tmp_path / 'out' / 'desk.png')
    street = draw(tmp_path / 'desk.jpg', left=100)
    before = desk.read_bytes()
    words = '--like', f'{desk}:60,80,140,160=mine', '--out', desk.parent
    code, _, err = run(capsys, street, *words)
    assert code == 2 and f'{desk} would be written over' in err
    assert desk.read_bytes() == before


def test_in_python_and_the_demo(tmp_path, inferencer):
    drawn = draw(tmp_path / 'vis' / 'a.png')
    with pytest.raises(ValueError, match=r'a\.png would be written over'):
        inferencer(drawn, NAMES, out_dir=tmp_path)
    files = inferencer(drawn, NAMES, out_dir=tmp_path, no_save_vis=True,
                       no_save_pred=False).files  # fmt: skip
    assert [Path(file).name for file in files] == ['a.json']
    other, earlier = draw(tmp_path / 'a.jpg'), draw(tmp_path / '000_a.png')
    with pytest.raises(SystemExit) as stop:
        cli.run('image_demo', [str(other), str(earlier), '--texts', NAMES,
                               '--out-dir', str(tmp_path)])  # fmt: skip
    assert stop.value.code == 2


def test_links_are_their_files(tmp_path):
    """A source linked to the name of its result."""
    target, link = tmp_path / 'a-boxes.mp4', tmp_path / 'a.mp4'
    target.write_bytes(b'video')
    link.symlink_to(target)
    with pytest.raises(ValueError, match=r'a-boxes\.mp4 would be written over'):
        keep_inputs([target], [None, 'absent', link])
    keep_inputs([target, tmp_path / 'absent'], [tmp_path / 'absent'])


def test_explanations_of_images_of_one_stem(tmp_path, capsys):
    images = [draw(tmp_path / 'x' / 'a.png'), draw(tmp_path / 'y' / 'a.png', left=120)]
    out = tmp_path / 'out'
    code, _, err = run(
        capsys, *images, '--names', NAMES, '--out', out, '--explain', 1
    )  # fmt: skip
    assert code == 0, err
    rows = json.loads((out / 'detections.json').read_text('utf-8'))['images']
    for row in rows:
        stem = Path(row['picture']).stem
        text = (out / 'explained' / f'{stem}-1.json').read_text('utf-8')
        np.testing.assert_allclose(
            json.loads(text)['bbox'], row['detections'][0]['bbox'], atol=1e-3
        )
    assert [Path(row['picture']).name for row in rows] == ['a.png', 'a_2.png']
