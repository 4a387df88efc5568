"""The same bad annotation file is the same sentence for everything that reads one."""

import json
import math
from copy import deepcopy
from types import SimpleNamespace

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import torch

from fgclip2_det.coco.annotation_file import parse_coco, read_coco, stream_coco
from fgclip2_det.coco.categories import read_categories
from fgclip2_det.coco.ground_truths import read_image_ids, read_truths
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.datasets import OpenVocabCocoDataset
from fgclip2_det.engine.data_files import AnnotationFile, _read
from fgclip2_det.engine.metrics import OpenVocabCocoMetric
from fgclip2_det.evaluation.few_names.protocol import prepare_asks
from fgclip2_det.evaluation.hard_vocabularies import read_hard_objects
from fgclip2_det.evaluation.phrase_grounding import read_expressions, read_phrases
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json
from fgclip2_det.prepare.coco_scan import scan_coco
from fgclip2_det.prepare.coco_to_odvg import coco_to_odvg
from fgclip2_det.prepare.leaks import read_side
from fgclip2_det.prepare.pseudo_boxes import write_pseudo_boxes
from fgclip2_det.rescoring.tuning_truths import tuning_truths
from fgclip2_det.vocabulary.names import read_coco_names
from fgclip2_det.zeroshot.caption_files import read_coco_captions
from fgclip2_det.zeroshot.named_boxes import read_named_boxes
from pretrain.data.from_coco import coco_to_records


