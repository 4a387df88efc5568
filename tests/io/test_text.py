"""Text files in the encodings of the wild, and what cannot be told."""

import json
import logging

import pytest

from fgclip2_det.io import notes
from fgclip2_det.io.text import decode_text, json_values, read_json, read_text

WORDS = 'black cat\n白色杯子\n交通灯\n'


@pytest.fixture(autouse=True)
def fresh():
    notes._SAID.clear()


@pytest.mark.parametrize(
    'codec', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'gbk']
)
def test_encodings_are_recognised(tmp_path, codec):
    (tmp_path / 'a.txt').write_bytes(WORDS.encode(codec))
    assert read_text(tmp_path / 'a.txt') == WORDS


def test_marks_of_both_byte_orders(tmp_path):
    for mark, codec in ((b'\xff\xfe', 'utf-16-le'), (b'\xfe\xff', 'utf-16-be')):
        assert decode_text(mark + WORDS.encode(codec), 'a') == WORDS


def test_a_guess_is_told_once(tmp_path, caplog):
    for name in ('a.txt', 'b.txt'):
        (tmp_path / name).write_bytes(WORDS.encode('gbk'))
    with caplog.at_level(logging.WARNING):
        read_text(tmp_path / 'a.txt')
        read_text(tmp_path / 'b.txt')
    [line] = caplog.messages
    assert 'a.txt is not UTF-8 and was read as GB 18030' in line


@pytest.mark.parametrize('text', ['réel', 'Fußgänger', 'señal de tráfico', 'São'])
def test_other_text_of_8_bits_is_not_taken_for_chinese(text):
    with pytest.raises(ValueError, match=r'names\.txt is in an unknown encoding'):
        decode_text(text.encode('cp1252'), 'names.txt')
    assert decode_text(text.encode('cp1252'), 'names.txt', 'windows-1252') == text


@pytest.mark.parametrize(
    ('said', 'real'),
    [('gb2312', 'gbk'), ('gb2312', 'utf-8'), ('utf-8', 'gbk'), ('iso-8859-1', 'utf-8'),
     ('utf-8', 'utf-16'), ('gbk', 'utf-8-sig'), ('utf-16', 'utf-8')],
)  # fmt: skip
def test_a_wrong_declaration_does_no_harm(said, real):
    """朱镕基's second character is of GBK, not of GB 2312."""
    text = WORDS + '朱镕基'
    assert decode_text(text.encode(real), 'a', said) == text


def test_two_bytes_that_are_also_utf8():
    """模 in GB 2312 is C4 A3, which UTF-8 reads as 'ģ'."""
    assert decode_text('模'.encode('gb2312'), 'a', 'gb2312') == '模'
    assert decode_text('ģ'.encode(), 'a') == 'ģ'


def test_unknown_encodings_and_files(tmp_path):
    for name in ('rot13', 'zlib', 'idna', 'no-such'):
        with pytest.raises(ValueError, match=f'a.xml: the encoding .{name}. is not'):
            decode_text('狗'.encode('gbk'), 'a.xml', name)
    with pytest.raises(ValueError, match=r'nowhere\.txt cannot be read'):
        read_text(tmp_path / 'nowhere.txt')
    with pytest.raises(ValueError, match=r'a\.txt is not complete utf-16 text'):
        decode_text(b'\xff\xfea', 'a.txt')


@pytest.mark.parametrize('codec', ['utf-8-sig', 'utf-16', 'gbk'])
def test_json(tmp_path, codec):
    content = {'categories': [{'id': 1, 'name': '白色杯子'}]}
    text = json.dumps(content, ensure_ascii=False)
    (tmp_path / 'a.json').write_bytes(text.encode(codec))
    assert read_json(tmp_path / 'a.json') == content
    (tmp_path / 'a.json').write_bytes(text[:-3].encode(codec))
    with pytest.raises(ValueError, match=r'a\.json cannot be read as JSON'):
        read_json(tmp_path / 'a.json')


def test_a_file_of_zeros_is_no_text():
    """What a crash leaves of a file that was not flushed."""
    with pytest.raises(ValueError, match=r'a\.txt is in an unknown encoding'):
        decode_text(b'cat' * 100 + b'\0' * 20, 'a.txt')


def test_values_as_a_file_gives_them_back():
    given = {'sizes': (1, 2), 'value': 1j}
    assert json_values(given, default=str) == {'sizes': [1, 2], 'value': '1j'}
    with pytest.raises(TypeError, match='not JSON serializable'):
        json_values(given)
