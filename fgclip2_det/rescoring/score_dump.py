"""Score dumps: a detector's results with FG-CLIP 2's cosines, on disk.

One forward pass serves all fusion settings. A dump is a folder: ``dump.json``
(:class:`DumpHeader`) and shards of images, ``scores-00000.safetensors`` and so on, with
for all images of a shard one after another

- ``boxes`` (K, 4) float32 xyxy, distinct in each image; ``cosines`` (K, C) float16,
- ``bboxes`` (N, 4) float64 xywh, ``scores`` (N,) float32, ``labels`` (N,) int32: the
  results; ``box_of`` (N,) int32, the box of each, counted within its image,
- ``box_offsets``, ``row_offsets`` (images + 1,) int64: where an image begins,

with a ranker also ``ranked`` (K, k) int32, the names that it read, the best by cosine
first, and ``odds`` (K, k) float32, its log-odds; and ``image_ids`` as JSON in the
metadata. Images without results are not in it.
``names.safetensors`` has ``embeds`` (C, D) float32, the names' text embeddings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as short_repr

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import check_regular, parse_json, read_json
from fgclip2_det.ranker import Ranking

from .dump_checks import (
    check_columns,
    check_header,
    check_image,
    check_names,
    check_places,
    check_values,
)

HEADER = 'dump.json'  # written before the first shard
NAMES = 'names.safetensors'


@dataclass(frozen=True)
class DumpHeader:
    """Settings and inputs of a dump; a run that continues it must have the same.

    Attributes:
        format: version of the layout.
        encoder: digest of both towers, see
            :func:`fgclip2_det.io.model_digests.encoder_digest`.
        classes: C names in label order.
        category_ids: of the annotation file, one a class.
        novel_classes: those of ``classes`` that are not base.
        language: of the names.
        templates: of their prompts.
        max_num_patches: of an image.
        predictions_sha256, ann_sha256: of the files.
        num_images: with results.
        images_per_shard: the last shard may have fewer.
        ranker: digest of the ranker's weights; '' without one.
        num_ranked: names that it read with each box, at most; 0 without one.
    """

    format: int
    encoder: str
    classes: list[str]
    category_ids: list[int | str | None]
    novel_classes: list[str]
    language: str
    templates: list[str]
    max_num_patches: int | str
    predictions_sha256: str
    ann_sha256: str
    num_images: int
    images_per_shard: int
    ranker: str = ''
    num_ranked: int = 0

    @property
    def columns_ranked(self) -> int:
        """k: names that were ranked for each box."""
        return min(self.num_ranked, len(self.classes))

    @property
    def num_shards(self) -> int:
        """How many files a complete dump has."""
        return -(-self.num_images // self.images_per_shard)

    @property
    def is_base(self) -> Tensor:
        """(C,) bool."""
        return torch.tensor([name not in self.novel_classes for name in self.classes])


@dataclass(frozen=True)
class ImageScores:
    """One image of a dump; what :meth:`PredictionRescorer.fuse` takes, and more.

    Attributes:
        image_id: in the annotation file.
        cosines: (k, C) float32 of the distinct boxes with the names.
        boxes: (k, 4) float32 xyxy in pixels.
        box_of: (n,) int64, the box of each row.
        scores, labels: (n,) float32 and int64, of the detector.
        bboxes: (n, 4) float64 xywh in pixels, as in the result list.
        ranking: of the distinct boxes; None without a ranker.
    """

    image_id: int | str
    cosines: Tensor
    boxes: Tensor
    box_of: Tensor
    scores: Tensor
    labels: Tensor
    bboxes: Tensor
    ranking: Ranking | None = None


class ScoreDump:
    """A complete dump, read image by image.

    Args:
        folder: of :func:`.dump_writer.dump_scores`.

    Attributes:
        header: its settings and inputs.
        folder: as given.

    Raises:
        ValueError: naming the file: not a dump, an incomplete one, or a damaged file.

    Example:
        >>> dump = ScoreDump('dump')
        >>> for image in dump:
        ...     print(image.image_id, image.cosines.shape)
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder, self.header = Path(folder), read_dump_header(Path(folder))
        there = {file.name for file in self.folder.glob('scores-*.safetensors')}
        number = self.header.num_shards
        names = (shard_file(self.folder, i).name for i in range(number))
        first = next((name for name in names if name not in there), None)
        if first is not None:
            raise InputError(
                f'{self.folder} lacks {number - len(there)} of {number} shards, '
                f'{first} the first; run tools/dump_scores.py again to continue it'
            )
        files = [shard_file(self.folder, i) for i in range(number)]
        self._shards = [Shard(file, self.header) for file in files]
        named = self.header.classes, self.header.category_ids, self.header.novel_classes
        check_names(self.folder / HEADER, *named)
        self.image_ids = [i for shard in self._shards for i in shard.image_ids]
        if len(self.image_ids) != self.header.num_images:
            raise InputError(
                f'{self.folder} holds {len(self.image_ids)} images but its {HEADER} '
                f'says {self.header.num_images}; dump again into another folder'
            )

    @property
    def class_embeds(self) -> Tensor:
        """(C, D) float32, of the names; ValueError in a dump that has none."""
        path = self.folder / NAMES
        try:
            check_regular(path)
            embeds = load_file(path)['embeds']
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(
                f'{path}, the text embeddings of the names, cannot be read ({error}); '
                'run tools/dump_scores.py again, which adds it'
            ) from error
        if len(embeds) != len(self.header.classes):
            raise InputError(
                f'{path} is of {len(embeds)} names, expected '
                f'{len(self.header.classes)}; delete it and run tools/dump_scores.py '
                'again'
            )
        plain = embeds.ndim == 2 and embeds.dtype == torch.float32
        if not plain or not ((embeds.norm(dim=-1) - 1).abs() < 1e-2).all():
            raise InputError(
                f'{path} must hold float32 vectors of length 1; delete it and run '
                'tools/dump_scores.py again'
            )
        return embeds

    def __len__(self) -> int:
        return len(self.image_ids)

    def __iter__(self) -> Iterator[ImageScores]:
        for shard in self._shards:
            yield from shard


