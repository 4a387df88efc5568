"""``fgclip2-det detect``: images and names in, drawn boxes and a JSON file out."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer, cli
from fgclip2_det.apis import detection_report
from fgclip2_det.apis.detection_table import detection_table
from fgclip2_det.cli import detect as command

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red circle; 蓝色正方形'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Three images with a red circle each; in the last a blue square as well."""
    folder = tmp_path_factory.mktemp('images')
    for i in range(3):
        image = Image.new('RGB', (256, 256), 'gray')
        canvas = ImageDraw.Draw(image)
        canvas.ellipse((60, 80 + 9 * i, 140, 160 + 9 * i), fill='red')
        if i == 2:
            canvas.rectangle((160, 20, 220, 80), fill='blue')
        image.save(folder / f'{i}.png')
    return folder


@pytest.fixture(autouse=True)
def one_model(monkeypatch):
    """Loaded once: a test takes its share of half a second."""
    known = {}

    def build(args):
        key = args.detector, args.weights
        if key not in known:
            known[key] = own(args)
        return known[key]

    own = command.build
    monkeypatch.setattr(command, 'build', build)


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(['detect', *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def read(out: Path) -> dict:
    return json.loads((out / 'detections.json').read_text('utf-8'))


def test_pictures_boxes_and_table(folder, tmp_path, capsys):
    code, out, err = run(
        capsys, folder, '--names', NAMES, '--out', tmp_path, '--batch-size', 2
    )
    assert code == 0, err
    assert 'knows coloured shapes only' in out and command.PHOTOGRAPHS in out
    content = read(tmp_path)
    assert content['complete'] and content['unread'] == {}
    assert content['classes'] == ['red circle', '蓝色正方形']
    expected = OpenVocabInferencer()(str(folder), NAMES, 0.3)
    for row, found in zip(content['images'], expected, strict=True):
        assert row['image'] == found.image and (row['width'], row['height']) == (
            256,
            256,
        )
        assert [d['name'] for d in row['detections']] == found.names
        np.testing.assert_allclose(
            [d['bbox'] for d in row['detections']], found.bboxes, atol=1e-3
        )
        drawn = np.asarray(Image.open(row['picture']))
        assert np.array_equal(drawn, found.plot())
    lines = out.splitlines()
    last = [line for line in lines if '蓝色正方形' in line]
    assert len(last) == 1 and last[0].split()[0] == '蓝色正方形'  # its image is above
    assert sum('red circle' in line for line in lines) == 3
    assert lines[-1] == f'boxes: {tmp_path / "detections.json"}'
    assert '3/3' in err or 'image' not in err  # a bar on a terminal alone


def test_slices(folder, tmp_path, capsys):
    """Those of an image that fits are one; smaller ones find the same circle."""
    words = folder / '0.png', '--names', NAMES, '--out'
    boxes = []
    for number, more in enumerate(
        [[], ['--slices', '--slice-whole'], ['--slices', 200, '--slice-overlap', 0.5]]
    ):
        code, _, err = run(capsys, *words, tmp_path / str(number), *more)
        assert code == 0, err
        (row,) = read(tmp_path / str(number))['images'][0]['detections']
        boxes.append(row['bbox'])
    assert boxes[0] == boxes[1] != boxes[2]
    np.testing.assert_allclose(boxes[0], boxes[2], atol=8)
    code, _, err = run(capsys, '--slices', folder / '0.png', '--names', NAMES)
    assert code == 2 and 'put images before --slices' in err


def test_unreadable_pictures(folder, tmp_path, capsys):
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(b'no image')
    words = '--names', NAMES, '--out', tmp_path / 'out'
    code, out, err = run(capsys, folder / '0.png', bad, tmp_path / 'none.png', *words)
    assert code == 1 and err.startswith('error: 2 of 3 images cannot be read')
    assert str(bad) in err and 'none.png' in err and 'red circle' in out
    content = read(tmp_path / 'out')
    assert len(content['images']) == 1 and next(iter(content['unread'])) == str(bad)
    assert content['complete']
    code, _, err = run(capsys, bad, *words)  # earlier results stay
    assert code == 2 and '1 of 1 images' in err
    assert read(tmp_path / 'out') == content


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--score-thr', '2'], 'expected a number from 0 to 1, got 2'),
        (['--batch-size', '0'], 'expected 1 or more, got 0'),
        (['--dtype', 'int4'], "invalid choice: 'int4'"),
        (['--names', ' ; '], 'error: --names: expected names'),
        (['--names', 'absent.txt'], 'error: --names: there is no file absent.txt'),
        (['--out', __file__], 'is a file; name a folder'),
    ],
)
def test_usage(folder, capsys, words, message):
    code, _, err = run(capsys, folder, '--names', 'star', *words)
    assert code == 2 and message in err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--encoder', 'x'], 'belong to a detector that is wrapped'),
        (['--detector', 'rows.json'], 'need ann_file=FILE (--ann)'),
        (['--weights', 'absent.pth'], 'there is no checkpoint absent.pth'),
        (['https://example.org/a.png'], 'is a URL'),
        (['clip.mp4'], 'is a video'),
    ],
)
def test_errors_are_one_sentence(folder, capsys, tmp_path, words, message):
    code, _, err = run(capsys, folder, *words, '--names', 'star', '--out', tmp_path)
    assert code == 2 and err.startswith('error: ') and message in err
    assert err.count('\n') == 1 and not list(tmp_path.iterdir())


