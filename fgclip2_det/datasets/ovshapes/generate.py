"""Generation of OVShapes on disk: images, COCO files and a manifest with checksums."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from fgclip2_det.io.text import parse_json

from .classes import EXTRA_CLASSES, ShapeClass, classes_of
from .render import ShapeObject, render_image

VERSION = 1  # of the drawing code; each version has its own folders
# splits of the classes in each split of the images; unused classes appear nowhere
SPLITS = {'train': ('base',), 'val': ('base', 'novel')}
_MANIFEST = 'manifest.json'
_VERIFIED = set()  # folders whose image bytes this process has compared


def generate_ovshapes(
    root: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 256,
    seed: int = 0,
    extra_colors: bool = False,
    num_workers: int | None = None,
) -> Path:
    """Write OVShapes below ``root``, or reuse it if it exists.

    Train images have base classes only, val images base and novel classes; the 15
    unused classes never appear. Image i of a split depends only on ``seed``, the split
    and i, not on the number of images or threads.

    The folder is named after the parameters and renamed into place when it is complete:
    a run that is interrupted or fails removes what it has drawn, one that is killed
    leaves a ``.tmp-*`` folder, which a later run removes after an hour, and if two runs
    start at once, the (identical) result of the first to finish is kept.

    Args:
        root: parent folder; created if missing.
        num_train: number of images of the train split.
        num_val: number of images of the val split.
        image_size: side in pixels, at least 64.
        seed: random seed, not negative.
        extra_colors: train images also have the 120 pairs of ``EXTRA_COLORS``.
        num_workers: threads; None for the number of CPUs, at most 8.

    Returns:
        Folder with ``train/``, ``val/`` (jpg), ``train.json`` and ``val.json``: COCO
        format, boxes xywh in pixels, categories (base and novel in both files) with
        ``name``, ``name_zh`` and ``split``.

    Raises:
        ValueError: for invalid parameters, a ``root`` that cannot be written, or an
            existing folder that is incomplete or was edited.

    Example:
        >>> folder = generate_ovshapes('data/ovshapes', num_train=8, num_val=4)
        >>> len(list((folder / 'train').iterdir()))
        8
    """
    folder = ovshapes_folder(root, num_train, num_val, image_size, seed, extra_colors)
    params = {
        'num_train': num_train,
        'num_val': num_val,
        'image_size': image_size,
        'seed': seed,
    }
    if extra_colors:
        params['extra_colors'] = True
    if not os.path.exists(folder):  # also False if the parent may not be read
        work = make_work_folder(folder.parent)
        try:
            _write(work, params, num_workers or min(os.cpu_count() or 1, 8))
            _publish(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    _check_manifest(folder, params)
    return folder


def ovshapes_folder(
    root: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 256,
    seed: int = 0,
    extra_colors: bool = False,
) -> Path:
    """Folder that :func:`generate_ovshapes` writes for the given parameters.

    Raises:
        ValueError: for invalid parameters.
    """
    for name, value, least in (
        ('num_train', num_train, 1),
        ('num_val', num_val, 1),
        ('image_size', image_size, 64),
        ('seed', seed, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f'{name} must be an integer of at least {least}, got {value!r}'
            )
    name = f'v{VERSION}_{num_train}train_{num_val}val_{image_size}px_seed{seed}'
    return Path(root) / (f'{name}_extra' if extra_colors else name)


def make_work_folder(root: Path) -> Path:
    """Create a temporary folder in ``root``; removes old ones of killed runs."""
    from fgclip2_det.io.leftovers import remove_stale  # not for who finds the images

    try:
        root.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix='.tmp-', dir=root))
    except OSError as error:
        raise ValueError(
            f'OVShapes cannot be written to {root} ({error}); data_root must be a '
            'folder with write permission'
        ) from error
    remove_stale(root, filter(_is_work_folder, root.glob('.tmp-*')))
    return work


def _is_work_folder(path: Path) -> bool:
    """Whether a folder holds nothing but what a run writes."""
    ours = {_MANIFEST, *SPLITS, *(f'{split}.json' for split in SPLITS)}
    try:
        return {file.name for file in path.iterdir()} <= ours
    except OSError:  # no folder, or another run has just removed it
        return False


def _write(work: Path, params: dict, num_workers: int) -> None:
    """Write all files into an empty folder, the manifest last."""
    from fgclip2_det.io.threads import thread_map

    jobs = []
    for split in SPLITS:
        (work / split).mkdir()
        jobs += [(split, i) for i in range(params[f'num_{split}'])]
    extra = list(EXTRA_CLASSES) if 'extra_colors' in params else []
    classes = {split: classes_of(*names) for split, names in SPLITS.items()}
    if extra:  # almost half of the objects
        classes['train'] = classes['train'] * 2 + extra
    categories = [c.to_category() for c in classes_of('base', 'novel') + extra]
    draw = partial(_write_image, work, params['seed'], params['image_size'], classes)
    drawn = []
    with (
        tqdm(total=len(jobs), desc='OVShapes', disable=None) as bar,
        thread_map(draw, jobs, num_workers) as results,  # they drop the GIL
    ):
        for objects in results:
            drawn.append(objects)
            bar.update()
    for split, start in (('train', 0), ('val', params['num_train'])):
        objects = drawn[start : start + params[f'num_{split}']]
        coco = _to_coco(split, objects, params['image_size'], categories)
        text = json.dumps(coco, ensure_ascii=False)
        (work / f'{split}.json').write_text(text, encoding='utf-8')
    files = _fingerprints(work, with_content=True)
    manifest = {'parameters': params, 'files': files}
    (work / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding='utf-8')


def _file_name(index: int) -> str:
    return f'{index:06d}.jpg'


def _write_image(
    work: Path,
    seed: int,
    image_size: int,
    classes: dict[str, list[ShapeClass]],
    job: tuple[str, int],
) -> list[ShapeObject]:
    split, index = job
    rng = np.random.default_rng([seed, list(SPLITS).index(split), index])
    image, objects = render_image(rng, classes[split], image_size)
    # 0.5 ms and 23 KB at 256 px; PNG takes 5 ms and 94 KB. Full chroma resolution
    # keeps the edges of small coloured objects.
    path = work / split / _file_name(index)
    Image.fromarray(image).save(path, quality=92, subsampling=0)
    return objects


def _to_coco(
    split: str,
    objects: Sequence[Sequence[ShapeObject]],
    image_size: int,
    categories: list[dict],
) -> dict:
    """COCO dictionary of a split; ids start at 1, in file order."""
    images = [
        {
            'id': i + 1,
            'file_name': _file_name(i),
            'width': image_size,
            'height': image_size,
        }
        for i in range(len(objects))
    ]
    annotations = []
    for image, image_objects in zip(images, objects, strict=True):
        for o in image_objects:
            x1, y1, x2, y2 = o.bbox
            bbox = [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image['id'],
                    'category_id': o.shape_class.category_id,
                    'bbox': bbox,
                    'area': round(bbox[2] * bbox[3], 2),
                    'iscrowd': 0,
                    'texture': o.texture,
                    'visible': round(o.visible, 3),
                }
            )
    info = {'description': f'OVShapes {split}, version {VERSION}'}
    return {
        'info': info,
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }


def _fingerprints(folder: Path, with_content: bool) -> dict:
    """Hash of each COCO file; per split the number, bytes and hashes of the images.

    The hash 'images' covers names and sizes, in milliseconds; 'content' covers the
    bytes, in 0.1 s for 2300 images of 256 px.
    """
    prints = {}
    for split in SPLITS:
        text = (folder / f'{split}.json').read_bytes()
        sizes = sorted((f.name, f.stat().st_size) for f in (folder / split).iterdir())
        prints[split] = {
            'annotations': hashlib.sha256(text).hexdigest(),
            'num_images': len(sizes),
            'num_bytes': sum(size for _, size in sizes),
            'images': hashlib.sha256(repr(sizes).encode()).hexdigest(),
        }
        if with_content:
            content = hashlib.sha256()
            for name, _ in sizes:
                content.update((folder / split / name).read_bytes())
            prints[split]['content'] = content.hexdigest()
    return prints


def _publish(work: Path, folder: Path) -> None:
    """Rename the complete folder to its final name, unless another run was faster."""
    work.chmod(0o755)  # mkdtemp creates private folders
    try:
        work.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _check_manifest(folder: Path, params: dict) -> None:
    """Compare a folder with its manifest; the image bytes once per process."""
    remedy = f'delete {folder} and it will be generated again'
    path = folder.resolve()
    try:
        manifest = parse_json((folder / _MANIFEST).read_text(encoding='utf-8'))
        files = _fingerprints(folder, with_content=path not in _VERIFIED)
    except (OSError, ValueError) as error:  # ValueError: no json, or no text at all
        raise ValueError(
            f'OVShapes in {folder} is incomplete ({error}); {remedy}'
        ) from error
    expected, actual = (
        _leaves(manifest),
        _leaves({'parameters': params, 'files': files}),
    )
    for key in expected | actual:
        # 'content' is neither in early manifests nor in repeated checks of a folder
        absent = key not in expected or key not in actual
        if expected.get(key) == actual.get(key) or (
            absent and key[-1:] == ('content',)
        ):
            continue
        name = ' '.join(key[1:] or key) or 'nothing but'
        if key[-1:] == ('annotations',):
            name = f'{key[1]}.json'
        raise ValueError(
            f'OVShapes in {folder} is incomplete or edited: {_MANIFEST} says {name} = '
            f'{expected.get(key)}, found {actual.get(key)}; {remedy}'
        )
    _VERIFIED.add(path)


def _leaves(tree: object, key: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Flatten nested dictionaries; keys are paths like ('files', 'val', 'images')."""
    if not isinstance(tree, dict):
        return {key: tree}
    return {k: v for name in tree for k, v in _leaves(tree[name], (*key, name)).items()}
