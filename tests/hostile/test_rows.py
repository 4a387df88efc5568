"""Odd and bad inputs: each is one sentence, or accepted where it may be."""

from collections import Counter

import pytest

from tests.hostile.all_rows import all_rows
from tests.hostile.rows import FINE, SENTENCE, outcome

ROWS = all_rows()
WAIT = 600  # seconds for a row: a busy machine stops it for longer than SECONDS


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row.kind}: {row.name}'[:60])
def test_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert outcome(row, tmp_path, WAIT) == (FINE if row.words is None else SENTENCE)


def test_rows_are_many_and_different():
    names = Counter((row.kind, row.name) for row in ROWS)
    assert max(names.values()) == 1
    if any(row.kind == 'shard' for row in ROWS):  # mmengine is there
        assert len(ROWS) >= 600