def test_interrupted(folder, tmp_path, capsys, monkeypatch):
    """What was done is there, and named."""
    add = detection_report.DetectionReport.add

    def stop_at_third(self, outcome):
        if len(self.images) == 2:
            raise KeyboardInterrupt
        add(self, outcome)

    monkeypatch.setattr(detection_report.DetectionReport, 'add', stop_at_third)
    code, _, err = run(capsys, folder, '--names', NAMES, '--out', tmp_path)
    assert code == 130
    assert f'interrupted: 2 of 3 images are done, see {tmp_path}' in err
    content = read(tmp_path)
    assert not content['complete'] and len(content['images']) == 2
    assert sorted(p.name for p in tmp_path.glob('*.png')) == ['0.png', '1.png']

    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'build', stop)
    code, _, err = run(capsys, folder, '--names', NAMES, '--out', tmp_path)
    assert code == 130 and 'interrupted before the first image' in err
    assert read(tmp_path) == content


def test_full_disk(folder, tmp_path, capsys, monkeypatch):
    save = detection_report.save_image

    def full(path, image):
        if path.name == '1.png':
            raise OSError(errno.ENOSPC, 'No space left on device')
        save(path, image)

    monkeypatch.setattr(detection_report, 'save_image', full)
    code, _, err = run(capsys, folder, '--names', NAMES, '--out', tmp_path)
    assert code == 2 and 'No space left on device' in err
    assert '1 of 3 images are done, see' in err and len(read(tmp_path)['images']) == 1


def test_the_file_is_there_before_the_end(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detection_report, 'INTERVAL', 0.0)
    states = []
    save = detection_report.DetectionReport._save

    def watched(self, complete):
        save(self, complete)
        content = read(tmp_path)
        states.append((len(content['images']), content['complete']))

    monkeypatch.setattr(detection_report.DetectionReport, '_save', watched)
    assert run(capsys, folder, '--names', NAMES, '--out', tmp_path)[0] == 0
    assert states == [(1, False), (2, False), (3, False), (3, True)]


def test_names_of_a_file_with_aliases(folder, tmp_path, capsys):
    (tmp_path / 'names.txt').write_text('# shapes\nred circle|红色圆形\n', 'utf-8')
    out = tmp_path / 'out'
    words = folder / '0.png', '--names', tmp_path / 'names.txt', '--out', out
    assert run(capsys, *words)[0] == 0
    assert read(out)['classes'] == ['red circle']


def test_default_names_are_those_of_the_training(folder, tmp_path, capsys):
    assert run(capsys, folder / '0.png', '--out', tmp_path)[0] == 0
    assert 'red square' in read(tmp_path)['classes']


def test_table_of_many_pictures():
    box = dict(name='白色杯子', score=0.5, bbox=[1.0, 2.0, 3.0, 4.4])
    other = dict(name='cup', score=0.25, bbox=[0.0, 0.0, 9.5, 9.0])
    images = [dict(image=f'{i}.png', detections=[box, box]) for i in range(29)]
    images += [dict(image='x.png', detections=[other]), dict(image='y', detections=[])]
    assert list(detection_table(images)) == [
        'name      images  boxes  best',
        '白色杯子  29      58     0.50',
        'cup       1       1      0.25',
        'nothing   1',
    ]
    assert list(detection_table(images[-3:])) == [
        'image   name      score  x1 y1 x2 y2',
        '28.png  白色杯子  0.50   1 2 3 4',
        '        白色杯子  0.50   1 2 3 4',
        'x.png   cup       0.25   0 0 10 9',
        'y       nothing',
    ]
    many = [dict(image='a', detections=[other] * 13)]
    assert list(detection_table(many))[-1] == '       and 3 more'


@pytest.mark.slow
def test_whole_process(folder, tmp_path):
    """From another folder, as it is typed."""
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/detect.py', folder / '2.png', '--names', NAMES,
         '--out', 'found'],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {d['name'] for d in read(tmp_path / 'found')['images'][0]['detections']} == {
        'red circle', '蓝色正方形'
    }  # fmt: skip
