"""Leaks of an evaluation file into a training file.

Checks of two COCO or LVIS files; those of images are in :mod:`.image_overlap`:

- ``novel_annotations``: boxes of novel classes in the training file, see
  :mod:`.novel_boxes`;
- ``coco_number``: images of COCO with one number in both, by ``coco_url`` or a name
  such as 000000000139.jpg or COCO_val2014_000000000139.jpg. COCO numbers its images
  across train, val and years;
- ``file_name``: other images with one name (or one name at the end of the other's path)
  and one size;
- ``image_id``: other images with one id whose name, number and size do not differ;
- ``coco_train_in_val``: images of the evaluation file whose ``coco_url`` is
  train2017, as 15,000 of LVIS val: no leak of this training file, which
  ``coco_number`` finds, but one of any detector that has seen COCO;
- ``near_duplicates``: images that look the same, if both folders are given.
"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath

from fgclip2_det.coco.annotation_file import stream_coco
from fgclip2_det.coco.entries import image_name
from fgclip2_det.io import InputError

from .image_overlap import (
    NUM_SHOWN,
    CocoSide,
    Overlap,
    check_coco_train,
    check_images,
)
from .near_duplicates import close_pairs, hash_images
from .novel_boxes import (
    base_names,
    check_novel_annotations,
    check_novel_names,
    novel_names,
)


def find_leaks(
    train: Path | str,
    val: Path | str,
    novel: Collection[str] | None = None,
    list_name: str | None = None,
    train_images: Path | str | None = None,
    val_images: Path | str | None = None,
    max_distance: int = 4,
    bar: Callable[[str], Callable[[Iterable], Iterable]] = lambda what: iter,
    workers: int = 4,
) -> list[Overlap]:
    """All checks of a training and an evaluation file.

    Args:
        train, val: COCO or LVIS files.
        novel, list_name: see :func:`novel_names`.
        train_images, val_images: folders of the images; both or none.
        max_distance: bits of 64 in which near-duplicates may differ.
        bar: title -> function that wraps what is read, to show progress.
        workers: threads that read images.

    Raises:
        ValueError: naming file and entry; a given novel class that neither file has;
            one folder without the other, or an image that is missing or cannot be read.
    """
    if (train_images is None) != (val_images is None):
        raise InputError('give both folders, train_images and val_images, or none')
    if novel is not None and list_name is not None:
        raise InputError('give novel classes or a split, not both')
    sides = [read_side(path, bar(Path(path).name)) for path in (train, val)]
    check_novel_names(sides, novel or ())
    names = novel_names(sides, novel, list_name)
    base = base_names(sides, names, list_name)
    findings = [check_novel_annotations(sides[0], sides[1], names, base)]
    findings += [*check_images(*sides), check_coco_train(sides[1])]
    if train_images is not None and val_images is not None:
        paths = image_paths(sides[0], train_images)
        others = image_paths(sides[1], val_images)
        show = bar('images')
        findings.append(
            check_near_duplicates(paths, others, max_distance, show, workers)
        )
    return findings


def read_side(path: Path | str, bar: Callable[[Iterable], Iterable] = iter) -> CocoSide:
    """Read images, categories and box counts of a file.

    Raises:
        ValueError: naming file and entry, see :func:`.stream_coco`.
    """
    side = CocoSide(Path(path))
    keys = ('id', 'file_name', 'coco_url', 'width', 'height')
    for key, is_entry, value in stream_coco(path, bar):
        if not is_entry:
            continue
        if key == 'images':
            side.images.append({k: value[k] for k in keys if k in value})
        elif key == 'categories':
            side.categories.append(value)
        elif key == 'annotations':
            entry = side.boxes_of_category.setdefault(value['category_id'], [0, {}])
            entry[0] += 1
            if len(entry[1]) < NUM_SHOWN:
                entry[1][value['image_id']] = None
    return side


def image_paths(side: CocoSide, folder: Path | str) -> list[Path]:
    """Files of the images below a folder, with or without their own folder's name.

    Raises:
        ValueError: naming the first image without a name or a file.
    """
    paths = []
    for image in side.images:
        name = image_name(image)
        if name is None:
            raise InputError(f'{side.path}: image {image["id"]} has no file_name')
        places = [Path(folder) / name, Path(folder) / PurePosixPath(name).name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise InputError(
                f'{side.path}: image {name} is not in {folder}; images are compared '
                'only when all are there'
            )
        paths.append(path)
    return paths


def check_near_duplicates(
    train: Iterable[Path],
    val: Iterable[Path],
    max_distance: int = 4,
    bar: Callable[[Iterable], Iterable] = iter,
    workers: int = 4,
) -> Overlap:
    """Evaluation images that look like a training image; see near_duplicates."""
    train, val = list(train), list(val)
    val_hashes, val_flat = hash_images(val, bar, workers)
    train_hashes, train_flat = hash_images(train, bar, workers)
    overlap = Overlap('near_duplicates', total=len(val))
    overlap.note = f'images that differ in at most {max_distance} of 64 bits'
    if val_flat.any() or train_flat.any():
        overlap.note += (
            f'; {val_flat.sum() + train_flat.sum()} of one colour are left out'
        )
    seen = set()
    for j, i, distance in close_pairs(val_hashes, train_hashes, max_distance):
        if j not in seen and not (val_flat[j] or train_flat[i]):
            seen.add(j)
            overlap.add(f'{val[j].name} = {train[i].name} ({distance} bits)')
    overlap.leaks = overlap.count > 0
    return overlap
