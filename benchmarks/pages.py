"""Numbers of README and ``docs`` that come from the files in ``docs/results``.

A comment behind a number names its place: ``0.938<!--= shapes/base_ap50 -->`` is the
number at ``base_ap50`` of ``docs/results/shapes.json``, rounded to the digits that
stand there. ``<!--=row runs/*/{base,novel}/ap50:{mean,std} -->`` gives the places of
several: the numbers with a decimal point before it in its line, in the order of the
product of the braces (:func:`expanded`).
A number of a result without such a comment is a fault (:func:`check`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, ROOT, ResultError, read_record, value_at

SIGN = r'(?:(?<![\w.])-)?'
TAGGED = re.compile(rf'(?P<number>{SIGN}\d[\d,]*(?:\.\d+)?)<!--= (?P<place>[^>]+?) -->')
ROW = re.compile(r'(?P<cells>[^\n]*?)<!--=row (?P<place>[^>]+?) -->')
# Code, targets of links, and numbers with a comment of their own are passed over.
CELL = re.compile(
    r'`[^`\n]*`|\]\([^)\n]*\)|[\d.,]*<!--[^>]*-->|'
    rf'(?P<number>{SIGN}(?<![\w.])(?:\d{{1,3}}(?:,\d{{3}})+|\d+)\.\d+(?!\w|\.\d))'
)
BRACES = re.compile(r'\{\{([^{}]*)\}\}|\{([^{}]*)\}')
# Two digits after the point and more: settings with such a number stand in backticks.
FIGURE = re.compile(r'(?<![\w.:/-])(?<!Python )\d[\d,]*\.\d{2,4}(?![\w.]*\w)(?!<!--=)')
CODE = re.compile(r'^```.*?^```$|`[^`\n]*`|\]\([^)\n]*\)', re.MULTILINE | re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """README, in both languages, and every page of ``docs``."""
    return [*sorted(root.glob('README*.md')), *sorted((root / 'docs').glob('*.md'))]


class Numbers:
    """Looks numbers up in the results' files; each is read once."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        self.records: dict[str, dict[str, Any]] = {}

    def at(self, place: str, like: str) -> str:
        """The number at NAME/PATH, written as ``like`` is.

        Raises:
            ResultError: there is no such file or number.
        """
        name, _, path = place.partition('/')
        if name not in self.records:
            self.records[name] = read_record(name, self.folder)
        number = value_at(self.records[name]['output'], path)
        digits = len(like.partition('.')[2])
        return f'{number:,.{digits}f}' if ',' in like else f'{number:.{digits}f}'


def filled(text: str, numbers: Numbers) -> str:
    """A page with the numbers of the files."""

    def replace(match: re.Match[str]) -> str:
        number = numbers.at(match['place'], match['number'])
        return number + match[0][len(match['number']) :]

    def replace_row(match: re.Match[str]) -> str:
        places = iter(_row_places(match))

        def replace_cell(cell: re.Match[str]) -> str:
            if not (number := cell['number']):
                return cell[0]
            return numbers.at(next(places), number)

        cells = CELL.sub(replace_cell, match['cells'])
        return cells + match[0][len(match['cells']) :]

    return ROW.sub(replace_row, TAGGED.sub(replace, text))


def expanded(place: str) -> list[str]:
    """``a/{b,c}`` as ``a/b`` and ``a/c``; several braces in the order of a product, of
    which double ones, ``{{b,c}}``, change fastest."""
    pieces = BRACES.split(place)  # text, between double braces, between single ones
    double = [piece.split(',') for piece in pieces[1::3] if piece is not None]
    single = [piece.split(',') for piece in pieces[2::3] if piece is not None]
    found = []
    for chosen in itertools.product(*single, *double):
        slow, fast = iter(chosen[: len(single)]), iter(chosen[len(single) :])
        text = pieces[0]
        for two, after in zip(pieces[1::3], pieces[3::3], strict=True):
            text += next(slow if two is None else fast) + after
        found.append(text)
    return found


def _row_places(row: re.Match[str]) -> list[str]:
    """A place for each number of a row.

    Raises:
        ResultError: they are not as many.
    """
    places, found = expanded(row['place']), _decimals(row['cells'])
    if len(places) != len(found):
        raise ResultError(
            f'{row["place"]}: {len(places)} places for the {len(found)} numbers with '
            f'a decimal point before it in its line: {", ".join(found)}'
        )
    return places


def _tagged(text: str) -> Iterator[tuple[str, str]]:
    """Numbers of a page and their places."""
    for match in TAGGED.finditer(text):
        yield match['number'], match['place']
    for row in ROW.finditer(text):
        yield from zip(_decimals(row['cells']), _row_places(row), strict=True)


def _decimals(cells: str) -> list[str]:
    """Numbers of a row that have no comment of their own."""
    return [cell['number'] for cell in CELL.finditer(cells) if cell['number']]


def figures_without_file(text: str) -> list[str]:
    """Numbers with two to four digits after the point, outside of code and links, and
    without a place behind them or at the end of their row, in order."""
    return FIGURE.findall(CODE.sub('', ROW.sub('', text)))


def write(root: Path = ROOT) -> list[Path]:
    """Write the numbers of all pages; returns the pages that changed.

    Raises:
        ResultError: a number is not there; no page is written then.
    """
    numbers, changed = Numbers(root / 'docs/results'), {}
    for page in pages(root):
        text = page.read_text(encoding='utf-8')
        try:
            new = filled(text, numbers)
        except ResultError as error:
            raise ResultError(f'{page.relative_to(root)}: {error}') from error
        if new != text:
            changed[page] = new
    for page, text in changed.items():
        page.write_text(text, encoding='utf-8')
    return list(changed)


def check(root: Path = ROOT) -> Iterator[str]:
    """What is wrong, a sentence each: numbers that differ from their file, and numbers
    of results that have none."""
    numbers = Numbers(root / 'docs/results')
    for page in pages(root):
        name, text = page.relative_to(root).as_posix(), page.read_text(encoding='utf-8')
        try:
            tagged = list(_tagged(text))
        except ResultError as error:
            yield f'{name}: {error}'
            continue
        for own, place in tagged:
            try:
                number = numbers.at(place, own)
            except ResultError as error:
                yield f'{name}: {own} ({place}): {error}'
                continue
            if number != own:
                yield f'{name}: {own} stands where {place} is {number}'
        for figure in figures_without_file(text):
            yield (
                f'{name}: {figure} has no file; record its command in docs/results, or '
                f'put it into backticks if it is a setting'
            )
