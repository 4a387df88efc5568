"""COCO files of own data, with images of OVShapes for replay where asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json
from fgclip2_det.prepare.own_data import Look, OwnBox, as_coco, write_coco
from fgclip2_det.prepare.own_data.splitting import check_trained


@dataclass(frozen=True)
class OwnFiles:
    """What a config names.

    Attributes:
        data_root: folder that file names are relative to.
        ann_files: split -> COCO file, absolute.
        prefixes: split -> folder below ``data_root`` that goes before its file names.
        num_train: images with boxes to train on.
        are_written: whether the COCO files are yet to be written.
    """

    data_root: Path
    ann_files: dict[str, Path]
    prefixes: dict[str, str]
    num_train: int
    are_written: bool = False


def plan_files(
    own: Look, out: Path, replay: int = 0, overwrite: bool = False
) -> OwnFiles:
    """Which files there will be; nothing is written.

    Args:
        own: with its novel names.
        out: folder of ``train.json``, ``val.json`` and ``test.json``, unless the data's
            own COCO files serve as they are.
        replay: images of OVShapes that are added to the training.
        overwrite: files may be there already.

    Raises:
        InputError: a file is there already or is one of the data's own; ``out`` is the
            folder of the data; no training image has a box.
    """
    own.refuse([out, out / 'ovshapes' if replay else out])
    check_trained(own.folder, own.data)
    splits = [split for split in ('train', 'val', 'test') if own.data.of(split)]
    trained = {box.name for box in _boxes(own)} - set(own.novel)
    num_train = replay + sum(
        any(box.name in trained for box in image.boxes)
        for image in own.data.of('train')
    )
    root = own.folder.resolve()
    if own.as_it_is and not replay:
        files = {split: own.data.files[split].resolve() for split in splits}
        prefixes = {split: (own.prefixes or {}).get(split, '') for split in splits}
        return OwnFiles(root, files, prefixes, num_train)
    targets = {split: (out / f'{split}.json').resolve() for split in splits}
    own.refuse(targets.values())
    refuse_existing(targets.values(), overwrite)
    empty = dict.fromkeys(splits, '')
    return OwnFiles(root, targets, empty, num_train, are_written=True)


def _boxes(own: Look) -> Iterator[OwnBox]:
    return (box for image in own.data.of('train') for box in image.boxes)


def write_files(own: Look, files: OwnFiles, replay: int = 0, seed: int = 0) -> None:
    """Write the COCO files of a plan, if it has any to write.

    Args:
        own: the data.
        files: of :func:`plan_files`.
        replay: images of OVShapes, in a folder beside the training's file.
        seed: of OVShapes.
    """
    for split, target in files.ann_files.items() if files.are_written else ():
        content = as_coco(own.data, own.data.of(split))
        if split == 'train' and replay:
            add_replay(content, files.data_root, target.parent, replay, seed)
        write_coco(content, target)


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """InputError for the first file that is there, unless it may be replaced."""
    for path in paths if not overwrite else ():
        if path.exists():
            raise InputError(
                f'{path} is there already; --overwrite replaces it, --out names '
                'another folder'
            )


def add_replay(
    content: dict[str, Any], root: Path, out: Path, count: int, seed: int
) -> None:
    """Add images of OVShapes to the content of a COCO file, with the base names they
    have; a name that the data has too is one class.

    Args:
        content: changed in place.
        root: folder that file names are relative to.
        out: the images lie below it.
        count: images.
        seed: of OVShapes.
    """
    folder = generate_ovshapes(out / 'ovshapes', count, 1, seed=seed)
    shapes = read_json(folder / 'train.json')
    images, boxes = content['images'], content['annotations']
    ids = {category['name']: category['id'] for category in content['categories']}
    own: dict[int, int] = {}
    for category in shapes['categories']:
        if category['split'] != 'base':
            continue
        if category['name'] not in ids:
            ids[category['name']] = len(ids) + 1
            plain = {k: v for k, v in category.items() if k != 'split'}
            content['categories'].append(plain | {'id': len(ids)})
        own[category['id']] = ids[category['name']]
    offset = len(images)
    numbers = {image['id']: offset + i for i, image in enumerate(shapes['images'], 1)}
    for image in shapes['images']:
        path = os.path.relpath(folder.resolve() / 'train' / image['file_name'], root)
        name = Path(path).as_posix()
        images.append(image | {'id': numbers[image['id']], 'file_name': name})
    for box in shapes['annotations']:
        boxes.append(
            box | dict(
                id=len(boxes) + 1, image_id=numbers[box['image_id']],
                category_id=own[box['category_id']],
            )
        )  # fmt: skip
