"""docs/limits.md has the code's numbers and formats."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from fgclip2_det.fgclip2.image import RASTER

TEXT = (Path(__file__).resolve().parents[2] / 'docs' / 'limits.md').read_text('utf-8')
ROWS = re.findall(r'\| ([\d,]+) \| `([\w.]+)\.([A-Z_]+)` \|', TEXT)


@pytest.mark.skipif(find_spec('mmdet') is None, reason='needs [mm]')
@pytest.mark.parametrize(('number', 'module', 'name'), ROWS)
def test_number(number, module, name):
    assert f'{getattr(import_module(module), name):,}' == number


def test_every_row_is_compared_and_every_format_listed():
    assert len(ROWS) == len(re.findall(r'^\| .*`\w+\.[\w.]+\.[A-Z_]+` \|$', TEXT, re.M))
    assert len(ROWS) >= 20
    listed = re.search(r'Opened are (.*?) where', ' '.join(TEXT.split()))
    assert set(re.findall(r'[A-Z][A-Z0-9]+', listed[1])) == set(RASTER)
