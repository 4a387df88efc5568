"""Files entry by entry equal json.loads, whatever falls on the border of a chunk."""

import json
import random

import numpy as np
import pytest

from fgclip2_det.io import json_stream, json_writing
from fgclip2_det.io.json_stream import stream_json, stream_lines
from fgclip2_det.io.json_writing import json_pieces, write_text_pieces


def read_back(path) -> dict:
    content = {}
    for key, is_entry, value in stream_json(path):
        if is_entry:
            content[key].append(value)
        else:
            content[key] = value
    return content


def some_value(rng: np.random.Generator, depth: int = 0) -> object:
    kind = int(rng.integers(0, 7 if depth < 3 else 5))
    if kind == 5:
        return [some_value(rng, depth + 1) for _ in range(rng.integers(0, 4))]
    if kind == 6:
        keys = ['a', '"', '键', '\\']
        return {k: some_value(rng, depth + 1) for k in keys[: rng.integers(0, 5)]}
    return [int(rng.integers(0, 10**9)), -12.5e-7, None, '中 "\\\n]}', True][kind]


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1 << 20])
def test_equals_json_loads_at_any_chunk(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, '_CHUNK', chunk)
    rng = np.random.default_rng(0)
    path = tmp_path / 'a.json'
    for i in range(20):
        content = {f'k{j}': some_value(rng) for j in range(i % 5)}
        indent = None if i % 2 else 2
        path.write_text(
            json.dumps(content, ensure_ascii=bool(i % 3), indent=indent) + '\n',
            encoding='utf-8',
        )
        assert read_back(path) == content
        assert list(read_back(path)) == list(content)
        copy = tmp_path / 'copy.json'
        write_text_pieces(copy, json_pieces(stream_json(path)))
        assert json.loads(copy.read_text(encoding='utf-8')) == content


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[1]', 'must be a JSON object'),
        ('', 'must be a JSON object'),
        ('{"a": [1, 2', "expected ',' or ']', got the end"),
        ('{"a": [1 2]}', "expected ',' or ']', got '2'"),
        ('{"a": [1,]}', 'Expecting value'),
        ('{"a": 1,}', 'a key must be a string'),
        ('{"a": {"b": }}', 'Expecting value'),
        ('{"a" 1}', "expected ':', got '1'"),
        ('{"a": 1} x', 'there is text after its end'),
        ('{"a": "cut', 'Unterminated string'),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    path = tmp_path / 'broken.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'broken\.json') as caught:
        list(stream_json(path))
    assert message in str(caught.value)


def test_other_encodings_and_missing_files_are_named(tmp_path):
    path = tmp_path / 'latin.json'
    path.write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(ValueError, match=r'latin\.json is not UTF-8'):
        list(stream_json(path))
    path.write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_back(path) == {'a': [1]}
    with pytest.raises(ValueError, match='there is no annotation file'):
        list(stream_json(tmp_path / 'no.json'))


def test_lines_and_their_faults(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text('{"a": 1}\n\n{"b": 2}\n')
    assert list(stream_lines(path)) == [(1, {'a': 1}), (3, {'b': 2})]
    path.write_text('{"a": 1}\n{"b"\n')
    with pytest.raises(ValueError, match='line 2 is not JSON'):
        list(stream_lines(path))
    path.write_text('[1]\n')
    with pytest.raises(ValueError, match='line 1 must be a JSON object'):
        list(stream_lines(path))


@pytest.mark.parametrize('limit', [0, 1 << 20])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, limit
):
    monkeypatch.setattr(json_writing, '_MAX_IN_MEMORY', limit)
    path = tmp_path / 'sub' / 'a.txt'
    write_text_pieces(path, ['旧', 'old'])

    def pieces():
        yield 'new'
        yield 'text'
        raise ValueError('stop')

    with pytest.raises(ValueError, match='stop'):
        write_text_pieces(path, pieces())
    assert path.read_text(encoding='utf-8') == '旧old'
    assert [p.name for p in path.parent.iterdir()] == ['a.txt']


