"""What a detector is asked about which image, read from a benchmark's files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.coco.entries import image_name
from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.evaluation.descriptions import PARTS, d3_file
from fgclip2_det.evaluation.hard_vocabularies import read_hard_objects
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.prepare.coco_scan import write_part
from fgclip2_det.prepare.lvis import write_lvis_minival
from fgclip2_det.reproduce.benchmarks import Benchmark
from fgclip2_det.vocabulary import load_list
from fgclip2_det.zeroshot.description_benchmarks import asked_descriptions

MINIVAL_LIST = 'coco/annotations/minival.txt'  # optional: which images of val


@dataclass(frozen=True)
class Ask:
    """One question about an image.

    Args:
        labels: indices into the names of :class:`Questions`.
        ids: category id of each.
        part: of the benchmark.
        vocabulary: what the rows of the answer name besides; None: nothing.
    """

    labels: tuple[int, ...]
    ids: tuple[int | str, ...]
    part: str = ''
    vocabulary: int | str | None = None


@dataclass(frozen=True)
class Item:
    """An image and what is asked about it.

    Args:
        image_id: of the annotation file.
        path: of the image.
        asks: in the order of the files.
    """

    image_id: int | str
    path: Path
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Questions:
    """All that a benchmark asks.

    Args:
        names: that the encoder reads.
        prompts: that the detector reads, one for each of the names.
        items: images in the order of the files.
        annotations: part -> file or folder that answers are scored with.
        image_ids: file of the images that count; None: all of ``annotations``.
        num_all: images of the files, where ``items`` are the first of them.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]
    items: tuple[Item, ...]
    annotations: Mapping[str, Path]
    image_ids: Path | None = None
    num_all: int = 0


def read_questions(
    benchmark: Benchmark, data_root: Path, work: Path, limit: int | None = None
) -> Questions:
    """Read a benchmark's files; files that are made of them are written to ``work``.

    Args:
        benchmark: of :data:`.benchmarks.BENCHMARKS`.
        data_root: folder that its paths start from.
        work: folder for annotation files that are not published as they are needed.
        limit: the first n images alone (of each part); None: all.

    Raises:
        ValueError: naming the file and the entry that is wrong.
    """
    readers = {'fg-ovd': _read_fgovd, 'd3': _read_d3}
    read = readers.get(benchmark.protocol, _read_names)
    return read(benchmark, data_root, work, limit)


def source_of(benchmark: Benchmark, data_root: Path, part: str = '') -> Path | None:
    """The annotation file of a part, or the one that it can be made from; None: neither
    is there."""
    file = benchmark.annotations[part]
    for path in (file.path, file.instead):
        if path is not None and (data_root / path).exists():
            return data_root / path
    return None


def find_image(data_root: Path, benchmark: Benchmark, name: str) -> Path:
    """The image in the first folder that has it; where it is published, if none has.

    ``name`` may start with the folder itself, as 'val2017/000000000139.jpg' does.
    """
    tail = Path(name).name
    places = []
    for folder in benchmark.images:
        path = data_root / folder.path
        places += [path / name, path.parent / name, path / tail]
    return next((place for place in places if place.is_file()), places[2])


def _found(benchmark: Benchmark, data_root: Path, part: str = '') -> Path:
    path = source_of(benchmark, data_root, part)
    if path is None:
        file = benchmark.annotations[part]
        raise InputError(f'there is no {data_root / file.path}; get it from {file.url}')
    return path


def _minival(source: Path, data_root: Path, work: Path) -> Path:
    """The part of LVIS val in val2017; of these the images of a list, if there is
    one."""
    target = work / 'lvis_v1_minival.json'
    listed = data_root / MINIVAL_LIST
    write_lvis_minival(source, target, listed if listed.is_file() else None)
    return target


def _read_names(
    benchmark: Benchmark, data_root: Path, work: Path, limit: int | None
) -> Questions:
    """COCO and LVIS: every image is asked for all names."""
    path = _found(benchmark, data_root)
    if path == data_root / (benchmark.annotations[''].instead or ''):
        path = _minival(path, data_root, work)
    coco = read_coco(path, sections=('images', 'categories'), image_keys=())
    categories = list(coco.categories.values())
    prompts = tuple(str(category['name']) for category in categories)
    names = prompts if benchmark.language == 'en' else _chinese(path, categories)
    ask = Ask(tuple(range(len(names))), tuple(c['id'] for c in categories))
    entries = list(coco.images.values())[:limit]
    items = []
    for entry in entries:
        name = image_name(entry)
        if name is None:
            raise InputError(
                f'{path}: image {entry["id"]} has neither file_name nor coco_url; get '
                'the file again'
            )
        image = find_image(data_root, benchmark, name)
        items.append(Item(entry['id'], image, (ask,)))
    chosen = None
    if len(items) < len(coco.images):
        chosen = work / 'image_ids.json'
        write_atomic(chosen, json.dumps([item.image_id for item in items]).encode())
    return Questions(names, prompts, tuple(items), {'': path}, chosen, len(coco.images))


