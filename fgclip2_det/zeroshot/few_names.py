"""Few names: what an encoder says of boxes when it is given one, two or five names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.evaluation.few_names.asks import K, image_stream
from fgclip2_det.evaluation.few_names.name_pools import counted_objects
from fgclip2_det.evaluation.few_names.pairs import AskedBoxes, pairs_of
from fgclip2_det.evaluation.few_names.protocol import (
    AskedTruths,
    describe_asks,
    prepare_asks,
)
from fgclip2_det.evaluation.few_names.scores import SCORE_THR, score_pairs
from fgclip2_det.evaluation.image_boxes import box_iou
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.io import InputError
from fgclip2_det.io.digests import json_digest

from .benchmark import Task
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .report import Report

TEMPERATURE = 0.01  # of the released evaluation of regions
_BACKGROUND_IOU = 0.3  # background overlaps no object by so much
_TRIES = 50  # places for a background box
_BACKGROUND = 1  # stream of random numbers
ScoreFunction = Callable[[Tensor, Embedder], Tensor]


@dataclass(frozen=True)
class FewNamesOptions:
    """What to ask, and how cosines become scores.

    Attributes:
        ks, seed, mode, language, asks: see :func:`.evaluate_few_names`. The seed is
            that of the background's places as well.
        score: of :data:`SCORES`, or a function: (n, m) cosines of an image's n boxes
            with the m names of an ask, and the embedder -> (n, m) scores in [0, 1].
        score_thr: from this score on, a box counts.
        templates: of the names, see :class:`.Vocabulary`.
    """

    ks: Sequence[K] | None = None
    seed: int | None = None
    mode: str | None = None
    language: str | None = None
    asks: str | None = None
    score: str | ScoreFunction = 'softmax'
    score_thr: float = SCORE_THR
    templates: str = 'raw'


def softmax_scores(cosines: Tensor, embedder: Embedder) -> Tensor:
    """Softmax over the names asked for, at temperature 0.01: one name gets 1."""
    return (cosines / TEMPERATURE).softmax(-1)


def sigmoid_scores(cosines: Tensor, embedder: Embedder) -> Tensor:
    """Each name on its own, with the encoder's scale and bias."""
    encoder = embedder.encoder
    if encoder is None:
        raise ValueError("score 'sigmoid' needs an encoder's scale and bias; a control "
                         "has none, take 'softmax'")  # fmt: skip
    scale, bias = encoder.logit_parameters()
    if bias is None:
        raise ValueError(
            "score 'sigmoid' needs an encoder's bias; FG-CLIP 1 and CLIP, trained with "
            "a softmax, have none, take 'softmax'"
        )
    return (cosines * scale.float().exp() + bias.float()).sigmoid()


SCORES: dict[str, ScoreFunction] = {
    'softmax': softmax_scores,
    'sigmoid': sigmoid_scores,
}


@dataclass(frozen=True)
class BoxedImages:
    """Images with boxes of objects and of background.

    Attributes:
        items: images, with the boxes of objects first; ``truths`` are their names.
        of_image: index of the image in the ground truth -> index of its item.
        num_objects, num_background: boxes of each kind.
    """

    items: list[ImageItem]
    of_image: dict[int, int]
    num_objects: int
    num_background: int


