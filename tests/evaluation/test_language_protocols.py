"""FG-OVD mAP, D3 and ODinW against pycocotools, and through tools/evaluate.py."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fgclip2_det.coco.odinw_sets import odinw_sets
from fgclip2_det.evaluation.descriptions import score_d3
from fgclip2_det.evaluation.hard_vocabularies import read_hard_objects, score_fgovd_map
from fgclip2_det.evaluation.language_protocols import evaluate_language
from fgclip2_det.evaluation.odinw import score_odinw


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def iou(a, b) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def coco_eval(coco: dict, rows: list[dict], categories=None) -> np.ndarray:
    """(K, 10) AP by class and IoU of pycocotools; -1 where a class has no object."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = json.loads(json.dumps(coco))
        for n, annotation in enumerate(truth.dataset['annotations'], 1):
            _, _, w, h = annotation['bbox']
            annotation |= {'id': n, 'area': w * h, 'iscrowd': 0}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(rows), 'bbox')
        if categories is not None:
            evaluator.params.catIds = categories
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval['precision'][..., 0, -1]  # (10, 101, K)
    return precision.mean(1).T


def average(ap: np.ndarray) -> float:
    return ap[ap[:, 0] > -1].mean()


# ------------------------------------------------------------------------- FG-OVD
def fgovd(seed: int = 0) -> tuple[dict, list[dict]]:
    rng = np.random.default_rng(seed)
    categories = [{'id': i, 'name': f'caption {i}'} for i in range(30)]
    images = [
        {'id': i, 'file_name': f'{i}.jpg', 'width': 200, 'height': 200}
        for i in range(8)
    ]
    annotations, rows = [], []
    for n in range(20):
        words = rng.permutation(30)[: rng.integers(4, 8)].tolist()
        box = [*rng.uniform(0, 90, 2), *rng.uniform(30, 90, 2)]
        annotations.append({
            'id': n, 'image_id': int(rng.integers(8)), 'category_id': words[0],
            'neg_category_ids': words[1:], 'bbox': [float(v) for v in box],
        })  # fmt: skip
        for _ in range(12):
            moved = np.abs(np.array(box) + rng.normal(0, 12, 4)).tolist()
            label = words[0] if rng.random() < 0.5 else int(rng.choice(words[:4]))
            rows.append({
                'image_id': annotations[-1]['image_id'], 'vocabulary_id': words[0],
                'category_id': label, 'bbox': moved, 'score': float(rng.random()),
            })  # fmt: skip
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    return coco, rows


def slow_fgovd(coco: dict, rows: list[dict], n: int) -> np.ndarray:
    annotations = [a for a in coco['annotations'] if len(a['neg_category_ids']) >= n]
    used = {(a['image_id'], a['category_id']) for a in annotations}
    kept = []
    for unit in used:
        own = [r for r in rows if (r['image_id'], r['vocabulary_id']) == unit]
        alive: list[dict] = []
        for row in sorted(own, key=lambda r: -r['score']):
            if all(iou(row['bbox'], other['bbox']) <= 0.5 for other in alive):
                alive.append(row)
        kept += alive
    true = sorted({a['category_id'] for a in annotations})
    kept = [row for row in kept if row['category_id'] in true]
    return coco_eval(coco | {'annotations': annotations}, kept, true)


def test_fgovd_equals_nms_and_pycocotools(tmp_path):
    coco, rows = fgovd()
    ann = put(tmp_path / 'a.json', coco)
    predictions = put(tmp_path / 'p.json', rows)
    ap = slow_fgovd(coco, rows, 3)
    actual = score_fgovd_map(ann, predictions, 3)
    assert actual['metrics'] == pytest.approx({
        'fgovd/AP': average(ap),
        'fgovd/AP50': average(ap[:, :1]),
        'fgovd/AP75': average(ap[:, 5:6]),
    })  # fmt: skip
    assert 0.01 < actual['metrics']['fgovd/AP'] < 0.9
    # with five negatives some objects have too few, and their rows do not count
    with pytest.raises(ValueError, match='is not in the vocabulary'):
        score_fgovd_map(ann, put(tmp_path / 'q.json', [*rows, wrong_label(coco)]), 3)
    few = [a for a in coco['annotations'] if len(a['neg_category_ids']) >= 5]
    words = {(a['image_id'], a['category_id']): a['neg_category_ids'][:5] for a in few}
    rows = [
        row
        for row in rows
        if row['category_id']
        in [
            row['vocabulary_id'],
            *words.get((row['image_id'], row['vocabulary_id']), [row['category_id']]),
        ]
    ]
    put(predictions, rows)
    actual = score_fgovd_map(ann, predictions, 5)
    assert actual['counts']['objects'] == len(few) < 20
    assert actual['metrics']['fgovd/AP'] == pytest.approx(
        average(slow_fgovd(coco, rows, 5))
    )