@pytest.mark.parametrize('codec', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_lists_in_blocks(tmp_path, monkeypatch, codec):
    """Cut anywhere by what is read at a time; any encoding that a mark names."""
    entries = [{'名': i, 'b': [1.5e-3, -2]} for i in range(25)]
    path = tmp_path / 'list.json'
    path.write_bytes(f' {json.dumps(entries, ensure_ascii=False)}\n'.encode(codec))
    monkeypatch.setattr(json_stream, '_BLOCK', 10)
    for chunk in (7, 64, 1 << 20):
        monkeypatch.setattr(json_stream, '_CHUNK', chunk)
        blocks = list(json_stream.stream_list(path))
        # each full, with what was read at once beyond
        assert all(10 <= len(block) < 10 + chunk for block in blocks[:-1])
        assert [entry for block in blocks for entry in block] == entries
    path.write_text('[]')
    assert list(json_stream.stream_list(path)) == [[]]


ODD_ENTRIES = [
    {'s': '},{', 'b': [1, {'c': {}}]}, {'d': {'e': 1}, 'f': 2}, 7, '}', ' }, ', [[{}]],
    {}, {'g': [{'h': 1}, {'i': -1.5e-3}], 'j': '\\"},'}, None, {'k': 1e400}, True,
    {'l': float('nan')}, {'名': '}'},
]  # fmt: skip


@pytest.mark.parametrize('chunk', [1, 5, 23, 64, 1 << 20])
def test_many_entries_at_once_are_those_one_by_one(tmp_path, monkeypatch, chunk):
    """Lists of odd entries in random order, whole and cut at every place."""
    monkeypatch.setattr(json_stream, '_CHUNK', chunk)
    generator, path = random.Random(chunk), tmp_path / 'list.json'

    def read() -> tuple[list, str]:
        entries = []
        try:
            for block in json_stream.stream_list(path):
                entries += block
        except ValueError as error:
            return [], str(error)
        return entries, ''

    for _ in range(6):
        entries = generator.choices(ODD_ENTRIES, k=generator.randint(8, 40))
        separator = generator.choice([', ', ',\n', ' ,\t'])
        text = json.dumps(entries, ensure_ascii=False, separators=(separator, ':'))
        for cut in (len(text), *generator.sample(range(2, len(text)), 20)):
            path.write_text(text[:cut], encoding='utf-8')
            at_once = read()
            with monkeypatch.context() as patch:
                patch.setattr(json_stream, '_TRIES', 0)
                assert repr(at_once) == repr(read())
            assert bool(at_once[1]) == (cut < len(text))
            if cut == len(text):
                assert repr(at_once[0]) == repr(json.loads(text))


@pytest.mark.parametrize('mark', ['', '\ufeff'])
@pytest.mark.parametrize('chunk', [1, 3, 64, 1 << 20])
def test_spans_are_the_bytes_of_entries(tmp_path, monkeypatch, mark, chunk):
    """Characters of one to four bytes, white space of every kind between entries."""
    monkeypatch.setattr(json_stream, '_CHUNK', chunk)
    entries = [{'名': 'aé中😀"]'}, 12, -1.5e-3, [], 'ü', {'b': [1, {}]}, None]
    texts = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    data = f'{mark} \n[\t' + ' ,\r\n'.join(texts) + ' ]\n'
    path = tmp_path / 'a.json'
    path.write_bytes(data.encode())
    with open(path, 'rb') as file:
        spans = list(json_stream.stream_spans(file, path))
        assert [entry for _, _, entry in spans] == entries
        for (start, end, _), text in zip(spans, texts, strict=True):
            file.seek(start)
            assert file.read(end - start).decode() == text


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'{"a": 1}', r'a\.json must be a JSON list of records'),
        (b'[1, 2', r"a\.json is not a complete JSON file \(expected ',' or ']'"),
        (b'[1,]', 'Expecting value'),
        (b'[1] 2', 'there is text after its list'),
        (b'["\xe9"]', r'a\.json is not UTF-8 text'),
        ('[1]'.encode('utf-16'), r'a\.json is not UTF-8 text \(utf-16\)'),
    ],
)
def test_lists_without_spans(tmp_path, data, message):
    path = tmp_path / 'a.json'
    path.write_bytes(data)
    with open(path, 'rb') as file, pytest.raises(ValueError, match=message):
        list(json_stream.stream_spans(file, path))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[1, 2', r'list\.json: row 2 \(from 0\) cannot be read .* may be cut off'),
        ('[1 2]', r"row 1 \(from 0\) cannot be read \(expected ',' or ']', got '2'"),
        ('[1, "' + 'a' * 500 + '", 3]', r'row 1 \(from 0\) cannot be read'),
        ('{"a": []}', 'must be a JSON list of results, got'),
        ('[1] 2', 'has text after its list'),
    ],
)
def test_lists_that_are_none(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(json_stream, '_CHUNK', 64)
    monkeypatch.setattr(json_stream, '_MAX_ENTRY', 100)
    (tmp_path / 'list.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        list(json_stream.stream_list(tmp_path / 'list.json'))
