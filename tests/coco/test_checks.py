"""Annotation files with values of the wrong type are named, with the entry."""

import json
import math

import pytest

from fgclip2_det.datasets import OpenVocabCocoDataset


@pytest.fixture
def build(tmp_path):
    """Function that builds a dataset after one change of a good annotation file."""

    def build_changed(part=None, change=None, **kwargs) -> OpenVocabCocoDataset:
        coco = {
            'images': [{'id': 1, 'file_name': '1.png', 'width': 160, 'height': 96}],
            'categories': [{'id': i, 'name': n} for i, n in ((1, 'cat'), (2, 'dog'))],
            'annotations': [
                {'id': 7, 'image_id': 1, 'category_id': 1, 'bbox': [9, 9, 9, 9]}
            ],
        }
        if isinstance(change, dict):
            coco[part][0] |= change
        elif part:
            coco[part] = change
        (tmp_path / 'ann.json').write_text(json.dumps(coco))
        return OpenVocabCocoDataset(
            data_root=str(tmp_path), **({'ann_file': 'ann.json'} | kwargs)
        )

    return build_changed


@pytest.mark.parametrize(
    ('part', 'change', 'message'),
    [
        ('annotations', None, "must hold a list of 'annotations', got None"),
        ('images', 'abc', "must hold a list of 'images', got 'abc'"),
        ('annotations', [5], r'annotation entry 0 \(from 0\) must be an object, got 5'),
        ('categories', [None], 'category entry 0 .* got None'),
        (
            'images',
            {'width': 'abc'},
            "image 1: width must be a positive number, got 'a",
        ),
        ('images', {'height': None}, 'image 1: height must be .* got None'),
        ('images', {'width': 0}, 'image 1: width must be .* got 0'),
        (
            'images',
            {'file_name': None},
            'image 1: file_name must be a string that is not blank, got None',
        ),
        ('images', {'id': [1]}, r'image \[1\]: id must be .* got \[1\]'),
        ('annotations', {'id': [7]}, r'annotation \[7\]: id must be'),
        ('annotations', {'category_id': [1]}, 'annotation 7: category_id must be'),
        ('annotations', {'image_id': {}}, 'annotation 7: image_id must be'),
        (
            'annotations',
            {'area': 'x'},
            "annotation 7: area must be .* negative, got 'x'",
        ),
        ('annotations', {'area': math.nan}, 'annotation 7: area must be .* got nan'),
        ('annotations', {'iscrowd': 2}, 'annotation 7: iscrowd must be 0 or 1, got 2'),
        ('annotations', {'iscrowd': 'no'}, 'annotation 7: iscrowd must be 0 or 1'),
        ('categories', {'name': 3}, 'category 1: name must be a string .* got 3'),
        ('categories', {'name_zh': 3}, 'category 1: name_zh must be a string, got 3'),
    ],
)
def test_entry_of_another_type_is_named(build, part, change, message):
    with pytest.raises(ValueError, match=rf'ann\.json:? {message}'):
        build(part, change)


def test_optional_keys_may_be_absent_or_null(build):
    assert len(build('categories', {'name_zh': None, 'name_en': None})) == 1
    assert len(build('annotations', {'iscrowd': 1, 'area': 4.5})) == 1


def test_class_errors_name_the_file(build, tmp_path):
    with pytest.raises(ValueError, match=r"ann\.json: .*did you mean 'dog'"):
        build(novel_classes=['dogs'], only_base=True)
    (tmp_path / 'split.json').write_text('{"base": "cat", "novel": ["dog"]}')
    with pytest.raises(ValueError, match=r'split\.json\): base_classes: expected a l'):
        build(class_split='split.json')


def test_folder_as_annotation_file(build, tmp_path):
    with pytest.raises(ValueError, match='not a complete JSON file'):
        build(ann_file=str(tmp_path))


@pytest.mark.parametrize(
    'options', [{'filter_empty_gt': True}, {'filter_empty_gt': False, 'min_size': 999}]
)
def test_training_needs_an_image_that_passes_the_filter(build, options):
    choice = {'novel_classes': ['cat'], 'only_base': True, 'filter_cfg': options}
    with pytest.raises(ValueError, match=r'ann\.json: no image with boxes of base cla'):
        build(**choice)
    assert len(build(**choice, test_mode=True)) == 1
