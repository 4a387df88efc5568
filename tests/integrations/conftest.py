"""Bridges against the packages they plug into, or stand-ins of their interfaces."""

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
BOXES = {'red circle': (30, 40, 110, 120), '蓝色正方形': (180, 60, 260, 140)}


def stand_ins() -> ModuleType:
    return load(Path(__file__).with_name('stand_ins.py'))


def load(path: Path, name: str | None = None) -> ModuleType:
    """A file as a module, as tools load plug-ins."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_options(monkeypatch) -> None:
    """None from outside."""
    for name in [each for each in os.environ if each.startswith('FGCLIP2_')]:
        if not name.startswith(('FGCLIP2_CHECK', 'FGCLIP2_XANY')):
            monkeypatch.delenv(name)


@pytest.fixture
def load_file() -> Callable[..., ModuleType]:
    """:func:`load`, for tests."""
    return load


@pytest.fixture
def bridge(monkeypatch) -> Callable[..., ModuleType]:
    """Function: (file, package, kind) -> the bridge, with the package itself
    ('real'; skips without it) or its stand-in."""

    def get(file: str, package: str, kind: str) -> ModuleType:
        if kind == 'real':
            pytest.importorskip(package, reason=f'needs {package}: .ci/bridges')
        else:
            for name, module in getattr(stand_ins(), kind)().items():
                monkeypatch.setitem(sys.modules, name, module)
        return load(ROOT / 'integrations' / file)

    return get


@pytest.fixture(scope='session')
def shapes(tmp_path_factory) -> Path:
    """Folder with one image, 300 x 200: a red circle and a blue square."""
    image = Image.new('RGB', (300, 200), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse(BOXES['red circle'], fill='red')
    canvas.rectangle(BOXES['蓝色正方形'], fill='blue')
    folder = tmp_path_factory.mktemp('shapes')
    image.save(folder / 'shapes.png')
    return folder


@pytest.fixture(scope='session')
def large(tmp_path_factory) -> Path:
    """600 x 400: the shapes twice as far from each other."""
    image = Image.new('RGB', (600, 400), 'gray')
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((50, 40, 130, 120), fill='red')
    canvas.rectangle((420, 220, 500, 300), fill='blue')
    path = tmp_path_factory.mktemp('large') / 'large.png'
    image.save(path)
    return path


@pytest.fixture
def hosted() -> Iterator[Callable[[Path], str]]:
    """Function: folder -> address at which its files are served."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Silence."""

    servers = []

    def serve(folder: Path) -> str:
        handler = partial(Handler, directory=str(folder))
        server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_port}'

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def near() -> Callable[[tuple, str], bool]:
    """Function: (box xyxy, name) -> whether it is that of the shape, to 12 pixels."""

    def check(box: tuple, name: str) -> bool:
        pairs = zip(box, BOXES[name], strict=True)
        return all(abs(a - b) < 12 for a, b in pairs)

    return check
