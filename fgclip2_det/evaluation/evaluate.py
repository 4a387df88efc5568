"""Evaluation of a result list under a benchmark's protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fgclip2_det.coco.ground_truths import (
    read_image_ids,
    read_truths_file,
    to_truths,
)
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.io.collector import collector_paused

from .class_ids import split_ids
from .fingerprint import evaluation_fingerprint
from .language_protocols import LANGUAGE_PROTOCOLS, check_options, evaluate_language
from .protocols import PROTOCOLS, check_protocol, evaluate_results, keep_for

FEW_NAMES = 'few-names'


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
            'odinw35'; or 'few-names', see :func:`.evaluate_few_names`.
        annotations: COCO or LVIS file; a folder for 'd3' and 'odinw'.
        predictions: COCO result list; a folder of them for 'odinw'.
        iou_types: 'bbox', 'segm' or both.
        base, novel: class names of 'ov-coco' and 'few-names'; as the categories say
            when None.
        image_ids: file of the images that count: a JSON list of ids, or a COCO file.
        notes: how the predictions were made; kept in ``protocol``.
        options: ``drop_outside``, and of COCO's and LVIS's protocols ``ids``,
            ``categories`` and ``prune_rows``, see
            :func:`fgclip2_det.coco.result_lists.read_results`; ``num_negatives`` of
            'fg-ovd'; those of :func:`.evaluate_few_names`.

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
    known = [*PROTOCOLS, *LANGUAGE_PROTOCOLS, FEW_NAMES]
    if protocol not in known:
        raise ValueError(f'protocol must be one of {known}, got {protocol!r}')
    if protocol not in ('ov-coco', FEW_NAMES) and (base or novel):
        raise ValueError(f'base and novel belong to ov-coco, not to {protocol}')
    if protocol == FEW_NAMES:
        if tuple(iou_types) != ('bbox',):
            raise ValueError(f'iou_types is no option of {protocol}')
        options |= {'base': base, 'novel': novel, 'image_ids': image_ids}
        return _evaluate_few_names(annotations, predictions, options, notes)
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
    with collector_paused():
        coco = read_truths_file(annotations)
        if protocol == 'ov-coco':
            category_ids, novel_ids = split_ids(coco, base, novel)
        truths = to_truths(
            coco,
            federated=protocol.startswith('lvis'),
            masks='segm' in iou_types,
            image_ids=None if image_ids is None else read_image_ids(image_ids),
            category_ids=category_ids,
        )
        del coco  # its entries take several times the memory of the columns
    keep = keep_for(protocol)
    read = read_results(predictions, truths, iou_types, keep, **options)
    figures = evaluate_results(protocol, truths, read.results, iou_types, novel_ids)
    about = evaluation_fingerprint(
        protocol, truths, annotations, read, predictions, iou_types, novel_ids, notes
    )
    remarks = tuple(read.lines())
    return Evaluation(figures.metrics, about, figures.classwise, remarks)


def _evaluate_few_names(
    annotations: str | os.PathLike,
    predictions: str | os.PathLike,
    options: dict,
    notes: dict[str, str],
) -> Evaluation:
    from .few_names.protocol import evaluate_few_names  # its files are for it alone

    check_options(FEW_NAMES, options, evaluate_few_names)
    outcome = evaluate_few_names(annotations, predictions, notes=notes, **options)
    return Evaluation(outcome.metrics, outcome.protocol, {}, outcome.remarks)
