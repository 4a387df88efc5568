"""Report on fusion settings: table, JSON, curves and a config."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from terminaltables import AsciiTable

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.rescoring.few_names_tuning import FewNames, calibration_of
from fgclip2_det.rescoring.score_dump import ScoreDump
from fgclip2_det.rescoring.tuning import (
    DETECTOR,
    MAX_DETS,
    Setting,
    SettingFigures,
    untuned,
)
from fgclip2_det.rescoring.tuning_truths import TuningTruths

METRICS = ('ap', 'ap50')


def selected_metric(figures: Sequence[SettingFigures], metric: str) -> str:
    """'base_ap50' and so on: of all classes where novel ones are scored."""
    if metric not in METRICS:
        raise ValueError(f'metric must be one of {METRICS}, got {metric!r}')
    group = 'all' if f'all_{metric}' in figures[0].values else 'base'
    return f'{group}_{metric}'


def ranked(figures: Sequence[SettingFigures], metric: str) -> list[SettingFigures]:
    """Best first; of equal ones the detector alone, then the first given."""
    return sorted(
        figures, key=lambda row: (-row.values[metric], row.setting != DETECTOR)
    )


def best_of(figures: Sequence[SettingFigures], metric: str) -> SettingFigures:
    """The best setting; the detector alone, where no fusion is better."""
    return ranked(figures, metric)[0]


def describe_best(figures: Sequence[SettingFigures], metric: str) -> str:
    """The chosen setting in words; also the best fusion's AP, if the detector alone is
    at least as good."""
    best = best_of(figures, metric)
    value = f'{metric} {best.values[metric]:.4f}'
    others = [row for row in ranked(figures, metric) if row.setting != DETECTOR]
    if best.setting != DETECTOR:
        return f'best {value}'
    if not others:
        return f'the detector alone has {value}'
    return (
        f'no setting is better than the detector alone: {value}, the best fusion '
        f'{others[0].values[metric]:.4f}; best.py leaves its scores as they are'
    )


def describe_tuning(
    dump: ScoreDump,
    truths: TuningTruths,
    max_per_image: int,
    few: FewNames | None = None,
) -> dict[str, object]:
    """Images, classes and limits of a tuning; ``line`` has them in a sentence.

    Args:
        few: what was asked for; None: all names at once.
    """
    novel = truths.scored & ~truths.is_base
    leaks = bool(novel.any())
    protocol: dict[str, object] = dict(
        images=len(truths.boxes.images),
        images_without_results=len(set(truths.boxes.image_index) - set(dump.image_ids)),
        names=len(truths.scored),
        novel_names=int((~truths.is_base).sum()),
        base_scored=int((truths.scored & truths.is_base).sum()),
        novel_scored=int(novel.sum()),
        novel_annotations_dropped=truths.dropped,
        base_only=not leaks,
        max_per_image=max_per_image,
        max_per_image_and_class=MAX_DETS,
        encoder=dump.header.encoder,
    )
    asked = ''
    if few is not None:
        protocol['few_names'] = asdict(few)
        ks = ', '.join(map(str, few.ks))
        asked = f', asked for {ks} names (seed {few.seed}, {few.absent} absent ones)'
    kind = 'base classes only' if not leaks else 'NOVEL CLASSES INCLUDED'
    line = (
        '{images} images ({images_without_results} without results), {names} names '
        f'({{novel_names}} novel), {kind}: {{base_scored}} base and {{novel_scored}} '
        'novel classes scored, at most {max_per_image} rows an image (box, joint) and '
        '{max_per_image_and_class} an image and class'
        f'{asked}'
    )
    return protocol | {'line': line.format(**protocol)}


def format_table(figures: Sequence[SettingFigures], metric: str) -> str:
    """Settings, best first, with the rules' defaults and the detector marked."""
    columns = list(figures[0].values)
    ranks = ['names', 'weight'] if any(f.setting.num_ranked for f in figures) else []
    header = ['fusion', 'alpha', 'beta', 'temperature', *ranks, 'mode', 'NMS']
    header += [*columns, '']
    rows = [[f'[{name}]' if name == metric else name for name in header]]
    best = best_of(figures, metric)
    for row in ranked(figures, metric):
        setting, values = row.setting, [f'{row.values[c]:.4f}' for c in columns]
        named = (setting.rule, setting.alpha, setting.beta, setting.temperature)
        if setting == DETECTOR:
            named = 'none', None, None, None
        note = 'detector alone' if setting == DETECTOR else ''
        if _is_untuned(setting):
            note = 'untuned'
        if row is best:
            note = f'best {note}'.strip()
        ranking = (setting.num_ranked, setting.ranking_weight)[: len(ranks)]
        shown = (*named, *ranking, setting.mode, setting.nms)
        cells = [*map(_cell, shown), *values, note]
        rows.append(cells)
    return AsciiTable(rows).table


