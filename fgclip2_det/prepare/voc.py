"""PASCAL VOC's XML annotations to COCO.

An object marked ``difficult`` is ignored by VOC's evaluation, whether it is detected or
not. It becomes ``iscrowd`` 1 (with ``ignore`` 1 for tools that know it): pycocotools
sets ``ignore`` from ``iscrowd`` and would count it otherwise. A crowd box is matched by
the share of the *detection* inside it, which is a little more lenient than VOC.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable
from pathlib import Path

from fgclip2_det.coco.checks import annotation_fault, note_exchanged_sides
from fgclip2_det.io import InputError
from fgclip2_det.io.json_writing import coco_pieces, write_text_pieces
from fgclip2_det.io.text import read_text
from fgclip2_det.prepare.xml_files import flag_of, number_of, read_xml, text_of
from fgclip2_det.vocabulary.name_lists import load_list

_COLUMN = re.compile(r'\s+-?\d+$')
_FLAGS = ('difficult', 'truncated', 'occluded')


def voc_to_coco(
    annotations: Path | str,
    target: Path | str,
    image_set: Path | str | None = None,
    names: list[str] | None = None,
    zero_based: bool = False,
    bar: Callable[[Iterable], Iterable] = iter,
    encoding: str | None = None,
) -> dict[str, int]:
    """Write a folder of VOC XML files as a COCO file.

    Images are in the order of ``image_set`` or of the XML files' names; their ids count
    from 1, and ``file_name`` is that of the XML. The fields ``difficult``,
    ``truncated``, ``occluded`` and ``pose`` of an object are kept. Category ids count
    the names from 1.

    Args:
        annotations: folder of the XML files (``VOC2007/Annotations``).
        target: COCO file.
        image_set: text file with one image a line (``ImageSets/Main/test.txt``); None:
            every XML file.
        names: classes; None: VOC's 20, with Chinese names.
        zero_based: coordinates count pixels from 0 and ``xmax`` is exclusive. VOC's
            count from 1 and include ``xmax``: x = xmin - 1, width = xmax - xmin + 1.
        bar: wraps the files, to show progress.
        encoding: of the XML files; None: what each declares, unless its bytes are
            plainly something else (:func:`.decode_text`).

    Returns:
        Numbers of ``images``, ``annotations`` and of ``difficult`` ones among them.

    Raises:
        ValueError: naming the file: it is missing or not XML, a field is missing or not
            a number, a box is empty or outside its image, a class is not in ``names``.

    Source: the development kit of PASCAL VOC 2012, section 'Annotation'.
    """
    folder = Path(annotations)
    if not folder.is_dir():
        raise InputError(f'there is no folder {folder}; give that of the XML files')
    files = _files(folder, image_set)
    categories = _categories(names)
    ids = {' '.join(c['name'].split()): c['id'] for c in categories}
    known = {category['id']: category for category in categories}
    images, boxes = [], []
    for path in bar(files):
        if not path.is_file():
            raise InputError(f'there is no file {path}, which the image set lists')
        root = read_xml(path, encoding)
        image = {'id': len(images) + 1, 'file_name': text_of(path, root, 'filename')}
        for side in ('width', 'height'):
            image[side] = int(number_of(path, root, f'size/{side}'))
            if image[side] <= 0:
                raise InputError(f'{path}: {side} must be positive, got {image[side]}')
        images.append(image)
        for entry in root.iter('object'):
            box = _to_annotation(path, entry, ids, 0 if zero_based else 1)
            box |= {'id': len(boxes) + 1, 'image_id': image['id']}
            fault = annotation_fault(box, {image['id']: image}, known)
            if fault:
                raise InputError(f'{path}: {fault}')
            boxes.append(box)
    by_id = {image['id']: image for image in images}
    note_exchanged_sides(folder, by_id, boxes)
    sections = {'images': images, 'annotations': boxes, 'categories': categories}
    write_text_pieces(target, coco_pieces(sections))
    difficult = sum(box['iscrowd'] for box in boxes)
    return {'images': len(images), 'annotations': len(boxes), 'difficult': difficult}


def _files(folder: Path, image_set: Path | str | None) -> list[Path]:
    if image_set is None:
        files = sorted(folder.glob('*.xml'))
    else:
        if not Path(image_set).is_file():
            raise InputError(f'there is no image set {image_set}; check the path')
        lines = read_text(image_set).splitlines()
        files = _listed(folder, [line.strip() for line in lines if line.strip()])
    if not files:
        raise InputError(f'{image_set or folder} has no image; check the path')
    return files


def _listed(folder: Path, lines: list[str]) -> list[Path]:
    """Files of an image set.

    A name may have spaces. It is the whole line if that names a file, else what stands
    before a column with a number, as ImageSets/Main/dog_train.txt (-1, 0 or 1) and
    ImageSets/Layout (of an object) have one.
    """
    whole = [folder / f'{line}.xml' for line in lines]
    first = [folder / f'{_COLUMN.sub("", line)}.xml' for line in lines]
    return [a if a.is_file() else b for a, b in zip(whole, first, strict=True)]


def _categories(names: list[str] | None) -> list[dict]:
    if names is not None:
        return [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
    voc = load_list('voc')
    pairs = zip(voc.names, voc.chinese, strict=True)
    return [
        {'id': i, 'name': name} | ({'name_zh': chinese} if chinese else {})
        for i, (name, chinese) in enumerate(pairs, 1)
    ]


def _to_annotation(
    path: Path, entry: ElementTree.Element, ids: dict[str, int], first: int
) -> dict:
    name = ' '.join(text_of(path, entry, 'name').split())
    if name not in ids:
        raise InputError(
            f'{path}: {name!r} is not one of the {len(ids)} classes; give a file of '
            'the class names with --names'
        )
    x1, y1, x2, y2 = (
        number_of(path, entry, f'bndbox/{side}')
        for side in ('xmin', 'ymin', 'xmax', 'ymax')
    )
    bbox = [x1 - first, y1 - first, x2 - x1 + first, y2 - y1 + first]
    if not (bbox[2] > 0 and bbox[3] > 0):
        raise InputError(
            f'{path}: the box of {name!r} is empty: {x1:g} {y1:g} {x2:g} {y2:g}; '
            'correct or remove it'
        )
    flags = {
        k: flag_of(path, entry, k) for k in _FLAGS if (entry.findtext(k) or '').strip()
    }
    pose = {'pose': entry.findtext('pose')} if entry.findtext('pose') else {}
    difficult = int(flags.get('difficult', 0) > 0)
    return {
        'category_id': ids[name],
        'bbox': bbox,
        'area': bbox[2] * bbox[3],
        'iscrowd': difficult,
        'ignore': difficult,
        **flags,
        **pose,
    }
