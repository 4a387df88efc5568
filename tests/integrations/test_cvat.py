"""The auto-annotation function, run by cvat-cli over HTTP."""

import threading
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

pytest.importorskip('cvat_cli', reason='pip install cvat-cli (Python 3.11 or newer)')

from cvat_cli.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
FILE = 'cvat_function.py'


def test_task_is_annotated(shapes, tmp_path, near, load_file, monkeypatch):
    """Labels are met by name; scores are kept; the threshold is the command's."""
    second = tmp_path / 'second.png'
    second.write_bytes((shapes / 'shapes.png').read_bytes())
    module = load_file(Path(__file__).with_name('cvat_server.py'))
    images = [shapes / 'shapes.png', second]
    server = module.Server(images, ['蓝色正方形', 'red circle'])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        'CVAT_ACCESS_TOKEN': 'token', 'HOME': str(tmp_path), 'FGCLIP2_NAMES': 'cup',
        'XDG_CACHE_HOME': str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    code = main([
        '--server-host', server.url, 'task', 'auto-annotate', '1',
        '--function-file', str(ROOT / 'integrations' / FILE), '--conf-threshold', '0.4',
        '-p', 'names=str:red circle|红色圆形; 蓝色正方形',
    ])  # fmt: skip
    server.shutdown()
    server.server_close()
    assert code == 0
    (upload,) = server.uploads
    rows = [(s['frame'], s['label_id'], s['source']) for s in upload['shapes']]
    assert rows == [(f, i, 'auto') for f in (0, 1) for i in (71, 70)]
    first = upload['shapes'][0]
    assert near(first['points'], 'red circle')
    assert 0.4 <= first['score'] <= 1


def test_labels_and_errors(bridge):
    module = bridge(FILE, 'cvat_sdk', 'real')
    function = module.create(names='red circle|红色圆形; 蓝色正方形')
    labels = [(each.id, each.name, each.type) for each in function.spec.labels]
    assert labels == [(0, 'red circle', 'rectangle'), (1, '蓝色正方形', 'rectangle')]
    with pytest.raises(ValueError, match="unknown option 'name'"):
        module.create(name='cup')
