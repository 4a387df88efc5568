"""OV-COCO: COCO's files with 48 base and 17 novel classes.

The 15 other classes are left out, of the files and of the vocabulary. Images without a
box of the classes kept are left out as well, which makes the 107,761 training and
4,836 validation images of most papers; ``keep_empty`` keeps them (all 5,000 images of
val2017), as others do. Category ids stay those of COCO.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from fgclip2_det.coco.published_splits import CLASS_SPLITS
from fgclip2_det.io import InputError
from fgclip2_det.vocabulary.name_lists import load_list

from .coco_scan import scan_coco, write_part

# as MMDetection's mm_grounding_dino and CLIPSelf name them
TRAIN_NAME = 'instances_train2017_seen_2.json'
VAL_NAME = 'instances_val2017_all_2.json'


def annotate_categories(
    categories: Iterable[dict], split_of: dict[str, str], list_name: str
) -> dict:
    """Category id -> entry with ``split``, and ``name_zh`` where the list has one.

    Args:
        categories: of a COCO or LVIS file.
        split_of: name -> 'base' or 'novel'; other categories are left out.
        list_name: of :func:`.load_list`, for the Chinese names. A ``name_zh`` that the
            file has is kept.
    """
    names = load_list(list_name)
    chinese = {n: zh for n, zh in zip(names.names, names.chinese, strict=True) if zh}
    kept = {}
    for category in categories:
        name = category['name']
        if name not in split_of:
            continue
        entry = category | {'split': split_of[name]}
        if name in chinese and not entry.get('name_zh'):
            entry['name_zh'] = chinese[name]
        kept[category['id']] = entry
    return kept


def write_ov_coco(
    source: Path | str,
    target: Path | str,
    splits: tuple[str, ...],
    keep_empty: bool = False,
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """Write the part of an instances file that OV-COCO trains or evaluates with.

    Args:
        source: ``instances_train2017.json`` or ``instances_val2017.json``.
        target: COCO file with the categories of ``splits``, in the source's order and
            with its ids.
        splits: ``('base',)`` for training, ``('base', 'novel')`` for evaluation.
        keep_empty: keep images without a box of these classes.
        bar: wraps what is read, to show progress; the file is read twice.

    Returns:
        Numbers of images, annotations and categories written.

    Raises:
        ValueError: naming file and entry, or a class of the split that the file lacks.

    Source: the split of Bansal et al. (arXiv:1804.04340).
    """
    classes = CLASS_SPLITS['ov_coco']
    split_of = {name: split for split in splits for name in classes[split]}
    scan = scan_coco(source, bar)
    kept = annotate_categories(scan.categories, split_of, 'ov_coco')
    missing = set(split_of) - {entry['name'] for entry in kept.values()}
    if missing:
        first = next(name for name in split_of if name in missing)
        raise InputError(
            f'{source}: {len(missing)} of {len(split_of)} classes are not categories '
            f'of it, {first!r} the first; give an instances file of COCO'
        )
    if keep_empty:
        images = scan.image_ids
    else:
        images = set().union(*(scan.images_of_category.get(i, ()) for i in kept))
    return write_part(
        source,
        target,
        {
            'images': lambda image: image if image['id'] in images else None,
            'annotations': lambda box: box if box['category_id'] in kept else None,
            'categories': lambda category: kept.get(category['id']),
        },
        bar,
    )