def encoder_figures(
    embedder: Embedder,
    asked: AskedTruths,
    boxes: BoxedImages,
    options: FewNamesOptions = FewNamesOptions(),
    progress: bool = True,
) -> dict[str, float]:
    """Figures of :func:`.score_pairs`, 0 to 1, with every box under every name asked.

    Args:
        embedder: around an encoder.
        asked: of :func:`.prepare_asks`.
        boxes: of :func:`find_boxes`.
        options: see there.
        progress: show a bar on a terminal.

    Raises:
        ValueError: an unknown score; scores of another shape, or beyond [0, 1].
    """
    score = options.score
    if isinstance(score, str):
        if score not in SCORES:
            raise ValueError(f'score must be one of {list(SCORES)}, got {score!r}')
        score = SCORES[score]
    names = _names_of(asked)
    pairs = pairs_of(asked.asks, asked.truths)
    class_embeds = embedder.names([[n] for n in names.values()], options.templates)
    rows = {category_id: n for n, category_id in enumerate(names)}
    _, regions = embedder.images(boxes.items, whole=False)
    ends = np.cumsum([len(item.bboxes) for item in boxes.items])
    parts = []
    bar = tqdm(asked.asks, unit='ask', disable=None if progress else True)
    for n, ask in enumerate(bar):
        place = boxes.of_image.get(asked.truths.image_index[ask.image_id])
        if place is None:
            continue
        item = boxes.items[place]
        own = regions[ends[place] - len(item.bboxes) : ends[place]]
        # all names each time: a product of another shape rounds in another way
        cosines = (own @ class_embeds.T)[:, [rows[i] for i in ask.category_ids]]
        scores = score(cosines, embedder)
        parts.append(_answers(item, scores, int(pairs.starts[n])))
    return score_pairs(
        asked.truths, pairs, _join(parts), options.score_thr, asked.novel_ids
    )


def find_boxes(truths: Truths, root: Path, seed: int = 0) -> BoxedImages:
    """Boxes of all objects that count, and as many of background.

    A background box has the size of an object of its image and lies at random inside;
    its IoU with every object is below 0.3. Where there is no room, there are fewer.

    Args:
        truths: the ground truth; images need width and height.
        root: folder that the file names start from.
        seed: of the places.

    Raises:
        ValueError: an image without a size or a name.
    """
    counted = counted_objects(truths) & (truths.bboxes[:, 2:] > 0).all(1)
    order = np.argsort(truths.image, kind='stable')
    bounds = np.searchsorted(truths.image[order], np.arange(len(truths.images) + 1))
    items, of_image, num_background = [], {}, 0
    for i, image in enumerate(truths.images):
        own = order[bounds[i] : bounds[i + 1]]
        objects = truths.bboxes[own[counted[own]]]
        width, height = image.get('width'), image.get('height')
        name = truths.file_names.get(image['id'])
        if width is None or height is None or name is None:
            raise ValueError(f'image {image["id"]!r} needs width, height and file_name')
        if not len(objects):
            continue
        size = int(width), int(height)
        rng = np.random.default_rng([*image_stream(seed, image['id']), _BACKGROUND])
        background = _background(objects, truths.bboxes[own], size, rng)
        num_background += len(background)
        xywh = np.concatenate([objects, background])
        of_image[i] = len(items)
        texts = [truths.names[c] for c in truths.category[own[counted[own]]]]
        texts += [f'background {n}' for n in range(len(background))]
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        items.append(ImageItem(root / name, corners.tolist(), size, texts))
    return BoxedImages(items, of_image, int(counted.sum()), num_background)


