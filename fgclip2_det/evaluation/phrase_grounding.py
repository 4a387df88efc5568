"""Phrase grounding: RefCOCO/+/g and Flickr30k Entities.

Both are read in MDETR's format (arXiv:2104.12763): an "image" entry per expression or
sentence, so that one image has several entries. A prediction is a row of a COCO
result list whose ``image_id`` is such an entry's id.
"""

from __future__ import annotations

import os

import numpy as np

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.coco.ground_truths import Truths, make_truths, read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.coco.results import Results

from .image_boxes import box_iou

KS = (1, 5, 10)
NEVER = np.iinfo(np.int64).max  # rank of a phrase without a right box
_IOU = 0.5


def read_expressions(path: str | os.PathLike) -> Truths:
    """Ground truth of a RefCOCO file: one box per expression, one class.

    Raises:
        ValueError: what :func:`read_truths` refuses; no expressions; one without a
            caption or with more or fewer boxes than one.
    """
    truths = read_truths(path)
    if not truths.images:
        raise ValueError(f'{path} has no expressions; is it complete?')
    counts = np.bincount(truths.image, minlength=len(truths.images))
    for entry, count in zip(truths.images, counts.tolist(), strict=True):
        if count != 1:
            raise ValueError(
                f'{path}: expression {entry["id"]} has {count} boxes, expected one'
            )
        if not isinstance(entry.get('caption'), str) or not entry['caption'].strip():
            raise ValueError(f'{path}: expression {entry["id"]} has no caption')
    one = [{'id': truths.categories[0]['id'], 'name': 'object'}]
    rows = np.argsort(truths.image, kind='stable')
    zeros = np.zeros(len(rows), np.int64)
    return make_truths(
        truths.images, one, truths.image[rows], zeros, truths.bboxes[rows]
    )


def read_phrases(path: str | os.PathLike) -> Truths:
    """Ground truth of a Flickr30k file: category i is the i-th phrase of a sentence.

    Phrases are those of ``tokens_positive_eval``. A box belongs to every phrase whose
    span is in its ``tokens_positive``, as MDETR writes it: boxes that are nearly equal
    are one there, and a phrase may come twice. Where boxes have none, ``phrase_ids``
    names the phrase: the sorted distinct values of a sentence are its phrases in turn,
    as MMDetection reads them. The entries of the images get ``phrases``, their texts.

    Raises:
        ValueError: naming the entry: no sentences, no spans, spans outside of the
            caption, or other phrases in its boxes than in its spans.
    """
    coco = read_coco(
        path,
        sections=('images', 'annotations'),
        image_keys=(),
        annotation_keys=('image_id', 'bbox'),
        keep_outside=True,
    )
    if not coco.images:
        raise ValueError(f'{path} has no sentences; is it complete?')
    owned: dict = {i: [] for i in coco.images}
    for annotation in coco.annotations:
        owned[annotation['image_id']].append(annotation)
    images, columns = [], ([], [], [])
    for number, entry in enumerate(coco.images.values()):
        title = f'{path}: sentence {entry["id"]}'
        phrases = _phrases(entry, title)
        images.append(entry | {'phrases': phrases})
        for phrase, box in _phrase_boxes(entry, owned[entry['id']], title):
            for column, value in zip(columns, (number, phrase, box), strict=True):
                column.append(value)
    most = max(len(entry['phrases']) for entry in images)
    categories = [{'id': i, 'name': f'phrase {i}'} for i in range(most)]
    return make_truths(images, categories, *columns)


def pair_ranks(truths: Truths, results: Results, merged: bool = False) -> np.ndarray:
    """Rank of the first right box of each phrase, among the boxes given for it.

    Right is an IoU of 0.5 or more with any box of the phrase. Of boxes of equal score
    wrong ones come first.

    Args:
        truths: P pairs of an image and a category with at least one box.
        results: boxes with scores for images and categories.
        merged: the one box around all boxes of a phrase is the truth.

    Returns:
        (P,) int64 by image, then category; :data:`NEVER` where no box is right.
    """
    keys = truths.image * len(truths.categories) + truths.category
    own = results.image.astype(np.int64) * len(truths.categories) + results.category
    order, places = (np.argsort(x, kind='stable') for x in (own, keys))
    own, keys = own[order], keys[places]
    ranks = []
    for key in np.unique(keys):
        first, last = np.searchsorted(keys, [key, key + 1])
        wanted = truths.bboxes[places[first:last]]
        if merged:
            low, high = wanted[:, :2].min(0), (wanted[:, :2] + wanted[:, 2:]).max(0)
            wanted = np.concatenate([low, high - low])[None]
        first, last = np.searchsorted(own, [key, key + 1])
        rows = order[first:last]
        right = np.any(box_iou(results.bboxes[rows], wanted) >= _IOU, axis=1)
        ranked = right[np.lexsort((right, -results.scores[rows]))]
        ranks.append(1 + ranked.argmax() if ranked.any() else NEVER)
    return np.array(ranks, np.int64)


