"""OVShapes as training records: nothing novel in them, and the same everywhere."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from fgclip2_det.datasets.ovshapes.classes import (
    EXTRA_CLASSES,
    OVSHAPES_CLASSES,
    classes_of,
)
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from pretrain.data import read_records
from pretrain.data.ovshapes import OVShapesAlignmentDataset, write_records

NUM, SEED = 40, 3


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('ovshapes')


@pytest.fixture(scope='module')
def data(root) -> OVShapesAlignmentDataset:
    return OVShapesAlignmentDataset(str(root), NUM, 96, SEED)


@pytest.fixture(scope='module')
def folder(data, root) -> Path:
    [folder] = root.iterdir()
    return folder


@pytest.fixture(scope='module')
def records(folder) -> dict[str, list[dict]]:
    return {
        language: json.loads((folder / f'train_records_v1_{language}.json').read_text())
        for language in ('en', 'zh')
    }


def texts_of(record: dict) -> list[str]:
    actual = [record['caption'], record['short_caption']]
    for box in record['bbox_info']:
        actual += [box['short_expr'], box['long_expr'], *box['long_expr_negs'].values()]
    return actual


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_no_text_names_a_pair_outside_the_base_classes(records, language):
    """Captions, phrases and negatives alike; a name may be a plural, or part of a
    longer phrase."""
    assert len(classes_of('novel', 'unused')) == 32
    counts = dict.fromkeys(OVSHAPES_CLASSES, 0)
    for record in records[language]:
        assert record.get('is_cn', False) == (language == 'zh')
        for text in texts_of(record):
            for each in OVSHAPES_CLASSES:
                if language == 'zh':
                    counts[each] += text.count(each.name_zh)
                else:
                    pattern = rf'\b{each.name}(e?s)?\b'
                    counts[each] += len(re.findall(pattern, text.lower()))
    for each in OVSHAPES_CLASSES:
        assert (counts[each] > 0) == (each.split == 'base'), each.name


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_texts_of_extra_colors(tmp_path, language):
    """They are named and are negatives; no novel or unused pair is, still."""
    data = OVShapesAlignmentDataset(
        str(tmp_path), NUM, 96, SEED, extra_colors=True, max_anns=None
    )
    actual = [data[i][0] for i in np.flatnonzero(data.languages == language)]
    negatives = ' | '.join(n for s in actual for each in s.hard_negatives for n in each)
    rest = ' | '.join(t for s in actual for t in (s.short, s.long, *s.phrases))
    named = drawn = 0
    for each in EXTRA_CLASSES:
        name = each.name_zh if language == 'zh' else each.name
        named += name in negatives
        drawn += name in rest
    assert named > 100 and drawn > 40  # of 120
    for each in classes_of('novel', 'unused'):
        name = each.name_zh if language == 'zh' else each.name
        assert name not in negatives + rest
    for sample in actual:
        for positive, each in zip(
            sample.hard_positives, sample.hard_negatives, strict=True
        ):
            assert len(set(each)) == 10 and positive not in each


def test_both_languages_describe_the_same_boxes(records, folder):
    coco = json.loads((folder / 'train.json').read_text())
    names = {c['id']: (c['name'], c['name_zh']) for c in coco['categories']}
    for number, image in enumerate(coco['images']):
        pair = records['en'][number], records['zh'][number]
        assert [record['f_path'] for record in pair] == [image['file_name']] * 2
        actual = [a for a in coco['annotations'] if a['image_id'] == image['id']]
        for k, annotation in enumerate(actual):
            x, y, w, h = annotation['bbox']
            expected = np.array([x, y, x + w, y + h]) / 96
            for record, name in zip(
                pair, names[annotation['category_id']], strict=True
            ):
                box = record['bbox_info'][k]
                np.testing.assert_allclose(box['bbox'], expected, atol=1e-6)
                assert box['short_expr'] == name and name in box['long_expr']
                assert list(box['long_expr_negs']) == [str(i) for i in range(10)]


def test_samples(root, records):
    """Each image in both languages; the hard positive is the long phrase."""
    data = OVShapesAlignmentDataset(str(root), NUM, 96, SEED, max_anns=None)
    assert len(data) == 2 * NUM
    assert [(data.languages == name).sum() for name in ('en', 'zh')] == [NUM, NUM]
    [sample], box = data[NUM + 1], records['zh'][1]['bbox_info'][0]
    assert sample.language == 'zh' and sample.image.size == (96, 96)
    assert sample.hard_positives[0] == box['long_expr']
    assert sample.hard_negatives[0] == list(box['long_expr_negs'].values())
    assert sample.phrases[0] in (box['short_expr'], box['long_expr'])
    assert sample.true_texts[0] == (box['short_expr'], box['long_expr'])
    np.testing.assert_allclose(sample.bboxes[0] / 96, box['bbox'], atol=1e-6)


def test_scaled_images_and_single_objects(root, data):
    small = OVShapesAlignmentDataset(str(root), NUM, 96, SEED, resize_to=48, max_anns=2)
    [sample], [whole] = small[0], data[0]
    assert sample.image.size == (48, 48) and len(sample.bboxes) <= 2
    halves = whole.bboxes / 2
    assert all(np.isclose(halves, box, atol=1e-4).all(1).any() for box in sample.bboxes)
    options = dict(view='objects', resize_to=32, max_anns=None)
    views = OVShapesAlignmentDataset(str(root), NUM, 96, SEED, **options)[0]
    assert len(views) == len(OVShapesAlignmentDataset(
        str(root), NUM, 96, SEED, max_anns=None)[0][0].bboxes)  # fmt: skip
    assert all(max(view.image.size) == 32 for view in views)
    assert all(view.short == view.phrases[0] for view in views)


def test_another_seed_gives_other_images_and_texts(records, tmp_path):
    folder = generate_ovshapes(tmp_path, 3, 1, 96, SEED + 1)
    other = json.loads(write_records(folder, 'en', SEED + 1).read_text())
    assert all(a != b for a, b in zip(other, records['en'], strict=False))


def test_records_are_written_once_and_whole(data, root, folder):
    """A second data set, and a second process, find them; nothing else is left."""
    paths = sorted(path.name for path in folder.iterdir())
    times = {path: path.stat().st_mtime_ns for path in folder.glob('*.json')}
    OVShapesAlignmentDataset(str(root), NUM, 96, SEED)
    assert {path: path.stat().st_mtime_ns for path in folder.glob('*.json')} == times
    assert not [name for name in paths if 'tmp' in name]
    assert len(read_records(folder / 'train_records_v1_zh.json')) == NUM
