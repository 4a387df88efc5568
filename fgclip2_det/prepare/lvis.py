"""OV-LVIS: train without rare classes; minival, the part of val from val2017."""

from collections.abc import Callable, Iterable
from pathlib import Path

from fgclip2_det.coco.annotation_file import stream_coco
from fgclip2_det.coco.entries import image_name
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import check_file
from fgclip2_det.io.text import read_text

from .coco_scan import scan_coco, write_part
from .ov_coco import annotate_categories

NUM_MINIVAL = 4_809  # images of LVIS v1 val that are in COCO val2017
_SPLITS = {'f': 'base', 'c': 'base', 'r': 'novel'}


def write_lvis_base(
    source: Path | str,
    target: Path | str,
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """LVIS v1 train without the annotations of rare classes.

    All images and all categories stay, as in Detic's ``lvis_v1_train_norare.json``;
    each category gets its ``split`` (rare is 'novel') and a Chinese name.

    Returns:
        Numbers of images, annotations and categories written, and of ``rare``
        annotations left out.

    Raises:
        ValueError: naming file and entry; a category without ``frequency``.
    """
    scan = scan_coco(source, bar)
    for category in scan.categories:
        if category.get('frequency') not in tuple(_SPLITS):
            raise InputError(
                f'{source}: category {category["id"]} ({category["name"]!r}) needs a '
                f"'frequency' of f, c or r, got {category.get('frequency')!r}; give a "
                'file of LVIS v1'
            )
    split_of = {c['name']: _SPLITS[c['frequency']] for c in scan.categories}
    categories = annotate_categories(scan.categories, split_of, 'lvis')
    base = {i for i, entry in categories.items() if entry['split'] == 'base'}
    counts = write_part(
        source,
        target,
        {
            'annotations': lambda box: box if box['category_id'] in base else None,
            'categories': lambda category: categories[category['id']],
        },
        bar,
    )
    return counts | {'rare': scan.num_annotations - counts['annotations']}


def read_image_list(path: Path | str) -> list[str]:
    """Image ids or file names of a list, one a line, or of a COCO file's images.

    An image of COCO is known by its number: '139', '000000000139.jpg' and
    'val2017/000000000139.jpg' are one image.

    Raises:
        ValueError: naming file and line: it is neither a number nor a name with one.
    """
    path = check_file(path, 'list of images')
    if path.suffix.lower() == '.json':
        pieces = stream_coco(path, sections=('images',))
        entries = [v for key, is_entry, v in pieces if is_entry and key == 'images']
        lines = [str(entry['id']) for entry in entries]
    else:
        lines = read_text(path).splitlines()
    numbers = []
    for i, line in enumerate(lines, 1):
        stem = line.strip().replace('\\', '/').split('/')[-1].split('.')[0]
        if not stem:
            continue
        digits = stem.split('_')[-1]
        if not (digits.isascii() and digits.isdecimal()):
            raise InputError(
                f'{path}: line {i} must be an image id or the name of an image of '
                f'COCO, got {line.strip()!r}; correct it'
            )
        numbers.append(str(int(digits)))
    return numbers


def write_lvis_minival(
    source: Path | str,
    target: Path | str,
    images: Path | str | None = None,
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """The part of LVIS v1 val whose images are in COCO val2017.

    Args:
        source: ``lvis_v1_val.json``.
        target: LVIS file in the source's order, with its ids; images get a
            ``file_name`` from their ``coco_url`` where they have none.
        images: list for :func:`read_image_list`: ids, names, or COCO's
            ``instances_val2017.json``. None: the images whose ``coco_url`` is val2017.
        bar: wraps what is read, to show progress; the file is read twice.

    Returns:
        Numbers of images, annotations and categories written, and of images ``absent``:
        of the list, but not of the source.

    Raises:
        ValueError: naming file and entry; no image of the source is in the list, or one
            has no name.
    """
    wanted = None if images is None else set(read_image_list(images))
    kept, present, num_images = {}, set(), 0
    for key, is_entry, image in stream_coco(source, bar):
        if key != 'images' or not is_entry:
            continue
        name = image_name(image)
        if name is None:
            raise InputError(
                f'{source}: image {image["id"]} has neither file_name nor coco_url; '
                'give a file of LVIS v1'
            )
        num_images += 1
        present.add(str(image['id']))
        url = str(image.get('coco_url') or name)
        if str(image['id']) in wanted if wanted is not None else 'val2017/' in url:
            kept[image['id']] = image | {'file_name': name}
    if not kept:
        of = f'in the list {images}' if images else 'of val2017 by its coco_url'
        raise InputError(f'{source}: none of its {num_images} images is {of}')
    counts = write_part(
        source,
        target,
        {
            'images': lambda image: kept.get(image['id']),
            'annotations': lambda box: box if box['image_id'] in kept else None,
        },
        bar,
    )
    return counts | {'absent': len((wanted or set()) - present)}
