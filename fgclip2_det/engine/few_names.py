"""A detector asked for a few names at a time, and what it makes of them."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from fgclip2_det.coco.result_writer import result_rows, write_results
from fgclip2_det.evaluation.few_names import (
    Ask,
    draw_curves,
    figures_table,
    write_asks,
)
from fgclip2_det.evaluation.few_names.protocol import (
    AskedTruths,
    FewNamesOutcome,
    evaluate_few_names,
    prepare_asks,
)
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.vocabulary import Vocabulary, parts_of

from .unwrap import unwrap_model

STEM = 'few_names'


@dataclass(frozen=True)
class FewNamesOptions:
    """What to ask, and what counts; see :func:`.evaluate_few_names`.

    Attributes:
        asks: a file of asks; None draws them by ``ks``, ``seed`` and ``mode``.
        score_thr: from this score on, a box is shown to a user.
    """

    asks: str | None = None
    ks: Sequence[int | str] | None = None
    seed: int | None = None
    mode: str | None = None
    score_thr: float = 0.3


def check_few_names(cfg: Config, others: dict[str, object]) -> None:
    """ValueError where the config or another option does not fit.

    Args:
        cfg: of the test.
        others: options of a plain test, by name; none may be given.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise ValueError(f'--few-names tests in its own way; leave out {given[0]}')
    if cfg.model.type == 'OpenVocabSegmentor':
        raise ValueError(
            '--few-names asks for boxes, and a segmentor predicts label maps; test it '
            'without --few-names'
        )
    if cfg.get('launcher', 'none') != 'none':
        raise ValueError('--few-names asks from one process; leave out --launcher')


def test_few_names(runner: Runner, options: FewNamesOptions) -> FewNamesOutcome:
    """Ask the detector of a runner, and write what it answers and what that is worth.

    The work dir gets ``few_names.asks.json``, ``few_names.bbox.json`` (a COCO result
    list with ``ask_id``), ``few_names.json`` (figures and what was measured on what)
    and ``few_names.png``.

    Args:
        runner: of a test; its weights are loaded here.
        options: what to ask.

    Raises:
        ValueError: a detector without names or with fixed ones, a data set without an
            annotation file; what the protocol refuses.
    """
    runner._test_loop = runner.build_test_loop(runner._test_loop)
    runner.call_hook('before_run')
    dataset = runner.test_loop.dataloader.dataset
    model = unwrap_model(runner.model)
    if not hasattr(model, 'set_vocabulary'):
        raise ValueError(
            f'{type(model).__name__} cannot be asked for names; run it with tools/'
            'test.py --out FILE.json and give that to tools/evaluate.py --protocol '
            'few-names'
        )
    ann_file, asked, split = _asked_truths(dataset, options)
    runner.load_or_resume()
    folder = Path(runner.work_dir)
    files = {
        kind: folder / f'{STEM}{ending}'
        for kind, ending in (
            ('asks', '.asks.json'), ('rows', '.bbox.json'), ('figures', '.json'),
            ('picture', '.png'),
        )
    }  # fmt: skip
    write_asks(files['asks'], asked.asks, asked.draw, ann_file)
    write_results(files['rows'], ask_detector(runner.model, dataset, asked.asks))
    outcome = evaluate_few_names(
        ann_file, files['rows'], asks=files['asks'], score_thr=options.score_thr,
        notes={'model': type(model).__name__}, **split,
    )  # fmt: skip
    content = {'metrics': outcome.metrics, 'protocol': outcome.protocol}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_atomic(files['figures'], f'{text}\n'.encode())
    title = f'{type(model).__name__}, absent names {asked.draw["mode"]}'
    write_atomic(files['picture'], draw_curves(outcome.metrics, title))
    runner.call_hook('after_run')
    return outcome


def show_few_names(outcome: FewNamesOutcome, work_dir: str | os.PathLike) -> None:
    """Print the figures and where the files are."""
    asks = outcome.protocol['asks']
    assert isinstance(asks, dict)
    print(f'\n{figures_table(outcome.metrics)}')
    print(
        f'precision, recall, false/100 at IoU 0.5 and score '
        f'{outcome.protocol["score_thr"]}; {asks["count"]} asks, absent names '
        f'{asks["mode"]}, seed {asks["seed"]}, {asks["language"]}'
    )
    for line in outcome.remarks:
        print(line)
    print(f'files: {Path(work_dir) / STEM}.json, .asks.json, .bbox.json, .png')


