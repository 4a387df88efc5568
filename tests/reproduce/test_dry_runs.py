"""From an empty data root to a table, on small data in the released layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config

from fgclip2_det import Vocabulary
from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.evaluation import evaluate_file
from fgclip2_det.reproduce.benchmarks import BENCHMARKS
from fgclip2_det.reproduce.dry_run_data import names
from fgclip2_det.reproduce.published import published
from fgclip2_det.reproduce.questions import read_questions
from fgclip2_det.reproduce.releases import DETECTORS, ENCODERS, reads_version
from fgclip2_det.vocabulary import load_list

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'rescore' / 'llmdet'
DRY = ('llmdet-tiny', 'fgclip2-base', '--dry-run', '--out')


def results(out: Path, benchmark: str) -> Path:
    return out / 'dry-run' / 'results' / benchmark / 'llmdet-tiny+fgclip2-base'


def rows_of(path: Path, image_id: int) -> np.ndarray:
    """(n, 6) label, x1, y1, x2, y2, score of an image, sorted."""
    rows = [row for row in json.loads(path.read_text()) if row['image_id'] == image_id]
    table = [
        [row['category_id'] - 1, x, y, x + w, y + h, row['score']]
        for row in rows
        for x, y, w, h in [row['bbox']]
    ]
    return np.array(sorted(table))


@pytest.fixture
def minival(reproduce, out) -> str:
    """What the command printed for LVIS minival; the second call finds all shards."""
    code, printed, errors = reproduce('lvis-minival', *DRY, out)
    assert code == 0, errors
    return printed


def test_lvis_minival(minival, out):
    """The boxes and scores are those of the config of the same experiment."""
    for part in ('ok  annotations of LVIS minival: there', 'ok  4 images', 'DRY RUN',
                 'fixed AP', 'the best 300 of an image', '44.7', '51.6', 'Apache-2.0',
                 'images/s', 'not published', 'arXiv:2510.10921'):  # fmt: skip
        assert part in minival, part
    folder = results(out, 'lvis-minival')
    for kind in ('detector', 'rescored'):
        content = json.loads((folder / f'{kind}.json').read_text())
        again = evaluate_file(
            'lvis-both',
            out / 'dry-run/results/lvis-minival/annotations/lvis_v1_minival.json',
            folder / f'{kind}.bbox.json',
        )
        assert content['metrics'] == again.metrics
        assert content['protocol']['images']['count'] == 4
    report = json.loads((folder / 'report.json').read_text())
    assert report['dry_run'] and report['comparable']
    assert report['tables'][0]['rows'][1]['published'] == [51.6, 47.5, 50.7, 53.2]

    root = out / 'dry-run'
    cfg = Config.fromfile(
        CONFIGS / 'rescore-joint_llmdet-t_fgclip2-b16_lvis-minival.py'
    ).model
    cfg.detector.pretrained = str(root / 'weights' / cfg.detector.pretrained)
    cfg.encoder.pretrained = str(root / 'weights' / cfg.encoder.pretrained)
    cfg.cache_dir = str(root / 'results' / 'text_cache')
    model = MODELS.build(cfg).eval()
    model.set_vocabulary(Vocabulary(names(), base_classes=names()))  # of a data set
    image = root / 'data' / 'coco' / 'val2017' / f'{2:012d}.jpg'
    sample = DetDataSample(metainfo=dict(img_path=str(image), ori_shape=(96, 160)))
    found = model.detector.detect(image)
    [sample] = model.predict(None, [sample])
    fused = sample.pred_instances[sample.pred_instances.scores > 0]
    for kind, (boxes, scores, labels) in dict(
        detector=found, rescored=(fused.bboxes, fused.scores, fused.labels)
    ).items():
        expected = torch.cat([labels[:, None], boxes, scores[:, None]], 1).numpy()
        expected = np.array(sorted(expected.tolist()))
        actual = rows_of(folder / f'{kind}.bbox.json', 2)
        assert actual.shape == expected.shape and len(actual) > 20
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


def test_lvis_in_chinese(minival, reproduce, out):
    """The same detections, compared with Chinese names."""
    code, printed, errors = reproduce('lvis-minival-zh', *DRY, out)
    assert code == 0, errors
    assert 'llmdet-tiny detects' not in printed and 'fgclip2-base re-scores' in printed
    assert '44.7' in printed and '51.6' not in printed
    root = out / 'dry-run'
    questions = read_questions(
        BENCHMARKS['lvis-minival-zh'], root / 'data', root / 'scratch'
    )
    assert questions.names == load_list('lvis').chinese[:45]
    assert questions.prompts == tuple(names())
    english, chinese = (
        rows_of(results(out, name) / 'rescored.bbox.json', 1)
        for name in ('lvis-minival', 'lvis-minival-zh')
    )
    assert not np.array_equal(english, chinese)


def test_fg_ovd(reproduce, out):
    """Each vocabulary is asked for on its own; similarities compete within it."""
    code, printed, errors = reproduce('fg-ovd', *DRY, out, '--limit', 1)
    assert code == 0, errors
    assert 'hard  medium    easy trivial' in printed and '15.0' in printed
    folder = results(out, 'fg-ovd-first1')
    report = json.loads((folder / 'report.json').read_text())
    assert report['images'] == '1 of 2 images'
    lines = (out / 'dry-run/data/fgovd/e_attributes_llava.jsonl').read_text()
    entry = json.loads(lines.splitlines()[0])
    own = {entry['category_id'], *entry['neg_category_ids']}
    rows = json.loads((folder / 'detector-easy.bbox.json').read_text())
    assert {row['vocabulary_id'] for row in rows} == {entry['category_id']}
    assert {row['category_id'] for row in rows} == own
    assert len(rows) == 11 * 20  # 20 queries a caption, 300 a vocabulary at most


def test_d3_and_a_result_list(reproduce, out, oracle, tmp_path):
    """Images are asked for the descriptions of their scene."""
    code, printed, errors = reproduce('d3', *DRY, out, '--limit', 2)
    assert code == 0, errors
    assert 'full    pres     abs' in printed and '17.2' in printed
    rows = json.loads((results(out, 'd3-first2') / 'rescored.bbox.json').read_text())
    asked = {(row['image_id'], row['category_id']) for row in rows}
    assert asked == {(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (2, 3), (2, 4)}
    data = out / 'dry-run' / 'data' / 'd3' / 'd3_json' / 'd3_full_annotations.json'
    found = oracle(data, tmp_path / 'list.json')
    code, printed, errors = reproduce('d3', f'mine={found}', *DRY[1:], out)
    assert code == 0, errors
    assert 'result list of the detector: there' in printed
    assert '100.0   100.0   100.0' in printed


def test_what_an_oracle_finds_is_all_there(reproduce, out, oracle, tmp_path):
    """100 in both flavors with a list of the objects, of LVIS's images of minival."""
    data = out / 'dry-run' / 'data' / 'coco' / 'annotations'
    reproduce('coco', *DRY, out, '--check')
    found = oracle(data / 'lvis_v1_val.json', tmp_path / 'list.json', {1, 2, 3, 4})
    code, printed, errors = reproduce(
        'lvis-minival', f'wedetect-large={found}', *DRY[1:], out
    )
    assert code == 0, errors
    assert printed.count('100.0   100.0   100.0   100.0') >= 2
    assert '55.0    51.1       -       - [1]' in printed