def score_refexp(
    ann_file: str | os.PathLike,
    predictions_file: str | os.PathLike,
    drop_outside: bool = True,
) -> dict[str, dict]:
    """P@1, P@5 and P@10: shares of expressions with a right box among the first k.

    Args:
        ann_file: ``finetune_refcoco_val.json`` or another of MDETR's files.
        predictions_file: COCO result list; ``image_id`` is the expression's,
            ``category_id`` the lowest of the file (1 in MDETR's).
        drop_outside: see :func:`.read_results`; what it leaves out is counted.

    Returns:
        ``{'metrics': {'refexp/P@1': 0 to 1, ...}, 'counts': {'expressions': ...}}``.
        An expression without predictions is wrong.

    Raises:
        ValueError: naming the first entry or row that is wrong.
    """
    truths = read_expressions(ann_file)
    read = read_results(predictions_file, truths, drop_outside=drop_outside)
    ranks = pair_ranks(truths, read.results)
    metrics = {f'refexp/P@{k}': float((ranks <= k).mean()) for k in KS}
    counts = {'expressions': len(ranks), 'rows_outside': read.num_outside}
    return {'metrics': metrics, 'counts': counts}


def score_flickr30k(
    ann_file: str | os.PathLike,
    predictions_file: str | os.PathLike,
    drop_outside: bool = True,
) -> dict[str, dict]:
    """R@1, R@5 and R@10 of phrases, for any of a phrase's boxes and for all as one.

    Args:
        ann_file: ``final_flickr_separateGT_val.json`` or ``..._test.json``.
        predictions_file: COCO result list; ``image_id`` is the sentence's,
            ``category_id`` the phrase's number in it, from 0.
        drop_outside: see :func:`.read_results`; what it leaves out is counted.

    Returns:
        ``{'metrics': {'flickr30k/any/R@1': 0 to 1, ...}, 'counts': ...}``.

    Raises:
        ValueError: naming the first entry or row that is wrong.
    """
    truths = read_phrases(ann_file)
    read = read_results(predictions_file, truths, drop_outside=drop_outside)
    metrics = {}
    for title, merged in (('any', False), ('merged', True)):
        ranks = pair_ranks(truths, read.results, merged)
        for k in KS:
            metrics[f'flickr30k/{title}/R@{k}'] = float((ranks <= k).mean())
    counts = {'sentences': len(truths.images), 'phrases': len(ranks)}
    counts['rows_outside'] = read.num_outside
    return {'metrics': metrics, 'counts': counts}


def _phrase_boxes(
    entry: dict, annotations: list[dict], title: str
) -> list[tuple[int, list]]:
    """Number of the phrase and box, for every phrase that a box belongs to."""
    spans = entry['tokens_positive_eval']
    if all('tokens_positive' in one for one in annotations):
        place = {tuple(group[0]): i for i, group in enumerate(spans)}
        names = [_own_spans(one, place, title) for one in annotations]
    else:
        own = [_phrase_id(one, title) for one in annotations]
        if len({type(name) for name in own}) > 1:
            raise ValueError(f'{title}: phrase_ids must be all numbers or all strings')
        place = {name: i for i, name in enumerate(sorted(set(own)))}
        names = [[place[name]] for name in own]
    present = {name for group in names for name in group}
    if len(present) != len(spans):
        raise ValueError(
            f'{title} has {len(spans)} phrases, its boxes belong to {len(present)}'
        )
    return [
        (name, one['bbox'])
        for group, one in zip(names, annotations, strict=True)
        for name in group
    ]


def _own_spans(annotation: dict, place: dict, title: str) -> list[int]:
    try:
        return sorted({place[tuple(span)] for span in annotation['tokens_positive']})
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{title}: tokens_positive of annotation {annotation.get("id")} must be '
            f'spans of tokens_positive_eval, got {annotation["tokens_positive"]!r}'
        ) from error


def _phrase_id(annotation: dict, title: str) -> int | str:
    phrase = annotation.get('phrase_ids')
    if isinstance(phrase, list) and len(phrase) == 1:
        phrase = phrase[0]
    if not isinstance(phrase, int | str):
        raise ValueError(
            f'{title}: phrase_ids of annotation {annotation.get("id")} must name one '
            f'phrase, got {phrase!r}; or give tokens_positive'
        )
    return phrase


def _phrases(entry: dict, title: str) -> list[str]:
    caption, spans = entry.get('caption'), entry.get('tokens_positive_eval')
    if not isinstance(caption, str) or not isinstance(spans, list):
        raise ValueError(f'{title} needs a caption and tokens_positive_eval')
    phrases = []
    for group in spans:
        try:
            first, last = group[0]
            text = caption[first:last]
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise ValueError(
                f'{title}: {group!r} is not a span of characters'
            ) from error
        if not (0 <= (first or 0) < (last or 0) <= len(caption) and text.strip()):
            raise ValueError(f'{title}: {group!r} lies outside its caption')
        phrases.append(text)
    return phrases
