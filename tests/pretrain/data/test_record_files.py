"""Record files are indexed, not kept, and their errors name file and record."""

import json
import os
import pickle

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import read_records

UNICODE = {'f_path': 'ü.jpg', 'short_caption': 'Ünï 😀 "is_cn" \\', 'caption': '白'}


def test_both_forms_read_back_exactly(tmp_path, record, write):
    """Offsets are in bytes, texts in characters of one to four bytes."""
    records = [record(0), UNICODE, record(1, 'zh'), {}, UNICODE | {'is_cn': 0}]
    for name in ('a.json', 'a.jsonl'):
        store = read_records(write(tmp_path / name, records))
        assert list(store) == records and store[-1] == records[-1]
        expected = ['en', 'en', 'zh', 'en', 'en']
        assert store.languages.tolist() == expected
        assert [store.language(i) for i in range(5)] == expected
        assert store.name(2) == f'{tmp_path / name}, record 2'
        assert list(pickle.loads(pickle.dumps(store))) == records
    with pytest.raises(IndexError):
        store[5]


@pytest.mark.parametrize(
    ('value', 'language'), [(True, 'zh'), ('', 'zh'), (1, 'zh'), (False, 'en')]
)
def test_the_key_makes_a_record_chinese(tmp_path, write, value, language):
    for name in ('a.json', 'a.jsonl'):
        store = read_records(write(tmp_path / name, [{'is_cn': value}]))
        assert store.languages.tolist() == [language]


def test_whitespace_byte_order_mark_and_blank_lines(tmp_path):
    listed, lines = tmp_path / 'a.json', tmp_path / 'b.jsonl'
    listed.write_bytes('\ufeff \n[ {"a": "é"} ,\r\n\t{"a": 2}\n] \n'.encode())
    lines.write_bytes('\ufeff{"a": "é"}\r\n\n  \n{"a": 2}'.encode())
    for path in (listed, lines):
        assert list(read_records(path)) == [{'a': 'é'}, {'a': 2}]


def test_lists_folders_and_several_paths(tmp_path, record, write):
    """A .txt is relative to itself; order is as given, and by name in a folder."""
    sub = tmp_path / 'sub 目录'
    write(sub / 'b.json', [record(2)])
    write(sub / 'a.jsonl', [record(0), record(1)])
    (sub / 'notes.md').write_text('not a record')
    write(tmp_path / 'c.json', [record(3), record(4)])
    write(tmp_path / 'empty.json', [])
    (tmp_path / 'list.txt').write_text(
        '# comment\n\nsub 目录\n  c.json \nempty.json\nsub 目录/b.json\n', 'utf-8'
    )
    store = read_records([tmp_path / 'list.txt', str(tmp_path / 'c.json')])
    numbers = [int(r['f_path'].split('/')[1][:-4]) for r in store]
    assert numbers == [0, 1, 2, 3, 4, 2, 3, 4]
    assert [store.source(i) for i in range(8)] == [0] * 6 + [1] * 2
    assert store.name(2) == f'{sub / "b.json"}, record 0'


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.json', '{"a": 1}', r'a.json must be a JSON list of records'),
        ('a.json', '', r'a.json must be a JSON list of records'),
        ('a.json', '[{"a": 1}, {"b"]', r'a.json, record 1 is not valid JSON'),
        ('a.json', '[{"a": 1}, ', r'a.json, record 1 is not valid JSON'),
        ('a.json', '[{"a": 1}', r'record 1 is not valid JSON'),
        ('a.json', '[{"a": 1} {"b": 2}]', r'record 1 is not valid JSON'),
        ('a.json', '[{"a": 1}] more', r'record 1 is not valid JSON'),
        ('a.json', '[]', r'there are no records in .*a.json'),
        ('a.jsonl', '\n', r'there are no records in'),
        ('a.jsonl', '{"a": 1}\n{"is_cn": tru', r'a.jsonl, record 1 is not valid JSON'),
        ('a.csv', 'a', r'a.csv is not a record file; expected .json'),
        ('a.txt', '# nothing', r'a.txt lists no files'),
        ('a.txt', 'no.json', r'no record file .*no.json \(listed in .*a.txt\)'),
        ('a.txt', 'a.txt', r'a.txt lists itself'),
    ],
)
def test_files_that_cannot_be_indexed(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / name)


def test_other_bad_paths(tmp_path):
    with pytest.raises(ValueError, match=r'holds no \.json or \.jsonl'):
        read_records(tmp_path)
    with pytest.raises(ValueError, match='there is no record file'):
        read_records(tmp_path / 'a.json')
    with pytest.raises(ValueError, match='no records in no files'):
        read_records([])
    (tmp_path / 'latin.json').write_bytes(b'["\xe9"]')
    with pytest.raises(ValueError, match=r'latin.json is in an unknown encoding'):
        read_records(tmp_path / 'latin.json')


@pytest.mark.parametrize('name', ['a.json', 'a.jsonl'])
@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'gb18030'])
def test_every_encoding_gives_the_same_records(tmp_path, name, encoding):
    records = [{'caption': 'a white dog'}, {'caption': '一只白色的狗', 'is_cn': True}]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = '\n'.join(lines) if name == 'a.jsonl' else f'[{", ".join(lines)}]'
    (tmp_path / name).write_bytes(text.encode(encoding))
    store = read_records(tmp_path / name)
    assert list(store) == records and store.languages.tolist() == ['en', 'zh']


def test_bad_records_wait_until_they_are_asked_for(tmp_path):
    lines = ['{"a": 1}', '{"a": ', '[1]', '3', '{"a": 2}']
    (tmp_path / 'a.jsonl').write_text('\n'.join(lines))
    store = read_records(tmp_path / 'a.jsonl')
    assert len(store) == 5 and store[4] == {'a': 2}
    with pytest.raises(ValueError, match=r'a.jsonl, record 1 is not valid JSON'):
        store[1]
    with pytest.raises(ValueError, match=r'record 2 must be an object, got list'):
        store[2]


def test_a_file_that_changes_is_noticed(tmp_path, write, record):
    path = write(tmp_path / 'a.json', [record(0), record(1)])
    store = read_records(path)
    write(path, [record(1)])
    with pytest.raises(ValueError, match=r'a.json has changed since'):
        store[0]
    os.remove(path)
    with pytest.raises(ValueError, match=r'a.json, record 0 cannot be read'):
        store[0]


def test_memory_is_a_few_bytes_per_record(tmp_path):
    """17 bytes of index, whatever the record holds."""
    line = json.dumps({'caption': 'x' * 1000})
    (tmp_path / 'a.jsonl').write_text('\n'.join([line] * 2000))
    store = read_records(tmp_path / 'a.jsonl')
    arrays = [value for value in vars(store).values() if hasattr(value, 'nbytes')]
    assert sum(array.nbytes for array in arrays) <= 17 * 2000 + 64
    assert len(pickle.dumps(store)) < 20 * 2000
