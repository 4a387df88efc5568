"""JSON nested by a hundred thousand levels is a sentence in every reader."""

import json
import re

import pytest

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.evaluation.comparison import read_result
from fgclip2_det.evaluation.few_names.asks_file import read_asks
from fgclip2_det.fgclip2.checkpoint import read_config
from fgclip2_det.io.json_stream import stream_json, stream_lines, stream_list, value_at
from fgclip2_det.io.json_writing import dumps
from fgclip2_det.io.text import decode_json, parse_json, read_json
from fgclip2_det.prepare.odvg_to_coco import odvg_to_coco

DEEP = '[' * 100_000
DIGITS = '1' * 100_000  # Python converts 4,300


def _odvg(path):
    (path.parent / 'a.jsonl').write_text('{}\n')
    odvg_to_coco(path.parent / 'a.jsonl', path, path.parent / 'out.json')


READERS = {
    'read_json': read_json,
    'decode_json': lambda path: decode_json(path.read_bytes(), path),
    'stream_json': lambda path: list(stream_json(path)),
    'stream_list': lambda path: list(stream_list(path)),
    'stream_lines': lambda path: list(stream_lines(path)),
    'value_at': lambda path: value_at(path, 0),
    'FG-OVD': lambda path: list(read_fgovd_lines(path)),
    'asks': lambda path: read_asks(path, path),
    'metrics': read_result,
    'config': lambda path: read_config(path.parent),
    'label map': _odvg,
}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('start', ['', '[', '{"a": ', '{"images": [{"id": '])
@pytest.mark.parametrize('value', [DEEP, DIGITS], ids=['deep', 'digits'])
def test_every_reader_names_the_file(reader, start, value, tmp_path):
    path = tmp_path / 'config.json'
    path.write_text(start + value)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        READERS[reader](path)
    assert len(str(caught.value)) < 500


def test_what_cannot_be_parsed_cannot_be_written():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match='nested too deeply'):
        dumps(value)
    while value:  # freed level by level: the interpreter's own way is recursive
        value = value.pop()


def test_nesting_in_use_is_read():
    text = '[' * 300 + ']' * 300
    assert json.dumps(parse_json(text)) == text
