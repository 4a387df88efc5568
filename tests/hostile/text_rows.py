"""Text, JSON, YAML and XML files, and names in one string."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fgclip2_det.io.json_stream import stream_json, stream_lines, stream_list
from fgclip2_det.io.text import decode_text, read_json, read_text
from fgclip2_det.prepare.voc import voc_to_coco
from fgclip2_det.prepare.yolo import read_names, yolo_to_coco
from fgclip2_det.vocabulary.names import read_names_file
from fgclip2_det.vocabulary.texts import expand_prompts, parse_texts
from tests.hostile.image_rows import encoded
from tests.hostile.rows import Row, table

DEEP = 100_000
DIGITS = '9' * 5000


def write(folder: Path, name: str, content: str | bytes | object) -> Path:
    """A file with a text, bytes, or anything else as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = json.dumps(content).encode()
    path.write_bytes(content)
    return path


def _text(folder: Path, data: bytes) -> object:
    return read_text(write(folder, 'names.txt', data))


def _declared(folder: Path, given: tuple[bytes, str]) -> object:
    return decode_text(given[0], folder / 'names.txt', given[1])


TEXTS = {
    'utf-8': ('猫\n'.encode(), None),
    'utf-8 with mark': (b'\xef\xbb\xbfcat', None),
    'utf-16 with mark': ('cat'.encode('utf-16'), None),
    'utf-32 with mark': ('cat'.encode('utf-32'), None),
    'gbk': ('白色的杯子和黑色的猫'.encode('gbk'), None),
    'empty': (b'', None),
    'utf-16 cut in a letter': ('猫猫'.encode('utf-16')[:-1], 'not complete'),
    'utf-32 cut in a letter': ('cat'.encode('utf-32')[:-2], 'not complete'),
    'latin-1': ('réel café über'.encode('latin-1'), 'unknown encoding'),
    'random bytes': (bytes(range(128, 256)) * 4, 'unknown encoding'),
    'zeros': (bytes(100), None),
    'png': (encoded('PNG'), 'names.txt'),
}
DECLARED = {
    'declared zip': ((b'cat', 'zip'), 'not known'),
    'declared rot13': ((b'cat', 'rot13'), 'not known'),
    'declared unicode_escape': ((b'cat', 'unicode_escape'), 'not known'),
    'declared punycode': ((b'cat', 'punycode'), 'not known'),
    'declared idna': ((b'cat', 'idna'), 'not known'),
    'declared utf-7': ((b'cat', 'utf-7'), 'not known'),
    'declared nothing': ((b'cat', ''), 'not known'),
    'declared null': ((b'cat', 'utf-8\0'), 'not known'),
    'declared a path': ((b'cat', '../../x'), 'not known'),
    'declared 10000 letters': ((b'cat', 'x' * 10_000), 'not known'),
    'declared cp1252': (('é'.encode('cp1252'), 'cp1252'), None),
    'declared big5': (('貓'.encode('big5'), 'big5'), None),
}


def _json(folder: Path, data: str | bytes) -> object:
    return read_json(write(folder, 'a.json', data))


