"""Which images are for validation, and which names are novel: by rule and seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fgclip2_det.coco.class_split import resolve_classes
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError
from fgclip2_det.prepare.image_overlap import CocoSide
from fgclip2_det.prepare.image_overlap import check_images as check_overlap

from .findings import Findings
from .records import OwnData, OwnImage, split_of_folder

NOVEL_RULE = (
    'names whose words all stand in names that are trained, if there are enough of '
    'them, else any; drawn by seed among those with boxes for validation'
)


def split_by_folders(data: OwnData) -> None:
    """Give images of no split that of their folder, unless none was left to train."""
    own = [image for image in data.images if image.split is None]
    found = [split_of_folder(image.path or '') for image in own]
    if data.of('train') or not {'train', None}.isdisjoint(found):
        for image, split in zip(own, found, strict=True):
            image.split = split


def make_val(
    data: OwnData,
    groups: Sequence[Sequence[OwnImage]],
    findings: Findings,
    share: float = 0.2,
    seed: int = 0,
) -> bool:
    """Take images of the training part for validation where there are none.

    Images of no split are for training; where none are, nothing is taken.
    Near-duplicates stay together, but for a group of more than a quarter of the images,
    as of a fixed camera. Of every class that several groups have, one group goes to
    validation, the rarest class first; then groups are drawn until the share is
    reached.

    Returns:
        Whether the split was made.

    Raises:
        InputError: fewer than two groups of images, which no split leaves apart.
    """
    for image in data.images:
        image.split = image.split or 'train'
    images = data.of('train')
    if data.of('val') or not images:
        return False
    # a fixed camera makes one group of most images, which no split can keep together
    apart = [group for group in groups if len(group) <= max(2, len(images) // 4)]
    units = _units(images, apart)
    if len(units) < 2:
        raise InputError(
            f'{len(units)} images that differ are too few to keep some for validation; '
            'label more'
        )
    random.Random(seed).shuffle(units)
    for unit in _chosen(units, share):
        for image in unit:
            image.split = 'val'
    taken = data.of('val')
    findings.add('made_val', f'a share of {share:g}, seed {seed}', len(taken))
    return True


def check_trained(folder: Path, data: OwnData) -> None:
    """InputError where no training image has a box: a config would train on others.

    Args:
        folder: of the data, for the message.
        data: whose images are split.
    """
    if not any(image.boxes for image in data.of('train')):
        counts = Counter(image.split for image in data.images)
        given = ', '.join(f'{count:,} of {split}' for split, count in counts.items())
        raise InputError(
            f'{folder} has no training image with a box, only {given}; name the folder '
            'above all splits, or call the folder or file of this one train'
        )


def _units(
    images: Sequence[OwnImage], groups: Sequence[Sequence[OwnImage]]
) -> list[list[OwnImage]]:
    """Images that stay together; every other image alone."""
    group_of = {id(image): i for i, group in enumerate(groups) for image in group}
    units: dict[int, list[OwnImage]] = {}
    for i, image in enumerate(images):
        units.setdefault(group_of.get(id(image), -1 - i), []).append(image)
    return list(units.values())


def _chosen(units: list[list[OwnImage]], share: float) -> list[list[OwnImage]]:
    names = [{box.name for image in unit for box in image.boxes} for unit in units]
    left = Counter(name for own in names for name in own)
    chosen: dict[int, None] = {}
    covered: set[str] = set()
    for name, count in sorted(left.items(), key=lambda item: (item[1], item[0])):
        if count < 2 or name in covered:
            continue
        for i, own in enumerate(names):
            if name in own and i not in chosen and all(left[n] > 1 for n in own):
                chosen[i] = None
                covered |= own
                left.subtract(own)
                break
    target = max(1, round(share * sum(map(len, units))))
    for i, own in enumerate(names):
        if sum(len(units[j]) for j in chosen) >= target:
            break
        if i not in chosen and all(left[n] > 1 for n in own):
            chosen[i] = None
            left.subtract(own)
    if not chosen:  # every image is the only one of some class
        chosen[0] = None
    return [units[i] for i in chosen]


def check_splits(
    data: OwnData, groups: Sequence[Sequence[OwnImage]], findings: Findings
) -> None:
    """Count images of validation and test that training has, or that are nearly one."""
    leaks: dict[tuple, str] = {}
    for group in groups:
        for image in group:
            others = [o for o in group if _before(o.split, image.split)]
            if others:
                key = image.split, image.path
                leaks[key] = f'{image.split}: {image.path} = {others[0].path}'
    sides = {split: _side(data, split) for split in ('train', 'val', 'test')}
    for first, second in (('train', 'val'), ('train', 'test'), ('val', 'test')):
        for overlap in check_overlap(sides[first], sides[second]):
            for text in overlap.first:
                path = text.partition(' (id ')[0]
                leaks.setdefault((second, path), f'{second}: {path}, also in {first}')
    for text in leaks.values():
        findings.add('leak', text)
    has_val = {box.name for image in data.of('val') for box in image.boxes}
    for name in data.names:
        used = any(b.name == name for i in data.images for b in i.boxes)
        if used and name not in has_val:
            findings.add('no_val', repr(name))


def _before(first: str | None, second: str | None) -> bool:
    order = ('train', 'val', 'test')
    return order.index(first or 'train') < order.index(second or 'train')


def _side(data: OwnData, split: str) -> CocoSide:
    images = [
        {
            'id': f'{split} {i}', 'file_name': image.path,
            'width': (image.size or (0, 0))[0], 'height': (image.size or (0, 0))[1],
        }
        for i, image in enumerate(data.of(split))
    ]  # fmt: skip
    return CocoSide(Path(split), images)


def choose_novel(
    data: OwnData, names: Sequence[str] | None, share: float = 0.2, seed: int = 0
) -> list[str]:
    """Names that get no training boxes.

    Args:
        data: with a validation split.
        names: as the user gives them, in any case where that is not ambiguous; None: by
            :data:`NOVEL_RULE`.
        share: of the classes, for the rule; at least one.
        seed: of the draw.

    Returns:
        Names in the order of the classes.

    Raises:
        InputError: an unknown or an ambiguous name, or no class with training boxes is
            left.
    """
    if names is None:
        novel = _drawn(data, share, seed)
    else:
        given = list(dict.fromkeys(_class_of(name, data.names) for name in names))
        entries = [{'id': i, 'name': name} for i, name in enumerate(data.names, 1)]
        novel = list(resolve_classes(entries, novel=given).novel_classes)
    trained = {box.name for image in data.of('train') for box in image.boxes}
    if not trained:
        raise InputError(
            'no training image has a box; name a folder that has a training split'
        )
    if not trained - set(novel):
        raise InputError(
            'no class with training boxes is left to train on; keep fewer names novel'
        )
    return [name for name in data.names if name in novel]


def _class_of(name: str, classes: Sequence[str]) -> str:
    """The class that a name is, or else the one that differs in case or spaces alone;
    the name itself where there is none."""
    if name in classes:
        return name
    found = [own for own in classes if normalize_name(own) == normalize_name(name)]
    if len(found) > 1:
        raise InputError(
            f'{name!r} may be any of the classes {", ".join(map(repr, found))}; write '
            'it as one of them is written'
        )
    return found[0] if found else name


def _drawn(data: OwnData, share: float, seed: int) -> list[str]:
    in_val = {box.name for image in data.of('val') for box in image.boxes}
    names = [name for name in data.names if name in in_val]
    if len(data.names) < 2 or not names:
        raise InputError(
            f'{len(data.names)} classes, {len(names)} of them with boxes for '
            'validation, leave none to keep novel; label more classes, or go without '
            '--novel auto'
        )
    count = min(max(1, round(share * len(data.names))), len(names))
    order = random.Random(seed).sample(names, len(names))
    novel = _composed(data, order)[:count]
    return novel if len(novel) == count else order[:count]


def _composed(data: OwnData, order: Sequence[str]) -> list[str]:
    """Names of ``order``, one after the other, whose words all stand in names with
    training boxes that were not taken before."""
    with_boxes = {box.name for image in data.of('train') for box in image.boxes}
    uses = Counter(word for name in with_boxes for word in _words(name))
    taken = []
    for name in order:
        words = _words(name)
        own = int(name in with_boxes)
        if len(words) > 1 and all(uses[word] > own for word in words):
            taken.append(name)
            uses.subtract(words if own else ())
    return taken


def _words(name: str) -> set[str]:
    return set(normalize_name(name).replace('-', ' ').split())
