"""The model of X-AnyLabeling-Server, and X-AnyLabeling itself as its client.

The server is not in the package registry: ``FGCLIP2_XANYLABELING_SERVER`` names a
checkout. X-AnyLabeling is ``x-anylabeling-cvhub`` there.
"""

import base64
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import cv2
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / 'integrations'
CONFIG = yaml.safe_load((FILES / 'fgclip2_det.yaml').read_text(encoding='ascii'))
CHECKOUT = os.environ.get('FGCLIP2_XANYLABELING_SERVER')


def of_checkout(folder: Path, monkeypatch):
    """The model as the server's own registry loads it, from a copy of a checkout."""
    if not CHECKOUT:
        pytest.skip('FGCLIP2_XANYLABELING_SERVER names no checkout of the server')
    for name in ('app', 'configs'):
        shutil.copytree(Path(CHECKOUT) / name, folder / name)
    shutil.copy(FILES / 'xanylabeling_model.py', folder / 'app/models/fgclip2_model.py')
    shutil.copy(FILES / 'fgclip2_det.yaml', folder / 'configs/auto_labeling')
    (folder / 'configs/models.yaml').write_text('enabled_models: [fgclip2_det]\n')
    monkeypatch.syspath_prepend(folder)
    from app.core.registry import ModelRegistry

    registry = ModelRegistry(folder / 'configs')
    registry.load_all_models()
    return registry.get_model('fgclip2_det')


@pytest.fixture(params=['x_anylabeling_server', 'real'])
def model(request, bridge, tmp_path, monkeypatch) -> Iterator:
    if request.param == 'real':
        model = of_checkout(tmp_path, monkeypatch)
    else:
        module = bridge('xanylabeling_model.py', '', request.param)
        model = module.FGCLIP2Detector(CONFIG)
        model.load()
    yield model
    model.unload()
    for name in [n for n in sys.modules if n.split('.')[0] == 'app']:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def image(shapes) -> np.ndarray:
    """(200, 300, 3) BGR."""
    return cv2.imread(str(shapes / 'shapes.png'))


def test_a_typed_prompt(model, image, near):
    answer = model.predict(image, {'text_prompt': 'red circle，蓝色正方形'})
    first, second = answer['shapes']
    assert (first.label, second.label) == ('red circle', '蓝色正方形')
    assert first.shape_type == 'rectangle' and len(first.points) == 4
    assert near((*first.points[0], *first.points[2]), 'red circle')
    one = {'text_prompt': 'red circle.蓝色正方形', 'conf_threshold': first.score - 0.01}
    assert [s.label for s in model.predict(image, one)['shapes']] == ['red circle']
    own = {'text_prompt': 'red circle.蓝色正方形', 'filter_classes': ['蓝色正方形']}
    assert [s.label for s in model.predict(image, own)['shapes']] == ['蓝色正方形']
    with pytest.raises(ValueError, match='expected names'):
        model.predict(image, {'text_prompt': '，'})


def test_a_drawn_box_and_no_prompt(model, image, near):
    mark = {'type': 'rectangle', 'data': [260, 140, 180, 60], 'label': 1}
    point = {'type': 'point', 'data': [3, 4], 'label': 1}
    answer = model.predict(image, {'marks': [mark, point], 'conf_threshold': 0.15})
    (best, *_) = answer['shapes']
    assert best.label == 'object'
    assert near((*best.points[0], *best.points[2]), '蓝色正方形')
    names = {shape.label for shape in model.predict(image, {'marks': []})['shapes']}
    assert len(names) > 1 and 'object' not in names  # those of the training


def test_widgets_are_what_the_server_accepts(model):
    metadata = model.get_metadata()
    assert metadata['batch_processing_mode'] == 'text_prompt'
    names = [each['name'] for each in metadata['widgets']]
    assert {'edit_text', 'button_send'} <= set(names)


@pytest.fixture
def server(model) -> Iterator[str]:
    """Address of /v1/models and /v1/predict, as the server's API page has them."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence."""

        def do_GET(self) -> None:
            self.answer({'fgclip2_det': model.get_metadata()})

        def do_POST(self) -> None:
            length = int(self.headers['Content-Length'])
            request = json.loads(self.rfile.read(length))
            assert request['model'] == 'fgclip2_det'
            content = base64.b64decode(request['image'].partition(',')[2])
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            answer = model.predict(pixels, request['params'])
            shapes = [shape.model_dump() for shape in answer['shapes']]
            self.answer({**answer, 'shapes': shapes})

        def answer(self, data: dict) -> None:
            body = json.dumps({'success': True, 'data': data}).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    own = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=own.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{own.server_port}'
    own.shutdown()
    own.server_close()


def test_x_anylabeling_is_a_client(server, shapes, near, monkeypatch, tmp_path):
    """Its own remote model asks over HTTP and gets shapes to draw."""
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    monkeypatch.setenv('HOME', str(tmp_path))
    pytest.importorskip('anylabeling', reason='needs x-anylabeling-cvhub: .ci/bridges')
    from anylabeling.services.auto_labeling.remote_server import RemoteServer
    from PyQt6.QtGui import QImage
    from PyQt6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication(['test'])
    settings = tmp_path / 'xanylabelingrc'
    settings.write_text(f'remote_server_settings: {{server_url: "{server}"}}\n')
    monkeypatch.setattr('anylabeling.config.current_config_file', str(settings))
    errors: list[str] = []
    config = {'type': 'remote_server', 'display_name': 'Remote'}
    client = RemoteServer(config, errors.append)
    assert list(client.get_available_models()) == ['fgclip2_det']
    client.set_model_id('fgclip2_det')
    assert client.get_batch_processing_mode() == 'text_prompt'
    client.set_auto_labeling_conf(0.4)
    path = str(shapes / 'shapes.png')
    result = client.predict_shapes(QImage(path), path, text_prompt='蓝色正方形.')
    assert not errors
    (shape,) = result.shapes
    assert shape.label == '蓝色正方形'
    corners = [(point.x(), point.y()) for point in shape.points]
    assert near((*corners[0], *corners[2]), '蓝色正方形')
    application.quit()