def ask_detector(
    model: nn.Module, dataset: Dataset, asks: Sequence[Ask], progress: bool = True
) -> list[dict]:
    """Ask a detector, each ask in one call.

    Args:
        model: with ``test_step`` and ``set_vocabulary`` of its own or inside a wrapper;
            it has the vocabulary of the last ask afterwards.
        dataset: a test data set.
        asks: about its images.
        progress: show a bar on a terminal.

    Returns:
        Rows of a COCO result list with ``ask_id``, in the order of the asks.

    Raises:
        ValueError: a detector that does not take the names.
    """
    places = {info['img_id']: n for n, info in enumerate(_infos(dataset))}
    detector: Any = unwrap_model(model)
    detector.keep_text_encoder = True
    model.eval()
    by_names: dict[tuple, list[Ask]] = {}  # equal names are embedded once
    for ask in asks:
        by_names.setdefault(ask.category_ids, []).append(ask)
    rows: dict[int, list[dict]] = {}
    with tqdm(total=len(asks), unit='ask', disable=None if progress else True) as bar:
        for same in by_names.values():
            _set_names(detector, dataset, same[0])
            for ask in same:
                data = pseudo_collate([dataset[places[ask.image_id]]])
                rows[ask.id] = list(_rows(model, data, ask))
                bar.update()
    return [row for ask in asks for row in rows[ask.id]]


def _rows(model: Any, data: dict, ask: Ask) -> Iterator[dict]:
    with torch.no_grad():
        (sample,) = model.test_step(copy.deepcopy(data))
    found = sample.pred_instances.cpu().numpy()
    bboxes = found.bboxes.astype(float)
    bboxes[:, 2:] -= bboxes[:, :2]
    ids = list(ask.category_ids)
    for row in result_rows(ask.image_id, bboxes, found.labels, found.scores, ids):
        yield {'ask_id': ask.id} | row


def _set_names(detector: Any, dataset: Any, ask: Ask) -> None:
    """The names of an ask, as a user gives them: without a split, so that they compete
    with what the detector was trained on; aliases, templates, parts as configured."""
    label = {category_id: n for n, category_id in enumerate(_category_ids(dataset))}
    labels = [label[category_id] for category_id in ask.category_ids]
    given = detector.configured_vocabulary
    entries, options = [[name] for name in ask.names], {}
    if given is not None:
        entries = [given.aliases[n] for n in labels]
        firsts = [aliases[0] for aliases in entries]
        options = {'templates': given.templates, 'parts': parts_of(firsts, given.parts)}
    vocabulary = Vocabulary(entries, check=False, **options)
    try:
        detector.set_vocabulary(vocabulary)
    except ValueError as error:
        raise ValueError(
            f'ask {ask.id} ({", ".join(ask.names[:3])}): {error}; a detector with '
            'fixed classes is run once: tools/test.py --out FILE.json, then '
            'tools/evaluate.py --protocol few-names'
        ) from error


def _asked_truths(
    dataset: Any, options: FewNamesOptions
) -> tuple[str, AskedTruths, dict]:
    """Annotation file, what is asked about it, lists of base and novel names."""
    ann_file = getattr(dataset, 'ann_file', None)
    if not ann_file or not Path(ann_file).is_file():
        raise ValueError(
            f'{type(dataset).__name__} has no annotation file, which --few-names draws '
            'from; test on a COCO or LVIS data set'
        )
    meta = dataset.metainfo
    known = {
        name
        for name, category_id in zip(
            meta['classes'], _category_ids(dataset), strict=True
        )
        if category_id is not None
    }
    novel = [name for name in meta.get('novel_classes', ()) if name in known]
    base = [name for name in meta['classes'] if name in known and name not in novel]
    split = {'base': base, 'novel': novel or None}
    drawn = {} if options.asks else {'language': meta.get('language', 'en')}
    asked = prepare_asks(
        ann_file, options.asks, ks=options.ks, seed=options.seed, mode=options.mode,
        image_ids=[info['img_id'] for info in _infos(dataset)], **drawn, **split,
    )  # fmt: skip
    return ann_file, asked, split


def _category_ids(dataset: Any) -> list:
    """By label; None where the file has no such category."""
    own = dataset.metainfo.get('category_ids')
    return list(dataset.cat_ids if own is None else own)


def _infos(dataset: Any) -> list[dict]:
    return [dataset.get_data_info(n) for n in range(len(dataset))]
