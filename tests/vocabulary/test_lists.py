"""Built-in lists, text files and COCO files."""

import json
import re
import warnings
from collections import Counter

import pytest

from fgclip2_det.vocabulary import LIST_NAMES, Vocabulary, check_names, load_list

SIZES = dict(
    coco=80, ov_coco=65, lvis=1203, ov_lvis=1203, objects365=365, voc=20,
    openimages=500, ram=4585,
)  # fmt: skip


@pytest.mark.parametrize('name', LIST_NAMES)
def test_sizes_and_silence(name):
    """Built without a warning, in English with and without aliases."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        vocabulary = Vocabulary.from_list_name(name)
        with_aliases = Vocabulary.from_list_name(name, aliases=True)
    assert len(vocabulary) == len(with_aliases) == SIZES[name]
    assert vocabulary.names == with_aliases.names == list(load_list(name).names)
    assert all(len(entry) == 1 for entry in vocabulary.aliases)


def test_lists_agree_with_mmdetection():
    datasets = pytest.importorskip('mmdet.datasets')
    for name, dataset in (
        ('coco', 'CocoDataset'),
        ('lvis', 'LVISV1Dataset'),
        ('voc', 'VOCDataset'),
    ):
        theirs = getattr(datasets, dataset).METAINFO['classes']
        ours = load_list(name).names
        differ = [pair for pair in zip(ours, theirs, strict=True) if len(set(pair)) > 1]
        expected = [('speaker_(stero_equipment)', 'speaker_(stereo_equipment)')]
        assert differ == (expected if name == 'lvis' else [])


def test_splits():
    metainfo = pytest.importorskip('fgclip2_det.coco.published_splits')
    vocabulary = Vocabulary.from_list_name('ov_coco')
    assert vocabulary.base_classes == list(metainfo.OV_COCO_BASE_CLASSES)
    assert vocabulary.novel_classes == list(metainfo.OV_COCO_NOVEL_CLASSES)
    assert vocabulary.names == vocabulary.base_classes + vocabulary.novel_classes
    lvis = load_list('ov_lvis')
    assert Counter(lvis.frequency) == dict(f=405, c=461, r=337)
    novel = Vocabulary.from_list_name('ov_lvis', 'zh').novel_classes
    chinese = zip(lvis.chinese, lvis.frequency, strict=True)
    assert novel == [name for name, frequency in chinese if frequency == 'r']
    assert Vocabulary.from_list_name('lvis').is_base is None  # no published split


@pytest.mark.parametrize(
    ('name', 'ram_tags'), [('coco', 56), ('lvis', 723), ('voc', None)]
)
def test_chinese_names(name, ram_tags):
    """All there, unique, each with its source; counts as the docstring says."""
    names = load_list(name)
    sources = Counter(names.chinese_sources)
    assert set(sources) == {'ram_tags', 'own translation'}
    assert ram_tags in (None, sources['ram_tags'])
    assert all(re.search('[\u4e00-\u9fff]', zh) for zh in names.chinese)
    findings = check_names(names.entries('both', aliases=True))
    actual = [f.names for f in findings if f.kind in ('duplicate', 'shared')]
    # LVIS's own: a synonym of wristlet
    assert actual == ([('wristband', 'wrist_band')] if name == 'lvis' else [])
    by_name = dict(zip(names.names, names.chinese, strict=True))
    if name == 'coco':
        assert (by_name['skis'], by_name['snowboard']) == ('双板滑雪板', '单板滑雪板')


def test_languages():
    for language, first in (
        ('en', ['dog']), ('zh', ['狗']), ('both', ['dog', '狗']), ('mixed', ['狗'])
    ):  # fmt: skip
        vocabulary = Vocabulary.from_list_name('coco', language)
        assert first in vocabulary.aliases
    mixed = Vocabulary.from_list_name('objects365', 'mixed')
    assert mixed.names == list(load_list('objects365').names)
    with pytest.raises(ValueError, match="'Person' has no Chinese name"):
        Vocabulary.from_list_name('objects365', 'zh')
    with pytest.raises(ValueError, match='language must be one of'):
        Vocabulary.from_list_name('coco', 'de')
    with pytest.raises(ValueError, match=r"lists are coco, .*; got 'imagenet'"):
        Vocabulary.from_list_name('imagenet')


def test_text_file(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text(
        '# animals\ncat\n\n sofa | couch|沙发 \nC# book\n', encoding='utf-8'
    )
    vocabulary = Vocabulary.from_file(path, templates='photo', novel_classes=['cat'])
    assert vocabulary.aliases == [['cat'], ['sofa', 'couch', '沙发'], ['C# book']]
    assert vocabulary.novel_classes == ['cat']
    assert vocabulary.prompts()[0] == ['a photo of a cat']
    for content, match in (
        (b'# nothing\n', 'holds no names'),
        (b'cat\nsofa||couch\n', 'line 2: expected names'),
        (b'\xff\xfe\xff', 'is not complete utf-16 text'),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=match):
            Vocabulary.from_file(path)
    with pytest.raises(ValueError, match='cannot be read'):
        Vocabulary.from_file(tmp_path / 'nowhere.txt')


def test_coco_file(tmp_path):
    path = tmp_path / 'ann.json'
    cat = dict(id=7, name='cat', name_zh='猫', synonyms=['cat', 'kitty'])
    dog = dict(id=2, name='dog', name_zh='狗')

    def write(*categories) -> None:
        path.write_text(json.dumps(dict(categories=categories)), encoding='utf-8')

    write(cat, dog)
    assert Vocabulary.from_coco(path).names == ['cat', 'dog']
    both = Vocabulary.from_coco(path, 'both', aliases=True, novel_classes=['dog'])
    assert both.aliases == [['cat', 'kitty', '猫'], ['dog', '狗']]
    assert both.novel_classes == ['dog']
    bird = dict(id=1, name='bird', split='unused')
    write(dict(dog, split='novel'), dict(cat, split='base'), bird)
    split = Vocabulary.from_coco(path, 'zh')
    assert split.names == ['狗', '猫'] and split.novel_classes == ['狗']
    assert Vocabulary.from_coco(path, base_classes=['dog']).novel_classes == ['cat']
    write(dict(cat, split='seen'))
    with pytest.raises(ValueError, match="'base', 'novel' or 'unused', got"):
        Vocabulary.from_coco(path)
    for text, message in (
        ('{', 'cannot be read as JSON'),
        ('[]', 'must be a JSON object'),
        ('{"categories": [{"id": 1}]}', "category 1 has no 'name'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            Vocabulary.from_coco(path)
