"""Readers of the caption files that retrieval benchmarks are published as.

Each returns image path -> captions, in file order; paths are as the file has them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json, read_text

PER_IMAGE = 5  # captions of an image in COCO, Flickr30k and their Chinese versions
_COCO_CN = re.compile(r'(COCO_(train|val)2014_\d{12})#zhm#\d+\s+(\S.*)')
_INDEXED = re.compile(r'(\S+?)#\w+\t(.*\S)')
Captions = dict[str, list[str]]


def read_coco_captions(path: str | os.PathLike, per_image: int = PER_IMAGE) -> Captions:
    """COCO's captions json; the first captions of each image by annotation id.

    Raises:
        ValueError: naming the entry: unknown image, an empty caption, an image with
            fewer captions.
    """
    coco = read_coco(
        path,
        sections=('images', 'annotations'),
        image_keys=('file_name',),
        annotation_keys=('image_id',),
        keep_outside=True,
    )
    names = {i: image['file_name'].strip() for i, image in coco.images.items()}
    captions: Captions = {name: [] for name in names.values()}
    for annotation in sorted(coco.annotations, key=_id):
        title = f'{path}: annotation {annotation["id"]}'
        caption = _text(annotation, 'caption', title)
        captions[names[annotation['image_id']]].append(caption)
    return _first(captions, per_image, path)


def read_karpathy(
    path: str | os.PathLike, split: str = 'test', per_image: int = PER_IMAGE
) -> Captions:
    """``dataset_flickr30k.json`` with its published split.

    Raises:
        ValueError: naming the entry, or if the split has no image.
    """
    content = read_json(path)
    images = content.get('images') if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise InputError(f"{path} must hold the list 'images'")
    captions: Captions = {}
    for number, image in enumerate(images):
        title = f'{path}: image entry {number}'
        name = _text(image, 'filename', title)
        if image.get('split') != split:
            continue
        if name in captions:
            raise InputError(f'{title}: {name} is there twice')
        sentences = image.get('sentences')
        if not isinstance(sentences, list):
            raise InputError(
                f'{title}: sentences must be a list, got {sentences!r:.80}'
            )
        captions[name] = [_text(sentence, 'raw', title) for sentence in sentences]
    if not captions:
        raise InputError(f'{path} has no image of the split {split!r}')
    return _first(captions, per_image, path)


def read_dci(folder: str | os.PathLike) -> Captions:
    """Annotations of Densely Captioned Images: one JSON per image, ``extra_caption``.

    Raises:
        ValueError: naming the file, or if there is none.
    """
    paths = sorted(Path(folder).glob('*.json'))
    if not paths:
        raise InputError(f'{folder} holds no JSON file; expected one per image')
    captions: Captions = {}
    for path in paths:
        content = read_json(path)
        name = _text(content, 'image', str(path))
        if name in captions:
            raise InputError(f'{path}: {name} has another file, too')
        captions[name] = [_text(content, 'extra_caption', str(path))]
    return captions


def read_sharegpt4v(path: str | os.PathLike, count: int = 1000) -> Captions:
    """The first items of ShareGPT4V's captions; the answer of each conversation.

    Raises:
        ValueError: naming the item: no image, no answer, an image that comes twice.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise InputError(f'{path} must be a list of conversations')
    captions: Captions = {}
    for number, item in enumerate(content[:count]):
        title = f'{path}: item {number}'
        name = _text(item, 'image', title)
        turns = item.get('conversations')
        turns = turns if isinstance(turns, list) else []
        answers = [t for t in turns if isinstance(t, dict) and t.get('from') == 'gpt']
        if not answers:
            raise InputError(f'{title} has no answer: no turn is from "gpt"')
        if name in captions:
            raise InputError(f'{title}: {name} comes twice')
        captions[name] = [' '.join(_text(answers[0], 'value', title).split())]
    return captions


def read_flickr30k_cna(path: str | os.PathLike) -> Captions:
    """Lines ``image#k<TAB>caption``; '.jpg' is added to bare image numbers.

    Raises:
        ValueError: naming the line.
    """
    captions: Captions = {}
    for title, line in _lines(path):
        match = _INDEXED.fullmatch(line)
        if not match:
            raise InputError(
                f'{title}: expected image#k<TAB>caption, got {line[:80]!r}'
            )
        name = match[1] if Path(match[1]).suffix else f'{match[1]}.jpg'
        captions.setdefault(name, []).append(match[2].strip())
    return captions


def read_coco_cn(path: str | os.PathLike) -> Captions:
    """Lines ``COCO_val2014_000000000042#zhm#0 caption`` of COCO-CN's ``pair.txt``.

    Images are given as ``val2014/COCO_val2014_000000000042.jpg``.

    Raises:
        ValueError: naming the line.
    """
    captions: Captions = {}
    for title, line in _lines(path):
        match = _COCO_CN.fullmatch(line)
        if not match:
            raise InputError(
                f'{title}: expected COCO_val2014_000000000042#zhm#0 and a caption, got '
                f'{line[:80]!r}'
            )
        name = f'{match[2]}2014/{match[1]}.jpg'
        captions.setdefault(name, []).append(match[3].strip())
    return captions


def read_captions(path: str | os.PathLike) -> Captions:
    """Lines ``image_path<TAB>caption``; an image may have several.

    Raises:
        ValueError: naming a line that is not such a pair.
    """
    captions: Captions = {}
    for title, line in _lines(path):
        image, tab, caption = line.partition('\t')
        if not (tab and image.strip() and caption.strip()):
            raise InputError(
                f'{title}: expected image_path, a tab and a caption, got {line[:80]!r}'
            )
        captions.setdefault(image.strip(), []).append(caption.strip())
    return captions


def _lines(path: str | os.PathLike) -> list[tuple[str, str]]:
    """(place for messages, line) of all lines that are not blank."""
    text = read_text(path)
    lines = [(f'{path} line {n}', line) for n, line in enumerate(text.split('\n'), 1)]
    lines = [(title, line.strip('\r')) for title, line in lines if line.strip()]
    if not lines:
        raise InputError(f'{path} holds no caption; write image_path<TAB>caption lines')
    return lines


def _id(annotation: dict) -> tuple:
    """Sort key of annotations: by number; those without one last, in file order."""
    number = annotation['id']
    return (not isinstance(number, int), number if isinstance(number, int) else 0)


def _text(entry: object, key: str, title: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f'{title}: {key} must be a text, got {value!r:.80}')
    return value.strip()


def _first(captions: Captions, per_image: int, path: str | os.PathLike) -> Captions:
    for name, group in captions.items():
        if len(group) < per_image:
            raise InputError(
                f'{path}: {name} has {len(group)} captions, expected {per_image}'
            )
    return {name: group[:per_image] for name, group in captions.items()}
