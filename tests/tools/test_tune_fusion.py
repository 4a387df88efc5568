"""tools/dump_scores.py and tools/tune_fusion.py, from files to files."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import torch
from mmengine.config import Config

from fgclip2_det import FGCLIP2
from fgclip2_det.evaluation.coco_ap import box_ap
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.ranker import Ranker

NAMES = ['red star', 'blue ring', 'green cross']
IDS = [4, 2, 9]
NOVEL = 'green cross'


@pytest.fixture
def files(tmp_path):
    """Four images of noise with three objects each and twelve results each."""
    rng, results, annotations = np.random.default_rng(0), [], []
    for i in range(4):
        pixels = rng.integers(0, 256, (64, 96, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{i}.png')
        for k in range(12):
            bbox = [float(v) for v in rng.integers(8, 40, 4)]
            row = dict(image_id=i, category_id=int(rng.choice(IDS)), bbox=bbox)
            results.append(row | dict(score=float(rng.uniform(0.1, 0.9))))
            if k < 6:
                annotations.append(row | dict(id=len(annotations), iscrowd=0))
    coco = dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=96, height=64) for i in range(4)
        ],
        categories=[dict(id=i, name=n) for i, n in zip(IDS, NAMES, strict=True)],
        annotations=annotations,
    )
    (tmp_path / 'rows.json').write_text(json.dumps(results))
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    return tmp_path


@pytest.fixture
def source(files) -> list:
    return [
        '--predictions', files / 'rows.json', '--ann', files / 'ann.json',
        '--images', files, '--encoder', 'fgclip2_tiny', '--novel', NOVEL,
    ]  # fmt: skip


@pytest.fixture
def tune(run_tool, files, source):
    """tune('--mode', 'box') -> what the tool gives, after a dump."""
    code, text, err = run_tool('dump_scores', *source, '--out', files / 'dump')
    assert code == 0, err
    assert text == f'4 images, 3 names, 1 of them novel: {files / "dump"}\n'
    words = ['--dump', files / 'dump', '--ann', files / 'ann.json']
    return lambda *more: run_tool('tune_fusion', *words, '--out', files / 'out', *more)


def base_ap50(files, rows) -> float:
    """Of a COCO result list."""
    truth = json.loads((files / 'ann.json').read_text())['annotations']

    def boxes(given, image_id):
        own = [row for row in given if row['image_id'] == image_id]
        own = [row for row in own if row['category_id'] != IDS[2]]
        return ImageBoxes(
            np.array([row['bbox'] for row in own]).reshape(-1, 4),
            np.array([IDS.index(row['category_id']) for row in own], int),
            np.array([row['score'] for row in own]) if given is rows else None,
            np.zeros(len(own), bool),
        )

    sides = [[boxes(given, i) for i in range(4)] for given in (truth, rows)]
    return box_ap(*sides, 2)[:, 0].mean()


def test_the_best_setting_is_what_rescoring_with_it_gives(
    tune, run_tool, files, source
):
    code, text, err = tune('--base-only', '--alpha', 0.3, 0.6, '--temperature', 0.05,
                           '--mode', 'keep', 'box', '--nms', 'none', 0.6)  # fmt: skip
    assert code == 0, err
    assert 'base classes only' in text and 'detector alone' in text
    assert text.count('untuned') == 3 and text.count(' best ') == 2
    tuned = json.loads((files / 'out' / 'tune.json').read_text())
    assert tuned['protocol']['line'] in text and tuned['protocol']['base_only']
    assert tuned['protocol']['novel_annotations_dropped'] > 0
    assert len(tuned['settings']) == 1 + 3 * 3
    assert (files / 'out' / 'curves.png').stat().st_size > 1000
    best = Config.fromfile(files / 'out' / 'best.py')
    assert best.fusion.type == 'OpenVocabGeometricFusion'
    assert best.fusion.alpha == tuned['best']['alpha'] and 'nms_iou' in best
    for row in tuned['settings']:
        if row['detector_alone']:
            rows = json.loads((files / 'rows.json').read_text())
        else:
            words = ['--alpha', row['alpha'], '--temperature', row['temperature'],
                     '--mode', row['mode'], '--out', files / 'new.json']  # fmt: skip
            words += [] if row['nms'] is None else ['--nms', row['nms']]
            code, _, err = run_tool('rescore', *source, *words)
            assert code == 0, err
            rows = json.loads((files / 'new.json').read_text())
        assert row['base_ap50'] == pytest.approx(base_ap50(files, rows), abs=1e-6)


def test_novel_annotations_are_refused_unless_told(tune, files):
    code, text, err = tune()
    assert code == 2 and text == ''
    assert 'annotations of novel classes' in err and '--base-only' in err
    assert not (files / 'out').exists()
    code, text, err = tune('--with-novel', '--alpha', 0.5)
    assert code == 0, err
    assert 'WARNING' in text and 'leaks' in text and '[all_ap50]' in text
    code, _, err = tune('--with-novel', '--base-only')
    assert code == 2 and 'not allowed with' in err


def test_what_is_wrong_is_one_sentence(tune, run_tool, files, source):
    for options, message in (
        (['--alpha', 2], 'alpha must lie in [0, 1], got 2.0'),
        (['--nms', 0, '--mode', 'box'], 'nms_iou must lie in'),
        (['--max-per-image', 0], 'max_per_image must be at least 1'),
        (['--dump', files], 'is not a dump'),
        (['--ann', 'nowhere.json'], 'nowhere.json cannot be read'),
    ):
        code, _, err = tune('--base-only', *options)
        assert code == 2, options
        assert err.startswith('error: ') and message in err
        assert 'Traceback' not in err
    other = ['--templates', 'photo', '--out', files / 'dump']
    code, _, err = run_tool('dump_scores', *source, *other)
    assert code == 2 and 'differs in templates' in err
    for name in ('dump_scores', 'tune_fusion'):
        code, text, _ = run_tool(name, '--help')
        assert code == 0 and f'python tools/{name}.py --' in text


def test_tool_and_package_offer_the_same_rules(run_tool):
    from fgclip2_det.rescoring.rules import TUNED_RULES

    _, text, _ = run_tool('tune_fusion', '--help')
    assert f'--fusion {{{",".join(TUNED_RULES)}}}' in text


def test_few_names_choose_a_calibration_that_rescoring_takes(
    tune, run_tool, files, source
):
    words = ['--base-only', '--alpha', 0.4, '--temperature', 0.05]
    code, text, err = tune(*words, '--few-names', '--ks', 1, 'all', '--seed', 3,
                           '--score-thr', 0.4)  # fmt: skip
    assert code == 0, err
    assert 'asked for 1, all names (seed 3, random absent ones)' in text
    assert 'base_threshold' in text and 'base_recall' in text
    tuned = json.loads((files / 'out' / 'tune.json').read_text())
    assert tuned['protocol']['few_names'] == dict(
        ks=[1, 'all'], seed=3, absent='random', score_thr=0.4, precision=None
    )
    best = Config.fromfile(files / 'out' / 'best.py')
    shifts = tuned['settings'][0]['calibration']
    assert best.calibration == shifts and shifts['novel'] == 0.0 != shifts['base']
    words = [*source, '--alpha', 0.4, '--temperature', 0.05]
    calibration = ['--calibration', shifts['base'], 0]
    for name, more in dict(plain=[], moved=calibration).items():
        out = files / f'{name}.json'
        code, _, err = run_tool('rescore', *words, *more, '--out', out)
        assert code == 0, err
    plain, moved = (
        json.loads((files / f'{name}.json').read_text()) for name in ('plain', 'moved')
    )
    for before, after in zip(plain, moved, strict=True):
        odds = before['score'] / (1 - before['score'])
        odds *= np.exp(shifts['base'] if after['category_id'] != IDS[2] else 0)
        assert after['score'] == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_options_of_few_names_need_few_names(tune):
    code, _, err = tune('--base-only', '--score-thr', 0.4)
    assert code == 2 and '--score-thr is for --few-names' in err
    code, _, err = tune('--base-only', '--few-names', '--ks', 0)
    assert code == 2 and 'ks must be different numbers from 1 on' in err
    code, _, err = tune('--base-only', '--few-names', '--precision', 1.5)
    assert code == 2 and 'precision must lie in (0, 1], got 1.5' in err
    code, _, err = tune('--base-only', '--few-names', '--score-thr', 2)
    assert code == 2 and 'score_thr must lie in (0, 1), got 2.0' in err
    code, _, err = tune('--base-only', '--few-names', '--absent', 'hard', '--ks', 2)
    assert code == 0, err


@pytest.fixture
def ranker(tmp_path):
    """Folder of a random ranker for the embedded encoder."""
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    ranker = Ranker.for_encoder(
        encoder, torch.Generator().manual_seed(0), reads='region', num_hidden_layers=1
    )
    torch.nn.init.normal_(
        ranker.text_head.weight, generator=torch.Generator().manual_seed(1)
    )
    return ranker.save_pretrained(tmp_path / 'ranker', encoder)


def test_a_ranker_is_tuned_as_it_re_scores(run_tool, files, source, ranker):
    words = ['--ranker', ranker, '--num-ranked', 3, '--out', files / 'dump']
    code, _, err = run_tool('dump_scores', *source, *words)
    assert code == 0, err
    code, text, err = run_tool(
        'tune_fusion', '--dump', files / 'dump', '--ann', files / 'ann.json', '--out',
        files / 'out', '--base-only', '--fusion', 'ranking', 'geometric', '--alpha',
        0.6, '--temperature', 0.05, '--mode', 'keep', 'box', '--num-ranked', 1, 2, 3,
        '--ranking-weight', 0.5, 2.0,
    )  # fmt: skip
    assert code == 0, err
    assert 'names' in text and 'weight' in text
    tuned = json.loads((files / 'out' / 'tune.json').read_text())
    ranked = [row for row in tuned['settings'] if row['rule'] == 'ranking']
    assert len(ranked) == 2 * (1 + 3 * 2)  # its own five names are the dump's three
    assert {row['num_ranked'] for row in ranked} == {1, 2, 3}
    for row in ranked[:3] + ranked[-3:]:
        code, _, err = run_tool(
            'rescore', *source, '--fusion', 'ranking', '--ranker', ranker,
            '--alpha', row['alpha'], '--temperature', row['temperature'],
            '--mode', row['mode'], '--num-ranked', row['num_ranked'],
            '--ranking-weight', row['ranking_weight'], '--out', files / 'new.json',
        )  # fmt: skip
        assert code == 0, err
        rows = json.loads((files / 'new.json').read_text())
        assert row['base_ap50'] == pytest.approx(base_ap50(files, rows), abs=1e-6)


def test_few_names_with_a_ranker(run_tool, files, source, ranker):
    words = ['--ranker', ranker, '--num-ranked', 3, '--out', files / 'dump']
    assert run_tool('dump_scores', *source, *words)[0] == 0
    code, _, err = run_tool(
        'tune_fusion', '--dump', files / 'dump', '--ann', files / 'ann.json', '--out',
        files / 'out', '--with-novel', '--fusion', 'ranking', '--alpha', 0.6,
        '--num-ranked', 3, '--few-names', '--ks', 1, 2,
    )  # fmt: skip
    assert code == 0, err
    assert 'calibration' in (files / 'out' / 'best.py').read_text()


def test_a_ranker_where_there_is_none(run_tool, files, source, ranker, tune):
    code, _, err = tune('--base-only', '--fusion', 'ranking')
    assert code == 2 and "log-odds of 0 names of each box, the rule 'ranking'" in err
    code, _, err = tune('--base-only', '--num-ranked', 3)
    assert code == 2 and '--num-ranked is for --fusion ranking' in err
    words = ['--num-ranked', 3, '--out', files / 'other']
    code, _, err = run_tool('dump_scores', *source, *words)
    assert code == 2 and '--num-ranked is for --ranker FOLDER' in err
    words = ['--device', 'nonsense', '--out', files / 'other']
    code, _, err = run_tool('dump_scores', *source, *words)
    assert code == 2 and err.startswith('error: --device nonsense cannot be used')
    assert not (files / 'other').exists()
    out = ['--out', files / 'new.json']
    for words in (['--fusion', 'ranking'], ['--ranker', ranker]):
        code, _, err = run_tool('rescore', *source, *words, *out)
        assert code == 2 and 'belong together' in err
    words = ['--ranker', ranker, '--out', files / 'dump']
    code, _, err = run_tool('dump_scores', *source, *words)
    assert code == 2 and "differs in ranker: ''" in err