def read_dump_header(folder: Path) -> DumpHeader:
    """``dump.json`` of a folder; ValueError if it is missing or of another format."""
    path = folder / HEADER
    try:
        content = read_json(path)
    except ValueError as error:
        raise InputError(
            f'{folder} is not a dump of tools/dump_scores.py: {error}'
        ) from error
    names = {field.name for field in fields(DumpHeader)}
    if isinstance(content, dict):  # a dump without a ranker may lack these
        content = {'ranker': '', 'num_ranked': 0, **content}
    if not isinstance(content, dict) or set(content) != names or content['format'] != 1:
        raise InputError(
            f'{path} must hold {sorted(names)} of format 1, got {short_repr(content)}; '
            'dump again into another folder'
        )
    check_header(path, content)
    return DumpHeader(**content)


class Shard:
    """One file of a dump; its cosines are read image by image.

    Raises:
        ValueError: naming the file if it is damaged or of another number of names.

    Args:
        file: of the dump.
        header: of the dump.
    """

    def __init__(self, file: Path, header: DumpHeader) -> None:
        self.file, self._header = file, header
        try:
            check_regular(file)
            with safe_open(file, framework='pt') as handle:
                self.image_ids = parse_json((handle.metadata() or {})['image_ids'])
                offsets = [handle.get_tensor(f'{n}_offsets') for n in ('box', 'row')]
                names = handle.keys()
                shapes = {
                    name: (part.get_dtype(), part.get_shape())
                    for name in names
                    for part in [handle.get_slice(name)]
                }
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f'{file} is cut off or not a shard of a dump ({error}); delete it and '
                'run tools/dump_scores.py again'
            ) from error
        self._boxes, self._rows = check_places(file, self.image_ids, *offsets)
        sizes = self._boxes[-1], self._rows[-1], len(header.classes)
        check_columns(file, shapes, *sizes, header.columns_ranked)

    def expect(self, image_ids: list) -> None:
        """ValueError if the shard is of other images."""
        if self.image_ids != image_ids:
            raise InputError(
                f'{self.file} holds images {short_repr(self.image_ids)}, expected '
                f'{short_repr(image_ids)}; delete it and run again'
            )

    def __iter__(self) -> Iterator[ImageScores]:
        names = ['boxes', 'box_of', 'scores', 'labels', 'bboxes']
        if self._header.num_ranked:
            names += ['ranked', 'odds']
        with safe_open(self.file, framework='pt') as handle:
            given = {name: handle.get_tensor(name) for name in names}
            cosines = handle.get_slice('cosines')
            check_values(self.file, given, len(self._header.classes))
            for i, image_id in enumerate(self.image_ids):
                boxes = slice(self._boxes[i], self._boxes[i + 1])
                rows = slice(self._rows[i], self._rows[i + 1])
                own, box_of = cosines[boxes].float(), given['box_of'][rows].long()
                check_image(self.file, image_id, own, box_of)
                yield ImageScores(
                    image_id,
                    own,
                    given['boxes'][boxes],
                    box_of,
                    given['scores'][rows],
                    given['labels'][rows].long(),
                    given['bboxes'][rows],
                    self._ranking(given, boxes),
                )

    def _ranking(self, given: dict[str, Tensor], boxes: slice) -> Ranking | None:
        if not self._header.num_ranked:
            return None
        return Ranking(given['ranked'][boxes].long(), given['odds'][boxes])


def shard_file(folder: Path, number: int) -> Path:
    """Where shard ``number``, from 0, is kept."""
    return folder / f'scores-{number:05d}.safetensors'


def write_names(folder: Path, embeds: Tensor) -> None:
    """Keep the text embeddings (C, D) of the names."""
    write_atomic(folder / NAMES, save({'embeds': embeds.float().cpu().contiguous()}))


def write_shard(file: Path, images: list[ImageScores]) -> None:
    """Write images as one file, in one step; cosines are rounded to float16."""
    kinds = dict(
        cosines=torch.float16, boxes=torch.float32, box_of=torch.int32,
        scores=torch.float32, labels=torch.int32, bboxes=torch.float64,
    )  # fmt: skip
    tensors = {
        name: torch.cat([getattr(image, name).to(kind) for image in images])
        for name, kind in kinds.items()
    }
    rankings = [image.ranking for image in images if image.ranking is not None]
    if rankings:
        tensors['ranked'] = torch.cat([r.names.int() for r in rankings])
        tensors['odds'] = torch.cat([r.odds.float() for r in rankings])
    for name, column in dict(box='boxes', row='labels').items():
        sizes = [0, *(len(getattr(image, column)) for image in images)]
        tensors[f'{name}_offsets'] = torch.tensor(sizes).cumsum(0)
    metadata = {'image_ids': json.dumps([image.image_id for image in images])}
    write_atomic(file, save(tensors, metadata))
