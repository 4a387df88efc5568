"""What the inferencer is given, and where its results go."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.apis import Detections
from fgclip2_det.apis.inputs import find_inputs

NAMES = 'red circle; 蓝色正方形'


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


def shapes(shift: int = 0) -> Image.Image:
    image = Image.new('RGB', (256, 256), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80 + shift, 140, 160 + shift), fill='red')
    return image


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """b.png, a.jpg and sub/a.png; a text file; an image that cannot be read."""
    folder = tmp_path_factory.mktemp('images')
    (folder / 'sub').mkdir()
    shapes().save(folder / 'b.png')
    shapes(9).save(folder / 'a.jpg', quality=95)
    shapes(30).save(folder / 'sub' / 'a.png')
    (folder / 'notes.txt').write_text('no image')
    (folder / 'bad').mkdir()
    (folder / 'bad' / 'cut.jpg').write_bytes((folder / 'a.jpg').read_bytes()[:900])
    return folder


def names_of(inputs, **options) -> list[str]:
    return [picture.name for picture in find_inputs(inputs, **options)]


def test_files_folders_and_patterns(folder):
    a, b, sub = folder / 'a.jpg', folder / 'b.png', folder / 'sub/a.png'
    assert names_of(folder) == [str(a), str(b)]
    assert names_of(str(folder / '*.png')) == [str(b)]
    assert names_of(str(folder / '**' / 'a.*')) == [str(a), str(sub)]
    assert names_of([str(b), folder, shapes()]) == [str(b), str(a), str(b), 'image 3']
    (picture,) = find_inputs(str(sub))
    assert picture.path == str(sub) and picture.stem == 'a'
    odd = folder / 'sub' / 'odd [1].png'  # a name that is a pattern, too
    shapes().save(odd)
    assert names_of(odd) == [str(odd)]
    odd.unlink()


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ([], 'got an empty list'),
        (0, '0 would be a camera; give it to'),
        ('clip.MP4', r'clip\.MP4 is a video; give it to --video'),
        ('https://example.org/a.jpg', r'is a URL.*allow_urls=True \(--allow-urls\)'),
        ('none/*.jpg', r'no file fits the pattern none/\*\.jpg'),
        ({'img': 1}, 'an array or a tensor, got dict'),
    ],
)
def test_other_inputs(inferencer, inputs, words):
    with pytest.raises(ValueError, match=words):
        inferencer(inputs, NAMES)


def test_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match='contains no images; give a pattern like'):
        find_inputs(tmp_path)


@pytest.fixture
def server():
    """URL of a server that has shapes.png alone."""
    data = io.BytesIO()
    shapes().save(data, format='PNG')

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == '/some%20shapes.png'
            body = data.getvalue() if found else b'nothing'
            self.send_response(200 if found or self.path == '/text' else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = HTTPServer(('127.0.0.1', 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_urls(inferencer, server, tmp_path, monkeypatch):
    monkeypatch.setattr('fgclip2_det.apis.inputs.TIMEOUT', 1800)
    url = f'{server}/some%20shapes.png'
    results = inferencer(url, NAMES, allow_urls=True, out_dir=tmp_path, score_thr=0.3)
    assert results[0].names == ['red circle']
    assert results.files == [str(tmp_path / 'vis' / 'some_shapes.png')]
    with pytest.raises(ValueError, match=r'absent\.png cannot be fetched .*404'):
        inferencer(f'{server}/absent.png', NAMES, allow_urls=True)
    with pytest.raises(ValueError, match=r'/text: .* its format is not known'):
        inferencer(f'{server}/text', NAMES, allow_urls=True)


def test_unreadable_among_good_ones(inferencer, folder):
    bad, absent = folder / 'bad' / 'cut.jpg', folder / 'absent.jpg'
    array = np.zeros((4, 4, 7), np.uint8)
    with pytest.warns(UserWarning, match=r'3 of 5 images.*cut\.jpg.*also .*absent'):
        results = inferencer(
            [folder / 'b.png', bad, absent, array, folder / 'a.jpg'],
            NAMES, batch_size=2, score_thr=0.3,
        )  # fmt: skip
    assert [found.image for found in results] == [
        str(folder / 'b.png'), str(folder / 'a.jpg')
    ]  # fmt: skip
    assert [found.names for found in results] == [['red circle']] * 2
    assert list(results.unread) == [str(bad), str(absent), 'image 4']
    assert 'must be (h, w, 3)' in results.unread['image 4']
    with pytest.raises(ValueError, match=r'none of 2 images can be read: .*cut\.jpg'):
        inferencer([bad, absent], NAMES)


def test_results_as_detinferencer_writes_them(inferencer, folder, tmp_path, capsys):
    """vis/ and preds/; two images of one name; boxes from 0.3 on are drawn."""
    inputs = [folder / 'a.jpg', folder / 'sub' / 'a.png', shapes()]
    results = inferencer(
        inputs, NAMES, out_dir=tmp_path, no_save_pred=False, return_vis=True,
        return_datasamples=True, print_result=True,
    )  # fmt: skip
    names = ['a', 'a_2', 'image_3']
    assert sorted(p.stem for p in (tmp_path / 'vis').iterdir()) == names
    assert len(results.files) == 6
    for name, found, drawn in zip(names, results, results.visualization, strict=True):
        text = (tmp_path / 'preds' / f'{name}.json').read_text('utf-8')
        read = Detections.from_json(text)
        assert torch.equal(read.bboxes, found.bboxes) and read.image == found.image
        assert json.loads(text).keys() >= {'labels', 'scores', 'bboxes'}
        assert drawn.shape == (256, 256, 3) and drawn.dtype == np.uint8
        saved = np.asarray(Image.open(tmp_path / 'vis' / f'{name}.png'))
        assert np.array_equal(saved, drawn)
    expected = results[2].plot(shapes(), score_thr=0.3)
    assert np.array_equal(results.visualization[2], expected)
    assert len(results.data_samples) == 3
    assert capsys.readouterr().out.count('"red circle"') >= 3
    plain = inferencer(shapes(), NAMES, return_vis=True, draw_pred=False)
    assert np.array_equal(plain.visualization[0], shapes())


def test_nothing_is_written_unasked(inferencer, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda image: shown.append(image.size))
    results = inferencer(folder / 'b.png', NAMES, show=True)
    assert shown == [(256, 256)] and results.files == []
    assert results.visualization == [] and list(tmp_path.iterdir()) == []
    inferencer(folder / 'b.png', NAMES, out_dir='out', no_save_vis=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match='file is a file; name a folder'):
        inferencer(folder / 'b.png', NAMES, out_dir='file')
    with pytest.raises(ValueError, match='batch_size must be at least 1, got 0'):
        inferencer(folder / 'b.png', NAMES, batch_size=0)


def test_stream_yields_one_picture_after_the_other(inferencer, folder):
    seen = []
    inputs = [folder / 'b.png', folder / 'bad/cut.jpg', folder / 'a.jpg']
    for outcome in inferencer.stream(inputs, NAMES, 0.3):
        seen.append((outcome.given.stem, bool(outcome.error)))
        assert (outcome.detections is None) == bool(outcome.error)
    assert seen == [('b', False), ('cut', True), ('a', False)]
