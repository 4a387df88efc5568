"""Result lists of a detector that was asked, or that was run once with all names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.result_lists import RowCounts, read_results
from fgclip2_det.coco.result_rows import RowKeys
from fgclip2_det.coco.results import Results
from fgclip2_det.io.json_stream import stream_list

from .asks import Ask
from .pairs import AskedBoxes, AskedPairs, boxes_of_all_names


@dataclass(frozen=True)
class Answers:
    """What a result list holds.

    Attributes:
        boxes: of the pairs.
        counts: rows that were read and left out.
        by_ask: whether rows name their ask; else every image was taken as run once
            with all names.
        asks_without_rows: how many asks have no box.
    """

    boxes: AskedBoxes
    counts: RowCounts
    by_ask: bool
    asks_without_rows: int

    def remarks(self) -> list[str]:
        """Sentences on the rows that were read."""
        lines = self.counts.lines()
        if not self.by_ask:
            lines.insert(
                0,
                'rows have no ask_id: taken as of a detector that was run once with '
                'all its names; each ask got the rows of its names',
            )
        return lines


def read_answers(
    path: str | os.PathLike,
    truths: Truths,
    asks: Sequence[Ask],
    pairs: AskedPairs,
    ids: str = 'id',
    categories: str = 'id',
    drop_outside: bool = True,
) -> Answers:
    """Read a result list.

    Args:
        path: as for :func:`.read_results`; all rows have an ``ask_id``, or none has.
        truths: the ground truth.
        asks: what was asked.
        pairs: of the asks.
        ids, categories, drop_outside: see :func:`.read_results`.

    Raises:
        ValueError: as there; rows of unknown asks, of another image than their ask's,
            of names that were not asked for, or with and without an ask.
    """
    blocks = stream_list(Path(path))
    first = next(blocks, [])
    by_ask = any(isinstance(row, dict) and 'ask_id' in row for row in first)
    checked = _same_kind(path, chain([first], blocks), by_ask)
    options = {'categories': categories, 'drop_outside': drop_outside}
    if not by_ask:
        read = read_results(path, truths, ids=ids, blocks=checked, **options)
        boxes = boxes_of_all_names(pairs, read.results, truths)
    else:
        known = {ask.id: ask for ask in asks}
        moved = _to_asks(path, checked, known, RowKeys(truths, ids))
        read = read_results(path, _ask_images(truths, asks), blocks=moved, **options)
        boxes = _boxes_of_asks(path, read.results, truths, asks, pairs)
    seen = np.unique(pairs.ask_of_pairs()[boxes.pair])
    return Answers(boxes, read, by_ask, len(asks) - len(seen))


def has_ask_ids(path: str | os.PathLike) -> bool:
    """Whether the first rows of a result list name their asks."""
    first = next(stream_list(Path(path)), [])
    return any(isinstance(row, dict) and 'ask_id' in row for row in first)


def _same_kind(
    path: str | os.PathLike, blocks: Iterator[list], by_ask: bool
) -> Iterator[list]:
    """The blocks, whose rows must all name an ask, or none."""
    number = 0
    for block in blocks:
        for row in block:
            if isinstance(row, dict) and ('ask_id' in row) != by_ask:
                has = ('has no', 'have one') if by_ask else ('has an', 'have none')
                raise ValueError(
                    f'{path}: row {number} (from 0) {has[0]} ask_id, and others '
                    f'{has[1]}; write it in all rows or in none'
                )
            number += 1
        yield block


def _to_asks(
    path: str | os.PathLike, blocks: Iterator[list], known: dict, keys: RowKeys
) -> Iterator[list]:
    """Rows with their ask in place of their image."""
    number = 0
    for block in blocks:
        moved = []
        for row in block:
            if isinstance(row, dict) and 'image_id' in row:
                fault = _ask_fault(row, known, keys)
                if fault:
                    raise ValueError(f'{path}: row {number} (from 0): {fault}')
                row = row | {'image_id': _title(row['ask_id'])}
            moved.append(row)
            number += 1
        yield moved


def _ask_fault(row: dict, known: dict, keys: RowKeys) -> str | None:
    ask_id, image_id = row['ask_id'], row['image_id']
    ask = known.get(ask_id) if isinstance(ask_id, int) else None
    if ask is None:
        return (
            f'ask_id {ask_id!r} is not among the {len(known)} asks; give the file that '
            'the detector was asked from'
        )
    own = keys.truths.image_index[ask.image_id]
    if not isinstance(image_id, int | str) or keys.images.get(image_id) != own:
        return (
            f'ask {ask_id} is about image {ask.image_id!r}, the row is of image '
            f'{image_id!r}'
        )
    return None


def _ask_images(truths: Truths, asks: Sequence[Ask]) -> Truths:
    """The ground truth with an image for each ask, for the checks of rows."""
    images = [
        truths.images[truths.image_index[ask.image_id]] | {'id': _title(ask.id)}
        for ask in asks
    ]
    index = {image['id']: n for n, image in enumerate(images)}
    return replace(truths, images=images, image_index=index, file_names={})


def _title(ask_id: int) -> str:
    return f'of ask {ask_id}'


def _boxes_of_asks(
    path: str | os.PathLike,
    results: Results,
    truths: Truths,
    asks: Sequence[Ask],
    pairs: AskedPairs,
) -> AskedBoxes:
    """Results whose images are asks, by pair."""
    count = len(truths.categories)
    asked = pairs.ask_of_pairs() * count + pairs.category
    keys = results.image.astype(np.int64) * count + results.category
    order = np.argsort(asked, kind='stable')
    place = np.searchsorted(asked[order], keys).clip(max=len(order) - 1)
    pair = order[place]
    wrong = asked[pair] != keys
    if wrong.any():
        row = int(np.argmax(wrong))
        ask = asks[results.image[row]]
        category = truths.categories[results.category[row]]
        raise ValueError(
            f'{path}: ask {ask.id} has a row of category {category["id"]!r} '
            f'({category["name"]!r}), which it does not ask for; it asks for '
            f'{", ".join(map(repr, ask.names[:5]))}'
        )
    return AskedBoxes(pair, results.bboxes, results.scores)
