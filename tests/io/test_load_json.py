"""orjson where it reads what json reads, json where it does not."""

import json
import math
import struct

import numpy as np
import pytest

from fgclip2_det.io import text
from fgclip2_det.io.text import load_json

SAME = [
    '[1, -0, 1.0, -0.0, 1E5, 1.5e-320, 1e-400]',
    '{"a": 1, "a": [true, false, null]}',
    '["\\u0000", "\\ud83d\\ude00", "红色圆形"]',
    ' [ ] ',
    # what orjson alone reads otherwise, or refuses
    '[NaN, Infinity, -Infinity]',
    '[1e999, 1.7976931348623159e308]',
    '["\\ud800"]',
    '[18446744073709551615, 18446744073709551616, -9223372036854775809]',
    '[123456789012345678901234567890, 0.1234567890123456789012345]',
    '{"id": 1234567890123456789012345}',
    '[' * 200 + ']' * 200,
    '[[1, {"a": [2, {}]}, [], [[3]], {"b": {"c": []}}]]',
]


def kinds(value: object) -> object:
    """With the types of all parts."""
    if isinstance(value, list):
        return [kinds(part) for part in value]
    if isinstance(value, dict):
        return {key: kinds(part) for key, part in value.items()}
    return type(value), repr(value)


@pytest.mark.parametrize('content', SAME)
@pytest.mark.parametrize('fast', [True, False])
def test_as_json(monkeypatch, content, fast):
    if not fast:
        monkeypatch.setattr(text, 'orjson', None)
    assert kinds(load_json(content)) == kinds(json.loads(content))


@pytest.mark.parametrize(
    'content', ['', '[1,]', '[01]', '["\x01"]', "['a']", '[1] 2', '{"a" 1}', '[1']
)
def test_faults_are_told_in_the_words_of_json(content):
    with pytest.raises(json.JSONDecodeError) as wanted:
        json.loads(content)
    with pytest.raises(json.JSONDecodeError) as found:
        load_json(content)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize('pair', [('[', ']'), ('{"a":', '}')])
def test_nests_that_json_does_not_read(pair):
    opened, closed = pair
    with pytest.raises(RecursionError):
        load_json(opened * 1015 + '1' + closed * 1015)


def test_numbers_to_the_last_bit():
    """Any float64 in three spellings."""
    bits = np.random.default_rng(0).integers(0, 1 << 64, 5000, np.uint64)
    values = [struct.unpack('d', struct.pack('Q', int(b)))[0] for b in bits]
    values = [value for value in values if math.isfinite(value)]
    for spelling in ('{!r}', '{:.17e}', '{:.25g}'):
        content = '[' + ','.join(spelling.format(value) for value in values) + ']'
        found = load_json(content)
        assert found == json.loads(content)
        assert all(type(value) is float for value in found) or spelling == '{:.25g}'


def test_which_one_reads(monkeypatch):
    """Scores below a thousandth have long fractions, which are no whole numbers."""
    read = []
    real = text.orjson.loads
    monkeypatch.setattr(text, 'orjson', _Counted(real, read))
    load_json('[0.00012345678901234567]')
    assert len(read) == 1
    load_json('[1234567890123456789]')
    assert len(read) == 1


class _Counted:
    def __init__(self, real, read: list) -> None:
        self.real, self.read = real, read

    def loads(self, data: bytes):
        self.read.append(data)
        return self.real(data)
