"""Evaluation of a result list under a benchmark's protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgclip2_det.coco.class_split import resolve_classes
from fgclip2_det.coco.entries import used_categories, without_roots
from fgclip2_det.coco.ground_truths import read_image_ids, read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.io.text import read_json

from .fingerprint import evaluation_fingerprint
from .language_protocols import LANGUAGE_PROTOCOLS, check_options, evaluate_language
from .protocols import PROTOCOLS, check_protocol, evaluate_results, keep_for


@dataclass(frozen=True)
class Evaluation:
    """Outcome of :func:`evaluate_file`.

    Attributes:
        metrics: 0 to 1 by name, such as 'ov-coco/bbox/novel_ap50'; -1 where no class
            of an average has an object.
        protocol: what was measured on what, in plain values for JSON.
        classwise: '{flavour}/{IoU type}' -> class -> {'AP': ..., 'AP50': ...}; empty
            for protocols of phrases and descriptions.
        remarks: a sentence on each kind of row that was left out, and on each doubt
            about the rows that were read.
    """

    metrics: dict[str, float]
    protocol: dict[str, object]
    classwise: dict[str, dict] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def evaluate_file(
    protocol: str,
    annotations: str | os.PathLike,
    predictions: str | os.PathLike,
    *,
    iou_types: Sequence[str] = ('bbox',),
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
    image_ids: str | os.PathLike | None = None,
    notes: Mapping[str, str] | None = None,
    **options: Any,
) -> Evaluation:
    """Score a result list under the protocol of a benchmark.

    Args:
        protocol: 'coco', 'ov-coco', 'lvis', 'lvis-fixed' or 'lvis-both', or of phrases
            and descriptions 'refexp', 'flickr30k', 'fg-ovd', 'd3', 'odinw13' or
            'odinw35'.
        annotations: COCO or LVIS file; a folder for 'd3' and 'odinw'.
        predictions: COCO result list; a folder of them for 'odinw'.
        iou_types: 'bbox', 'segm' or both.
        base, novel: class names of 'ov-coco'; as the categories say when None.
        image_ids: file of the images that count: a JSON list of ids, or a COCO file.
        notes: how the predictions were made; kept in ``protocol``.
        options: ``drop_outside``, and of COCO's and LVIS's protocols ``ids``,
            ``categories`` and ``prune_rows``, see
            :func:`fgclip2_det.coco.result_lists.read_results`; ``num_negatives`` of
            'fg-ovd'.

    Raises:
        ValueError: an unknown protocol, an option that it does not have, and files
            that are missing or damaged, with the entry that is at fault.

    Example:
        >>> from fgclip2_det.evaluation import evaluate_file
        >>> for name in ('detector.json', 'rescored.json'):
        ...     metrics = evaluate_file('ov-coco', 'val.json', name).metrics
        ...     print(metrics['ov-coco/bbox/base_ap50'],
        ...           metrics['ov-coco/bbox/novel_ap50'])
    """
    notes = dict(notes or {})
    if protocol not in PROTOCOLS and protocol not in LANGUAGE_PROTOCOLS:
        raise ValueError(
            f'protocol must be one of {[*PROTOCOLS, *LANGUAGE_PROTOCOLS]}, got '
            f'{protocol!r}'
        )
    if protocol != 'ov-coco' and (base or novel):
        raise ValueError(f'base and novel belong to ov-coco, not to {protocol}')
    if protocol in LANGUAGE_PROTOCOLS:
        if image_ids is not None or tuple(iou_types) != ('bbox',):
            raise ValueError(f'image_ids and iou_types are not options of {protocol}')
        outcome = evaluate_language(
            protocol, annotations, predictions, notes, **options
        )
        return Evaluation(outcome['metrics'], outcome['protocol'])
    check_protocol(protocol, iou_types)
    check_options(protocol, options, read_results)
    category_ids, novel_ids = None, None
    if protocol == 'ov-coco':
        category_ids, novel_ids = split_ids(annotations, base, novel)
    truths = read_truths(
        annotations,
        federated=protocol.startswith('lvis'),
        masks='segm' in iou_types,
        image_ids=None if image_ids is None else read_image_ids(image_ids),
        category_ids=category_ids,
    )
    keep = keep_for(protocol)
    read = read_results(predictions, truths, iou_types, keep, **options)
    figures = evaluate_results(protocol, truths, read.results, iou_types, novel_ids)
    about = evaluation_fingerprint(
        protocol, truths, annotations, read, predictions, iou_types, novel_ids, notes
    )
    remarks = tuple(read.lines())
    return Evaluation(figures.metrics, about, figures.classwise, remarks)


def split_ids(
    annotations: str | os.PathLike,
    base: Sequence[str] | None = None,
    novel: Sequence[str] | None = None,
) -> tuple[list, list]:
    """Ids of a COCO file's categories that count, and of the novel ones among them.

    Raises:
        ValueError: a file without categories, names that it does not have, or no split.
    """
    content = read_json(annotations)
    categories = content.get('categories') if isinstance(content, dict) else None
    if not isinstance(categories, list):
        raise ValueError(f"{annotations} must hold a list of 'categories'")
    used = used_categories(content.get('annotations'))
    asked = [*(base or ()), *(novel or ())]
    categories = without_roots(annotations, categories, used, asked)
    split = resolve_classes(categories, base=base, novel=novel)
    ids = dict(zip(split.classes, split.category_ids, strict=True))
    return list(split.category_ids), [ids[name] for name in split.novel_classes]
