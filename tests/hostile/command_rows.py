"""Command lines: options, inputs and outputs of the tools."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from pathlib import Path
from unittest.mock import patch

import numpy as np

from fgclip2_det.apis.inputs import find_inputs
from fgclip2_det.cli import main
from fgclip2_det.engine.options import parse_options, parse_value
from tests.hostile.annotation_rows import coco
from tests.hostile.image_rows import RGB, encoded
from tests.hostile.result_rows import ROW
from tests.hostile.rows import Row, Said, table
from tests.hostile.text_rows import DEEP, write


def command(*words: object) -> str:
    """What a command prints; :class:`Said` with its last line if it fails."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
    lines = err.getvalue().strip().splitlines()
    if 'Traceback' in err.getvalue():
        raise RuntimeError(lines[-1])
    if code:
        raise Said(lines[-1] if lines else out.getvalue())
    return out.getvalue()


def _options(folder: Path, words: list) -> object:
    return parse_options(words)


OPTIONS = {
    'no equals sign': (['a'], 'key=value'),
    'no key': (['=3'], 'key=value'),
    'blank key': ([' =3'], 'key=value'),
    'list not closed': (['a=[1,2'], 'do not match'),
    'list of words not closed': (['a=[x,y'], 'do not match'),
    'brackets crossed': (['a=[x,(y],z)'], None),
    'dict of names': (['a={b: c}'], 'Python dict'),
    '500 brackets': (['a=' + '[x,' * 500], 'too deep'),
    '100,000 brackets': (['a=' + '[' * DEEP], None),
    '100,000 brackets closed': (['a=' + '[' * DEEP + ']' * DEEP], 'a'),
    'sum of 20,000': (['a=' + '1+' * 20_000 + '1'], None),
    'signs of 20,000': (['a=' + '-' * 20_000 + '1'], None),
    'number of 5,000 digits': (['a=' + '9' * 5000], None),
    'power': (['a=9**9**9'], None),
    'call': (["a=__import__('os').getcwd()"], None),
    'empty value': (['a='], None),
    'equals sign in the value': (['a=b=c'], None),
    'null character': (['a=b\0c'], None),
    'half a surrogate pair': (['a=\ud800'], None),
    'key twice': (['a=1', 'a=2'], None),
}


def _run(folder: Path, words: list) -> object:
    write(folder, 'ann.json', coco())
    write(folder, 'dt.json', [ROW])
    write(folder, 'bad.json', '{')
    write(folder, 'a.png', encoded('PNG'))
    write(folder, 'empty.txt', '')
    known = ('ann.json', 'dt.json', 'bad.json', 'a.png', 'empty.txt', 'OUT', 'gone')
    return command(*(folder / w if w in known else w for w in words))


