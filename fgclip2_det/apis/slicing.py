"""Large images in overlapping slices: where they lie, and how results are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral, Real
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.apis.results import Loaded, Outcome
from fgclip2_det.models.detectors.saved_predictions import SavedPredictions

NameScores = tuple[tuple[str, float], ...]  # the best first
Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in the image's pixels
MARGIN = 0.02  # of a slice: a box this close to its border is cut by it
INSIDE = 0.8  # of a cut box's area inside a better one: a part of that object


@dataclass(frozen=True)
class Slices:
    """How an image is divided.

    Args:
        size: length of a slice's sides in pixels. An image that is no larger is
            detected in one pass, as without slices.
        overlap: least share of a slice that it has in common with its neighbours. What
            is narrower than ``size * overlap`` is complete in at least one of them.
        whole: whether the whole image is one more slice, for objects that are larger
            than a slice.
        iou: boxes of one name, from different slices, are one object if their parts in
            the area common to both slices have a higher IoU.

    Raises:
        ValueError: for values outside their range.

    Reference: SAHI (arXiv:2202.06934) slices images; the merging is our own.
    """

    size: int = 640
    overlap: float = 0.2
    whole: bool = False
    iou: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, Integral):
            raise ValueError(
                f'size of slices must be a whole number, got {self.size!r}'
            )
        object.__setattr__(self, 'size', int(self.size))  # also of NumPy
        for name in ('overlap', 'iou'):
            if not isinstance(getattr(self, name), Real):
                raise ValueError(
                    f'{name} must be a number, got {getattr(self, name)!r}'
                )
        if self.size < 32:
            raise ValueError(f'size of slices must be 32 or more, got {self.size}')
        if not 0 <= self.overlap < 1:
            raise ValueError(f'overlap must lie in [0, 1), got {self.overlap}')
        if not 0 < self.iou < 1:
            raise ValueError(f'iou must lie in (0, 1), got {self.iou}')

    @classmethod
    def of(cls, given: Slices | Mapping | int | bool | None) -> Slices | None:
        """From what a user gives: options, a size, True for the defaults, or None.

        Raises:
            ValueError: for options that do not exist.
        """
        if given is None or given is False:
            return None
        if isinstance(given, cls):
            return given
        if given is True:
            return cls()
        if not isinstance(given, Mapping):
            return cls(cast(int, given))  # checked there
        unknown = given.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(
                f'slices take {", ".join(cls.__dataclass_fields__)}, got '
                f'{", ".join(sorted(unknown))}'
            )
        return cls(**given)

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """Slices of an image, row by row, all of one size, then the whole if asked.

        Args:
            size: (w, h) in pixels.
        """
        width, height = size
        tile_w, tile_h = min(self.size, width), min(self.size, height)
        windows = [
            (x, y, x + tile_w, y + tile_h)
            for y in self._starts(height)
            for x in self._starts(width)
        ]
        if self.whole and len(windows) > 1:
            windows.append((0, 0, width, height))
        return windows

    def _starts(self, length: int) -> list[int]:
        """Evenly spaced, the first at 0, the last slice ending with the image."""
        if length <= self.size:
            return [0]
        step = max(1, int(self.size * (1 - self.overlap)))
        steps = -(-(length - self.size) // step)
        return [round(i * (length - self.size) / steps) for i in range(steps + 1)]


def merge_slices(
    parts: Sequence[Detections],
    windows: Sequence[Window],
    size: tuple[int, int],
    iou: float = 0.5,
    best_names: Callable[[Sequence[NameScores]], NameScores] | None = None,
) -> Detections:
    """Detections of an image from those of its slices.

    Two boxes of one name from different slices are one object if their parts in the
    area that both slices see agree, so a box that a border cuts finds its other half.
    Of the boxes of an object each side is that of the highest-scored one that is not
    cut there, or the outermost; its score is the highest. Boxes of one slice are never
    merged: the detector has told them apart. Without a prompt, the names need not
    agree: whole boxes are merged whatever their names, and boxes that a border cuts if
    one name is among those of both. Their names come from all of them.

    Args:
        parts: of each slice, boxes in its own pixels.
        windows: of the slices.
        size: (w, h) of the image in pixels.
        iou: see :class:`Slices`.
        best_names: the names of an object of those of its boxes, the best box first,
            see :meth:`.PromptFree.best_names`; None: those of its best box.

    Returns:
        Boxes in the image's pixels, scores descending.
    """
    shifts = [torch.tensor([w[0], w[1]] * 2, dtype=torch.float32) for w in windows]
    bboxes = torch.cat([p.bboxes + s for p, s in zip(parts, shifts, strict=True)])
    scores = torch.cat([part.scores for part in parts])
    labels = torch.cat([part.labels for part in parts])
    counts = torch.tensor([len(part) for part in parts])
    of_slice = torch.arange(len(parts)).repeat_interleave(counts)
    frames = torch.tensor(windows, dtype=torch.float32).reshape(-1, 4)
    cut = _cut_sides(bboxes, frames[of_slice], size)
    objects = _Objects(of_slice.tolist())
    free = all(part.candidates is not None for part in parts)
    kinds = torch.zeros_like(labels) if free else labels
    listed = [own for part in parts for own in part.candidates or ()]
    names = [{name for name, _ in own} for own in listed]

    def alike(first: int, second: int, whole: bool) -> bool:
        return not free or whole or bool(names[first] & names[second])

    found_pairs = _pairs(bboxes, kinds, cut, of_slice, frames, iou, alike)
    pairs = sorted(found_pairs, reverse=True)
    for _, first, second in pairs:
        objects.join(first, second)
    found = []
    for members in objects.groups():
        members = sorted(members, key=lambda i: -float(scores[i]))
        box, still_cut = _box_of(bboxes[members], cut[members])
        seen = {int(of_slice[i]) for i in members}
        found.append(_Found(members, box, still_cut, seen))
    found.sort(key=lambda each: (-float(scores[each.row]), each.row))
    kept = _without_duplicates(found, kinds, labels, iou)
    best = torch.tensor([each.row for each in kept], dtype=torch.long)
    boxes = torch.stack([each.box for each in kept]) if kept else bboxes[:0]
    named = None
    if free:
        choose = best_names or (lambda lists: lists[0])
        named = tuple(choose([listed[row] for row in each.rows]) for each in kept)
    return Detections(boxes, scores[best], labels[best], parts[0].classes, '', named)


class _Found(NamedTuple):
    """An object: its rows by falling score, box, sides that are cut, and slices."""

    rows: list[int]
    box: Tensor
    cut: Tensor
    slices: set[int]

    @property
    def row(self) -> int:
        """The highest-scored one."""
        return self.rows[0]


class _Objects:
    """Groups of boxes, at most one of a slice in each."""

    def __init__(self, of_slice: list[int]) -> None:
        self._group = list(range(len(of_slice)))
        self._members = {i: [i] for i in self._group}
        self._slices = {i: {number} for i, number in enumerate(of_slice)}

    def join(self, first: int, second: int) -> None:
        """Make one group of two, unless a slice has boxes in both."""
        a, b = self._group[first], self._group[second]
        if a == b or self._slices[a] & self._slices[b]:
            return
        for member in self._members[b]:
            self._group[member] = a
        self._members[a] += self._members.pop(b)
        self._slices[a] |= self._slices.pop(b)

    def groups(self) -> list[list[int]]:
        return list(self._members.values())


def _cut_sides(bboxes: Tensor, frames: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, 4) bool: sides at a border of the box's slice that is not the image's."""
    ends = torch.tensor([0, 0, *size], dtype=torch.float32)
    margin = (frames[:, 2:] - frames[:, :2]).amax(1, keepdim=True) * MARGIN
    outward = torch.tensor([-1.0, -1, 1, 1])  # positive: beyond the border
    return ((bboxes - frames) * outward >= -margin) & (frames != ends)


