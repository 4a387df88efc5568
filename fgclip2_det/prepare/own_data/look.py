"""A folder of labels from a tool, looked at: what it holds, what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgclip2_det.coco.checks import has_mask
from fgclip2_det.io import InputError

from .checks import check_classes, check_images, drop_bad_names, group_images
from .coco_reader import read_coco_folder
from .cvat_reader import read_cvat_folder
from .fiftyone_reader import read_fiftyone_folder
from .findings import KINDS, Findings
from .image_files import ImageFiles
from .label_studio_reader import read_label_studio_folder
from .labelme_reader import read_labelme_folder
from .records import SPLITS, OwnData
from .sniffing import Found, find_layout
from .splitting import check_splits, make_val, split_by_folders
from .voc_reader import read_voc_folder
from .yolo_reader import read_yolo_folder

Reader = Callable[[Path, Found, ImageFiles, Findings], OwnData]
_READERS: dict[str, Reader] = {
    'coco': read_coco_folder,
    'yolo': read_yolo_folder,
    'voc': read_voc_folder,
    'labelme': read_labelme_folder,
    'cvat': read_cvat_folder,
    'label-studio': read_label_studio_folder,
    'fiftyone': read_fiftyone_folder,
}
# what a COCO file may have and still be used as it is: its readers see to it
_AS_IT_IS = {
    'crossing', 'near', 'same_box', 'spelling', 'no_word', 'never', 'few', 'no_val',
    'no_boxes', 'no_labels', 'crowd', 'own_split', 'root', 'leak', 'score',
    'unlabelled',
}  # fmt: skip


@dataclass
class Look:
    """What was found.

    Attributes:
        folder: that was looked at.
        data: images with files, split into train, val and perhaps test.
        files: image files.
        findings: what is wrong or doubtful.
        as_it_is: whether its COCO files serve without a copy.
        prefixes: split -> folder before the names of its COCO file, with a slash.
        has_masks: whether every box has a mask.
        novel: names that get no training boxes; filled in by who chooses them.
        sources: the annotation files, absolute.
    """

    folder: Path
    data: OwnData
    files: ImageFiles
    findings: Findings
    as_it_is: bool = False
    prefixes: dict[str, str] | None = None
    has_masks: bool = False
    novel: list[str] = field(default_factory=list)
    sources: frozenset[Path] = frozenset()

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> numbers of images, boxes, classes with boxes, images without."""
        own = {}
        for split in SPLITS:
            images = self.data.of(split)
            if images:
                names = [box.name for image in images for box in image.boxes]
                empty = sum(not image.boxes for image in images)
                own[split] = dict(
                    images=len(images), boxes=len(names), classes=len(set(names)),
                    without_boxes=empty,
                )  # fmt: skip
        return own

    def by_class(self) -> dict[str, dict[str, int]]:
        """Class -> boxes by split."""
        counts = {
            split: Counter(b.name for image in self.data.of(split) for b in image.boxes)
            for split in self.counts()
        }
        return {
            name: {split: own[name] for split, own in counts.items()}
            for name in self.data.names
        }

    def refuse(self, targets: Iterable[Path]) -> None:
        """Keep the data as it is, whether or not files may be replaced.

        Args:
            targets: files and folders that are to be written.

        Raises:
            InputError: one is the folder of the data, or one of its annotation files.
        """
        for path in targets:
            if path.resolve() == self.folder.resolve():
                raise InputError(
                    f'{path} is the folder of the data, which is never written to; '
                    'name another one'
                )
            if path.resolve() in self.sources:
                raise InputError(
                    f'{path} has labels of the data, which are never replaced; name '
                    'another file or folder'
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file."""
        return dict(
            folder=str(self.folder), layout=self.data.layout, splits=self.counts(),
            classes=self.by_class(), novel=self.novel,
            as_it_is=self.as_it_is, findings=self.findings.rows(),
        )  # fmt: skip

    def lines(self) -> Iterator[str]:
        """The same for a terminal."""
        yield f'{self.folder}: {self.data.layout}, {len(self.data.names)} classes'
        rows = [['split', 'images', 'boxes', 'classes', 'without boxes']]
        for split, own in self.counts().items():
            rows.append([split, *(f'{n:,}' for n in own.values())])
        yield from _table(rows)
        yield ''
        found = self.findings.rows()
        if not found:
            yield 'nothing wrong or doubtful was found'
            return
        rows = [['', 'number', 'of', 'what is done']]
        for row in found:
            rows.append([row['state'], f'{row["count"]:,}', row['what'], row['done']])
        table = list(_table(rows))
        yield table[0]
        for line, row in zip(table[1:], found, strict=True):
            yield line
            yield from (f'         {text}' for text in row['first'])


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        yield '  '.join(cells).rstrip()


def look(
    folder: Path | str,
    layout: str | None = None,
    images: Sequence[Path] = (),
    val_share: float = 0.2,
    seed: int = 0,
    bar: Callable[[Iterable], Iterable] = iter,
) -> Look:
    """Read a folder of labels, check it, and take images for validation if it has none.

    Args:
        folder: that a labelling tool has written.
        layout: a key of :data:`.sniffing.LAYOUTS`; None: what it looks like.
        images: further folders with the images.
        val_share: of the training images, for a missing validation split.
        seed: of that split.
        bar: wraps the images, to show progress.

    Raises:
        InputError: no such folder, no or several layouts, nothing usable in it.
    """
    folder = Path(folder)
    findings = Findings('' if folder == Path() else f'{folder}/')
    found = find_layout(folder, layout)
    for reason in found.unread.values():
        findings.add('unreadable', reason)
    files = ImageFiles([folder, *images])
    data = _READERS[found.layout](folder, found, files, findings)
    drop_bad_names(data, findings)
    check_images(data, files, findings)
    split_by_folders(data)
    groups = group_images(data, files, findings, bar)
    _check_any(folder, data, findings)
    check_classes(data, findings)
    own_splits = bool(data.of('val'))
    made = make_val(data, groups, findings, val_share, seed)
    check_splits(data, groups, findings)
    own = Look(folder, data, files, findings, prefixes=_prefixes(data))
    own.sources = frozenset(path.resolve() for path in found.paths)
    own.as_it_is = (
        bool(data.files)
        and own_splits
        and not made
        and set(findings.counts) <= _AS_IT_IS
        and own.prefixes is not None
    )
    boxes = (box for image in data.images for box in image.boxes)
    own.has_masks = all(has_mask(box.extra.get('segmentation')) for box in boxes)
    return own


def _prefixes(data: OwnData) -> dict[str, str] | None:
    """Split -> what stands before the names of its COCO file; None where no prefix
    does for all of a split."""
    own: dict[str, str] = {}
    for image in data.images:
        path, split = image.path or '', image.split or 'train'
        if not path.endswith(image.name):
            return None
        prefix = path.removesuffix(image.name)
        if own.setdefault(split, prefix) != prefix:
            return None
    return own


def _check_any(folder: Path, data: OwnData, findings: Findings) -> None:
    if not data.images:
        first = next(iter(findings.first.items()), None)
        why = f': {first[1][0]} ({KINDS[first[0]][1]})' if first else ''
        raise InputError(
            f'{folder} has no image with labels{why}; if the images are elsewhere, '
            'name their folder with --images'
        )
    if not any(image.boxes for image in data.images):
        raise InputError(
            f'{folder} has {len(data.images)} images and no box that can be used; '
            'label some, or name another folder'
        )
