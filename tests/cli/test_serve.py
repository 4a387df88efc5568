"""``fgclip2-det serve``: options become limits, mistakes become sentences."""

import socket
import sys

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('starlette', reason='needs the extra web: pip install -e .[web]')

from fgclip2_det import cli
from fgclip2_det.web import server
from fgclip2_det.web.limits import Limits


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = 0
    try:
        cli.main(['serve', *map(str, words)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_options(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(server, 'serve', lambda *args: seen.append(args))
    code, out, _ = run(capsys, '--port', 0)
    assert code == 0 and 'open http://127.0.0.1:' in out and 'no password' not in out
    service, listener, hosts, about = seen.pop()
    assert service.limits == Limits()
    assert service.inferencer.cache_size == service.limits.kept
    assert hosts == {'127.0.0.1', 'localhost', '::1'}
    assert about == {'system': 'embedded', 'shapes_only': True}
    words = ['--max-upload', 5, '--max-pixels', 2, '--max-images', 3, '--max-names', 4]
    words += ['--queue', 6, '--max-waiting', 7, '--keep', 9, '--allow-host', 'Box']
    code, out, _ = run(capsys, '--port', 0, '--host', '0.0.0.0', *words)
    assert code == 0 and 'no password' in out
    service, listener, hosts, about = seen.pop()
    assert service.limits == Limits(5 << 20, 2_000_000, 3, 4, 6, 7 << 20, 9)
    assert 'Box' in hosts and listener.fileno() == -1  # closed


def test_ctrl_c_and_mistakes(capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(server, 'serve', stopped)
    assert run(capsys, '--port', 0)[::2] == (130, 'interrupted\n')
    with socket.create_server(('127.0.0.1', 0)) as taken:
        code, _, err = run(capsys, '--port', taken.getsockname()[1])
    assert code and err.startswith('error: port') and err.count('\n') == 1
    code, _, err = run(capsys, '--max-upload', 300)
    assert code and 'allow more uploads' in err
    assert run(capsys, '--port', 70000)[0] == 2
    code, _, err = run(capsys, '--port', 0, '--weights', 'missing.pth')
    assert code and 'missing.pth' in err and err.count('\n') == 1


def test_without_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'uvicorn', None)
    monkeypatch.delitem(sys.modules, 'fgclip2_det.web.server')
    code, _, err = run(capsys)
    assert code and "pip install 'fgclip2_det[web]'" in err