def _pairs(
    bboxes: Tensor,
    labels: Tensor,
    cut: Tensor,
    of_slice: Tensor,
    frames: Tensor,
    iou: float,
    alike: Callable[[int, int, bool], bool],
) -> Iterator[tuple[float, int, int]]:
    """IoU and rows of boxes of different slices that are one object; ``alike`` says of
    two rows, and whether both boxes are whole, if they may be."""
    rows = [(of_slice == i).nonzero()[:, 0] for i in range(len(frames))]
    for i, j in combinations(range(len(frames)), 2):
        first, second = rows[i], rows[j]
        low = frames[i, :2].maximum(frames[j, :2])
        high = frames[i, 2:].minimum(frames[j, 2:])
        if not len(first) or not len(second) or (low >= high).any():
            continue
        a, b = bboxes[first], bboxes[second]
        common = _iou(_clip(a, low, high), _clip(b, low, high))
        either = cut[first].any(1)[:, None] | cut[second].any(1)
        agreement = torch.where(either, common, _iou(a, b))
        same = labels[first][:, None] == labels[second]
        for m, n in ((agreement > iou) & same).nonzero().tolist():
            rows_of_pair = int(first[m]), int(second[n])
            if alike(*rows_of_pair, not either[m, n]):
                yield float(agreement[m, n]), *rows_of_pair


