"""Categories that are no classes, and classes of one name."""

import logging

import pytest

from fgclip2_det.coco.entries import (
    class_entries,
    note_equal_names,
    titles_of,
    used_categories,
    without_roots,
)
from fgclip2_det.io import notes


@pytest.fixture(autouse=True)
def said(caplog):
    notes._SAID.clear()
    caplog.set_level(logging.WARNING)


def categories(*rows) -> list[dict]:
    keys = ('id', 'name', 'supercategory')
    return [dict(zip(keys, row, strict=False)) for row in rows]


def kept(entries, used, asked=()) -> list:
    return [c['id'] for c in without_roots('a.json', entries, used, asked)]


def test_the_root_of_roboflow_is_left_out_with_one_line(caplog):
    entries = categories((0, 'pieces', 'none'), (1, 'king', 'pieces'),
                         (2, 'rook', 'pieces'))  # fmt: skip
    assert kept(entries, {1, 2}) == kept(entries, {2}) == kept(entries, set()) == [1, 2]
    [line] = caplog.messages
    assert line.startswith("a.json: category 0 ('pieces') has no box")
    assert kept(entries, {0, 1}) == [0, 1, 2]
    assert kept(entries, {1}, asked=['pieces']) == [0, 1, 2]


def test_a_root_may_bear_the_name_of_a_class():
    bare = categories((0, 'cat', 'none'), (1, 'cat'), (2, 'dog'))
    assert kept(bare, {1, 2}) == [1, 2]
    assert kept(bare, set()) == [0, 1, 2]  # nothing tells which is meant
    assert kept(bare, {0, 1}) == [0, 1, 2]
    named = categories((0, 'cat', 'none'), (1, 'cat', 'cat'), (2, 'dog', 'cat'))
    assert kept(named, {1, 2}) == kept(named, set()) == [1, 2]


def test_cocos_own_supercategories_are_no_roots():
    coco = categories((1, 'person', 'person'), (2, 'car', 'vehicle'))
    assert kept(coco, set()) == kept(coco, {2}) == [1, 2]
    assert kept(categories((5, 'cat', 'cat')), set()) == [5]
    assert kept(categories((5, 'cat'), (6, 'dog')), {6}) == [5, 6]


def test_a_class_with_parts_stays_in_a_file_of_results():
    """Without annotations a class may have boxes that are not there."""
    tree = categories((1, 'person'), (2, 'man', 'person'), (3, 'cat', 'animal'))
    assert kept(tree, set()) == [1, 2, 3]
    assert kept(tree, {2}) == [2, 3]


def test_classes_of_one_name(caplog):
    entries = categories((1, 'cat'), (2, 'dog'), (3, 'cat'))
    note_equal_names('a.json', entries)
    [line] = caplog.messages
    assert "categories [1, 3] are all named 'cat'; they count" in line
    assert titles_of(entries) == ['cat (id 1)', 'dog', 'cat (id 3)']


def test_used_categories():
    assert used_categories([{'category_id': 2}, {'category_id': []}, 3, {}]) == {2}
    assert used_categories(None) == set()


def test_classes_of_a_file():
    """A root stays where it has a box, is asked for, or counts as a class."""
    entries = categories((0, 'pieces', 'none'), (1, 'king', 'pieces'))
    content = {'categories': entries, 'annotations': [{'category_id': 1}]}
    assert class_entries('a.json', content) == entries[1:]
    assert class_entries('a.json', content, asked=['pieces']) == entries
    assert class_entries('a.json', content, counted=[0]) == entries
    assert class_entries('a.json', {'categories': entries}) == entries[1:]
