"""YOLO's text labels to COCO.

A line is ``class cx cy w h``, in shares of the image's width and height. The label file
of ``images/a.jpg`` is ``labels/a.txt``; an image without one has no boxes.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from reprlib import repr as short_repr

import yaml

from fgclip2_det.fgclip2.image import read_header
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import check_file
from fgclip2_det.io.json_writing import coco_pieces, write_text_pieces
from fgclip2_det.io.text import read_text
from fgclip2_det.io.yaml_text import parse_yaml

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
_DIGITS = 6  # of a pixel
_SLACK = 1e-4  # shares are often written with six digits; 1.00001 is rounding


def read_names(path: Path | str) -> list[str]:
    """Class names in label order, of a ``data.yaml`` or a file with one a line.

    Names are the words as they are written, for they are prompts: ``[007, No, 1.10]``
    are '007', 'No' and '1.10'. The file may be in any encoding of :func:`.read_text`.

    Raises:
        ValueError: naming the file: no ``names`` in it, a label without a name, another
            number of names than ``nc``, or a name twice.
    """
    text = read_text(check_file(path, 'file of class names'))
    if Path(path).suffix.lower() not in ('.yaml', '.yml'):
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        names = _yaml_names(path, text)
    if not isinstance(names, list) or not names:
        raise InputError(f"{path} has no class names; a YAML file needs a list 'names'")
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise InputError(
                f'{path}: label {label} must have a name, got {short_repr(name)}; '
                'write names with special characters in quotes'
            )
    names = [name.strip() for name in names]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{path}: the name {name!r} occurs twice; keep one')
    return names


def _yaml_names(path: Path | str, text: str) -> object:
    """``names`` of a YAML file, in label order; scalars stay text."""
    content = parse_yaml(text, path, yaml.BaseLoader)  # str, list and dict alone
    content = content if isinstance(content, dict) else {}
    names, count = content.get('names'), str(content.get('nc'))
    if isinstance(names, dict):
        try:
            by_label = {int(label): name for label, name in names.items()}
            names = [by_label[i] for i in range(len(names))]
        except (KeyError, ValueError) as error:
            raise InputError(
                f'{path}: the labels of names must be 0, 1, 2, ...'
            ) from error
    if isinstance(names, list) and count.isdecimal() and int(count) != len(names):
        raise InputError(f'{path} has {len(names)} names but says nc: {count}')
    return names


def yolo_to_coco(
    images: Path | str,
    labels: Path | str,
    names: Path | str,
    target: Path | str,
    bar: Callable[[Iterable], Iterable] = iter,
    encoding: str | None = None,
) -> dict[str, int]:
    """Write folders of images and YOLO labels as a COCO file.

    Images are in the order of their names, below ``images`` at any depth; ids count
    from 1. A category id is the class number of the labels, from 0. Sizes are read from
    the image files and are those of the upright images, after their EXIF orientation.
    Boxes are in pixels, rounded to a millionth.

    Args:
        images: folder of the image files.
        labels: folder of the text files, with the same folders below it.
        names: for :func:`read_names`.
        target: COCO file.
        bar: wraps the images, to show progress.
        encoding: of the label files; None: see :func:`.decode_text`.

    Returns:
        Numbers of ``images``, ``annotations`` and of images ``without_labels``: with no
        label file.

    Raises:
        ValueError: naming file and line: not five numbers, an unknown class, a box that
            is empty or leaves the image; a label file without an image; an
            unreadable image.
    """
    images, labels, class_names = Path(images), Path(labels), read_names(names)
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f'there is no folder {folder}; check the path')
    paths = sorted(p for p in images.rglob('*') if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f'{images} has no image ({", ".join(SUFFIXES)})')
    _check_pairs(paths, images, labels, Path(names))
    entries, boxes, without = [], [], 0
    for image in bar(paths):
        name = image.relative_to(images)
        width, height = read_size(image)
        entries.append(
            {
                'id': len(entries) + 1,
                'file_name': name.as_posix(),
                'width': width,
                'height': height,
            }
        )
        path = labels / name.with_suffix('.txt')
        if not path.is_file():
            without += 1
            continue
        for number, line in enumerate(read_text(path, encoding).splitlines(), 1):
            if line.strip():
                where = f'{path}: line {number}'
                box = _to_annotation(where, line, width, height, class_names)
                box |= {'id': len(boxes) + 1, 'image_id': len(entries)}
                boxes.append(box)
    categories = [{'id': i, 'name': name} for i, name in enumerate(class_names)]
    sections = {'images': entries, 'annotations': boxes, 'categories': categories}
    write_text_pieces(target, coco_pieces(sections))
    return {
        'images': len(entries),
        'annotations': len(boxes),
        'without_labels': without,
    }


def _check_pairs(paths: list[Path], images: Path, labels: Path, names: Path) -> None:
    stems = {}
    for image in paths:
        stem = image.relative_to(images).with_suffix('')
        if stem in stems:
            raise InputError(
                f'{image} and {stems[stem].name} share one label file; rename one'
            )
        stems[stem] = image
    for path in sorted(labels.rglob('*.txt')):
        stem = path.relative_to(labels).with_suffix('')
        is_list = path.name == 'classes.txt' or path.resolve() == names.resolve()
        if stem not in stems and not is_list:
            raise InputError(f'{path} has no image {images / stem}.*; add it')


def read_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of an upright image, after its EXIF orientation.

    Raises:
        ValueError: naming the file, if it cannot be read.
    """
    return read_header(path).upright


def class_number(word: str) -> int:
    """A class number; numpy.savetxt and others write 3 as 3.0 or 3.000e+00."""
    value = float(word)
    if not value.is_integer():
        raise InputError(f'{word} is not a class number')
    return int(value)


def _to_annotation(
    where: str, line: str, width: int, height: int, names: list[str]
) -> dict:
    words = line.split()
    try:
        label, (cx, cy, w, h) = class_number(words[0]), map(float, words[1:])
    except ValueError as error:
        raise InputError(
            f"{where} must be 'class cx cy w h', got {line.strip()[:80]!r}; polygons "
            'and scores are not read'
        ) from error
    if not 0 <= label < len(names):
        raise InputError(
            f'{where}: class {label} is not in 0 to {len(names) - 1}; check the file '
            'of class names, or the labels if they count from 1'
        )
    edges = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    if not all(map(math.isfinite, edges)) or w <= 0 or h <= 0:
        raise InputError(f'{where}: the box is empty or not finite: {line.strip()!r}')
    if min(edges) < -_SLACK or max(edges) > 1 + _SLACK:
        raise InputError(
            f'{where}: the box reaches outside the image: {line.strip()!r}; cx cy w h '
            'are shares of its width and height'
        )
    bbox = [edges[0] * width, edges[1] * height, w * width, h * height]
    bbox = [round(value, _DIGITS) for value in bbox]
    return {
        'category_id': label,
        'bbox': bbox,
        'area': bbox[2] * bbox[3],
        'iscrowd': 0,
    }