def _box_of(bboxes: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
    """(4,) box of an object and whether its sides are cut, from (m, 4) of its parts,
    the highest score first."""
    outermost = torch.cat([bboxes[:, :2].amin(0), bboxes[:, 2:].amax(0)])
    first_whole = (~cut).float().argmax(0, keepdim=True)
    always = cut.all(0)
    return torch.where(always, outermost, bboxes.gather(0, first_whole)[0]), always


def _without_duplicates(
    found: Sequence[_Found], kinds: Tensor, labels: Tensor, iou: float
) -> list[_Found]:
    """Objects without those that a better one covers: one of the same kind from other
    slices with a high IoU, or one of the same name, if a border cuts the part."""
    kept: list[_Found] = []
    for each in found:
        others = [o for o in kept if kinds[o.row] == kinds[each.row]]
        if others:
            boxes = torch.stack([other.box for other in others])
            apart = torch.tensor([not each.slices & other.slices for other in others])
            hidden = apart & (_iou(each.box[None], boxes)[0] > iou)
            if each.cut.any():
                over = _overlap(each.box[None], boxes)[0]
                named = labels[[other.row for other in others]] == labels[each.row]
                hidden |= (over >= INSIDE * _area(each.box)) & named
            if hidden.any():
                continue
        kept.append(each)
    return kept


def _clip(boxes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return boxes.maximum(low.repeat(2)).minimum(high.repeat(2))


def _area(boxes: Tensor) -> Tensor:
    """(...,) of (..., 4) boxes; 0 where a side is negative."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) areas of the intersections of (n, 4) and (m, 4) boxes."""
    low = a[:, None, :2].maximum(b[:, :2])
    high = a[:, None, 2:].minimum(b[:, 2:])
    return (high - low).clamp(min=0).prod(-1)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) IoU; 0 for boxes without area."""
    over = _overlap(a, b)
    return over / (_area(a)[:, None] + _area(b) - over).clamp(min=1e-6)


class SliceMethods:
    """What the inferencer does with slices."""

    def _check_slices(self) -> None:
        own: Any = self  # the inferencer
        if isinstance(own.system.detector, SavedPredictions):
            raise ValueError(
                'saved results are of whole images; leave slices out, or give the '
                'detector itself'
            )

    def _detect_slices(
        self, source: InputImage, number: int, cut: Slices, score_thr: float, size: int
    ) -> Outcome:
        """An image from its slices, ``size`` of them a pass."""
        own: Any = self  # the inferencer
        try:
            image = source.load()
        except ValueError as error:
            return Outcome(source, error=str(error))
        windows = cut.windows(image.size)
        parts = [source]
        if len(windows) > 1:
            parts = [InputImage(image.crop(window), source.name) for window in windows]
        outcomes = []
        for start in range(0, len(parts), size):
            batch = [own._read(part, number) for part in parts[start : start + size]]
            reads = [each for each in batch if isinstance(each, Loaded)]
            own._detect(reads, score_thr)
            outcomes += [e.outcome if isinstance(e, Loaded) else e for e in batch]
        if len(windows) == 1 or any(each.error for each in outcomes):
            return next((each for each in outcomes if each.error), outcomes[0])
        found = [each.detections for each in outcomes if each.detections is not None]
        free = own.system.prompt_free
        names = None if free is None else free.best_names
        merged = merge_slices(found, windows, image.size, cut.iou, names)
        merged.image = source.path or ''
        return Outcome(source, image, merged)