def wrong_label(coco: dict) -> dict:
    annotation = coco['annotations'][0]
    words = {annotation['category_id'], *annotation['neg_category_ids']}
    return {
        'image_id': annotation['image_id'],
        'vocabulary_id': annotation['category_id'],
        'category_id': min(set(range(30)) - words),
        'bbox': [0, 0, 5, 5],
        'score': 0.5,
    }


def test_fgovd_lines_say_the_same(tmp_path):
    coco, rows = fgovd()
    names = {c['id']: c['name'] for c in coco['categories']}
    lines = []
    for a in coco['annotations']:
        lines.append(json.dumps({
            **a, 'width': 200, 'height': 200, 'img_path': f'{a["image_id"]}.jpg',
            'pos_expression': [names[a['category_id']]],
            'neg_expression': [names[i] for i in a['neg_category_ids']],
        }))  # fmt: skip
    jsonl = put(tmp_path / 'a.jsonl', '\n'.join(lines))
    ann, predictions = put(tmp_path / 'a.json', coco), put(tmp_path / 'p.json', rows)
    one, other = (score_fgovd_map(path, predictions, 3) for path in (jsonl, ann))
    assert one == other
    assert read_hard_objects(jsonl, 3) == read_hard_objects(ann, 3)


def to_xyxy(coco: dict, rows: list[dict]) -> None:
    for row in rows:
        x, y, w, h = row['bbox']
        row['bbox'] = [x, y, x + w, y + h]


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c, r: r[3].pop('vocabulary_id'), r'row 3 \(from 0\): it has no .vocab'),
        (lambda c, r: r[0].update(score=float('nan')), 'score must be a probability'),
        (lambda c, r: r[0].update(bbox=[1, 2, -3, 4]), 'bbox must be x, y'),
        (lambda c, r: r[5].update(image_id=55), 'no object of image 55 has'),
        (lambda c, r: r.append(r[0]), 'two rows are the same'),
        (to_xyxy, 'but fit as x1, y1, x2, y2'),
        (
            lambda c, r: c['annotations'][2].update(image_id=99),
            'annotation 2: image 99 is not in the file',
        ),
        (
            lambda c, r: c['annotations'][2].update(category_id=99),
            'category 99 is not in',
        ),
        (lambda c, r: c['annotations'][2].update(bbox=[0, 0, 0, 4]), 'annotation 2'),
        (lambda c, r: c.pop('categories'), "a list of 'categories'"),
        (lambda c, r: c.update(annotations=[]), 'no object with 3 negatives'),
    ],
)
def test_wrong_fgovd_files(tmp_path, change, message):
    coco, rows = fgovd()
    change(coco, rows)
    with pytest.raises(ValueError, match=message):
        score_fgovd_map(put(tmp_path / 'a', coco), put(tmp_path / 'p', rows), 3)


