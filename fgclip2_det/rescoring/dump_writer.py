"""Writer of score dumps: each image is encoded once, cosines of its boxes are kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from reprlib import repr as short_repr
from typing import cast

import torch
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.coco.predictions import Predictions, read_predictions
from fgclip2_det.coco.result_lists import row_score
from fgclip2_det.datasets.config_labels import label_order_of
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.fgclip2.grids import target_grid
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.digests import file_digest
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.models.name_ranker import NameRanker, names_of
from fgclip2_det.models.prediction_rescorer import clip_boxes
from fgclip2_det.rescoring.result_images import find_images
from fgclip2_det.rescoring.score_dump import (
    HEADER,
    DumpHeader,
    ImageScores,
    Shard,
    read_dump_header,
    shard_file,
    write_names,
    write_shard,
)
from fgclip2_det.vocabulary import Vocabulary


def dump_scores(
    predictions_file: str | os.PathLike,
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    encoder: DualEncoder,
    folder: str | os.PathLike,
    templates: str | Sequence[str] = 'raw',
    language: str = 'en',
    novel: Sequence[str] | None = None,
    max_num_patches: int | str = 'auto',
    cache_dir: str | os.PathLike | None = None,
    images_per_shard: int = 64,
    progress: bool = True,
    unpickle: bool = False,
    label_order: str | Sequence[str] | None = None,
    ids: str = 'id',
    categories: str = 'id',
    ranker: str | os.PathLike | None = None,
    num_ranked: int = 10,
) -> DumpHeader:
    """Compare all boxes of a COCO result list with all names, and keep the cosines.

    A run that was stopped continues after its last whole shard.

    Args:
        predictions_file, ann_file, language, novel, unpickle, label_order, ids,
            categories: see :func:`read_predictions`.
        image_root: folder that the images' file names start from.
        encoder: both towers and a tokenizer.
        folder: for the dump.
        templates: of the prompts, see :class:`Vocabulary`.
        max_num_patches: of an image; 'auto' as the released processor.
        cache_dir: keeps text embeddings.
        images_per_shard: 64 images x 300 boxes x 1203 names are 46 MB.
        progress: show a bar on a terminal.
        ranker: folder of a ranker of regions, whose log-odds are kept too.
        num_ranked: names of each box that it reads, the most that tuning can compare.

    Raises:
        ValueError: for what :func:`read_predictions` refuses, no results at all, a
            wrong ``max_num_patches``, images that are missing or of another size, a
            ``folder`` with another dump (naming the first field that differs) or with
            a damaged shard.
    """
    if num_ranked < 1:
        raise ValueError(f'num_ranked must be at least 1, got {num_ranked}')
    if images_per_shard < 1:
        raise ValueError(f'images_per_shard must be at least 1, got {images_per_shard}')
    if max_num_patches != 'auto':
        target_grid(1, 1, cast(int, max_num_patches))  # raises for what is no budget
    predictions = read_predictions(
        predictions_file,
        ann_file,
        language,
        novel,
        unpickle,
        label_order_of(label_order),
        ids,
        categories,
    )
    for line in predictions.counts.lines():
        print(line)
    if not predictions.rows:
        raise ValueError(f'{predictions_file} holds no result; give one that does')
    paths = find_images(predictions, image_root, progress)
    split, folder = predictions.split, Path(folder)
    vocabulary = Vocabulary(split.classes, templates, novel_classes=split.novel_classes)
    reader = None
    if ranker is not None:
        names = names_of(vocabulary, None)
        reader = NameRanker.load(ranker, encoder, encoder, names, num_ranked)
    header = DumpHeader(
        format=1,
        encoder=encoder_digest(encoder, encoder.settings()),
        classes=list(split.classes),
        category_ids=list(split.category_ids),
        novel_classes=list(split.novel_classes),
        language=language,
        templates=list(vocabulary.templates),
        max_num_patches=max_num_patches,
        predictions_sha256=_digest(predictions_file, predictions, unpickle),
        ann_sha256=file_digest(ann_file),
        num_images=len(paths),
        images_per_shard=images_per_shard,
        ranker='' if reader is None else reader.digest,
        num_ranked=0 if reader is None else num_ranked,
    )
    continues = (folder / HEADER).exists()
    if continues:
        _check_same(read_dump_header(folder), header, folder)
    elif any(folder.glob('scores-*.safetensors')):
        raise ValueError(f'{folder} has shards but no {HEADER}; delete them')
    embeds = vocabulary.embed(encoder, cache_dir)  # may refuse a name: no header yet
    if not continues:
        text = json.dumps(asdict(header), indent=1, ensure_ascii=False)
        write_atomic(folder / HEADER, text.encode())
    write_names(folder, embeds)
    bar = tqdm(total=len(paths), unit='image', disable=None if progress else True)
    with bar:
        for number, start in enumerate(range(0, len(paths), images_per_shard)):
            image_ids = list(paths)[start : start + images_per_shard]
            file = shard_file(folder, number)
            if file.exists():
                Shard(file, header).expect(image_ids)
                bar.update(len(image_ids))
                continue
            images = []
            for image_id in image_ids:
                args = encoder, paths[image_id], max_num_patches, reader
                images.append(_score_image(predictions, image_id, embeds, *args))
                bar.update()
            write_shard(file, images)
    return header


@torch.no_grad()
def _score_image(
    predictions: Predictions,
    image_id: int | str,
    class_embeds: Tensor,
    encoder: DualEncoder,
    path: Path,
    max_num_patches: int | str,
    ranker: NameRanker | None,
) -> ImageScores:
    rows, ids = predictions.rows[image_id], predictions.split.category_ids
    label = {category_id: i for i, category_id in enumerate(ids)}
    bboxes = torch.tensor([row['bbox'] for row in rows], dtype=torch.float64)
    ends = bboxes[:, :2] + bboxes[:, 2:]
    corners = torch.cat([bboxes[:, :2], ends], 1).float()
    boxes, box_of = corners.unique(dim=0, return_inverse=True)
    try:
        batch = encoder.preprocess([path], max_num_patches)
        regions = clip_boxes(boxes, batch.image_sizes[0])
        if ranker is None:
            dense, states = None, []
        else:
            dense, states = encoder.encode_grids(batch)
        embeds = encoder.region_features(batch, [regions], True, dense)[0].float()
    except ValueError as error:
        raise ValueError(f'image {image_id} ({path}): {error}') from error
    cosines, ranking = (embeds @ class_embeds.T).cpu(), None
    if ranker is not None:
        height, width = batch.image_sizes[0].tolist()
        ranking = ranker(states[0], (height, width), regions, cosines)
    return ImageScores(
        image_id,
        cosines,
        boxes,
        box_of,
        torch.tensor([row_score(row) for row in rows], dtype=torch.float32),
        torch.tensor([label[row['category_id']] for row in rows]),
        bboxes,
        ranking,
    )


def _digest(path: str | os.PathLike, predictions: Predictions, unpickle: bool) -> str:
    """SHA-256 of the file, and of the categories that a pickle's labels stand for."""
    digest = file_digest(path)
    if not unpickle:
        return digest
    ids = [row['category_id'] for rows in predictions.rows.values() for row in rows]
    return hashlib.sha256(f'{digest} {json.dumps(ids)}'.encode()).hexdigest()


def _check_same(existing: DumpHeader, expected: DumpHeader, folder: Path) -> None:
    """ValueError naming the first field in which the dumps differ."""
    for name, theirs in asdict(existing).items():
        ours = getattr(expected, name)
        if theirs == ours:
            continue
        if isinstance(ours, list) and len(ours) == len(theirs):
            place = next(i for i, pair in enumerate(zip(ours, theirs, strict=True))
                         if pair[0] != pair[1])  # fmt: skip
            name, theirs, ours = f'{name}, entry {place}', theirs[place], ours[place]
        raise ValueError(
            f'{folder} holds a dump that differs in {name}: {short_repr(theirs)} '
            f'there, {short_repr(ours)} now; give another --out, or delete it'
        )
