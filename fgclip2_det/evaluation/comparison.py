"""Comparison of two result files of tools/evaluate.py or tools/benchmark.py."""

from __future__ import annotations

import io
import os

from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json

from .common_terms import common_terms

# field of the fingerprint -> what it means when two files differ there
_NOTHING_SHARED = {
    'name': 'the protocols average over different things',
    'flavours': 'the flavours count other detections; fixed AP is usually higher',
    'iou_types': 'AP of boxes and AP of masks are different numbers',
}
_BARRIERS = {
    'images.sha256': 'different images were evaluated',
    'classes.sha256': 'different classes, or another split of them, were evaluated',
    'objects.sha256': 'the same images have other ground truth',
    'masks.sha256': 'the same objects have other masks',
    'data.sha256': 'other files, or another part of them, were evaluated',
    'folders': 'other files of a folder were evaluated',
    'options.num_negatives': 'a vocabulary has another number of negatives',
    'counts': 'not as much was evaluated, or in another setting',
    'max_detections': 'another number of detections counts, and more of them raise AP',
    'asks.sha256': 'other names were asked for: another seed, k, mode or language',
    'boxes.sha256': 'other boxes, of objects or of background, were scored',
    'score_thr': 'boxes count from another score on',
}
_SETTINGS = {
    'encoder': 'other weights',
    'control': 'a control is not a model',
    'ranker': 'another ranker, or none',
    'ranker_k': 'another number of candidates is ranked',
    'max_num_patches': 'another number of patches an image',
    'score': 'cosines became scores in another way',
    'templates': 'names were put into other sentences',
    'notes': 'the predictions were made in another way',
    'answers': 'one detector got a few names, the other all of them',
    'predictions.rows': 'the detectors kept another number of detections',
    'predictions.rows_outside_kept': 'one counts rows wholly outside their image as '
    'false positives',
    'options': 'other options of the protocol',
    'predictions.images_without_rows': 'images without detections may not have been '
    'processed',
    'commit': 'the project changed in between',
    'versions': 'other package versions may change the last digits',
}