def good() -> dict:
    """A file with what every reader needs: captions, spans, labels, negatives."""
    images = [
        {'id': i, 'file_name': f'{i}.png', 'width': 160, 'height': 96, 'labels': [i],
         'caption': 'a cat', 'tokens_positive_eval': [[[2, 5]]]}
        for i in (1, 2)
    ]  # fmt: skip
    annotations = [
        {'id': 6 + i, 'image_id': i, 'category_id': i, 'bbox': [9, 9, 9, 9],
         'area': 81, 'iscrowd': 0, 'neg_category_ids': [3 - i], 'caption': 'a cat',
         'tokens_positive': [[2, 5]]}
        for i in (1, 2)
    ]  # fmt: skip
    categories = [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _rows(path, name: str = 'rows.json'):
    (path.parent / name).write_text('[]')
    return path.parent / name


def _tuning(path):
    header = SimpleNamespace(
        category_ids=[1, 2],
        classes=['cat', 'dog'],
        novel_classes=[],
        is_base=torch.tensor([True, True]),
    )
    dump = SimpleNamespace(header=header, image_ids=[1, 2], folder='dump')
    return tuning_truths(path, dump)


def _pseudo(path):
    return write_pseudo_boxes(path, _rows(path), path.parent / 'out.json')


def _odvg(path):
    return coco_to_odvg(path, path.parent / 'o.jsonl', path.parent / 'labels.json')


def _data_files(path):
    try:
        return _read(AnnotationFile('val', path, masks=True))
    except ValueError as error:
        raise InputError(str(error).removeprefix('val: ')) from error


def _records(path):
    return list(coco_to_records(read_json(path), 'en', path=path))


# what each looks at: i(mages), their f(ile names) and s(izes), a(nnotations), their
# b(oxes), their r(eferences) to categories, boxes o(utside), c(ategories)
READERS = {
    'read_coco': (read_coco, 'ifsabroc'),
    'dataset': (lambda path: OpenVocabCocoDataset(ann_file=str(path)), 'ifsabroc'),
    'records': (_records, 'ifsabroc'),
    'tuning': (_tuning, 'ifsabroc'),
    'named boxes': (lambda path: read_named_boxes(path, '.'), 'ifsabroc'),
    'all named boxes': (lambda path: read_named_boxes(path, '.', True), 'ifsabrc'),
    'pseudo boxes': (_pseudo, 'ifsabroc'),
    'odvg': (_odvg, 'ifsabroc'),
    'truths': (read_truths, 'iabrc'),
    'metric': (lambda path: OpenVocabCocoMetric(str(path))._coco, 'iabc'),
    'hard vocabularies': (lambda path: read_hard_objects(path, 1), 'iabrc'),
    'few names': (prepare_asks, 'iabrc'),
    'expressions': (read_expressions, 'iabrc'),
    'scan': (scan_coco, 'iabrc'),
    'leaks': (read_side, 'iabrc'),
    'phrases': (read_phrases, 'iab'),
    'captions': (lambda path: read_coco_captions(path, 1), 'ifab'),
    'data files': (_data_files, 'iab'),
    'predictions': (lambda path: read_predictions(_rows(path), path), 'ifsc'),
    'image ids': (read_image_ids, 'i'),
    'class names': (read_coco_names, 'c'),
    'categories': (read_categories, 'c'),
}
A, P, C = 'annotations', 'images', 'categories'
BOX = 'bbox must be x, y, width, height, finite and not negative, got'
ID = 'id must be a whole number or a string, got'
FAULTS = {  # what looks at it, section, change of its first entry, sentence
    'no list': ('i', P, 'abc', " must hold a list of 'images', got 'abc'"),
    'no images': ('i', P, None, " must hold a list of 'images', got None"),
    'no boxes': ('a', A, {}, " must hold a list of 'annotations', got {}"),
    'no classes': ('c', C, None, " must hold a list of 'categories', got None"),
    'null image': ('i', P, [None], ': image entry 0 (from 0) must be an object, got'),
    'text class': ('c', C, ['cat'], ': category entry 0 (from 0) must be an object'),
    'number': ('a', A, [5], ': annotation entry 0 (from 0) must be an object, got 5'),
    'image id': ('i', P, {'id': 1.5}, f': image 1.5: {ID} 1.5'),
    'true id': ('i', P, {'id': True}, f': image True: {ID} True'),
    'same image': ('i', P, {'id': 2}, ': image id 2 occurs twice; ids must be unique'),
    'mixed ids': ('i', P, {'id': '1'}, ': image ids must be all numbers or all str'),
    'no id': ('a', A, {'id': ...}, ": annotation entry 0 (from 0) has no 'id'; add"),
    'same box': ('a', A, {'id': 8}, ': annotation id 8 occurs twice; ids must be'),
    'null id': ('a', A, {'id': None}, f': annotation None: {ID} None'),
    'same class': ('c', C, {'id': 2}, ': category id 2 occurs twice; ids must be'),
    'no name': ('c', C, {'name': ...}, ": category 1 has no 'name'; add it"),
    'blank name': ('c', C, {'name': ' '}, ': category 1: name must be a string that'),
    'no unicode': ('c', C, {'name': '\ud800'}, ': category 1: name must be a string'),
    'synonyms': ('c', C, {'synonyms': 'tom'}, ': category 1: synonyms must be a list'),
    'no file': ('f', P, {'file_name': ...}, ": image 1 has no 'file_name'; add it"),
    'width': ('i', P, {'width': 'x'}, ': image 1: width must be a positive number'),
    'null width': ('s', P, {'width': None}, ': image 1: width must be a positive'),
    'flag': ('a', A, {'iscrowd': 2}, ': annotation 7: iscrowd must be 0 or 1, got 2'),
    'null flag': ('a', A, {'iscrowd': None}, ': annotation 7: iscrowd must be 0 or 1'),
    'ignore': ('a', A, {'ignore': 'no'}, ': annotation 7: ignore must be 0 or 1, got'),
    'area': ('a', A, {'area': -1}, ': annotation 7: area must be a finite number, not'),
    'area nan': ('a', A, {'area': math.nan}, ': annotation 7: area must be a finite'),
    'three': ('b', A, {'bbox': [1, 2, 3]}, f': annotation 7: {BOX} [1, 2, 3]'),
    'true box': ('b', A, {'bbox': [1, 2, 3, True]}, f': annotation 7: {BOX} [1, 2, 3,'),
    'negative': ('b', A, {'bbox': [1, 2, -3, 4]}, f': annotation 7: {BOX} [1, 2, -3,'),
    'infinite': ('b', A, {'bbox': [1, 2, 3, math.inf]}, f': annotation 7: {BOX} [1,'),
    'huge': ('b', A, {'bbox': [1, 2, 3, 10**400]}, f': annotation 7: {BOX} [1, 2, 3,'),
    'list': ('a', A, {'image_id': [1]}, ': annotation 7: image_id must be a whole'),
    'stray': ('a', A, {'image_id': 9}, ': annotation 7: image 9 is not in the file;'),
    'class': ('r', A, {'category_id': 9}, ': annotation 7: category 9 is not in the'),
    'outside': ('o', A, {'bbox': [500, 0, 5, 5]}, ': annotation 7: bbox [500, 0, 5,'),
}  # fmt: skip


def broken(part: str, change: object) -> dict:
    coco = good()
    if not isinstance(change, dict) or not change:
        coco[part] = change
        return coco
    entry = coco[part][0]
    for key, value in change.items():
        if value is ...:
            del entry[key]
        else:
            entry[key] = value
    return coco


@pytest.mark.parametrize('reader', READERS)
def test_a_good_file_is_read(reader, tmp_path):
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(good()))
    assert READERS[reader][0](path) is not None


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('fault', FAULTS)
def test_bad_files_are_the_same_sentence(fault, reader, tmp_path):
    sees, part, change, message = FAULTS[fault]
    read, looks_at = READERS[reader]
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(broken(part, change)))
    if sees not in looks_at:
        assert read(path) is not None
        return
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f'{path}{message}')
    assert type(caught.value) is InputError


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    'text',
    [
        '[' * 100_000,
        '{"images": ' + '[' * 100_000,
        '{"categories": [{"id": 1, "name": ' + '{"a": ' * 100_000,
        '{"categories": [{"id": ' + '1' * 10_000 + '}]}',
        '{"categories": [',
        '{"images": [] "annotations"',
        '3',
    ],
    ids=['list', 'images', 'name', 'digits', 'cut', 'comma', 'number'],
)
def test_files_that_are_not_json_are_named(text, reader, tmp_path):
    path = tmp_path / 'ann.json'
    path.write_text(text)
    if reader == 'data files' and text.startswith('['):
        return  # no COCO file: some other data set's
    with pytest.raises(ValueError, match=str(path)) as caught:
        READERS[reader][0](path)
    assert '100_000' not in str(caught.value) and len(str(caught.value)) < 400


def test_readers_agree_on_what_they_read(tmp_path):
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(good()))
    coco, content = read_coco(path), good()
    assert coco.images == {entry['id']: entry for entry in content['images']}
    assert coco.annotations == content['annotations'] and coco.content == content
    pieces = [(key, entry) for key, is_entry, entry in stream_coco(path) if is_entry]
    assert pieces == [(key, entry) for key in (P, A, C) for entry in content[key]]


def test_options_change_what_is_needed():
    content = broken(A, {'category_id': 9})
    kept = parse_coco(deepcopy(content), 'a.json', drop_unlisted=True)
    assert [a['id'] for a in kept.annotations] == [8]
    sizes = broken(P, {'width': '160', 'height': None})  # as MDETR writes them
    assert parse_coco(sizes, 'a.json', image_keys=(), keep_outside=True).images
    only = parse_coco({'images': [{'id': 3}]}, 'a', sections=(P,), image_keys=())
    assert list(only.images) == [3] and only.annotations == []
