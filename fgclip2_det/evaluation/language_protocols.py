"""Protocols of phrases and descriptions, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from inspect import Parameter, signature
from pathlib import Path

from fgclip2_det.io.digests import folder_digest

from .common_terms import DEFAULT_NEGATIVES
from .descriptions import score_d3
from .fingerprint import commit, versions
from .hard_vocabularies import score_fgovd_map
from .odinw import score_odinw
from .phrase_grounding import score_flickr30k, score_refexp

LANGUAGE_PROTOCOLS: dict[str, Callable[..., dict[str, dict]]] = {
    'refexp': score_refexp,
    'flickr30k': score_flickr30k,
    'fg-ovd': score_fgovd_map,
    'd3': score_d3,
    'odinw13': partial(score_odinw, count=13),
    'odinw35': partial(score_odinw, count=35),
}
_INNER = (
    'blocks',
    'count',
    'iou_types',
    'keep',
    'notes',
)  # arguments that the protocol itself decides


def check_options(
    protocol: str, options: Iterable[str], function: Callable[..., object]
) -> None:
    """ValueError on an option that the function of a protocol does not take."""
    known = [
        name
        for name, parameter in signature(function).parameters.items()
        if parameter.default is not Parameter.empty and name not in _INNER
    ]
    for name in options:
        if name not in known:
            raise ValueError(f'{name} is not an option of {protocol}; it has {known}')


def evaluate_language(
    protocol: str,
    ann: str | os.PathLike,
    predictions: str | os.PathLike,
    notes: dict[str, str] | None = None,
    **options: object,
) -> dict[str, dict]:
    """Score a result list, with its fingerprint.

    Args:
        protocol: of :data:`LANGUAGE_PROTOCOLS`.
        ann, predictions: files, or folders, as the protocol's function takes them.
        notes: what the caller knows about how the predictions were made.
        options: ``drop_outside``, as of :func:`.read_results`; ``num_negatives`` of
            'fg-ovd'.

    Returns:
        ``{'metrics': 0 to 1 by name, 'protocol': ...}``.

    Raises:
        ValueError: an unknown protocol, missing files, or what the function refuses.
    """
    if protocol not in LANGUAGE_PROTOCOLS:
        raise ValueError(
            f'protocol must be one of {list(LANGUAGE_PROTOCOLS)}, got {protocol!r}'
        )
    check_options(protocol, options, LANGUAGE_PROTOCOLS[protocol])
    for path in (ann, predictions):
        if not Path(path).exists():
            raise ValueError(f'there is no {path}')
    if protocol == 'fg-ovd':
        options = {'num_negatives': DEFAULT_NEGATIVES, **options}
    outcome = LANGUAGE_PROTOCOLS[protocol](ann, predictions, **options)
    counts = outcome['counts']
    about = {
        'name': protocol,
        'data': {'sha256': folder_digest(ann), 'count': counts.get('images')},
        'options': options,
        'counts': counts,
        'notes': dict(notes or {}),
        'predictions': {'sha256': folder_digest(predictions)},
        'files': {'ann': Path(ann).name, 'predictions': Path(predictions).name},
        'versions': versions(),
        'commit': commit(),
    }
    return {'metrics': outcome['metrics'], 'protocol': about}
