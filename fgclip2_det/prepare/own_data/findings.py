"""What is wrong or doubtful about labels, counted by kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WRONG, DOUBT, NOTE = 'wrong', 'doubt', 'note'
SHOWN = 3
# kind -> how bad, what it counts, what was done about it
KINDS: dict[str, tuple[str, str, str]] = {
    'unreadable': (WRONG, 'annotation files that cannot be read', 'left out'),
    'no_image': (WRONG, 'annotated images without an image file', 'left out'),
    'two_images': (WRONG, 'annotated images that several files may be', 'left out'),
    'bad_image': (WRONG, 'image files that cannot be read', 'left out'),
    'bad_entry': (WRONG, 'entries that are no annotations', 'left out'),
    'from_one': (
        WRONG, 'files of class names whose numbers count from 1 (YOLO: from 0)',
        'read so: look',
    ),
    'one_label': (
        WRONG, 'images that share a label file with another', 'left out, but the first',
    ),
    'duplicate_id': (WRONG, 'images or classes with the id of another', 'left out'),
    'box_id': (
        WRONG, 'boxes with the id of another, of which pycocotools reads one twice',
        'kept, with new ids',
    ),
    'no_such': (WRONG, 'boxes of images or classes that are not there', 'left out'),
    'bad_box': (WRONG, 'boxes that are not four finite numbers', 'left out'),
    'empty_box': (WRONG, 'boxes without an area', 'left out'),
    'area': (
        WRONG, 'boxes with width and height whose area is 0, negative or no number',
        'width x height is written',
    ),
    'bad_mask': (WRONG, 'masks that pycocotools cannot read', 'their boxes stay'),
    'empty_mask': (
        WRONG, 'masks of no pixel, as of polygons that go around twice',
        'their boxes stay',
    ),
    'outside': (WRONG, 'boxes wholly off their image', 'left out'),
    'crossing': (DOUBT, 'boxes that cross the border by a pixel or more', 'clipped'),
    'size': (WRONG, "sizes that are not the image file's", "the file's is written"),
    'turned_size': (
        WRONG, 'sizes with width and height exchanged, as before the EXIF orientation',
        "the file's is written",
    ),
    'leak': (WRONG, 'images of one split that another has, or nearly', 'kept: look'),
    'same_name': (WRONG, 'classes that are called alike twice', 'made one'),
    'twice': (WRONG, 'images that are annotated twice', 'kept twice: look'),
    'repeat': (DOUBT, 'tasks that occur again', 'the last one counts'),
    'annotators': (DOUBT, 'images that several people annotated', 'the newest counts'),
    'near': (DOUBT, 'further images that nearly look like another', 'kept together'),
    'same_box': (DOUBT, 'boxes that another of the class repeats', 'kept: look'),
    'spelling': (DOUBT, 'class names that are nearly the same', 'kept: rename one'),
    'no_word': (DOUBT, 'class names that say nothing to a text encoder', 'rename'),
    'never': (DOUBT, 'classes that no box has', 'kept, as novel names are'),
    'few': (DOUBT, 'classes with fewer than ten boxes', 'kept'),
    'no_val': (DOUBT, 'classes without a box for validation', 'kept'),
    'order': (DOUBT, 'splits whose lists of classes differ', 'one list for all'),
    'no_boxes': (DOUBT, 'images without a box', 'kept; training leaves them out'),
    'no_labels': (DOUBT, 'image files that no annotation names', 'left out'),
    'background': (DOUBT, 'images without a label file', 'images without a box'),
    'listed': (DOUBT, 'lines of lists of images without one file', 'left out'),
    'no_split': (DOUBT, 'splits whose images are not there', 'left out'),
    'turned_box': (DOUBT, 'turned boxes', 'the upright box around them'),
    'turned_image': (DOUBT, 'images that were turned while labelled', 'kept: look'),
    'shape': (DOUBT, 'points, lines and other shapes without a box', 'left out'),
    'score': (DOUBT, 'boxes with a score, which a detector wrote', 'kept as labels'),
    'mask': (NOTE, 'masks that are not read', 'their boxes stay'),
    'polygon': (NOTE, 'polygons', 'kept, with the box around them'),
    'crowd': (NOTE, 'crowds and boxes that are marked as difficult', 'ignored'),
    'no_area': (NOTE, 'boxes whose entry has no area', 'width x height is written'),
    'own_split': (
        NOTE, 'classes that the file calls novel or unused', 'trained but for --novel',
    ),
    'root': (NOTE, 'categories that only group the others', 'left out'),
    'origin': (NOTE, 'files whose corners count from 0 (VOC: from 1)', 'read so'),
    'made_val': (NOTE, 'images taken from train for validation', 'by seed'),
    'unlabelled': (NOTE, 'boxes of novel names in training', 'not trained on'),
}  # fmt: skip
_LEVELS = (WRONG, DOUBT, NOTE)


@dataclass
class Findings:
    """Counts by kind, with the first few of each.

    Attributes:
        folder: that is left out of paths at the beginning of a text.
        counts: kind -> how many.
        first: kind -> the first few, as text.
    """

    folder: str = ''
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, text: str, count: int = 1) -> None:
        """Count one of a kind of :data:`KINDS`."""
        assert kind in KINDS, kind
        self.counts[kind] = self.counts.get(kind, 0) + count
        shown = self.first.setdefault(kind, [])
        if len(shown) < SHOWN:
            for word in (' and ', ' or ') if self.folder else ():  # further places
                text = text.replace(f'{word}{self.folder}', word)
            shown.append(text.removeprefix(self.folder))

    def __getitem__(self, kind: str) -> int:
        assert kind in KINDS, kind
        return self.counts.get(kind, 0)

    @property
    def is_wrong(self) -> bool:
        """Whether anything is lost or leaks."""
        return any(KINDS[kind][0] == WRONG for kind in self.counts)

    def rows(self) -> list[dict[str, Any]]:
        """Plain values, the worst first."""
        order = sorted(
            self.counts, key=lambda kind: (_LEVELS.index(KINDS[kind][0]), _place(kind))
        )
        return [
            dict(
                state=KINDS[kind][0], kind=kind, count=self.counts[kind],
                what=KINDS[kind][1], done=KINDS[kind][2], first=self.first[kind],
            )
            for kind in order
        ]  # fmt: skip


def _place(kind: str) -> int:
    return list(KINDS).index(kind)
