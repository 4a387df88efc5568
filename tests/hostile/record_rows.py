"""Training records, images outside their folder, shards, lexicons."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.cli import coco_to_records as records_command
from fgclip2_det.vocabulary.hard_negatives import HardNegativeWriter, read_lexicon
from pretrain.data import AlignmentDataset, write_shards
from pretrain.data.from_coco import coco_to_records
from pretrain.data.record_files import read_records
from pretrain.hard_negatives import fill_record
from tests.hostile.annotation_rows import HUGE, box, coco, image
from tests.hostile.image_rows import encoded
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write

PNG = encoded('PNG')


def record(**changes) -> dict:
    info = {'bbox': [0.1, 0.1, 0.9, 0.9], 'short_expr': 'a red cup'}
    kept = {'f_path': 'a.png', 'caption': 'long', 'short_caption': 'short'}
    return kept | {'bbox_info': [info]} | changes


def _info(**changes) -> dict:
    info = {'bbox': [0.1, 0.1, 0.9, 0.9], 'short_expr': 'a red cup'} | changes
    return record(bbox_info=[info])


def _file(folder: Path, given: object) -> object:
    name, content = given if isinstance(given, tuple) else ('train.json', given)
    return read_records(write(folder, name, content))


FILES = {
    'list': ([record()], None),
    'lines': (('train.jsonl', json.dumps(record())), None),
    'gbk': (('train.json', '[{"caption": "白色的杯子"}]'.encode('gbk')), None),
    'none': ([], 'no records'),
    'object': ({}, 'must be a JSON list'),
    'number': (3, 'must be a JSON list'),
    'empty': (b'', 'must be a JSON list'),
    'cut': (json.dumps([record(), record()])[:-9], 'record 1'),
    '100,000 deep': (b'[' * DEEP, 'nested too deeply'),
    'record 100,000 deep': (b'[{}, {"a": ' + b'[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'[{DIGITS}]', 'digits'),
    'line with the language 100,000 deep': (
        ('train.jsonl', b'{"is_cn": ' + b'[' * DEEP), 'nested too deeply',
    ),
    'line with the language cut': (('train.jsonl', b'{"is_cn": 1'), 'record 0'),
    'another ending': (('train.csv', 'a,b'), 'train.csv'),
    'list of itself': (('train.txt', 'train.txt'), 'lists itself'),
    'list of nothing': (('train.txt', '# a\n'), 'lists no files'),
    'list of a missing file': (('train.txt', 'gone.json'), 'gone.json'),
    'list of a folder without files': (('train.txt', 'x'), 'x'),
}  # fmt: skip


def _second(folder: Path, content: object) -> object:
    """All records, read one by one."""
    return list(read_records(write(folder, 'train.jsonl', content)))


LINES = {
    'second is a list': ('{}\n[]', 'record 1'),
    'second is cut': ('{}\n{"a"', 'record 1'),
    'second is 100,000 deep': (b'{}\n' + b'[' * DEEP, 'record 1'),
}


def _record(folder: Path, content: dict) -> object:
    """The first sample of a data set."""
    write(folder, 'images/a.png', PNG)
    write(folder, 'train.json', [content])
    return AlignmentDataset(folder / 'train.json', folder / 'images')[0]


RECORDS = {
    'fine': (record(), None),
    'no boxes': (record(bbox_info=None), None),
    'no path': (record(f_path=None), 'f_path'),
    'path empty': (record(f_path=''), 'f_path'),
    'path number': (record(f_path=3), 'f_path'),
    'path list': (record(f_path=['a.png']), 'f_path'),
    'path null character': (record(f_path='a\0.png'), 'record 0'),
    'path to a folder': (record(f_path='.'), 'record 0'),
    'path missing': (record(f_path='gone.png'), 'gone.png'),
    'caption number': (record(caption=3), 'caption'),
    'caption list': (record(short_caption=['a']), 'short_caption'),
    'caption half a pair': (record(caption='\ud800'), 'caption'),
    'boxes text': (record(bbox_info='x'), 'bbox_info'),
    'boxes object': (record(bbox_info={'a': 1}), 'bbox_info'),
    'box null': (record(bbox_info=[None]), 'record 0'),
    'bbox missing': (_info(bbox=None), 'bbox'),
    'bbox text': (_info(bbox='0123'), 'bbox'),
    'bbox of three': (_info(bbox=[0, 0, 1]), 'bbox'),
    'bbox nan': (_info(bbox=[0, 0, float('nan'), 1]), 'bbox'),
    'bbox true': (_info(bbox=[0, 0, True, 1]), 'bbox'),
    'bbox with text': (_info(bbox=[0, 0, '1', 1]), 'bbox'),
    'bbox of 400 digits': (_info(bbox=[0, 0, HUGE, 1]), 'bbox'),
    'bbox score of 400 digits': (_info(bbox=[0, 0, 1, 1, HUGE]), None),
    'bbox in pixels': (_info(bbox=[0, 0, 100, 80]), 'bbox'),
    'bbox turned': (_info(bbox=[0.9, 0, 0.1, 1]), 'bbox'),
    'bbox empty': (_info(bbox=[0.5, 0, 0.5, 1]), 'bbox'),
    'no text': (_info(short_expr=None), 'record 0'),
    'text number': (_info(short_expr=3), 'short_expr'),
    'text blank': (_info(short_expr=' '), 'record 0'),
    'negatives list': (_info(short_expr_negs=['a']), 'short_expr_negs'),
    'negatives number': (_info(short_expr_negs={'0': 3}), 'short_expr_negs'),
    'negatives of a long number': (_info(short_expr_negs={DIGITS: 'a blue cup'}), None),
    'flag without negatives': (_info(flag_short_neg=1), 'flag_short_neg'),
}  # fmt: skip


# --------------------------------------------------------- images outside their folder
def _outside(folder: Path, make) -> object:
    """A data set whose record names a file beside the image folder."""
    write(folder, 'secret/a.png', PNG)
    (folder / 'images').mkdir()
    write(folder, 'train.json', [record(f_path=make(folder))])
    return AlignmentDataset(folder / 'train.json', folder / 'images')[0]


def _packed(folder: Path, make) -> object:
    write(folder, 'secret/a.png', PNG)
    (folder / 'images').mkdir()
    write(folder, 'train.json', [record(f_path=make(folder))])
    return write_shards(folder / 'train.json', folder / 'images', folder / 'out')


def _link(folder: Path) -> str:
    (folder / 'images' / 'link.png').symlink_to(folder / 'secret' / 'a.png')
    return 'link.png'


def _linked_folder(folder: Path) -> str:
    (folder / 'images' / 'sub').symlink_to(folder / 'secret')
    return 'sub/a.png'


def _inside(folder: Path) -> str:
    write(folder, 'images/a.png', PNG)
    (folder / 'images' / 'b.png').symlink_to('a.png')
    return 'b.png'


def _around(folder: Path) -> str:
    write(folder, 'images/sub/a.png', PNG)
    return 'sub/../sub/a.png'


OUTSIDE = {
    'one up': (lambda folder: '../secret/a.png', 'outside'),
    'down and up': (lambda folder: 'x/../../secret/a.png', 'outside'),
    'absolute': (lambda folder: str(folder / 'secret' / 'a.png'), 'outside'),
    'link': (_link, 'outside'),
    'linked folder': (_linked_folder, 'outside'),
    'link inside': (_inside, None),
    'down and up inside': (_around, None),
}


def _coco(folder: Path, content: object) -> object:
    path = write(folder, 'ann.json', content)
    options = {'novel': [], 'languages': ['en'], 'out': folder / 'out', 'images': None}
    args = SimpleNamespace(ann=path, allow_outside=False, **options)
    return records_command.main(args)


def _file_name(name: str) -> dict:
    return coco(images=[image(file_name=name)], annotations=[box()])


FROM_COCO = {
    'fine': (coco(), None),
    'file name one up': (_file_name('../a.jpg'), 'outside'),
    'file name absolute': (_file_name('/etc/a.jpg'), 'outside'),
    'file name down and up': (_file_name('a/../../b.jpg'), 'outside'),
    'file name of windows': (_file_name('..\\a.jpg'), 'outside'),
    'a list': ([], 'ann.json'),
    'iscrowd 2': (coco(annotations=[box(iscrowd=2)]), 'iscrowd'),
    'area negative': (coco(annotations=[box(area=-1)]), 'area'),
    'box outside': (coco(annotations=[box(bbox=[500, 500, 5, 5])]), 'outside'),
    'bbox nan': (coco(annotations=[box(bbox=[1, 2, float('nan'), 4])]), 'bbox'),
    'unknown image': (coco(annotations=[box(image_id=9)]), 'image 9'),
    'unknown category': (coco(annotations=[box(category_id=9)]), 'category 9'),
    'width 0': (coco(images=[image(width=0)], annotations=[]), 'width'),
    'width text': (coco(images=[image(width='9')], annotations=[]), 'width'),
    'no name': (coco(categories=[{'id': 1}]), 'name'),
    'name number': (coco(categories=[{'id': 1, 'name': 3}]), 'name'),
    'images null': (coco(images=None), 'images'),
    '100,000 deep': (b'{"images": ' + b'[' * DEEP, 'nested too deeply'),
}


def _novel(folder: Path, novel: object) -> object:
    return list(coco_to_records(coco(), 'en', novel, 'ann.json'))


NOVEL = {
    'unknown': (['cow'], 'cow'),
    'number': ([3], 'ann.json'),
    'a class': (['dog'], None),
}


# ------------------------------------------------------------------- hard negatives
def _fill(folder: Path, content: object) -> object:
    return fill_record(content, HardNegativeWriter(4), ('short', 'long'))


FILLED = {
    'fine': (record(), None),
    'null': (None, 'must be an object'),
    'boxes text': (record(bbox_info='x'), 'bbox_info'),
    'box number': (record(bbox_info=[3]), 'box 0'),
    'phrase number': (_info(short_expr=3), 'box 0'),
    'old negatives a list': (_info(short_expr_negs=['a']), 'box 0'),
    'caption of 20,000 colours': (_info(long_expr='red cup and ' * 20_000), 'box 0'),
    'caption of 20,000 joined colours': (_info(long_expr='red, ' * 20_000), 'box 0'),
    'caption of 100,000 letters': (_info(long_expr='x' * 100_000), 'box 0'),
    'chinese caption of 100,000 letters': (_info(long_expr='红色的' * 33_333), 'box 0'),
    'caption of 19,000 letters, all colours': (
        _info(long_expr='red, ' * 3800),
        None,
    ),
    'chinese caption of 19,000 letters': (_info(long_expr='红色的' * 6300), None),
    'caption of 300 colours': (_info(long_expr='a red cup and ' * 300), None),
    'phrase of signs': (_info(short_expr='"“(,' * 9), None),
}


def _lexicon(folder: Path, content: object) -> object:
    return HardNegativeWriter(2, lexicon=read_lexicon(write(folder, 'l.json', content)))


def _axis(**axis) -> dict:
    return {'en': {'families': {'weather': {'sky': axis}}}}


LEXICONS = {
    'fine': (_axis(rule='attributive', entries=['sunny', 'rainy']), None),
    'list': ([], 'l.json'),
    'language': ({'fr': {}}, 'l.json'),
    'families list': ({'en': {'families': []}}, 'l.json'),
    'axis number': ({'en': {'families': {'a': {'b': 3}}}}, 'l.json'),
    'key': (_axis(colour=[]), 'l.json'),
    'rule': (_axis(rule='always'), 'rule'),
    'rule list': (_axis(rule=['free']), 'l.json'),
    'entries text': (_axis(entries='sunny'), 'l.json'),
    'entry number': (_axis(entries=[3]), 'entries'),
    'entry twice': (_axis(entries=['sunny', 'sunny']), 'twice'),
    'entry empty': (_axis(entries=[[]]), 'entries'),
    'near unknown': (_axis(entries=['sunny'], near=[['wet']]), 'near'),
    'strict a number': (_axis(strict=1), 'l.json'),
    'conditions list': (_axis(entries=['a'], only_before={'a': 3}), 'only_before'),
    'protected number': ({'en': {'protected': 3}}, 'l.json'),
    'protected numbers': ({'en': {'protected': [3]}}, 'l.json'),
    '100,000 deep': (b'[' * DEEP, 'l.json'),
}
ROWS: list[Row] = [
    *table('record', _record, RECORDS, 'train.json'),
    *table('record file', _file, FILES, 'train'),
    *table('record lines', _second, LINES, 'train.jsonl'),
    *table('record outside', _outside, OUTSIDE, 'train.json'),
    *table('packed outside', _packed, OUTSIDE, 'train.json'),
    *table('coco to records', _coco, FROM_COCO, 'ann.json'),
    *table('novel names', _novel, NOVEL, 'ann.json'),
    *table('hard negatives', _fill, FILLED),
    *table('lexicon', _lexicon, LEXICONS),
]
