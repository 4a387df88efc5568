"""Label maps of OVShapes: the class of every pixel, drawn anew from the seeds."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .classes import classes_of
from .generate import SPLITS, make_work_folder, ovshapes_folder
from .render import render_owners

BACKGROUND, IGNORED = 254, 255  # no object there; counts for nothing


def label_map_folder(
    root: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 256,
    seed: int = 0,
) -> Path:
    """Folder that :func:`generate_label_maps` writes for the given parameters."""
    folder = ovshapes_folder(root, num_train, num_val, image_size, seed)
    return folder.with_name(f'{folder.name}_labels')


def generate_label_maps(
    root: str | os.PathLike,
    num_train: int = 2000,
    num_val: int = 300,
    image_size: int = 256,
    seed: int = 0,
    num_workers: int | None = None,
) -> Path:
    """Write a label map for every image of OVShapes, or reuse them if they exist.

    The images themselves are neither read nor changed: every one is drawn again from
    its seed, and what is kept is which object each pixel shows. The folder is renamed
    into place when it is complete.

    Args:
        root, num_train, num_val, image_size, seed, num_workers: as of
            :func:`.generate_ovshapes`.

    Returns:
        Folder with ``train/`` and ``val/``: png files, named as the images, one byte a
        pixel: the place of its class among the base and then the novel classes, as
        ``OVShapesDataset`` labels them, or ``BACKGROUND``.

    Raises:
        ValueError: for invalid parameters, a ``root`` that cannot be written, or an
            existing folder that lacks files.

    Example:
        >>> folder = generate_label_maps('data/ovshapes', num_train=8, num_val=4)
        >>> len(list((folder / 'val').iterdir()))
        4
    """
    folder = label_map_folder(root, num_train, num_val, image_size, seed)
    counts = {'train': num_train, 'val': num_val}
    if not folder.exists():
        work = make_work_folder(folder.parent)
        try:
            _write(work, counts, image_size, seed, num_workers)
            work.chmod(0o755)  # mkdtemp creates private folders
            try:
                work.rename(folder)
            except OSError:  # another run was faster
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    for split, count in counts.items():
        found = len(list((folder / split).glob('*.png')))
        if found != count:
            raise ValueError(
                f'{folder / split} must hold {count} label maps, found {found}; delete '
                f'{folder} and they will be drawn again'
            )
    return folder


def _write(
    work: Path,
    counts: dict[str, int],
    image_size: int,
    seed: int,
    num_workers: int | None,
) -> None:
    from fgclip2_det.io.threads import thread_map

    jobs = []
    for split, count in counts.items():
        (work / split).mkdir()
        jobs += [(split, i) for i in range(count)]
    draw = partial(_write_map, work, seed, image_size)
    workers = num_workers or min(os.cpu_count() or 1, 8)
    with (
        tqdm(total=len(jobs), desc='OVShapes label maps', disable=None) as bar,
        thread_map(draw, jobs, workers) as done,
    ):
        for _ in done:
            bar.update()


def _write_map(work: Path, seed: int, image_size: int, job: tuple[str, int]) -> None:
    split, index = job
    labels = draw_label_map(split, index, image_size, seed)
    Image.fromarray(labels).save(work / split / f'{index:06d}.png', compress_level=1)


def draw_label_map(
    split: str, index: int, image_size: int = 256, seed: int = 0
) -> np.ndarray:
    """(image_size, image_size) uint8 label map of one image, see
    :func:`generate_label_maps`."""
    rng = np.random.default_rng([seed, list(SPLITS).index(split), index])
    owner, objects = render_owners(rng, classes_of(*SPLITS[split]), image_size)
    order = classes_of('base') + classes_of('novel')
    rows = [order.index(o.shape_class) for o in objects]
    return np.array([*rows, BACKGROUND], np.uint8)[owner]  # -1: the last one
