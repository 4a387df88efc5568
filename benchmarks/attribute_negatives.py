"""Automatic attribute negatives beside those that people chose for FG-OVD.

For the distinct true captions of a file: how many get negatives from the word lists,
how many words a negative changes, and how often it is one of the file's own.

    python -m benchmarks.attribute_negatives data/fgovd/*_attributes_llava.jsonl
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.vocabulary.negatives import NUM_NEGATIVES, find_negatives

COLUMNS = (
    'captions',
    'share with negatives',
    'negatives of one',
    'words changed',
    "share among the file's",
    'words changed there',
)


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def changed(first: str, second: str) -> int:
    """Words of the second text that the first does not have at their place."""
    matcher = difflib.SequenceMatcher(None, words(first), words(second), False)
    spans = [max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in matcher.get_opcodes()
             if tag != 'equal']  # fmt: skip
    return sum(spans)


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / max(len(listed), 1)


def row(path: Path) -> dict[str, float]:
    """Figures of a file, by :data:`COLUMNS`."""
    theirs: dict[str, set[str]] = {}
    for _, entry in read_fgovd_lines(path):
        own = theirs.setdefault(entry['pos_expression'][0], set())
        own.update(entry['neg_expression'])
    ours = find_negatives([[caption] for caption in theirs], NUM_NEGATIVES)
    pairs = [(caption, text) for caption, texts in ours.items() for text in texts]
    listed = {
        caption: {' '.join(words(t)) for t in own} for caption, own in theirs.items()
    }
    hits = [' '.join(words(text)) in listed[caption] for caption, text in pairs]
    own_pairs = [(caption, text) for caption, own in theirs.items() for text in own]
    figures = [
        len(ours) / len(theirs),
        len(pairs) / max(len(ours), 1),
        mean(changed(*pair) for pair in pairs),
        mean(hits),
        mean(changed(*pair) for pair in own_pairs),
    ]
    return dict(zip(COLUMNS, [len(theirs), *figures], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', type=Path)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    print('| file | ' + ' | '.join(COLUMNS) + ' |\n' + '|---' * 7 + '|')
    rows = {path.name: row(path) for path in args.files}
    for name, figures in rows.items():
        captions, *others = figures.values()
        cells = [name, str(captions), *(f'{value:.3f}' for value in others)]
        print('| ' + ' | '.join(cells) + ' |')
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
