"""Files of every reader, damaged at random: read, or one sentence that names the file.

``pytest tests/hostile --hypothesis-profile=long`` tries some thousand examples each.
"""

import copy
import json
import math
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip('hypothesis', reason="of the extra 'test'")
from hypothesis import given
from hypothesis import strategies as st

from fgclip2_det.cli.errors import is_input_error

pytestmark = pytest.mark.skipif(find_spec('mmdet') is None, reason='needs [mm]')
if find_spec('mmdet') is not None:
    from tests.hostile.fuzz_files import FILES, TREES

# how a file is damaged: bytes put at places (shares of the length), and a cut
DAMAGE = st.tuples(
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=8)), max_size=4),
    st.floats(0, 1) | st.none(),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([10**400, -1, 2**63, 1e308, '', ' ', '\ud800', '../a', '0']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
CHANGES = st.lists(
    st.tuples(st.lists(st.integers(0, 7), max_size=6), VALUES), min_size=1, max_size=3
)


def damaged(data: bytes, damage: tuple) -> bytes:
    changes, cut = damage
    out = bytearray(data)
    for share, new in changes:
        place = math.floor(share * len(out))
        out[place : place + len(new)] = new
    return bytes(out if cut is None else out[: math.floor(cut * len(out))])


def changed(tree: object, changes: list) -> object:
    """A tree of JSON with values replaced, each at a path of child numbers."""
    tree = copy.deepcopy(tree)
    for path, value in changes:
        part, where = tree, None
        for number in path:
            keys = list(part) if isinstance(part, dict) else range(_length(part))
            if not keys:
                break
            where, key = part, keys[number % len(keys)]
            part = part[key]
        if where is None:
            tree = value
        else:
            where[key] = value
    return tree


def _length(part: object) -> int:
    return len(part) if isinstance(part, list) else 0


def judge(read, folder: Path, name: str) -> None:
    """Fail on an error that is no sentence, or names no file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            read(folder)
    except Exception as error:
        assert is_input_error(error), f'{type(error).__name__}: {error}'
        assert Path(name).stem in str(error) or str(folder) in str(error), str(error)


@pytest.mark.parametrize('name', FILES if find_spec('mmdet') else ())
@given(damage=DAMAGE)
def test_damaged_bytes(name, damage):
    file, make, read = FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        data = make(Path(folder))
        (Path(folder) / file).write_bytes(damaged(data, damage))
        judge(read, Path(folder), file)


@pytest.mark.parametrize('name', TREES if find_spec('mmdet') else ())
@given(changes=CHANGES)
def test_changed_values(name, changes):
    file, tree, read = TREES[name]
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(changed(tree, changes))
        (Path(folder) / file).write_text(text)
        judge(read, Path(folder), file)


def test_a_fault_is_found():
    """The judge itself: another type, and a sentence that names nothing."""

    def other(folder):
        raise TypeError('x')

    def unnamed(folder):
        from fgclip2_det.io import InputError

        raise InputError('something is wrong')

    for read in (other, unnamed):
        with pytest.raises(AssertionError):
            judge(read, Path('/nowhere'), 'a.json')
    assert damaged(b'abc', ([(0.5, b'x')], None)) == b'axc'
    assert changed({'a': [1, 2]}, [([0, 1], 'x')]) == {'a': [1, 'x']}