# ----------------------------------------------------------------------------- D3
def d3(folder: Path, seed: int = 1) -> tuple[dict, list[dict]]:
    rng = np.random.default_rng(seed)
    lengths = [2, 3, 5, 6, 8, 11, 1, 4]
    categories = [
        {'id': i, 'name': ' '.join([f'd{i}', *['word'] * (length - 1)])}
        for i, length in enumerate(lengths, 1)
    ]
    images = [
        {'id': i, 'file_name': f'{i}.jpg', 'width': 200, 'height': 200}
        for i in range(6)
    ]
    annotations, rows = [], []
    for n in range(30):
        box = [*rng.uniform(0, 90, 2), *rng.uniform(20, 90, 2)]
        image, category = int(rng.integers(6)), int(rng.integers(1, 8))  # never 8
        annotations.append({
            'id': n, 'image_id': image, 'category_id': category, 'bbox': box,
        })  # fmt: skip
        for _ in range(4):
            moved = np.abs(np.array(box) + rng.normal(0, 5, 4)).tolist()
            label = category if rng.random() < 0.6 else int(rng.integers(1, 9))
            rows.append({'image_id': image, 'category_id': label, 'bbox': moved,
                         'score': float(rng.random())})  # fmt: skip
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    for part, ids in (('full', range(1, 9)), ('pres', range(1, 6)), ('abs', (6, 7, 8))):
        own = {
            'images': images,
            'annotations': [a for a in annotations if a['category_id'] in ids],
            'categories': [c for c in categories if c['id'] in ids],
        }
        put(folder / f'd3_{part}_annotations.json', own)
    return coco, rows


def test_d3_equals_pycocotools(tmp_path):
    coco, rows = d3(tmp_path / 'd3_json')
    actual = score_d3(tmp_path / 'd3_json', put(tmp_path / 'p.json', rows))
    ap = coco_eval(coco, rows)
    groups = {
        'full': range(8), 'pres': range(5), 'abs': (5, 6, 7), 'short': (0, 1, 6),
        'middle': (2, 3, 7), 'long': (4,), 'very_long': (5,),
    }  # fmt: skip
    assert actual['metrics'] == pytest.approx({
        f'd3/{name}/AP': average(ap[list(rows)]) for name, rows in groups.items()
    })  # fmt: skip
    counts = {'images': 6, 'descriptions': 8, 'rows': 120, 'rows_outside': 0}
    assert actual['counts'] == counts


def test_wrong_d3_files(tmp_path):
    coco, rows = d3(tmp_path / 'd3_json')
    rows[4]['category_id'] = 99
    predictions = put(tmp_path / 'p.json', rows)
    with pytest.raises(ValueError, match='row 4'):
        score_d3(tmp_path / 'd3_json', predictions)
    own = coco | {'categories': [{'id': 50, 'name': 'new'}], 'annotations': []}
    put(tmp_path / 'd3_json/d3_abs_annotations.json', own)
    with pytest.raises(ValueError, match='category 50 is not in d3_full'):
        score_d3(tmp_path / 'd3_json', put(predictions, []))


# -------------------------------------------------------------------------- ODinW
def test_odinw_averages_sets(tmp_path):
    expected = {}
    for number, one in enumerate(odinw_sets(13)):
        coco, rows = d3(tmp_path / 'other', seed=number)
        put(tmp_path / 'odinw' / one.ann_file, coco)
        put(tmp_path / f'found/{one.name}.json', rows)
        expected[one.name] = average(coco_eval(coco, rows))
    actual = score_odinw(tmp_path / 'odinw', tmp_path / 'found', 13)['metrics']
    for name, value in expected.items():
        assert actual[f'odinw/{name}/AP'] == pytest.approx(value)
    values = list(expected.values())
    assert actual['odinw/average/AP'] == pytest.approx(np.mean(values))
    assert actual['odinw/median/AP'] == pytest.approx(np.median(values))
    (one,) = (one for one in odinw_sets(13) if one.name == 'pothole')
    coco, _ = d3(tmp_path / 'other', seed=0)
    put(tmp_path / 'odinw' / one.ann_file, coco | {'annotations': []})
    with pytest.raises(ValueError, match='has no objects, so pothole has no AP'):
        score_odinw(tmp_path / 'odinw', tmp_path / 'found', 13)
    (tmp_path / 'found/pothole.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 files are missing.*pothole'):
        score_odinw(tmp_path / 'odinw', tmp_path / 'found', 13)


# --------------------------------------------------- rows wholly outside their image
def best_elsewhere(rows: list[dict]) -> list[dict]:
    """Each row, and before it in score one of its kind outside of the image."""
    outside = {'bbox': [400, 300, 20, 20]}
    scored = [row | {'score': row['score'] / 2} for row in rows]
    return [*scored, *(row | outside | {'score': 0.9} for row in rows[::5])]