_EVALUATE = ['evaluate', '--protocol', 'coco', '--ann', 'ann.json', '--out', 'OUT']
_LEAKS = ['prepare-data', 'leaks', '--train']
COMMANDS = {
    'unknown command': (['fly'], 'invalid choice'),
    'no command': ([], 'COMMAND'),
    'evaluate': ([*_EVALUATE, '--predictions', 'dt.json'], None),
    'evaluate: unknown option': ([*_EVALUATE, '--colour'], 'unrecognized'),
    'evaluate: protocol': (['evaluate', '--protocol', 'x', '--ann', 'a'], 'choice'),
    'evaluate: no predictions': (_EVALUATE, '--predictions'),
    'evaluate: missing predictions': (
        [*_EVALUATE, '--predictions', 'gone'], 'gone',
    ),
    'evaluate: bad predictions': (
        [*_EVALUATE, '--predictions', 'bad.json'], 'bad.json',
    ),
    'evaluate: an image as predictions': (
        [*_EVALUATE, '--predictions', 'a.png'], 'a.png',
    ),
    'evaluate: note': (
        [*_EVALUATE, '--predictions', 'dt.json', '--note', 'x'], '--note',
    ),
    'evaluate: minival of coco': (
        [*_EVALUATE, '--predictions', 'dt.json', '--minival-ids', 'gone'], 'gone',
    ),
    'evaluate: ks of coco': (
        [*_EVALUATE, '--predictions', 'dt.json', '--ks', '3'], '--ks',
    ),
    'evaluate: ks a word': (
        ['evaluate', '--protocol', 'few-names', '--ann', 'ann.json', '--ks', 'few'],
        'few',
    ),
    'check-vocabulary': (['check-vocabulary', 'cat', 'dog'], None),
    'check-vocabulary: nothing': (['check-vocabulary'], 'give either'),
    'check-vocabulary: two sources': (
        ['check-vocabulary', 'cat', '--list', 'coco'], 'give either',
    ),
    'check-vocabulary: list': (['check-vocabulary', '--list', 'x'], 'lists are'),
    'check-vocabulary: file': (['check-vocabulary', '--file', 'gone'], 'gone'),
    'check-vocabulary: empty file': (
        ['check-vocabulary', '--file', 'empty.txt'], 'empty.txt',
    ),
    'check-vocabulary: coco': (['check-vocabulary', '--coco', 'bad.json'], 'bad.json'),
    'check-vocabulary: threshold': (
        ['check-vocabulary', 'cat', '--threshold', '7'], '--threshold',
    ),
    'check-vocabulary: threshold nan': (
        ['check-vocabulary', 'cat', '--threshold', 'nan'], '--threshold',
    ),
    'check-vocabulary: templates': (
        ['check-vocabulary', 'cat', '--templates', 'x'], 'templates must be',
    ),
    'check-vocabulary: encoder': (
        ['check-vocabulary', 'cat', '--encoder', 'a/b/c'], 'a/b/c',
    ),
    'leaks': ([*_LEAKS, 'ann.json', '--val', 'ann.json', '--novel', 'dog'], 'LEAK'),
    'leaks: missing': ([*_LEAKS, 'gone', '--val', 'ann.json'], 'gone'),
    'leaks: one folder': (
        [*_LEAKS, 'ann.json', '--val', 'ann.json', '--train-images', '.'], 'both',
    ),
    'leaks: novel and split': (
        [*_LEAKS, 'ann.json', '--val', 'ann.json', '--novel', 'a', '--split',
         'ov_coco'], 'not both',
    ),
    'check: missing': (['prepare-data', 'check', 'gone'], 'gone'),
    'check: a file': (['prepare-data', 'check', 'ann.json'], 'ann.json'),
    'ov-coco: nothing': (['prepare-data', 'ov-coco', '--out-dir', 'OUT'], '--train'),
    'compare: bad': (['compare-results', 'bad.json', 'bad.json'], 'bad.json'),
    'compare: other json': (['compare-results', 'ann.json', 'ann.json'], 'ann.json'),
    'detect: nothing': (['detect'], 'name images'),
    'detect: share': (['detect', 'a.png', '--score-thr', '7'], 'from 0 to 1'),
    'detect: share nan': (['detect', 'a.png', '--score-thr', 'nan'], 'from 0 to 1'),
    'detect: batch': (['detect', 'a.png', '--batch-size', '0'], '1 or more'),
    'detect: batch of digits that are none': (
        ['detect', 'a.png', '--batch-size', '²'], '1 or more',
    ),
    'detect: slices': (['detect', 'a.png', '--slices', 'big'], 'pixels'),
    'detect: names': (['detect', 'a.png', '--names', ''], '--names'),
    'detect: names in a missing file': (
        ['detect', 'a.png', '--names', 'gone.txt'], 'gone.txt',
    ),
    'detect: out is a file': (['detect', 'a.png', '--out', 'dt.json'], 'is a file'),
    'detect: missing image': (['detect', 'gone', '--out', 'OUT'], 'gone'),
    'publish: missing': (['publish-model', 'gone', 'OUT'], 'gone'),
    'publish: an image': (['publish-model', 'a.png', 'OUT'], 'a.png'),
    'rescore: missing encoder': (
        ['rescore', '--predictions', 'dt.json', '--ann', 'ann.json', '--images', '.',
         '--encoder', 'a/b/c', '--out', 'OUT'], 'a/b/c',
    ),
    'tune: missing dump': (
        ['tune-fusion', '--dump', 'gone', '--ann', 'ann.json', '--out', 'OUT'], 'gone',
    ),
    'train: missing config': (['train', 'gone'], 'gone'),
    'train: an image as config': (['train', 'a.png'], 'a.png'),
    'test: missing config': (['test', 'gone', 'gone'], 'gone'),
    'shards: missing records': (
        ['convert-to-shards', 'gone', '--images', '.', '--out', 'OUT'], 'gone',
    ),
    'negatives: missing': (['make-hard-negatives', 'gone', '--out', 'OUT'], 'gone'),
    'negatives: ending': (['make-hard-negatives', 'a.png', '--out', 'OUT'], 'a.png'),
    'records: missing': (['coco-to-records', 'gone', '--out', 'OUT'], 'gone'),
    'records: bad': (['coco-to-records', 'bad.json', '--out', 'OUT'], 'bad.json'),
    'sweep: one config twice': (
        ['sweep', 'a.py', 'b/a.py', '--work-dir', 'OUT'], 'different file names',
    ),
    'wise-ft: nothing to do': (['wise-ft', 'gone', 'gone'], 'nothing to do'),
    'zeroshot: no annotations': (
        ['zeroshot', '--checkpoint', 'fgclip2_tiny', '--data', 'coco', '--out', 'OUT'],
        '--ann',
    ),
    'benchmark: unknown': (
        ['benchmark', 'x', '--encoder', 'fgclip2_tiny', '--out-dir', 'OUT'], 'x',
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------- outputs
def _evaluate(folder: Path, out: object) -> object:
    ann, rows = write(folder, 'ann.json', coco()), write(folder, 'dt.json', [ROW])
    out = out(folder) if callable(out) else folder / str(out)
    return command('evaluate', '--protocol', 'coco', '--ann', ann, '--predictions',
                   rows, '--out', out)  # fmt: skip


def _linked(to: str, hard: bool = False):
    def make(folder: Path) -> Path:
        if hard:
            os.link(folder / to, folder / 'out.json')
        else:
            (folder / 'out.json').symlink_to(to)
        return folder / 'out.json'

    return make


def _made(make, name: str = 'out.json'):
    def run(folder: Path) -> Path:
        make(folder / name)
        return folder / name

    return run


def _below_a_file(folder: Path) -> Path:
    write(folder, 'a.png', encoded('PNG'))
    return folder / 'a.png' / 'out.json'


def _read_only(folder: Path) -> Path:
    return Path('/proc/out.json')  # root may write anywhere else


OUTPUTS = {
    'new': ('out.json', None),
    'in a new folder': ('a/b/c/out.json', None),
    'the predictions': ('dt.json', ('dt.json', 'would replace')),
    'the annotations': ('ann.json', ('ann.json', 'would replace')),
    'the predictions by another path': (
        lambda folder: folder / 'x' / '..' / 'dt.json', None,
    ),
    'the predictions by a link': (_linked('dt.json'), 'would replace'),
    'the annotations by a hard link': (_linked('ann.json', True), 'would replace'),
    'a folder': (_made(Path.mkdir), ('out.json', 'folder')),
    'below a file': (_below_a_file, 'out.json'),
    'where nothing may be written': (_read_only, '/proc/out.json'),
    'name of 5,000 letters': (lambda folder: folder / ('x' * 5000), 'x' * 20),
    'a full device': (lambda folder: Path('/dev/full'), '/dev/full'),
    'a device that swallows': (lambda folder: Path('/dev/null'), None),
    'a link to nowhere': (_linked('gone/out.json'), None),
}  # fmt: skip


def _full_disk(folder: Path, words: list) -> object:
    """A command while every write beneath it fails for want of space."""
    from fgclip2_det.io import atomic

    def full(*args: object, **kwargs: object):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.object(atomic.os, 'fsync', full):
        return _run(folder, words)


FULL = {
    'evaluate': (
        [*_EVALUATE, '--predictions', 'dt.json'], ('OUT', 'No space'),
    ),
    'coco-to-records': (['coco-to-records', 'ann.json', '--out', 'OUT'], 'No space'),
    'coco-to-odvg': (
        ['prepare-data', 'coco-to-odvg', 'ann.json', '--out', 'OUT', '--label-map',
         'gone'], ('OUT', 'No space'),
    ),
    'leaks': (
        ['prepare-data', 'leaks', '--train', 'ann.json', '--val', 'ann.json', '--out',
         'OUT'], ('OUT', 'No space'),
    ),
}  # fmt: skip


def _converted(folder: Path, given: tuple) -> object:
    """coco-to-odvg and odvg-to-coco over their own files."""
    name, out, label_map = given
    write(folder, 'ann.json', coco())
    line = {'filename': 'a.jpg', 'height': 8, 'width': 9, 'detection': {}}
    write(folder, 'a.jsonl', json.dumps(line))
    write(folder, 'map.json', {'0': 'cat'})
    source = 'ann.json' if name == 'coco-to-odvg' else 'a.jsonl'
    return command('prepare-data', name, folder / source, '--out', folder / out,
                   '--label-map', folder / label_map)  # fmt: skip


CONVERTED = {
    'to odvg': (('coco-to-odvg', 'out.jsonl', 'new.json'), None),
    'to odvg: lines over the source': (
        ('coco-to-odvg', 'ann.json', 'new.json'), 'would replace',
    ),
    'to odvg: map over the source': (
        ('coco-to-odvg', 'out.jsonl', 'ann.json'), 'would replace',
    ),
    'to odvg: map over the lines': (
        ('coco-to-odvg', 'out.jsonl', 'out.jsonl'), 'are both',
    ),
    'to coco': (('odvg-to-coco', 'out.json', 'map.json'), None),
    'to coco: over the map': (
        ('odvg-to-coco', 'map.json', 'map.json'), 'would replace',
    ),
    'to coco: over the lines': (
        ('odvg-to-coco', 'a.jsonl', 'map.json'), 'would replace',
    ),
}  # fmt: skip


def _input(folder: Path, given) -> object:
    given, options = given if isinstance(given, tuple) else (given, {})
    return [image.load() for image in find_inputs(given, **options)]


INPUTS = {
    'no image': ([], 'empty list'),
    'a number': (3, 'camera'),
    'a set': ([{1}], 'got set'),
    'a url': ('https://example.org/a.png', 'allow_urls'),
    'url in capitals is a path': ('HTTPS://example.org/a.png', 'HTTPS'),
    'another channel order': ((RGB, {'channel_order': 'hsv'}), 'channel_order'),
    'a pattern without files': ('/nowhere/*.png', 'fits the pattern'),
    'a video': ('a.MP4', 'is a video'),
    'a float array': (RGB / 2, ('image 1', 'uint8')),
    'second of two is bad': ([RGB, RGB / 2], ('image 2', 'uint8')),
    'an array of strings': (np.array(['a']), 'image 1'),
}
ROWS: list[Row] = [
    *table('input', _input, INPUTS),
    *table('option', _options, OPTIONS),
    *table('option value', lambda folder, text: parse_value(text), {
        'braces nested': ('{{{{', None),
        'quote not closed': ("'a", None),
        '500 open braces and a colon': ('{' * 500 + ':' + '}' * 500, 'too deep'),
    }),
    *table('command', _run, COMMANDS),
    *table('output', _evaluate, OUTPUTS),
    *table('full disk', _full_disk, FULL),
    *table('conversion', _converted, CONVERTED),
]  # fmt: skip
