"""CCMB's five sets: released layouts, controls, counts, files that are wrong."""

import json
from pathlib import Path

import pytest
import torch

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.zeroshot import Embedder
from fgclip2_det.zeroshot.benchmark import ReadOptions
from fgclip2_det.zeroshot.ccmb_files import (
    read_ccmb_captions,
    read_ccmb_pairs,
    split_files,
)
from fgclip2_det.zeroshot.controls import ControlEmbedder
from fgclip2_det.zeroshot.pair_scores import ControlScorer
from fgclip2_det.zeroshot.ranker_scores import RankerScorer
from fgclip2_det.zeroshot.suite import BENCHMARKS, read_benchmark, run_benchmark
from tests.ccmb_folders import SETS, TEXTS, row, write_lines, write_set
from tests.random_rankers import vivid_ranker

RETRIEVAL = {'icr', 'iqr', 'flickr30k-cna'}


def run(root: Path, name: str, embedder: Embedder, **options):
    benchmark = BENCHMARKS[name]
    task = benchmark.read(benchmark.locate(root), ReadOptions(**options))
    return task.run(embedder)


def control(kind: str, ranker: str | None = None, seed: int = 0) -> ControlEmbedder:
    embedder = ControlEmbedder(kind, seed)
    embedder.pair_scorer = ranker and ControlScorer(ranker, seed)
    return embedder


@pytest.mark.parametrize('name', SETS)
def test_layouts_counts_and_the_oracle(tmp_path, name):
    write_set(tmp_path, name)
    report = run(tmp_path, name, control('oracle', 'oracle'))
    assert set(report.metrics.values()) == {100}
    titles = {metric.split('/')[0] for metric in report.metrics}
    if name in RETRIEVAL:
        assert titles == {'retrieval', 'retrieval_ranked'}
        assert report.counts['images'] == 7 and report.counts['captions'] == 9
        assert report.counts['retrieval/short/shared_captions'] == 1
        assert report.denominators['retrieval_ranked/short/t2i'] == 9
    else:
        assert titles == {'matching', 'matching_ranked'}
        counts = dict(images=7, pairs=19, positives=9, negatives=10, contradictory=0)
        assert counts.items() < report.counts.items()
        assert report.denominators['matching/short/auc'] == 9 * 10
    plain = run(tmp_path, name, control('oracle'))
    assert {metric.split('/')[0] for metric in plain.metrics} < titles