def test_d3_leaves_out_rows_off_their_image(tmp_path):
    coco, rows = d3(tmp_path / 'd3_json')
    more = best_elsewhere(rows)
    more = list({json.dumps(row | {'score': 0}): row for row in more}.values())
    predictions = put(tmp_path / 'p.json', more)
    num_outside = sum(row['bbox'][0] == 400 for row in more)
    one = evaluate_language('d3', tmp_path / 'd3_json', predictions)
    rest = [row for row in more if row['bbox'][0] != 400]
    assert one['metrics']['d3/full/AP'] == pytest.approx(average(coco_eval(coco, rest)))
    assert one['protocol']['counts']['rows_outside'] == num_outside > 5
    kept = evaluate_language(
        'd3', tmp_path / 'd3_json', predictions, drop_outside=False
    )
    ap = average(coco_eval(coco, more))
    assert kept['metrics']['d3/full/AP'] == pytest.approx(ap)
    assert ap < one['metrics']['d3/full/AP']
    assert kept['protocol']['options'] == {'drop_outside': False}


def test_fgovd_leaves_out_rows_off_their_image(tmp_path):
    coco, rows = fgovd()
    ann = put(tmp_path / 'a.json', coco)
    off = [r | {'bbox': [-30, 0, 20, 20], 'score': 0.95} for r in rows[::12]]
    off = list({(r['image_id'], r['vocabulary_id']): r for r in off}.values())
    expected = score_fgovd_map(ann, put(tmp_path / 'p.json', rows), 3)
    predictions = put(tmp_path / 'q.json', [*rows, *off])
    actual = score_fgovd_map(ann, predictions, 3)
    assert actual['metrics'] == expected['metrics']
    assert actual['counts'] == expected['counts'] | {'rows_outside': len(off)}
    kept = score_fgovd_map(ann, predictions, 3, drop_outside=False)
    assert kept['metrics']['fgovd/AP'] == pytest.approx(
        average(slow_fgovd(coco, [*rows, *off], 3))
    )
    assert kept['metrics']['fgovd/AP'] < expected['metrics']['fgovd/AP']


# ------------------------------------------------------------------ fingerprint
def test_the_fingerprint_of_files_and_folders(tmp_path):
    _, rows = d3(tmp_path / 'd3_json')
    predictions = put(tmp_path / 'p.json', rows)
    first = evaluate_language('d3', tmp_path / 'd3_json', predictions, {'a': 'b'})
    again = evaluate_language('d3', tmp_path / 'd3_json', predictions)
    assert first['protocol']['data'] == again['protocol']['data']
    assert first['protocol']['notes'] == {'a': 'b'}
    path = tmp_path / 'd3_json/d3_abs_annotations.json'
    path.write_text(path.read_text() + ' ')
    other = evaluate_language('d3', tmp_path / 'd3_json', predictions)
    assert other['protocol']['data'] != again['protocol']['data']
    with pytest.raises(ValueError, match='there is no'):
        evaluate_language('d3', tmp_path / 'nothing', predictions)
    with pytest.raises(ValueError, match='protocol must be one of'):
        evaluate_language('d4', tmp_path / 'd3_json', predictions)


def test_the_number_of_negatives_is_always_written(tmp_path):
    coco, rows = fgovd()
    for annotation in coco['annotations']:
        ids = annotation['neg_category_ids']
        annotation['neg_category_ids'] = (ids * 10)[:10]
    files = put(tmp_path / 'a.json', coco), put(tmp_path / 'p.json', rows)
    assert evaluate_language('fg-ovd', *files)['protocol']['options'] == {
        'num_negatives': 10
    }
    one = evaluate_language('fg-ovd', *files, num_negatives=3)
    assert one['protocol']['options'] == {'num_negatives': 3}


def test_d3_parts_by_their_boxes(tmp_path):
    coco, rows = d3(tmp_path / 'd3_json')
    predictions = put(tmp_path / 'p.json', rows)
    expected = score_d3(tmp_path / 'd3_json', predictions)
    for part in ('pres', 'abs'):  # as if every file listed every description
        path = tmp_path / f'd3_json/d3_{part}_annotations.json'
        content = json.loads(path.read_text())
        put(path, content | {'categories': coco['categories']})
    assert score_d3(tmp_path / 'd3_json', predictions) == expected