def read_result(path: str | os.PathLike) -> dict:
    """Content of a result file.

    Raises:
        ValueError: if it is not a result file of these tools.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), dict) for key in ('metrics', 'protocol')
    ):
        raise InputError(
            f'{path} must hold "metrics" and "protocol"; write it with '
            'tools/evaluate.py or tools/benchmark.py'
        )
    for name, value in content['metrics'].items():
        if value is not None and not is_number(value):
            raise InputError(
                f'{path}: metric {name!r} must be a number, got {value!r:.80}; write '
                'the file again'
            )
    return content


def barriers(first: dict, second: dict) -> list[str]:
    """Why numbers of two result files are not comparable, most serious reason first.

    Files that share some metrics may be of different protocols: 'lvis' is a part of
    'lvis-both'. What an earlier file does not say is no reason, see
    :func:`.common_terms`.
    """
    a, b = common_terms(first, second)
    shared = first['metrics'].keys() & second['metrics'].keys()
    if not shared:
        return _differences(a, b, _NOTHING_SHARED | _BARRIERS)
    flavours = {name.split('/')[0] for name in shared}
    return _differences(_limited(a, flavours), _limited(b, flavours), _BARRIERS)


def settings(first: dict, second: dict) -> list[str]:
    """Other differences, in words; numbers stay comparable."""
    a, b = common_terms(first, second)
    lines = _differences(_without_barriers(a), _without_barriers(b), _SETTINGS)
    digests = [_field(x['protocol'], 'predictions.sha256') for x in (first, second)]
    if digests[0] == digests[1] is not None:
        lines.insert(0, 'predictions: both files are of the same predictions')
    return lines


def metric_rows(
    first: dict, second: dict
) -> list[tuple[str, float | None, float | None, float | None]]:
    """Name, both values and second - first; None where a file lacks it, or where no
    class had an object (-1)."""
    rows = []
    for name in dict.fromkeys([*first['metrics'], *second['metrics']]):
        a, b = (_value(x['metrics'].get(name)) for x in (first, second))
        rows.append((name, a, b, None if a is None or b is None else b - a))
    return rows


def class_differences(first: dict, second: dict) -> dict[str, dict[str, float]]:
    """'{flavour}/{IoU type}' -> class -> AP of the second minus AP of the first, in
    rising order, for classes with objects in both.

    Raises:
        ValueError: if the files have no class-wise figures in common.
    """
    tables = [x.get('classwise') or {} for x in (first, second)]
    differences = {}
    for title in tables[0].keys() & tables[1].keys():
        a, b = (table[title] for table in tables)
        shared = [n for n in a if n in b and None not in (a[n]['AP'], b[n]['AP'])]
        values = {name: b[name]['AP'] - a[name]['AP'] for name in shared}
        if values:
            differences[title] = dict(sorted(values.items(), key=lambda item: item[1]))
    if not differences:
        raise InputError(
            'the files have no class-wise figures in common; write both with '
            'tools/evaluate.py --classwise'
        )
    return dict(sorted(differences.items()))


def draw_differences(differences: dict[str, dict[str, float]], most: int = 40) -> bytes:
    """PNG with a panel for each, of the classes whose AP fell or rose most.

    Args:
        differences: see :func:`class_differences`.
        most: classes in a panel, half from each end.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    longest = min(most, max(map(len, differences.values())))
    size = 6 * len(differences), 1.5 + 0.2 * longest
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(1, len(differences), squeeze=False)[0]
    for panel, (title, values) in zip(panels, differences.items(), strict=True):
        names = list(values)
        if len(names) > most:
            names = names[: most // 2] + names[-(most - most // 2) :]
        heights = [100 * values[name] for name in names]
        colors = ['tab:red' if height < 0 else 'tab:blue' for height in heights]
        panel.barh(range(len(names)), heights, color=colors)
        panel.set_yticks(range(len(names)), names, fontsize=6)
        panel.axvline(0, color='gray', linewidth=1)
        panel.set_title(f'{title}: {len(names)} of {len(values)} classes')
        panel.set_xlabel('difference of AP in points, second - first')
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _without_barriers(protocol: dict) -> dict:
    """A protocol without the options that are a barrier of their own."""
    options = protocol.get('options')
    if not isinstance(options, dict):
        return protocol
    kept = {k: v for k, v in options.items() if f'options.{k}' not in _BARRIERS}
    return protocol | {'options': kept}


def _limited(protocol: dict, flavours: set[str]) -> dict:
    """A protocol with the ``max_detections`` of some flavours alone."""
    limits = protocol.get('max_detections') or {}
    limits = {key: limits[key] for key in limits if key in flavours}
    return protocol | {'max_detections': limits}


def _differences(first: dict, second: dict, meanings: dict[str, str]) -> list[str]:
    lines = []
    for path, meaning in meanings.items():
        a, b = _field(first, path), _field(second, path)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
            values = ', '.join(f'{k} {_shown(a, k)} / {_shown(b, k)}' for k in keys)
        elif path.endswith('sha256'):
            group = path.removesuffix('.sha256')
            counts = [_field(x, f'{group}.count') for x in (first, second)]
            values = f'{counts[0]} / {counts[1]} of them'
        else:
            values = f'{a!r} / {b!r}'
        lines.append(f'{path.removesuffix(".sha256")}: {meaning} ({values})')
    return lines


def _shown(group: dict, key: str) -> str:
    """A value, or how many entries of a folder there are."""
    value = group.get(key)
    if isinstance(value, dict) and 'count' in value:
        return f'{value["count"]} files'
    return repr(value)


def _field(content: dict, path: str) -> object:
    value: object = content
    for key in path.split('.'):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _value(value: float | None) -> float | None:
    return None if value is None or value == -1 else value
