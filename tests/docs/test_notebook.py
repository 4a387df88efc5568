"""The notebook runs as it stands and prints what is stored in it."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'notebooks' / 'names_to_boxes.ipynb'
NUMBER = re.compile(r'\d+(\.\d+)?')

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytestmark = pytest.mark.skipif(not NOTEBOOK.is_file(), reason='no notebook here')


def words(text: str) -> str:
    """Without numbers, which differ in the last digit between machines, and spaces."""
    return ''.join(NUMBER.sub('#', text).split())


def test_cells_run_and_print_what_is_stored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert len(code) >= 7
    namespace: dict = {}
    for cell in code:
        source, printed = ''.join(cell['source']), io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, NOTEBOOK.name, 'exec'), namespace)
        stored = [o for o in cell['outputs'] if o['output_type'] == 'stream']
        text = ''.join(''.join(output['text']) for output in stored)
        assert words(printed.getvalue()) == words(text), source
    metrics = namespace['metrics']
    assert metrics['ov-coco/bbox/base_ap50'] > 0.7
    assert metrics['ov-coco/bbox/novel_ap50'] > 0.4


def test_outputs_are_small():
    assert NOTEBOOK.stat().st_size < 200_000
    assert 'image/png' in NOTEBOOK.read_text(encoding='utf-8')
