"""Protocol few-names from files to figures, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.evaluation import evaluate_file
from fgclip2_det.evaluation.comparison import barriers, settings
from fgclip2_det.evaluation.few_names import (
    draw_asks,
    draw_curves,
    figures_table,
    read_asks,
    score_asks,
    write_asks,
)
from fgclip2_det.evaluation.few_names.protocol import prepare_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.io.digests import file_digest

NAMES = ['red circle', 'blue circle', 'red star', 'blue star', 'black ring']
ZH = ['红色圆形', '蓝色圆形', '红色星形', '蓝色星形', '黑色圆环']
SPLIT = ['base', 'base', 'base', 'novel', 'unused']


def put(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding='utf-8')
    return path


def content(seed: int = 0, **category) -> dict:
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(12):
        for _ in range(rng.integers(1, 4)):
            annotations.append({
                'id': len(annotations), 'image_id': image,
                'category_id': int(rng.integers(10, 14)),
                'bbox': [float(v) for v in rng.uniform(10, 40, 4)],
            })  # fmt: skip
    return {
        'images': [
            {'id': i, 'file_name': f'p/{i:03}.jpg', 'width': 90, 'height': 80}
            for i in range(12)
        ],
        'annotations': annotations,
        'categories': [
            {'id': 10 + n, 'name': name, 'name_zh': zh, 'split': split} | category
            for n, (name, zh, split) in enumerate(zip(NAMES, ZH, SPLIT, strict=True))
        ],
    }


@pytest.fixture
def ann(tmp_path) -> Path:
    return put(tmp_path / 'ann.json', content())


def boxes_of(ann: Path, asks, seed: int = 1) -> list[ImageBoxes]:
    """Objects, found under a name of the ask, and a box somewhere."""
    truths, rng, boxes = read_truths(ann), np.random.default_rng(seed), []
    for ask in asks:
        own = truths.bboxes[truths.image == truths.image_index[ask.image_id]]
        bboxes = np.concatenate([own, rng.uniform(5, 40, (1, 4))])
        labels = rng.integers(0, len(ask.names), len(bboxes))
        boxes.append(ImageBoxes(bboxes, labels, rng.random(len(bboxes))))
    return boxes


def rows_of(asks, boxes) -> list[dict]:
    return [
        {'ask_id': ask.id, 'image_id': ask.image_id,
         'category_id': ask.category_ids[label], 'bbox': bbox, 'score': score}
        for ask, own in zip(asks, boxes, strict=True)
        for label, bbox, score in zip(
            own.labels.tolist(), own.bboxes.tolist(), own.scores.tolist(), strict=True
        )
    ]  # fmt: skip


@pytest.fixture
def asked(ann, tmp_path) -> tuple:
    """(asks, file of asks, rows, file of rows)."""
    drawn = prepare_asks(ann, ks=(1, 2, 'all'), seed=3)
    write_asks(tmp_path / 'asks.json', drawn.asks, drawn.draw, ann)
    rows = rows_of(drawn.asks, boxes_of(ann, drawn.asks))
    return drawn, tmp_path / 'asks.json', rows, put(tmp_path / 'rows.json', rows)


def test_answers_of_a_file_are_those_in_memory(ann, asked):
    drawn, asks_file, rows, rows_file = asked
    assert all(14 not in ask.category_ids for ask in drawn.asks)  # 'unused'
    found = evaluate_file('few-names', ann, rows_file, asks=asks_file, score_thr=0.4)
    expected = score_asks(
        drawn.truths, drawn.asks, boxes_of(ann, drawn.asks), 0.4, drawn.novel_ids
    )
    assert found.metrics == {f'few-names/{k}': v for k, v in expected.items()}
    assert 0 < found.metrics['few-names/k2/novel/recall'] < 1
    about = json.loads(json.dumps(found.protocol))
    assert about['asks']['seed'] == 3 and about['asks']['ks'] == [1, 2, 'all']
    assert about['asks']['absent_names'] == 'exhaustive annotations'
    assert about['answers'] == 'an ask in a call' and about['score_thr'] == 0.4
    assert about['classes']['splits'] == {'base': 3, 'novel': 1}
    assert about['predictions']['rows'] == len(rows)
    assert about['pairs']['k2'] == {'asks': 12, 'asks_of_fewer_names': 0,
                                    'present': 12, 'absent': 12}  # fmt: skip
    assert found.remarks == ()


def test_a_file_of_asks_is_read_as_it_was_written(ann, asked):
    drawn, asks_file, _, _ = asked
    asks, draw = read_asks(asks_file, ann)
    assert asks == drawn.asks and draw == drawn.draw
    entry = json.loads(asks_file.read_text())['asks'][0]
    assert entry['file_name'] == 'p/000.jpg' and entry['id'] == 1
    chinese = prepare_asks(ann, ks=(1, 2, 'all'), seed=3, language='zh')
    for ask, other in zip(drawn.asks, chinese.asks, strict=True):
        assert ask.category_ids == other.category_ids
        assert other.names == tuple(ZH[i - 10] for i in ask.category_ids)


def test_rows_without_asks_are_filtered_to_the_names_asked(ann, tmp_path):
    truths = read_truths(ann, category_ids=[10, 11, 12, 13])
    rng = np.random.default_rng(2)
    rows = [
        {'image_id': i, 'category_id': int(rng.integers(10, 15)),
         'bbox': rng.uniform(5, 40, 4).tolist(), 'score': float(rng.random())}
        for i in range(12) for _ in range(6)
    ] + [
        a | {'score': 0.5} for a in content()['annotations']
    ]  # fmt: skip
    rows_file = put(tmp_path / 'rows.json', rows)
    found = evaluate_file('few-names', ann, rows_file, seed=4, ks=(2, 'all'))
    asks = draw_asks(truths, (2, 'all'), 4)
    boxes = []
    for ask in asks:
        own = [r for r in rows if r['image_id'] == ask.image_id
               and r['category_id'] in ask.category_ids]  # fmt: skip
        boxes.append(ImageBoxes(
            np.array([r['bbox'] for r in own]).reshape(-1, 4),
            np.array([ask.category_ids.index(r['category_id']) for r in own], int),
            np.array([r['score'] for r in own]),
        ))  # fmt: skip
    expected = score_asks(truths, asks, boxes)
    assert found.metrics == {f'few-names/{k}': v for k, v in expected.items()}
    assert found.metrics['few-names/kall/all/drift_max'] == 0  # the same boxes
    assert found.protocol['answers'] == 'all names in a call'
    assert found.remarks[0].startswith('rows have no ask_id')
    # the full vocabulary, ranked in one list
    names = {'base': NAMES[:3], 'novel': NAMES[3:4]}
    full = evaluate_file('ov-coco', ann, rows_file, **names)
    assert full.protocol['classes'] == found.protocol['classes']


def test_figures_of_other_draws_are_not_compared(ann, asked, tmp_path):
    _, asks_file, _, rows_file = asked
    plain = [{k: v for k, v in row.items() if k != 'ask_id'} for row in asked[2]]
    plain_file = put(tmp_path / 'plain.json', plain)
    whole = {'ks': (1, 2, 'all')}

    def result(rows=plain_file, **options) -> dict:
        found = evaluate_file('few-names', ann, rows, **options)
        return {'metrics': found.metrics, 'protocol': found.protocol}

    first = result(rows_file, asks=asks_file)
    assert barriers(first, result(**whole, seed=3)) == []
    others = settings(first, result(**whole, seed=3))
    assert any(line.startswith('answers: one detector got a few') for line in others)
    for options in ({'seed': 5}, {'seed': 3, 'language': 'zh'}):
        (line,) = barriers(first, result(**whole, **options))
        assert line.startswith('asks: other names were asked for')
    (line,) = barriers(first, result(**whole, seed=3, score_thr=0.5))
    assert line.startswith('score_thr: boxes count from another score on')


def test_stems_and_counts_of_other_tools(ann, asked, tmp_path):
    _, asks_file, rows, rows_file = asked
    other = [row | {'image_id': f'{row["image_id"]:03}',
                    'category_id': row['category_id'] - 9} for row in rows]  # fmt: skip
    found = evaluate_file(
        'few-names', ann, put(tmp_path / 'stems.json', other), asks=asks_file,
        ids='stem', categories='from-1',
    )  # fmt: skip
    expected = evaluate_file('few-names', ann, rows_file, asks=asks_file)
    assert found.metrics == expected.metrics


def test_lvis_and_negatives_of_annotations_say_what_is_absent(tmp_path):
    lvis = content(frequency='f')
    for category in lvis['categories']:
        del category['split']
        category['frequency'] = 'r' if category['id'] == 10 else 'f'
    for n, image in enumerate(lvis['images']):
        image |= {'neg_category_ids': [14], 'not_exhaustive_category_ids': [10 + n % 3]}
    drawn = prepare_asks(put(tmp_path / 'lvis.json', lvis), ks=('all',))
    assert drawn.draw['absent_names'] == 'neg_category_ids of images'
    assert drawn.novel_ids == {10}
    assert all(14 in ask.category_ids for ask in drawn.asks)
    captions = content()
    for annotation in captions['annotations']:
        annotation['neg_category_ids'] = [13, 14]
    path = put(tmp_path / 'captions.json', captions)
    drawn = prepare_asks(path, ks=(2,), mode='hard', base=NAMES[:3], novel=NAMES[3:])
    assert drawn.draw['absent_names'] == 'neg_category_ids of annotations'
    assert drawn.draw['nearness'] == 'negatives of the annotations'


def test_lines_of_fgovd_say_what_is_absent(tmp_path):
    line = {
        'img_path': 'val2017/1.jpg', 'image_id': 1, 'width': 90, 'height': 80,
        'bbox': [1, 2, 30, 40], 'category_id': 5, 'neg_category_ids': [6, 7],
        'pos_expression': ['A red cup.'],
        'neg_expression': ['A blue cup.', 'A wooden cup.'],
    }  # fmt: skip
    path = tmp_path / 'h.jsonl'
    path.write_text(json.dumps(line))
    asked = prepare_asks(path, ks=(2, 'all'), mode='hard')
    assert asked.asks[0].file_name == 'val2017/1.jpg'
    assert asked.asks[0].names[0] == 'A red cup.' and len(asked.asks[0].names) == 2
    assert asked.asks[1].category_ids == (5, 6, 7)
    again = line | {'category_id': 8, 'neg_category_ids': [9, 7],
                    'pos_expression': ['A blue cup.'],
                    'neg_expression': ['A red cup.', 'A wooden cup.']}  # fmt: skip
    path.write_text(f'{json.dumps(line)}\n{json.dumps(again)}')
    (ask,) = prepare_asks(path, ks=('all',)).asks  # both captions are true
    assert ask.category_ids == (5, 6, 7)
    assert len(prepare_asks(path, ks=(2,)).asks[0].names) == 2
    other = line | {'category_id': 6, 'neg_category_ids': [5, 7]}
    path.write_text(f'{json.dumps(line)}\n{json.dumps(other)}')
    with pytest.raises(ValueError, match=r"line 2: category 6 is 'A red cup.' here"):
        prepare_asks(path)


def test_chinese_names_of_coco_come_from_the_built_in_list(tmp_path):
    coco = content()
    for category, name in zip(coco['categories'], ['person', 'dog', 'hot dog',
                              'cup', 'wine glass'], strict=True):  # fmt: skip
        del category['name_zh'], category['split']
        category['name'] = name
    ann = put(tmp_path / 'coco.json', coco)
    asks = prepare_asks(ann, ks=('all',), language='zh').asks
    assert asks[0].names[:2] == ('人', '狗')
    coco['categories'][0]['name'] = 'gizmo'
    with pytest.raises(ValueError, match=r"'gizmo'.* has no 'name_zh'"):
        prepare_asks(put(ann, coco), ks=('all',), language='zh')


def test_table_and_picture(ann, asked):
    _, asks_file, _, rows_file = asked
    metrics = evaluate_file('few-names', ann, rows_file, asks=asks_file).metrics
    head, first, *rows = figures_table(metrics).splitlines()
    assert head.split()[:5] == ['names', 'group', 'AP', 'AP50', 'prec']
    assert first.split()[:2] == ['1', 'all'] and first.split()[-1] == '-'
    assert [row.split()[0] for row in rows] == ['1', '1', *['2'] * 3, *['all'] * 3]
    assert draw_curves(metrics, 'title').startswith(b'\x89PNG')


@pytest.mark.parametrize(('change', 'message'), [
    ({'ask_id': 999}, r'row 3 \(from 0\): ask_id 999 is not among the 36 asks'),
    ({'ask_id': '1'}, "ask_id '1' is not among"),
    ({'image_id': 11}, 'is about image 1, the row is of image 11'),
    ({'image_id': [1]}, r'the row is of image \[1\]'),
    ({'score': 2}, r'row 3 \(from 0\): score must be a probability'),
    ({'category_id': 99}, 'category 99 is not in the annotation file'),
])  # fmt: skip
def test_rows_that_answer_no_ask_are_refused(ann, asked, tmp_path, change, message):
    _, asks_file, rows, _ = asked
    rows = [row for row in rows if row['image_id'] in (0, 1)]
    rows.sort(key=lambda row: -row['image_id'])
    rows[3] |= change
    with pytest.raises(ValueError, match=message):
        path = put(tmp_path / 'r.json', rows)
        evaluate_file('few-names', ann, path, asks=asks_file)


def test_other_refusals(ann, asked, tmp_path):
    drawn, asks_file, rows, rows_file = asked

    def refuse(message, path=rows_file, ann=ann, **options):
        with pytest.raises(ValueError, match=message):
            evaluate_file('few-names', ann, path, **options)

    refuse(r'has rows with an ask_id, but no asks are given.*--asks')
    refuse("mode must be one of .*got 'near'", put(tmp_path / 'n', []), mode='near')
    refuse("language must be one of .*got 'fr'", put(tmp_path / 'n', []), language='fr')
    refuse('was drawn with seed 3, not 4', asks=asks_file, seed=4)
    refuse('iou_types is no option', asks=asks_file, iou_types=['segm'])
    refuse("colour is not an option of few-names; it has .*'seed'", colour=1)
    mixed = [*rows[:2], {k: v for k, v in rows[2].items() if k != 'ask_id'}]
    refuse(r'row 2 \(from 0\) has no ask_id, and others have one',
           put(tmp_path / 'm.json', mixed), asks=asks_file)  # fmt: skip
    ask = next(a for a in drawn.asks if a.k == 1)
    (other,) = [i for i in range(10, 14) if i not in ask.category_ids][:1]
    wrong = rows[0] | {'ask_id': ask.id, 'image_id': ask.image_id, 'category_id': other}
    refuse(f'ask {ask.id} has a row of category {other} .* which it does not ask for',
           put(tmp_path / 'w.json', [wrong]), asks=asks_file)  # fmt: skip
    strange = put(tmp_path / 'other.json', content(9))
    refuse(f'SHA-256 {file_digest(ann)}, but .*other.json has {file_digest(strange)}',
           ann=strange, asks=asks_file)  # fmt: skip
    refuse('must hold "annotations", "draw" and "asks"', asks=ann)
    broken = json.loads(asks_file.read_text())
    broken['asks'][1]['names'] = []
    refuse(r'ask 1 \(from 0\) needs a name for each of its category_ids',
           asks=put(tmp_path / 'b.json', broken))  # fmt: skip
    del broken['asks'][1]['names']
    refuse(r'ask 1 \(from 0\) must have id, image_id,',
           asks=put(tmp_path / 'b.json', broken))  # fmt: skip
