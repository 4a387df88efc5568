"""Rescored detections against loops in numpy, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.models.fusion import OpenVocabGeometricFusion
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.rescoring.predictions import rescore_predictions

NAMES = ['red circle', '蓝色星形', 'green ring', 'white cross']
IDS = [7, 3, 11, 5]  # categories are not in the order of their ids
NOVEL = ['green ring']
TEMPERATURE = 0.02


def softmax(x):
    x = np.exp((x - x.max(1, keepdims=True)).astype(np.float64))
    return x / x.sum(1, keepdims=True)


def geometric(d, w):
    return np.sqrt(d * w)


def arithmetic(d, w):
    return 0.5 * d + 0.5 * w


def fvit(d, w):
    a = np.array([0.1, 0.1, 0.8, 0.1])
    return d ** (1 - a) * w**a


RULES = {
    'Geometric': (geometric, {}),
    'Arithmetic': (arithmetic, {}),
    'FViT': (fvit, dict(alpha=0.1, beta=0.8)),
}


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.fixture(scope='module')
def vocabulary() -> Vocabulary:
    return Vocabulary(NAMES, novel_classes=NOVEL)


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 140, 3), np.uint8)


@pytest.fixture(scope='module')
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """12 rows on 9 boxes: some boxes have several labels, one has a label twice."""
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 60, (9, 4)).round(1)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(5, 70, (9, 2)).round(1)
    boxes = boxes[[0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 2, 5]]
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 3, 2, 0])
    return boxes, rng.uniform(0.05, 0.95, 12).astype(np.float32), labels


@pytest.fixture(scope='module')
def cosines(encoder, vocabulary, image, rows) -> np.ndarray:
    batch = encoder.preprocess([image])
    with torch.no_grad():
        inside = rows[0].clip(0, [140, 90, 140, 90])  # pooled within the image
        embeds = encoder.region_features(batch, [inside], True)[0]
        return (embeds @ vocabulary.embed(encoder).T).numpy()


def rescorer(encoder, vocabulary, rule='Geometric', mode='keep', **options):
    fusion = MODELS.build(
        dict(type=f'OpenVocab{rule}Fusion', temperature=TEMPERATURE, **RULES[rule][1])
    )
    embeds = vocabulary.embed(encoder)
    return PredictionRescorer(
        encoder, embeds, fusion, mode, vocabulary.is_base, **options
    )


def expected_rows(rule, mode, cosines, rows, floor=0.0, labels_per_box=1):
    """{(box, label): (score, det)}, by loops."""
    boxes, scores, labels = rows
    w, fuse = softmax(cosines / TEMPERATURE), RULES[rule][0]
    if mode == 'keep':
        return [
            (tuple(boxes[i]), labels[i], fuse(np.full((1, 4), scores[i]), w[i : i + 1])
             [0, labels[i]], scores[i])
            for i in range(len(labels))
        ]  # fmt: skip
    actual = []
    for box in sorted({tuple(b) for b in boxes}):
        own = [i for i in range(len(labels)) if tuple(boxes[i]) == box]
        d = np.full(4, max(scores[i] for i in own))
        if mode == 'joint':
            d = np.full(4, floor)
            for c in range(4):
                of_c = [scores[i] for i in own if labels[i] == c]
                d[c] = max([*of_c, floor])
        fused = fuse(d[None], w[own[0]][None])[0]
        for c in np.argsort(-fused, kind='stable')[:labels_per_box]:
            actual.append((box, c, fused[c], d[c]))
    return sorted(actual, key=lambda row: -row[2])


@pytest.mark.parametrize('rule', RULES)
@pytest.mark.parametrize(
    ('mode', 'options'),
    [
        ('keep', {}),
        ('box', {}),
        ('box', dict(labels_per_box=2)),
        ('joint', {}),
        ('joint', dict(floor=0.02, labels_per_box=3)),
        ('joint', dict(floor=0.7, labels_per_box=4)),  # some given scores are lower
    ],
)
def test_against_loops(encoder, vocabulary, image, rows, cosines, rule, mode, options):
    rescore = rescorer(encoder, vocabulary, rule, mode, **options)
    actual = rescore(image, *rows)
    expected = expected_rows(rule, mode, cosines, rows, **options)
    assert len(actual.scores) == len(expected)
    boxes = torch.as_tensor(rows[0])[actual.source]
    got = zip(
        boxes.tolist(), actual.labels.tolist(), actual.scores.tolist(),
        actual.det_scores.tolist(), strict=True,
    )  # fmt: skip
    order = (lambda r: (tuple(r[0]), int(r[1]))) if mode != 'keep' else (lambda r: 0)
    for one, two in zip(
        sorted(got, key=order), sorted(expected, key=order), strict=True
    ):
        assert tuple(one[0]) == tuple(two[0]) and one[1] == two[1]
        assert one[2:] == pytest.approx(two[2:], abs=1e-5)
    if mode != 'keep':
        assert (actual.scores.diff() <= 0).all()


def test_nms_is_per_label_and_the_number_is_limited(encoder, vocabulary, image):
    """Two boxes of IoU 0.9 come to one label; a third lies elsewhere."""
    boxes = [[10, 10, 60, 60], [10, 10, 60, 55], [80, 20, 130, 80]]
    given = boxes, [0.9, 0.3, 0.6], [0, 1, 0]
    every = rescorer(encoder, vocabulary, mode='box')(image, *given)
    assert sorted(every.source.tolist()) == [0, 1, 2]
    same = every.labels[every.source == 0] == every.labels[every.source == 1]
    kept = rescorer(encoder, vocabulary, mode='box', nms_iou=0.5)(image, *given)
    assert bool(same) and sorted(kept.source.tolist()) == [0, 2]
    torch.testing.assert_close(kept.scores, every.scores[every.source != 1])
    few = rescorer(encoder, vocabulary, mode='box', max_per_image=1)(image, *given)
    torch.testing.assert_close(few.scores, every.scores[:1])
    for mode in ('keep', 'box', 'joint'):
        none = rescorer(encoder, vocabulary, mode=mode)(image, [], [], [])
        assert len(none.source) == len(none.scores) == 0


def test_nms_is_exact_at_large_labels(encoder):
    """Two thin boxes of IoU 0.54 under name 12,999 of an image of 1,024 pixels."""
    embeds = torch.zeros(13_000, encoder.config.text.hidden_size)
    embeds[:, 0] = 1
    rescore = PredictionRescorer(
        encoder, embeds, OpenVocabGeometricFusion(alpha=0.0), 'joint', nms_iou=0.5
    )
    boxes = torch.tensor([[10.4, 10, 13.4, 30], [11.3, 10, 14.3, 30],
                          [900, 700, 1023, 767]])  # fmt: skip
    scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.full((3,), 12_999)
    cosines = torch.zeros(3, 13_000)
    actual = rescore.fuse(cosines, boxes, torch.arange(3), scores, labels)
    assert actual.labels.tolist() == [12_999] * 2
    assert actual.source.tolist() == [0, 2]


def test_one_pass_and_distinct_boxes_only(encoder, vocabulary, image, monkeypatch):
    seen = []
    pool = FGCLIP2.region_features

    def watched(self, batch, bboxes, normalize):
        seen.append([len(b) for b in bboxes])
        return pool(self, batch, bboxes, normalize)

    monkeypatch.setattr(FGCLIP2, 'region_features', watched)
    boxes = [[10, 10, 60, 60]] * 30 + [[0, 0, 20, 20]]
    rescorer(encoder, vocabulary)(image, boxes, [0.5] * 31, [0, 1, 2] * 10 + [0])
    assert seen == [[2]]


def test_bad_input(encoder, vocabulary, image):
    for options, message in (
        (dict(mode='both'), 'mode must be one of'),
        (dict(mode='joint', floor=1.5), 'floor must lie in'),
        (dict(mode='box', nms_iou=0.0), 'nms_iou must lie in'),
        (dict(mode='box', labels_per_box=0), 'labels_per_box must be at least 1'),
        (dict(nms_iou=0.5), "mode 'keep' keeps every row"),
        (dict(mode='box', max_per_image=0), 'max_per_image must be at least 1, got 0'),
        (dict(max_per_image=0), 'max_per_image must be at least 1, got 0'),
    ):
        with pytest.raises(ValueError, match=message):
            rescorer(encoder, vocabulary, **options)
    rescore, box = rescorer(encoder, vocabulary), [[10, 10, 60, 60]]
    for given, message in (
        ((box, [0.5, 0.6], [0]), 'as many boxes as scores and labels, got 1, 2 and 1'),
        ((box, [1.5], [0]), r'score 0 must lie in \[0, 1\], got 1.5'),
        ((box, [float('nan')], [0]), r'score 0 must lie in \[0, 1\], got nan'),
        ((box, [0.5], [4]), r'label 0 must lie in 0 .. 3, got 4'),
        (([[10, 10, 60, float('nan')]], [0.5], [0]), 'box 0 of image 0'),
        (([[200, 10, 260, 60]], [0.5], [0]), 'touching the image of 140 x 90'),
    ):
        with pytest.raises(ValueError, match=message):
            rescore(image, *given)


# ------------------------------------------------------------------ result lists
@pytest.fixture
def files(tmp_path, image, rows):
    """Two images, their annotation file and results that alternate between them."""
    (tmp_path / 'images').mkdir()
    for name in ('a.png', 'b.png'):
        Image.fromarray(image).save(tmp_path / 'images' / name)
    coco = dict(
        images=[
            dict(id=i, file_name=name, width=140, height=90)
            for i, name in ((20, 'a.png'), (10, 'b.png'), (30, 'gone.png'))
        ],
        categories=[
            dict(id=i, name=name, split='novel' if name in NOVEL else 'base')
            for i, name in zip(IDS, NAMES, strict=True)
        ],
        annotations=[],
    )
    results = [
        dict(
            image_id=(20, 10)[k % 2],
            category_id=IDS[label],
            bbox=[box[0], box[1], *(box[2:] - box[:2]).round(1).tolist()],
            score=float(score),
        )
        for k, (box, score, label) in enumerate(zip(*rows, strict=True))
    ]
    (tmp_path / 'ann.json').write_text(json.dumps(coco), encoding='utf-8')
    (tmp_path / 'results.json').write_text(json.dumps(results), encoding='utf-8')
    return tmp_path, results


def test_keep_changes_scores_alone(files, encoder, vocabulary, rows, cosines):
    folder, results = files
    predictions = read_predictions(folder / 'results.json', folder / 'ann.json')
    assert predictions.split.novel_classes == tuple(NOVEL)
    # label order is base, then novel
    names = Vocabulary(predictions.split.classes, novel_classes=NOVEL)
    rescore = rescorer(encoder, names, 'FViT')
    actual = rescore_predictions(predictions, folder / 'images', rescore, False)
    w = softmax(cosines / TEMPERATURE)
    for k, (one, given) in enumerate(zip(actual, results, strict=True)):
        assert {**one, 'score': given['score']} == {
            **given, 'det_score': pytest.approx(given['score'])
        }  # fmt: skip
        expected = fvit(np.full((1, 4), rows[1][k]), w[k : k + 1])[0, rows[2][k]]
        assert one['score'] == pytest.approx(expected, abs=1e-5)


def test_new_labels_are_categories_of_the_file(files, encoder):
    folder, results = files
    predictions = read_predictions(folder / 'results.json', folder / 'ann.json')
    names = Vocabulary(predictions.split.classes, novel_classes=NOVEL)
    rescore = rescorer(encoder, names, mode='box')
    actual = rescore_predictions(predictions, folder / 'images', rescore, False)
    assert {row['category_id'] for row in actual} <= set(IDS)
    assert [row['image_id'] for row in actual] == sorted(
        (row['image_id'] for row in actual), reverse=True
    )
    boxes = {(r['image_id'], tuple(r['bbox'])) for r in results}
    assert {(r['image_id'], tuple(r['bbox'])) for r in actual} == boxes
    assert len(actual) == len(boxes)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(image_id=99), 'row 3 .* image 99 is not in the annotation file'),
        (dict(category_id=99), 'row 3 .* category 99 is not in the annotation file'),
        (dict(category_id=[]), r'row 3 .* category \[\] is not in the annotation file'),
        (dict(score=1.2), r'row 3 .* score must be a probability in \[0, 1\], got 1.2'),
        (dict(score=None), 'row 3 .* got None'),
        (dict(bbox=[1, 2, float('nan'), 4]), 'row 3 .* bbox must be x, y, width'),
    ],
)
def test_bad_rows_are_named(files, change, message):
    folder, results = files
    results[3] = results[3] | change
    (folder / 'results.json').write_text(json.dumps(results))
    with pytest.raises(ValueError, match=message):
        read_predictions(folder / 'results.json', folder / 'ann.json')


def test_rows_off_the_image_are_dropped_and_repeated_ones_refused(files):
    folder, results = files
    off = results[3] | {'bbox': [500, 2, 3, 4], 'score': 1.0000001}
    (folder / 'results.json').write_text(json.dumps([*results, off]))
    actual = read_predictions(folder / 'results.json', folder / 'ann.json')
    assert len(actual.order) == len(results) and actual.counts.num_outside == 1
    assert [r for rows in actual.rows.values() for r in rows if r not in results] == []
    (folder / 'results.json').write_text(json.dumps([*results, results[3]]))
    with pytest.raises(ValueError, match='two rows are the same'):
        read_predictions(folder / 'results.json', folder / 'ann.json')


def test_rows_of_other_tools_become_the_files(files, encoder):
    """File stems, classes from 1 by rising id, and a score that float16 rounded."""
    folder, results = files
    given = [
        row
        | {
            'image_id': {20: 'a', 10: 'b'}[row['image_id']],
            'category_id': 1 + sorted(IDS).index(row['category_id']),
            'category_name': dict(zip(IDS, NAMES, strict=True))[row['category_id']],
        }
        for row in results
    ]
    given[0]['score'] = 1.0000001
    (folder / 'results.json').write_text(json.dumps(given))
    files = folder / 'results.json', folder / 'ann.json'
    predictions = read_predictions(*files, ids='stem', categories='from-1')
    for key in ('image_id', 'category_id', 'bbox'):
        rows = [row for own in predictions.rows.values() for row in own]
        assert sorted(r[key] for r in rows) == sorted(r[key] for r in results)
    names = Vocabulary(predictions.split.classes, novel_classes=NOVEL)
    rescore = rescorer(encoder, names, mode='box')
    actual = rescore_predictions(predictions, folder / 'images', rescore, False)
    named = dict(zip(IDS, NAMES, strict=True))
    assert all(row['category_name'] == named[row['category_id']] for row in actual)
    assert {row['image_id'] for row in actual} == {10, 20}


def test_rows_of_classes_that_do_not_count_are_left_out(files):
    folder, results = files
    coco = json.loads((folder / 'ann.json').read_text(encoding='utf-8'))
    coco['categories'][0]['split'] = 'unused'
    (folder / 'ann.json').write_text(json.dumps(coco))
    actual = read_predictions(folder / 'results.json', folder / 'ann.json')
    unused = sum(row['category_id'] == IDS[0] for row in results)
    assert actual.counts.num_other_classes == unused > 0
    assert len(actual.order) == len(results) - unused


def test_bad_files(files, encoder, vocabulary):
    folder, results = files
    for text, message in (
        ('{}', 'must be a JSON list of results'),
        ('[1]', 'row 0 .* expected an object, got 1'),
        ('[{"image_id": 20}]', "row 0 .* it has no 'category_id'"),
        ('[', 'may be cut off'),
    ):
        (folder / 'results.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            read_predictions(folder / 'results.json', folder / 'ann.json')
    results[0]['image_id'] = 30
    (folder / 'results.json').write_text(json.dumps(results))
    predictions = read_predictions(folder / 'results.json', folder / 'ann.json')
    with pytest.raises(ValueError, match=r'1 of 3 images are missing, .*gone.png'):
        rescore_predictions(
            predictions, folder / 'images', rescorer(encoder, vocabulary), False
        )