JSON = {
    'empty': ('', 'cannot be read as JSON'),
    'cut': ('{"a": [1, 2', 'cannot be read as JSON'),
    'two values': ('1 2', 'cannot be read as JSON'),
    'comment': ('{} // end', 'cannot be read as JSON'),
    'trailing comma': ('[1,]', 'cannot be read as JSON'),
    'python dict': ("{'a': 1}", 'cannot be read as JSON'),
    'lists 100,000 deep': ('[' * DEEP + ']' * DEEP, 'nested too deeply'),
    'objects 100,000 deep': ('{"a":' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (DIGITS, 'digits'),
    'exponent of 5,000 digits': (f'1e{DIGITS}', None),
    'control character in a text': ('"\x01"', 'cannot be read as JSON'),
    'bad escape': (r'"\x"', 'cannot be read as JSON'),
    'pickle': (b'\x80\x04]\x94.', 'a.json'),
    'web page': ('<html></html>', 'cannot be read as JSON'),
    'half a surrogate pair': (r'"\ud800"', None),
    'nan': ('NaN', None),
    'key twice': ('{"a": 1, "a": 2}', None),
}


def _stream(folder: Path, data: str | bytes) -> object:
    return list(stream_json(write(folder, 'a.json', data)))


STREAMS = {
    'a list': ('[]', 'must be a JSON object'),
    'a number': ('3', 'must be a JSON object'),
    'nothing': ('', 'must be a JSON object'),
    'cut after a key': ('{"a"', "expected ':'"),
    'cut in a list': ('{"a": [1, 2', 'end of the file'),
    'cut in a text': ('{"a": "x', 'not a complete JSON file'),
    'key is a number': ('{1: 2}', 'a key must be a string'),
    'no comma': ('{"a": 1 "b": 2}', "expected ','"),
    'text after the end': ('{} x', 'text after its end'),
    'not utf-8': (b'{"a": "\xff"}', 'not UTF-8'),
    'utf-16': ('{"a": [1]}'.encode('utf-16'), None),
    'lists 100,000 deep': ('{"a": [' + '[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'{{"a": {DIGITS}}}', 'digits'),
}


def _rows(folder: Path, data: str | bytes) -> object:
    return list(stream_list(write(folder, 'a.json', data)))


LISTS = {
    'an object': ('{}', 'must be a JSON list'),
    'a text': ('"x"', 'must be a JSON list'),
    'cut': ('[{"a": 1}, {"a"', 'row 1'),
    'lists 100,000 deep': ('[' * DEEP, 'nested too deeply'),
    'objects 100,000 deep': ('[' + '{"a":' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'[{DIGITS}]', 'digits'),
    'not utf-8': (b'["\xff"]', 'not UTF-8'),
    'text after the list': ('[] []', 'text after its list'),
}


def _lines(folder: Path, data: str | bytes) -> object:
    return list(stream_lines(write(folder, 'a.jsonl', data)))


LINES = {
    'second line is a list': ('{}\n[]', 'line 2 must be a JSON object'),
    'second line is cut': ('{}\n{"a"', 'line 2 is not JSON'),
    'line 100,000 deep': ('[' * DEEP, 'line 1 is not JSON'),
    'number of 5,000 digits': (f'{{"a": {DIGITS}}}', 'line 1'),
    'not utf-8': (b'{"a": "\xff"}', 'line 1'),
    'zeros': (b'\0\0\0', 'line 1'),
    'blank lines': ('\n\n{}\n\n', None),
}
_READERS = {
    'text file': read_text,
    'json file': read_json,
    'names file': read_names_file,
    'json stream': lambda path: list(stream_json(path)),
    'result stream': lambda path: list(stream_list(path)),
    'json lines': lambda path: list(stream_lines(path)),
}


def _place(folder: Path, given: tuple) -> object:
    read, make = given
    path = folder / 'input'
    return read(make(path) or path)


_PLACES = {
    'that is missing': (lambda path: None, 'input'),
    'that is a folder': (Path.mkdir, 'input'),
    'that is a named pipe': (os.mkfifo, ('input', 'pipe')),
    'that is a device': (lambda path: path.symlink_to('/dev/zero'), 'input'),
    'that is a link to itself': (lambda path: path.symlink_to(path), 'input'),
    'with a null in its name': (lambda path: f'{path}\0', 'input'),
    'with a name of 5,000 letters': (lambda path: f'{path}{"x" * 5000}', 'input'),
}
PLACES = {
    f'{what} {where}': ((read, make), words)
    for what, read in _READERS.items()
    for where, (make, words) in _PLACES.items()
}


def _yaml(folder: Path, data: str | bytes) -> object:
    return read_names(write(folder, 'data.yaml', data))


def _aliases(levels: int, width: int) -> str:
    """Lists of lists that share their parts: width ** levels values."""
    lines = ['a0: &a0 [x, y]']
    for level in range(1, levels):
        row = ', '.join([f'*a{level - 1}'] * width)
        lines.append(f'a{level}: &a{level} [{row}]')
    return '\n'.join([*lines, f'names: *a{levels - 1}'])


YAML = {
    'no names': ('nc: 3', 'no class names'),
    'empty': ('', 'no class names'),
    'a list': ('[cat, dog]', 'no class names'),
    'names empty': ('names: []', 'no class names'),
    'names a text': ('names: cat', 'no class names'),
    'names a number': ('names: 3', 'no class names'),
    'a name is a list': ('names: [cat, [dog]]', 'label 1'),
    'a name is blank': ("names: [cat, ' ']", 'label 1'),
    'a name twice': ('names: [cat, cat]', 'occurs twice'),
    'another nc': ('nc: 3\nnames: [cat, dog]', 'nc: 3'),
    'labels from 1': ('names: {1: cat, 2: dog}', '0, 1, 2'),
    'labels are words': ('names: {a: cat}', '0, 1, 2'),
    'labels with a gap': ('names: {0: cat, 2: dog}', '0, 1, 2'),
    'labels of 5,000 digits': (f'names: {{{DIGITS}: cat}}', 'data.yaml'),
    'not yaml': ('names: [cat', 'not YAML'),
    'tab': ('names:\n\t- cat', 'not YAML'),
    'two documents': ('names: [a]\n---\nnames: [b]', 'not YAML'),
    'unknown alias': ('names: *a', 'alias'),
    'tag python/object/apply': ('names: !!python/object/apply:os.getcwd []', 'tag'),
    'tag python/name': ('names: [!!python/name:os.getcwd ""]', 'tag'),
    'tag of its own': ('names: [!cat dog]', 'tag'),
    'aliases of 9 levels': (_aliases(9, 9), 'data.yaml'),
    'aliases of 30 levels': (_aliases(30, 9), 'data.yaml'),
    'alias of itself': ('names: &a [*a]', 'data.yaml'),
    'merge of itself': ('a: &a\n  <<: *a\nnames: [cat]', 'data.yaml'),
    'merges of 30 levels': (
        'm0: &m0 {x: 1}\n'
        + '\n'.join(
            f'm{i}: &m{i}\n  <<: [{", ".join([f"*m{i - 1}"] * 9)}]'
            for i in range(1, 30)
        )
        + '\nnames: [cat]',
        'data.yaml',
    ),
    'lists 5,000 deep': ('names: ' + '[' * 5000 + ']' * 5000, 'data.yaml'),
    'maps 5,000 deep': ('{a: ' * 5000 + '}' * 5000, 'data.yaml'),
    'a list as a key': ('? [a]\n: b\nnames: [cat]', 'data.yaml'),
    'zeros': (bytes(10), 'data.yaml'),
    'control character': ('names: [a\x07b]', 'data.yaml'),
    'names in two languages': ('names: [猫, dog]', None),
    'words that are not words': ('names: [No, 007, 1.10, null]', None),
}  # fmt: skip


def _xml(folder: Path, body: str | bytes) -> object:
    write(folder, 'xml/a.xml', body)
    return voc_to_coco(folder / 'xml', folder / 'out.json')


def _voc(**parts: str) -> str:
    box = dict(xmin='1', ymin='1', xmax='5', ymax='5') | {
        key: parts.pop(key) for key in ('xmin', 'ymin', 'xmax', 'ymax') if key in parts
    }
    values = dict(
        filename='a.jpg', width='10', height='10', name='cat', difficult='0'
    ) | parts  # fmt: skip
    sides = ''.join(f'<{k}>{v}</{k}>' for k, v in box.items())
    return (
        f'<annotation><filename>{values["filename"]}</filename><size><width>'
        f'{values["width"]}</width><height>{values["height"]}</height></size><object>'
        f'<name>{values["name"]}</name><difficult>{values["difficult"]}</difficult>'
        f'<bndbox>{sides}</bndbox></object></annotation>'
    )


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'
)
XML = {
    'fine': (_voc(), None),
    'empty': ('', 'not XML'),
    'cut': (_voc()[:60], 'not XML'),
    'json': ('{}', 'not XML'),
    'entities': (ENTITIES, 'entities'),
    'entity of a file': (
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><annotation>&a;'
        '</annotation>', 'entities',
    ),
    'entity in utf-16': (ENTITIES.encode('utf-16'), 'entities'),
    'doctype alone': ('<!DOCTYPE a SYSTEM "a.dtd">' + _voc(), None),
    'two roots': (_voc() * 2, 'not XML'),
    'zero byte': ('<annotation>\0</annotation>', 'a.xml'),
    'elements 2,000 deep': ('<a>' * 2000 + '</a>' * 2000, 'a.xml'),
    'no file name': (_voc(filename=' '), 'filename'),
    'width is a word': (_voc(width='wide'), 'width'),
    'width 0': (_voc(width='0'), 'width'),
    'width negative': (_voc(width='-3'), 'width'),
    'width nan': (_voc(width='nan'), 'width'),
    'width infinite': (_voc(width='inf'), 'width'),
    'width 1e400': (_voc(width='1e400'), 'width'),
    'another class': (_voc(name='unicorn'), 'unicorn'),
    'no name': (_voc(name=''), 'name'),
    'difficult is a word': (_voc(difficult='perhaps'), 'difficult'),
    'difficult infinite': (_voc(difficult='inf'), 'difficult'),
    'box nan': (_voc(xmin='nan'), 'box'),
    'box infinite': (_voc(xmax='inf'), 'a number'),
    'box turned around': (_voc(xmin='5', xmax='1'), 'box'),
    'box outside': (_voc(xmin='80', xmax='90'), 'outside'),
    'box without a side': (_voc(xmin=''), 'xmin'),
    'declared encoding zip': ('<?xml version="1.0" encoding="zip"?>' + _voc(), 'zip'),
}  # fmt: skip


def _yolo(folder: Path, line: str) -> object:
    write(folder, 'images/a.png', encoded('PNG'))
    write(folder, 'labels/a.txt', line)
    write(folder, 'names.txt', 'cat\ndog\n')
    parts = (folder / part for part in ('images', 'labels', 'names.txt', 'out.json'))
    return yolo_to_coco(*parts)


YOLO = {
    'fine': ('0 0.5 0.5 0.2 0.2', None),
    'label as a float': ('1.000e+00 0.5 0.5 0.2 0.2', None),
    'four numbers': ('0 0.5 0.5 0.2', 'line 1'),
    'six numbers': ('0 0.5 0.5 0.2 0.2 0.9', 'line 1'),
    'second line a word': ('0 0.5 0.5 0.2 0.2\ncat', 'line 2'),
    'label 2 of 2': ('2 0.5 0.5 0.2 0.2', 'class 2'),
    'label -1': ('-1 0.5 0.5 0.2 0.2', 'class -1'),
    'label 0.5': ('0.5 0.5 0.5 0.2 0.2', 'line 1'),
    'label nan': ('nan 0.5 0.5 0.2 0.2', 'line 1'),
    'label inf': ('inf 0.5 0.5 0.2 0.2', 'line 1'),
    'label 1e300': ('1e300 0.5 0.5 0.2 0.2', 'line 1'),
    'width 0': ('0 0.5 0.5 0 0.2', 'empty'),
    'width negative': ('0 0.5 0.5 -0.2 0.2', 'empty'),
    'nan': ('0 nan 0.5 0.2 0.2', 'not finite'),
    'infinite': ('0 0.5 0.5 inf 0.2', 'line 1'),
    'pixels': ('0 320 240 100 80', 'reaches outside'),
    'polygon': ('0 0.1 0.1 0.2 0.1 0.2 0.2', 'line 1'),
    'underscore in a number': ('0 0_5 0.5 0.2 0.2', 'line 1'),
}


def _parsed(folder: Path, text: str) -> object:
    return expand_prompts(parse_texts(text))


PROMPTS = {
    'nothing': ('', 'expected names'),
    'blanks': (' \t\n', 'expected names'),
    'stops alone': ('. . .', 'expected names'),
    'quote not closed': ('"black cat', 'no closing'),
    'brace not closed': ('{a|b', 'not closed'),
    'brace not opened': ('a|b}', 'not closed'),
    'braces nested': ('{a|{b|c}}', 'nested'),
    'braces empty': ('{}', 'two or more alternatives'),
    'one alternative': ('{a}', 'two or more alternatives'),
    'empty alternative': ('{a|}', 'two or more alternatives'),
    'braces of 10 ** 12 names': ('{a|b|c|d|e|f|g|h|i|j}' * 12, '1000'),
    'braces of 1,001 names': ('{' + '|'.join(map(str, range(1001))) + '}', '1000'),
    'range is no alternative': ('{0..99999999999}', 'two or more alternatives'),
    '100,000 quotes': ('"' * 100_000, None),
    '100,000 stops': ('.' * 100_000, 'expected names'),
    '20,000 names': ('; '.join(map(str, range(20_000))), None),
    'name of 100,000 letters': ('x' * 100_000, None),
    'chinese stops': ('猫。狗、马', None),
    'abbreviations': ('St. Bernard. no. 5 jersey', None),
}


def _names(folder: Path, data: str | bytes) -> object:
    return read_names_file(write(folder, 'names.txt', data))


NAMES = {
    'empty': ('', 'no names'),
    'comments alone': ('# cat\n#dog', 'no names'),
    'empty alias': ('cat\nsofa||couch', 'line 2'),
    'mark alone': ('|', 'line 1'),
    'braces and aliases': ('{red|blue} cup|mug', 'names.txt'),
    'braces not closed': ('cat\nred {cup', 'names.txt'),
    'braces of 10 ** 6 names': ('{a|b|c|d|e|f|g|h|i|j}' * 6, ('names.txt', '1000')),
    'latin-1': ('réel'.encode('latin-1'), 'unknown encoding'),
    'png': (encoded('PNG'), 'names.txt'),
    'form feeds': ('cat\fdog', None),
}
ROWS: list[Row] = [
    *table('text', _text, TEXTS, 'names.txt'),
    *table('text', _declared, DECLARED, 'names.txt'),
    *table('json', _json, JSON, 'a.json'),
    *table('json stream', _stream, STREAMS, 'a.json'),
    *table('result stream', _rows, LISTS, 'a.json'),
    *table('json lines', _lines, LINES, 'a.jsonl'),
    *table('place', _place, PLACES),
    *table('yaml', _yaml, YAML, 'data.yaml'),
    *table('voc xml', _xml, XML, 'a.xml'),
    *table('yolo', _yolo, YOLO, 'a.txt'),
    *table('prompt', _parsed, PROMPTS),
    *table('names file', _names, NAMES, 'names.txt'),
]