def write_report(
    figures: Sequence[SettingFigures],
    metric: str,
    protocol: dict,
    folder: str | os.PathLike,
) -> list[Path]:
    """Write ``tune.json``, ``best.py`` and ``curves.png``; returns their paths.

    Args:
        figures: of all settings.
        metric: of :func:`selected_metric`.
        protocol: of :func:`describe_tuning`.
        folder: for the files.
    """
    folder, best = Path(folder), best_of(figures, metric)
    content = dict(
        protocol=protocol,
        metric=metric,
        best=asdict(best.setting),
        best_is_detector_alone=best.setting == DETECTOR,
        settings=[
            asdict(row.setting)
            | {'untuned': _is_untuned(row.setting), 'seconds': row.seconds}
            | {'detector_alone': row.setting == DETECTOR}
            | row.values
            | _calibration(row, protocol)
            for row in ranked(figures, metric)
        ],
    )
    text = json.dumps(content, indent=1, ensure_ascii=False)
    best_config = config_fragment(best, metric, protocol)
    files = {
        'tune.json': text.encode(),
        'best.py': best_config.encode(),
        'curves.png': draw_curves(figures, metric),
    }
    for name, data in files.items():
        write_atomic(folder / name, data)
    return [folder / name for name in files]


def config_fragment(best: SettingFigures, metric: str, protocol: dict) -> str:
    """Config of a setting: options of ``FGCLIP2Rescorer`` and ``PredictionRescorer``.

    A config with it as ``_base_`` says ``fusion={{_base_.fusion}}``. Where the detector
    alone is best, FG-CLIP 2 has the weight 0. Under few names it has the calibration.
    """
    setting = best.setting
    alone = ', the detector alone: no fusion was better' * (setting == DETECTOR)
    arguments = [f'{k}={v!r}' for k, v in setting.fusion().items()]
    limit = None if setting.mode == 'keep' else protocol['max_per_image']
    lines = [
        f'# {metric} {best.values[metric]:.4f} of {protocol["line"]}{alone}',
        f'fusion = dict({", ".join(arguments)})',
        f'mode = {setting.mode!r}',
        f'nms_iou = {setting.nms!r}',
        f'max_per_image = {limit!r}',
        *(f'{k} = {v!r}' for k, v in _calibration(best, protocol).items()),
    ]
    return '\n'.join(lines) + '\n'


def _calibration(row: SettingFigures, protocol: dict) -> dict[str, dict]:
    """``calibration`` of a setting under few names; nothing otherwise."""
    if 'few_names' not in protocol:
        return {}
    return dict(calibration=calibration_of(row, protocol['few_names']['score_thr']))


def draw_curves(figures: Sequence[SettingFigures], metric: str) -> bytes:
    """PNG: the metric against alpha, a line a rule and mode at its best beta,
    temperature and NMS; the detector alone is dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout='constrained')
    panel = figure.subplots()
    for title, points in curves(figures, metric).items():
        panel.plot(*zip(*points, strict=True), marker='o', linewidth=1, label=title)
    for row in figures:
        if row.setting == DETECTOR:
            panel.axhline(row.values[metric], color='gray', linestyle='--',
                          linewidth=1, label='detector alone')  # fmt: skip
    panel.set_xlabel('alpha')
    panel.set_ylabel(metric)
    figure.legend(loc='outside right upper', fontsize=7)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def curves(
    figures: Sequence[SettingFigures], metric: str
) -> dict[str, list[tuple[float, float]]]:
    """Title -> (alpha, metric), alphas rising."""
    lines: dict[str, list] = {}
    seen = set()
    for best in ranked(figures, metric):
        setting = best.setting
        if setting == DETECTOR or (setting.rule, setting.mode) in seen:
            continue
        seen.add((setting.rule, setting.mode))
        parts = [f'{setting.rule} {setting.mode}', f'T {setting.temperature:.4g}']
        if setting.beta is not None:
            parts.append(f'beta {setting.beta:.4g}')
        if setting.nms is not None:
            parts.append(f'NMS {setting.nms:.4g}')
        lines[', '.join(parts)] = sorted(
            (row.setting.alpha, row.values[metric])
            for row in figures
            if replace(row.setting, alpha=setting.alpha) == setting
            and row.setting != DETECTOR
        )
    return lines


def _is_untuned(setting: Setting) -> bool:
    return setting == untuned(setting.rule, setting.mode, setting.nms)


def _cell(value: object) -> str:
    if value is None:
        return '-'
    return f'{value:.4g}' if isinstance(value, float) else str(value)