def _background(
    objects: np.ndarray,
    taken: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """(b, 4) xywh, at most one for each of the objects."""
    found: list[np.ndarray] = [np.zeros((0, 4))]
    for box in objects:
        room = np.maximum(np.array(size) - box[2:], 0)
        places = rng.random((_TRIES, 2)) * room
        tries = np.concatenate([places, np.broadcast_to(box[2:], (_TRIES, 2))], 1)
        free = (box_iou(tries, taken) < _BACKGROUND_IOU).all(1)
        if free.any():
            found.append(tries[free][:1])
    return np.concatenate(found)


def _names_of(asked: AskedTruths) -> dict:
    """Category id -> name, of all that is asked for."""
    return {
        category_id: name
        for ask in asked.asks
        for category_id, name in zip(ask.category_ids, ask.names, strict=True)
    }


def _answers(item: ImageItem, scores: Tensor, start: int) -> AskedBoxes:
    """Every box under every name of an ask, whose first pair is ``start``."""
    values = scores.double().cpu().numpy()
    if values.ndim != 2 or len(values) != len(item.bboxes):
        raise ValueError(f'the score function must keep (n, m), gave {values.shape}')
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError('the score function must give scores in [0, 1]')
    n, m = values.shape
    corners = np.array(item.bboxes, np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    pair = np.tile(np.arange(start, start + m), n)
    return AskedBoxes(pair, np.repeat(xywh, m, 0), values.ravel())


def _join(parts: Sequence[AskedBoxes]) -> AskedBoxes:
    none = AskedBoxes(np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
    parts = [none, *parts]
    return AskedBoxes(
        np.concatenate([part.pair for part in parts]),
        np.concatenate([part.bboxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


# ------------------------------------------------------------------- benchmark
def read_few_names(
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    options: FewNamesOptions,
    num_images: int | None = None,
) -> Task:
    """Asks and boxes of an annotation file, before anything is encoded.

    Args:
        ann_file: COCO or LVIS file.
        image_root: folder that its file names start from.
        options: what to ask.
        num_images: the first n images alone; None takes all.

    Raises:
        ValueError: what the protocol refuses; images that are missing.
    """
    drawn = {n: getattr(options, n) for n in ('ks', 'seed', 'mode', 'language')}
    asked = prepare_asks(ann_file, options.asks, **drawn)
    chosen = [i['id'] for i in take_first(asked.truths.images, num_images)]
    if num_images is not None:
        asked = prepare_asks(ann_file, options.asks, image_ids=chosen, **drawn)
    boxes = find_boxes(asked.truths, Path(image_root), _seed(asked, options))
    check_images_exist(boxes.items, Path(image_root))
    counts = {
        'images': len(chosen),
        'names': len(asked.truths.categories),
        'boxes/objects': boxes.num_objects,
        'boxes/background': boxes.num_background,
        'asks': len(asked.asks),
    }
    score = options.score
    about = {
        'asks': describe_asks(asked),
        'boxes': {
            'count': boxes.num_objects + boxes.num_background,
            'sha256': json_digest([list(item.bboxes) for item in boxes.items]),
        },
        'score': score if isinstance(score, str) else score.__name__,
        'score_thr': options.score_thr,
        'templates': options.templates,
    }
    return Task(counts, partial(_run, asked, boxes, options, counts), about)


def _seed(asked: AskedTruths, options: FewNamesOptions) -> int:
    """The seed of the draw, of a file of asks as well."""
    seed = asked.draw.get('seed')
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InputError(
            f'{options.asks}: "draw" must give the seed, a whole number, which also '
            f'places the background boxes; got {seed!r}'
        )
    return seed


def evaluate_few_names_boxes(
    encoder: DualEncoder | Embedder,
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    options: FewNamesOptions = FewNamesOptions(),
    num_images: int | None = None,
    max_num_patches: int | str = 'auto',
) -> dict[str, dict]:
    """Figures of an encoder on the boxes of any annotation file.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one.
        ann_file, image_root, options, num_images: see :func:`read_few_names`.
        max_num_patches: patches per image; 'auto' as in training.

    Returns:
        ``{'metrics': ..., 'denominators': ..., 'counts': ..., 'protocol': ...}``,
        percent.
    """
    task = read_few_names(ann_file, image_root, options, num_images)
    report = task.run(Embedder.of(encoder, max_num_patches))
    return {**report.to_dict(), 'protocol': dict(task.about)}


def _run(
    asked: AskedTruths,
    boxes: BoxedImages,
    options: FewNamesOptions,
    counts: dict,
    embedder: Embedder,
) -> Report:
    """Percent, but for boxes of absent names, which are per 100 pairs already."""
    report = Report(counts=dict(counts))
    found = encoder_figures(embedder, asked, boxes, options, embedder.progress)
    pairs = pairs_of(asked.asks, asked.truths)
    num_pairs = {f'k{k}': int((pairs.k == n).sum()) for n, k in enumerate(pairs.ks)}
    for name, value in found.items():
        title = f'few-names/{name}'
        report.denominators[title] = num_pairs[name.split('/')[0]] if value >= 0 else 0
        if value >= 0:
            in_percent = name.endswith('per_100')
            report.metrics[title] = value if in_percent else 100 * value
    return report