def _chinese(path: Path, categories: Sequence[dict]) -> tuple[str, ...]:
    """``name_zh`` of the file, or the name of the built-in list of LVIS."""
    listed = load_list('lvis')
    known = dict(zip(listed.names, listed.chinese, strict=True))
    names = [c.get('name_zh') or known.get(c['name']) for c in categories]
    for category, name in zip(categories, names, strict=True):
        if not name:
            raise InputError(
                f'{path}: category {category["name"]!r} has no name_zh and is no class '
                'of LVIS; give a file of LVIS v1'
            )
    return tuple(str(name) for name in names)


def _read_fgovd(
    benchmark: Benchmark, data_root: Path, work: Path, limit: int | None
) -> Questions:
    """FG-OVD: an image is asked once for each vocabulary of its objects."""
    texts: dict[str, int] = {}
    paths: dict[int | str, Path] = {}
    asks: dict[int | str, list[Ask]] = {}
    annotations, everything = {}, set()
    for part in benchmark.annotations:
        source = _found(benchmark, data_root, part)
        names = {entry['image_id']: entry for _, entry in read_fgovd_lines(source)}
        everything |= set(names)
        chosen = list(names)[:limit]
        annotations[part] = source
        if len(chosen) < len(names):
            annotations[part] = _first_lines(source, work / source.name, set(chosen))
        for image_id in chosen:
            name = names[image_id].get('img_path')
            if not isinstance(name, str) or not name:
                raise InputError(f'{source}: img_path of image {image_id} is {name!r}')
            paths[image_id] = find_image(data_root, benchmark, name)
        for ask, image_id in _vocabularies(annotations[part], part, texts):
            asks.setdefault(image_id, []).append(ask)
    items = [Item(i, paths[i], tuple(own)) for i, own in asks.items()]
    names = tuple(texts)
    return Questions(names, names, tuple(items), annotations, num_all=len(everything))


def _first_lines(source: Path, target: Path, images: set) -> Path:
    """A copy of a .jsonl file with the lines of some images."""
    kept = [
        json.dumps(entry, ensure_ascii=False)
        for _, entry in read_fgovd_lines(source)
        if entry['image_id'] in images
    ]
    write_atomic(target, ('\n'.join(kept) + '\n').encode())
    return target


def _vocabularies(
    path: Path, part: str, texts: dict[str, int]
) -> Iterable[tuple[Ask, int | str]]:
    """Questions and their images; new captions get the next index of ``texts``."""
    seen = set()
    for one in read_hard_objects(path):
        key = one.image_id, one.category_id
        if key in seen:
            continue
        seen.add(key)
        labels: dict[int, int] = {}  # a caption twice in a vocabulary is asked once
        for category_id in (one.category_id, *one.negatives):
            text = one.texts[category_id].lower()
            labels.setdefault(texts.setdefault(text, len(texts)), category_id)
        yield (
            Ask(tuple(labels), tuple(labels.values()), part, one.category_id),
            one.image_id,
        )


def _read_d3(
    benchmark: Benchmark, data_root: Path, work: Path, limit: int | None
) -> Questions:
    """D3: an image is asked for the descriptions of its scene."""
    folder = _found(benchmark, data_root)
    truths = read_truths(d3_file(folder, 'full'))
    asked, _ = asked_descriptions(folder / 'groups.json', truths)
    ids = [entry['id'] for entry in truths.categories]
    items = []
    for entry, own in list(zip(truths.images, asked, strict=True))[:limit]:
        ask = Ask(tuple(own), tuple(ids[label] for label in own))
        path = find_image(data_root, benchmark, str(entry.get('file_name')))
        items.append(Item(entry['id'], path, (ask,)))
    if len(items) < len(truths.images):
        folder = _first_images(folder, work / 'd3_json', {i.image_id for i in items})
    names = tuple(truths.names)
    return Questions(
        names, names, tuple(items), {'': folder}, num_all=len(truths.images)
    )


def _first_images(folder: Path, target: Path, images: set) -> Path:
    """A copy of D3's annotation files with some images."""
    for part in PARTS:
        write_part(
            d3_file(folder, part),
            d3_file(target, part),
            {
                'images': lambda image: image if image['id'] in images else None,
                'annotations': lambda box: box if box['image_id'] in images else None,
            },
        )
    return target
