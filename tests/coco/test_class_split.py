"""Class lists that a file cannot serve are told apart from those it may lack."""

import pytest

from fgclip2_det.coco.class_split import resolve_classes

NAMES = ('person', 'bicycle', 'white king', 'white queen', 'traffic light', 'sofa')


def categories(names=NAMES, **extra) -> list[dict]:
    return [{'id': i, 'name': name, **extra} for i, name in enumerate(names, 1)]


@pytest.mark.parametrize('name', ['bicycles', 'Sofa', 'traffic-light'])
def test_misspelt_novel_class_is_found(name):
    with pytest.raises(ValueError, match=rf"class '{name}' .* did you mean '"):
        resolve_classes(categories(), novel=[name], novel_may_lack=True)


def test_novel_class_may_lack_beside_a_listed_lookalike():
    base = ['person', 'white queen', 'white king']
    split = resolve_classes(
        categories(), base=base, novel=['white knight', 'dog'], novel_may_lack=True
    )
    assert split.novel_classes == ('white knight', 'dog')
    assert split.category_ids == (1, 4, 3, None, None)


def test_missing_class_shows_the_closest_and_five_names():
    with pytest.raises(ValueError) as info:
        resolve_classes(categories(), base=['persn'])
    message = str(info.value)
    assert "did you mean 'person'?" in message and message.endswith('light, ...')
    assert 'sofa' not in message and 'The 6 names' in message


@pytest.mark.parametrize('key', ['classes', 'base', 'novel'])
@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ('sofa', "expected a list, got a string: 'sofa'"),
        (5, 'expected a list, got int'),
        (['sofa', 5], 'list of names, got 5'),
    ],
)
def test_lists_must_be_lists_of_names(key, value, message):
    with pytest.raises(ValueError, match=rf'{key}\w*: expected a list') as info:
        resolve_classes(categories(), **{key: value})
    assert message in str(info.value)


@pytest.mark.parametrize('split', ['Base', 'val', None, ['base']])
def test_split_key_is_checked(split):
    with pytest.raises(ValueError, match=r"category 1 \('person'\) has the split"):
        resolve_classes(categories(split=split))
    assert resolve_classes(categories(split=split), base=['sofa']).classes == ('sofa',)


@pytest.mark.parametrize(
    ('splits', 'base', 'novel'),
    [
        (['novel', 'unused'] * 3, (), (NAMES[0], NAMES[2], NAMES[4])),
        (['novel'] * 6, (), NAMES),
        (['base', 'unused'] * 3, (NAMES[0], NAMES[2], NAMES[4]), ()),
    ],
)
def test_unused_categories_are_no_base_classes_for_want_of_others(splits, base, novel):
    marked = [
        entry | {'split': split}
        for entry, split in zip(categories(), splits, strict=True)
    ]
    split = resolve_classes(marked)
    assert (split.base_classes, split.novel_classes) == (base, novel)
    with pytest.raises(ValueError, match='correct the split of the categories'):
        resolve_classes(categories(split='unused'))