def test_fgclip1(reproduce, out, oracle, tmp_path):
    if not reads_version(1):
        code, _, errors = reproduce('coco', 'llmdet-tiny', 'fgclip1-base', '--check')
        assert code == 2 and 'does not read FG-CLIP 1' in errors
        return
    reproduce('coco', *DRY, out, '--check')
    ann = out / 'dry-run' / 'data' / 'coco' / 'annotations' / 'instances_val2017.json'
    found = oracle(ann, tmp_path / 'list.json')
    code, printed, errors = reproduce(
        'coco', f'mine={found}', 'fgclip1-base', '--dry-run', '--out', out
    )
    assert code == 0, errors
    assert 'fgclip1-base re-scores' in printed and '100.0' in printed


@pytest.mark.parametrize('benchmark', ['lvis-minival', 'lvis-val', 'coco'])
def test_settings_are_those_of_the_configs(benchmark):
    """Of the smallest and of the largest detector and encoder."""
    data = benchmark.removesuffix('-val')
    own = BENCHMARKS[benchmark]
    for size, encoder, short in (('tiny', 'base', 'b16'), ('large', 'so400m', 'so16')):
        name = f'rescore-joint_llmdet-{size[0]}_fgclip2-{short}_{data}.py'
        cfg = Config.fromfile(CONFIGS / name).model
        assert cfg.detector.pretrained == DETECTORS[f'llmdet-{size}'].repository
        assert cfg.encoder.pretrained == ENCODERS[f'fgclip2-{encoder}'].repository
        assert cfg.detector.chunk_size == own.asking.chunk_size
        assert cfg.detector.max_per_image == own.asking.max_per_pass
        how = dict(vars(own.rescoring))
        fusion = {k: how.pop(k) for k in ('alpha', 'temperature')}
        assert cfg.fusion == dict(type='OpenVocabGeometricFusion', **fusion)
        assert how == {key: cfg[key] for key in how}


def values(*key: str) -> tuple:
    row = published(*key)
    assert row is not None
    return row.values


def test_published_rows():
    """Columns are AP, APr, APc, APf; where nothing is known there is nothing."""
    assert values('lvis-minival', 'llmdet-tiny') == (44.7, 37.3, 39.5, 50.7)
    row = values('lvis-val', 'llmdet-tiny', 'fgclip2-so400m')
    assert row == (45.9, 42.1, 44.6, 49.0)
    assert values('lvis-minival-zh', 'llmdet-tiny')[0] == 44.7
    for key in (('lvis-minival-zh', 'llmdet-tiny', 'fgclip2-base'),
                ('lvis-minival', 'llmdet-large', 'fgclip2-base'),
                ('lvis-minival', 'sam3', 'fgclip2-base'),
                ('d3', 'llmdet-tiny', 'fgclip2-base')):  # fmt: skip
        assert published(*key) is None


def test_minival_without_a_list(minival, out, tmp_path):
    """All images of val2017; a published minival file is taken as it is."""
    data = out / 'dry-run' / 'data'
    root = tmp_path / 'data'
    (root / 'coco' / 'annotations').mkdir(parents=True)
    (root / 'coco' / 'val2017').symlink_to(data / 'coco' / 'val2017')
    val = root / 'coco' / 'annotations' / 'lvis_v1_val.json'
    val.write_bytes((data / 'coco/annotations/lvis_v1_val.json').read_bytes())
    benchmark = BENCHMARKS['lvis-minival']
    made = read_questions(benchmark, root, tmp_path / 'work')
    assert [item.image_id for item in made.items] == [1, 2, 3, 4, 5]
    assert all(item.path.is_file() for item in made.items)
    target = root / benchmark.annotations[''].path
    made.annotations[''].rename(target)
    ready = read_questions(benchmark, root, tmp_path / 'work', limit=2)
    assert ready.annotations[''] == target and len(ready.items) == 2
    assert ready.image_ids is not None
    assert json.loads(ready.image_ids.read_text()) == [1, 2]
    assert ready.num_all == 5 == len(read_coco(target).images)