def write_many(root: Path, name: str) -> None:
    """Hundred images of two texts, so that chance is far from 100 %."""
    paths = write_set(root, name)
    folder, first = paths[0].parent, paths[0].read_bytes()
    for path in folder.iterdir():
        path.unlink()
    for i in range(100):
        (folder / f'{i:04d}.jpg').write_bytes(first)
    texts = [(i, f'第{i}张图的第{k}句') for i in range(100) for k in range(2)]
    file = BENCHMARKS[name].locate(root)
    path = file.get('captions') or file['pairs']
    if name == 'flickr30k-cna':
        lines = [f'{i:04d}#{k % 2}\t{t}' for k, (i, t) in enumerate(texts)]
        path.write_text('\n'.join(lines), encoding='utf-8')
        return
    labels = [{} if name in RETRIEVAL else {'label': k // 3 % 2} for k in range(200)]
    rows = [row(i, t, **label) for (i, t), label in zip(texts, labels, strict=True)]
    write_lines(path, rows)


@pytest.mark.parametrize('name', SETS)
def test_noise_stays_at_chance(tmp_path, name):
    write_many(tmp_path, name)
    reports = [
        run(tmp_path, name, control('noise', 'noise', seed)) for seed in range(8)
    ]
    chance = {'i2t': 1.0, 't2i': 1.0, 'i2t@10': 9.6, 't2i@10': 10.0, 'auc': 50.0}
    chance |= {'accuracy': 50.0, 'accuracy_at_half': 50.0}
    for metric in reports[0].metrics:
        expected = chance.get(metric.split('/')[-1])
        values = [report.metrics[metric] for report in reports]
        mean = sum(values) / len(values)
        if expected is not None:
            assert mean == pytest.approx(expected, abs=1.5 if expected < 40 else 4)
        assert max(values) < 70


def test_an_oracle_ranks_what_noise_lets_through(tmp_path):
    """With random candidates, right is who finds a match among them: k of 100."""
    write_many(tmp_path, 'icr')
    for k in (5, 50, 100):
        report = run(tmp_path, 'icr', control('noise', 'oracle', seed=k), ranker_k=k)
        found = report.metrics['retrieval_ranked/short/t2i']
        assert found == pytest.approx(k, abs=10 if k < 100 else 0)
        assert report.metrics['retrieval/short/t2i'] < 6


def test_matching_with_an_encoder_equals_its_parts(tmp_path):
    write_set(tmp_path, 'iqm')
    encoder = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(2))
    embedder = Embedder(encoder.eval(), progress=False)
    embedder.pair_scorer = RankerScorer(vivid_ranker(encoder))
    report = run(tmp_path, 'iqm', embedder)
    lines = read_ccmb_pairs(BENCHMARKS['iqm'].locate(tmp_path)['pairs'], True)
    folder = BENCHMARKS['iqm'].locate(tmp_path)['images']
    for prefix in ('matching', 'matching_ranked'):
        scores = []
        for line in lines:
            batch = encoder.preprocess(folder / line.image)
            with torch.no_grad():
                if prefix == 'matching':
                    image = encoder.encode_image(batch, normalize=True)
                    text = encoder.encode_text([line.text], 'short', normalize=True)
                    scores.append(float((image * text).sum()))
                    continue
                image, _ = encoder.image_tokens(batch)
                text, _ = encoder.text_tokens([line.text], 'short')
                logits = embedder.pair_scorer.ranker(image, text[None])
            parts = [part.softmax(-1)[0, 0, 1] for part in logits]
            scores.append(float(sum(parts)) / 2)
        right = [s for s, line in zip(scores, lines, strict=True) if line.label]
        wrong = [s for s, line in zip(scores, lines, strict=True) if not line.label]
        wins = sum(a > b for a in right for b in wrong)
        auc = report.metrics[f'{prefix}/short/auc']
        assert auc == pytest.approx(100 * wins / 90)
    at_half = sum(
        (s > 0.5) == line.label for s, line in zip(scores, lines, strict=True)
    )
    found = report.metrics['matching_ranked/short/accuracy_at_half']
    assert found == pytest.approx(100 * at_half / 19)


# ---------------------------------------------------------------------------- counts
def test_all_splits_are_counted(tmp_path):
    write_set(tmp_path, 'icm')
    write_set(tmp_path, 'icr')
    for split, number in (('train', 5), ('test', 2)):
        rows = [row(i, 'x', label=i % 2) for i in range(number)]
        folder = tmp_path / 'ccmb'
        write_lines(folder / f'ICM/{split}/long_itm_{split}.json', rows)
        write_lines(folder / f'ICR/{split}/long_itr_{split}.json', rows[:1])
    matching = run(tmp_path, 'icm', control('oracle')).counts
    assert matching['pairs'] == 19
    assert matching['pairs_of_all_splits'] == 19 + 5 + 2
    assert matching['positives_of_all_splits'] == 9 + 2 + 1
    retrieval = run(tmp_path, 'icr', control('oracle')).counts
    assert retrieval['captions'] == 9 and retrieval['captions_of_all_splits'] == 11
    path = BENCHMARKS['icr'].locate(tmp_path)['captions']
    assert [*split_files(path)] == ['train', 'val', 'test']
    (tmp_path / 'ccmb/ICR/train/long_itr_train.json').unlink()
    assert [*split_files(path)] == ['val', 'test']


@pytest.mark.parametrize('name', ['icr', 'iqr', 'icm', 'iqm'])
def test_published_totals(tmp_path, name):
    """No count of a split is published; those over all splits must not be exceeded,
    and make a result complete."""
    write_set(tmp_path, name)
    benchmark = BENCHMARKS[name]
    task = read_benchmark(benchmark, tmp_path)
    embedder = control('oracle', 'oracle')
    result = run_benchmark(benchmark, task, embedder, tmp_path)
    assert not benchmark.expected and result['protocol']['complete'] is False
    assert result['protocol']['ranker'] == 'oracle'
    assert result['protocol']['ranker_k'] == (64 if name in RETRIEVAL else None)
    assert benchmark.is_complete({**task.counts, **benchmark.totals})
    total = 200_000 if name in RETRIEVAL else 400_000
    assert max(benchmark.totals.values()) == total
    more = {what: number + 1 for what, number in benchmark.totals.items()}
    assert benchmark.excesses(more) == {
        what: (number, number + 1) for what, number in benchmark.totals.items()
    }
    assert benchmark.excesses(benchmark.totals) == {} == benchmark.excesses({})


# --------------------------------------------------------------------- wrong files
def test_an_image_is_known_by_its_stem(tmp_path):
    rows = [
        {'text': 'a', 'image_path': 'x/1.jpg'},
        {'text': 'b', 'image_path': '1.png', 'label': 'no label is read here'},
        {'text': ' c ', 'image_path': '2.jpg'},
    ]
    path = write_lines(tmp_path / 'val/long_itr_val.json', rows)
    assert read_ccmb_captions(path) == {'1.jpg': ['a', 'b'], '2.jpg': ['c']}


@pytest.mark.parametrize(
    'line, message',
    [
        ('', 'is empty; expected one JSON object per line'),
        ('[{"text": "a"}]', 'line 1: expected an object with text and image_path'),
        ('\n{"text": "a", ', 'line 2 is not JSON'),
        (
            '{"image_path": "a.jpg", "label": 1}',
            'line 1: text must be a text, got None',
        ),
        ('{"text": "a", "label": 1}', 'image_path must be a text, got None'),
        ('{"text": "a", "image_path": "/", "label": 1}', 'names no file'),
        ('{"text": "a", "image_path": "b.jpg"}', r'label must be 1 \(match\) or 0'),
        ('{"text": "a", "image_path": "b.jpg", "label": 2}', 'got 2'),
        ('{"text": "a", "image_path": "b.jpg", "label": "1"}', "got '1'"),
    ],
)
def test_wrong_lines(tmp_path, line, message):
    path = tmp_path / 'long_itm_val.json'
    path.write_text(line, encoding='utf-8')
    with pytest.raises(ValueError, match=message) as error:
        read_ccmb_pairs(path, labelled=True)
    assert str(path) in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    for name in ('icr', 'icm'):
        benchmark = BENCHMARKS[name]
        with pytest.raises(FileNotFoundError, match=r'zero\.so\.com.*yuxie11/R2D2'):
            benchmark.locate(tmp_path)
        images = write_set(tmp_path, name)
        images[2].unlink()
        with pytest.raises(ValueError, match=r'1 of 7 images are missing: .*0002\.jpg'):
            read_benchmark(benchmark, tmp_path)


@pytest.mark.parametrize('label', [0, 1])
def test_a_matching_set_without_counterparts(tmp_path, label):
    write_set(tmp_path, 'iqm')
    path = BENCHMARKS['iqm'].locate(tmp_path)['pairs']
    rows = [json.loads(line) for line in path.read_text('utf-8').splitlines()]
    write_lines(path, [one for one in rows if one['label'] == label])
    with pytest.raises(ValueError, match='AUC is not defined') as error:
        read_benchmark(BENCHMARKS['iqm'], tmp_path)
    assert str(path) in str(error.value)


def test_options_that_do_not_fit(tmp_path):
    for name, options, message in (
        ('coco-box', dict(ranker='oracle'), 'has nothing to rank'),
        ('icm', dict(ranker='oracle', ranker_k=3), 'no candidates to choose'),
        ('icr', dict(boxes=tmp_path), 'takes no boxes'),
    ):
        with pytest.raises(ValueError, match=message):
            read_benchmark(BENCHMARKS[name], tmp_path, ReadOptions(**options))
    write_set(tmp_path, 'icr')
    report = run(tmp_path, 'icr', control('oracle'), num_images=2)
    assert report.counts['captions'] == sum(len(TEXTS[i]) for i in range(2))
