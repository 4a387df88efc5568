"""OpenVocabCocoMetric against pycocotools and against hand-made cases."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric
from fgclip2_det.evaluation.coco_ap import box_ap
from fgclip2_det.evaluation.image_boxes import ImageBoxes, box_iou

META = {
    'classes': ('cat', 'dog', 'cup'),
    'base_classes': ('cat', 'dog'),
    'novel_classes': ('cup',),
}
BOX, FAR = [10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 90.0, 90.0]


def instances(bboxes, labels, scores=None) -> InstanceData:
    data = InstanceData(
        bboxes=torch.tensor(bboxes, dtype=torch.float64).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.int64),
    )
    if scores is not None:
        data.scores = torch.tensor(scores, dtype=torch.float64)
    return data


def sample(image_id, actual, truth=((), ()), crowd=((), ())) -> dict:
    data = DetDataSample(metainfo={'img_id': image_id})
    data.pred_instances = instances(*actual)
    data.gt_instances = instances(*truth)
    data.ignored_instances = instances(*crowd)
    return data.to_dict()


def evaluate(samples, meta=None, **options) -> dict:
    metric = OpenVocabCocoMetric(**options)
    metric.dataset_meta = meta or META
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def reference(coco: dict, results: list, category_ids: list) -> np.ndarray:
    """(C, 10) AP per class and IoU of pycocotools; NaN without ground truth."""
    pycocotools = pytest.importorskip('pycocotools.cocoeval')
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**coco, 'info': {}}
        truth.createIndex()
        evaluator = pycocotools.COCOeval(truth, truth.loadRes(results), 'bbox')
        evaluator.params.catIds = category_ids
        evaluator.evaluate()
        evaluator.accumulate()
    order = np.argsort(np.argsort(category_ids))  # it sorts the ids
    precision = evaluator.eval['precision'][:, :, order, 0, -1]
    return np.where(precision < 0, np.nan, precision).mean(1).T


def to_samples(results: list, image_ids: list, category_ids: list) -> list[dict]:
    rows = {i: [] for i in image_ids}
    for r in results:
        rows[r['image_id']].append(r)
    samples = []
    for image_id, actual in rows.items():
        xyxy = [
            [b[0], b[1], b[0] + b[2], b[1] + b[3]] for b in (f['bbox'] for f in actual)
        ]
        labels = [category_ids.index(f['category_id']) for f in actual]
        samples.append(sample(image_id, (xyxy, labels, [f['score'] for f in actual])))
    return samples


def perturbed(coco: dict, category_ids: list, seed: int = 0) -> list[dict]:
    """Shaken ground truth with some wrong labels, lost boxes and doubles."""
    rng = np.random.default_rng(seed)
    results = []
    for a in coco['annotations']:
        if a['category_id'] not in category_ids:
            continue
        for _ in range(rng.integers(0, 3)):
            x, y, w, h = np.array(a['bbox']) + rng.normal(0, 0.1, 4) * max(
                a['bbox'][2:]
            )
            wrong = rng.random() < 0.2
            category_id = rng.choice(category_ids) if wrong else a['category_id']
            results.append(
                {
                    'image_id': a['image_id'],
                    'category_id': int(category_id),
                    # in steps, so that scores tie
                    'score': round(float(rng.random()), 2),
                    'bbox': [float(v) for v in (x, y, max(w, 1), max(h, 1))],
                }
            )
    return results


def check_against_pycocotools(coco, tmp_path, base, novel) -> None:
    names = {c['name']: c['id'] for c in coco['categories']}
    meta = {'classes': base + novel, 'base_classes': base, 'novel_classes': novel}
    category_ids = [names[c] for c in base + novel]
    results = perturbed(coco, category_ids)
    expected = reference(coco, results, category_ids)
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(coco))
    samples = to_samples(results, [i['id'] for i in coco['images']], category_ids)
    actual = evaluate(samples, meta, ann_file=str(path))
    for group, rows in (
        ('base', expected[: len(base)]),
        ('novel', expected[len(base) :]),
        ('all', expected),
    ):
        ap, ap50 = np.nanmean(rows), np.nanmean(rows[:, 0])
        assert actual[f'open_vocab/{group}_ap'] == pytest.approx(ap, abs=1e-6)
        assert actual[f'open_vocab/{group}_ap50'] == pytest.approx(ap50, abs=1e-6)
        assert 0.05 < ap < 0.95  # a case that could tell them apart


def test_equals_pycocotools_on_coco(shared, tmp_path):
    from fgclip2_det.coco.published_splits import (
        OV_COCO_BASE_CLASSES,
        OV_COCO_NOVEL_CLASSES,
    )

    path = shared / 'data/coco/annotations/val_all80.json'
    check_against_pycocotools(
        json.loads(path.read_text()),
        tmp_path,
        OV_COCO_BASE_CLASSES,
        OV_COCO_NOVEL_CLASSES,
    )


def test_equals_pycocotools_on_crowds_and_empty_images(tmp_path):
    rng = np.random.default_rng(1)
    names = ('cat', 'dog', 'cup', 'bird', 'never')
    coco = {
        'images': [{'id': 3 * i + 5, 'width': 200, 'height': 200} for i in range(30)],
        'categories': [{'id': 10 * i + 7, 'name': n} for i, n in enumerate(names)],
        'annotations': [],
    }
    for image in coco['images'][:25]:
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = rng.uniform(5, 100, 4)
            coco['annotations'].append(
                {
                    'id': len(coco['annotations']) + 1,
                    'image_id': image['id'],
                    'category_id': int(rng.choice([7, 17, 27, 37])),
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': int(rng.random() < 0.2),
                }
            )
    check_against_pycocotools(coco, tmp_path, ('dog', 'cat', 'never'), ('cup',))


def test_hand_made_case():
    """Cat found, dog missed, cup labelled cat: base (1 + 0) / 2, novel 0, all 1 / 3;
    without labels two of three boxes: recall 2 / 3 is 67 of COCO's 101 points."""
    third = [100.0, 10.0, 130.0, 60.0]
    truth = ([BOX, FAR, third], [0, 1, 2])
    metrics = evaluate([sample(1, ([BOX, third], [0, 0], [0.9, 0.8]), truth)])
    assert metrics == {
        'open_vocab/base_ap50': pytest.approx(0.5),
        'open_vocab/base_ap': pytest.approx(0.5),
        'open_vocab/novel_ap50': 0.0,
        'open_vocab/novel_ap': 0.0,
        'open_vocab/all_ap50': pytest.approx(1 / 3),
        'open_vocab/all_ap': pytest.approx(1 / 3),
        'open_vocab/agnostic_ap50': pytest.approx(67 / 101),
    }


def test_box_with_two_labels_is_one_agnostic_prediction():
    """Counted twice, the second BOX would halve the precision of FAR."""
    shaken = [BOX[0] + 1, *BOX[1:]]
    actual = ([BOX, shaken, FAR], [0, 1, 2], [0.9, 0.8, 0.7])
    samples = [sample(1, actual, ([BOX, FAR], [2, 2]))]
    assert evaluate(samples)['open_vocab/agnostic_ap50'] == pytest.approx(1)
    apart = evaluate(samples, agnostic_iou=1.0)['open_vocab/agnostic_ap50']
    assert apart == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_agnostic_counts_the_best_boxes_of_an_image():
    bboxes = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(4)]
    actual = (bboxes, [0, 1, 2, 0], [0.9, 0.8, 0.7, 0.6])
    metrics = evaluate([sample(1, actual, (bboxes, [0, 1, 2, 0]))], max_dets=2)
    assert metrics['open_vocab/agnostic_ap50'] == pytest.approx(51 / 101)
    assert metrics['open_vocab/all_ap50'] == pytest.approx(
        1
    )  # the limit holds per class there


def test_crowd_is_neither_right_nor_wrong():
    actual = ([BOX, FAR], [1, 0], [0.9, 0.8])
    metrics = evaluate([sample(1, actual, ([FAR], [0]), ([BOX], [1]))])
    assert metrics['open_vocab/base_ap50'] == pytest.approx(1)
    assert metrics['open_vocab/agnostic_ap50'] == pytest.approx(1)


def test_empty_predictions_and_absent_groups():
    empty = ([], [], [])
    metrics = evaluate([sample(1, empty, ([BOX], [0])), sample(2, empty)])
    assert metrics['open_vocab/base_ap50'] == metrics['open_vocab/all_ap'] == 0
    assert metrics['open_vocab/novel_ap50'] == -1
    assert metrics['open_vocab/agnostic_ap50'] == 0
    assert evaluate([sample(1, empty)])['open_vocab/all_ap50'] == -1


def test_repeated_images_count_once():
    right = sample(1, ([BOX], [0], [0.9]), ([BOX], [0]))
    wrong = sample(2, ([FAR], [0], [0.8]), ([BOX], [0]))
    once = evaluate([right, wrong])
    assert evaluate([right, wrong, right, right]) == once


def test_labels_of_the_dataset_need_no_order_of_the_file(tmp_path):
    """Ground truth of a file in another order, with a class outside the vocabulary,
    Chinese names and an image that was not processed."""
    coco = {
        'images': [{'id': 7}, {'id': 8}],
        'categories': [
            {'id': 4, 'name': 'cup', 'name_zh': '杯子'},
            {'id': 5, 'name': 'bird', 'name_zh': '鸟'},
            {'id': 6, 'name': 'cat', 'name_zh': '猫'},
        ],
        'annotations': [
            {'id': 0, 'image_id': 7, 'category_id': 6, 'bbox': [10, 10, 40, 40]},
            {'id': 1, 'image_id': 7, 'category_id': 5, 'bbox': [0, 0, 9, 9]},
            {'id': 2, 'image_id': 8, 'category_id': 4, 'bbox': [0, 0, 9, 9]},
        ],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(coco), encoding='utf-8')
    options = {'ann_file': str(tmp_path / 'ann.json')}
    samples = [sample(7, ([BOX], [0], [0.5]))]
    meta = {'classes': ('猫', '杯子'), 'novel_classes': ('杯子',)}
    for category_ids in ({}, {'category_ids': (6, 4)}):
        metrics = evaluate(samples, meta | category_ids, **options)
        for name in ('base_ap', 'agnostic_ap50'):
            assert metrics[f'open_vocab/{name}'] == pytest.approx(1)
        assert metrics['open_vocab/novel_ap'] == -1
    with pytest.raises(ValueError, match="'猫' has category id 4"):
        evaluate(samples, meta | {'category_ids': (4, 6)}, **options)
    with pytest.raises(ValueError, match="'狗' has category id None"):
        evaluate(samples, {'classes': ('狗',)}, **options)
    with pytest.raises(ValueError, match='image 9 is not in'):
        evaluate([sample(9, ([], [], []))], meta, **options)


def test_result_list_is_written(tmp_path):
    meta = META | {'category_ids': (3, 1, 2)}
    actual = ([BOX, FAR], [0, 2], [0.5, 0.25])
    evaluate([sample(4, actual)], meta, outfile_prefix=str(tmp_path / 'out/test'))
    assert json.loads((tmp_path / 'out/test.bbox.json').read_text()) == [
        {'image_id': 4, 'category_id': 3, 'bbox': [10, 10, 40, 40], 'score': 0.5},
        {'image_id': 4, 'category_id': 2, 'bbox': [60, 60, 30, 30], 'score': 0.25},
    ]
    assert len(list((tmp_path / 'out').iterdir())) == 1


def test_classwise_table_is_logged(caplog):
    MMLogger.get_current_instance().addHandler(caplog.handler)
    samples = [sample(1, ([BOX], [0], [0.9]), ([BOX], [0]))]
    evaluate(samples, classwise=True)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    assert '| cat   | base  | 1     | 1.000 | 1.000 |' in caplog.text
    assert '| cup   | novel | 0     | -     | -     |' in caplog.text


@pytest.mark.parametrize(
    ('actual', 'message'),
    [
        (([[math.nan, 0, 1, 1]], [0], [0.5]), 'image 5: prediction 0 is not finite'),
        (([BOX], [0], [math.inf]), 'image 5: prediction 0 is not finite'),
        (([BOX], [3], [0.5]), 'image 5: label 3 is not one of the 3'),
        (([BOX], [-1], [0.5]), 'image 5: label -1'),
    ],
)
def test_impossible_predictions_are_named(actual, message):
    with pytest.raises(ValueError, match=message):
        evaluate([sample(5, actual)])


def test_other_impossible_input():
    without = sample(1, ([], [], []))
    del without['gt_instances']
    with pytest.raises(ValueError, match='no gt_instances'):
        evaluate([without])
    with pytest.raises(ValueError, match="'cup' is not"):
        evaluate([sample(1, ([], [], []))], META | {'novel_classes': ()})
    with pytest.raises(ValueError, match='max_dets'):
        OpenVocabCocoMetric(max_dets=0)


def test_box_ap_by_hand():
    """Best detection wrong, second right: precision 1 / 2 at every recall."""
    truth = ImageBoxes(
        np.array([[0.0, 0, 10, 10]]), np.zeros(1, int), crowd=np.zeros(1)
    )
    actual = ImageBoxes(
        np.array([[50.0, 50, 10, 10], [0, 0, 10, 10]]),
        np.zeros(2, int),
        scores=np.array([0.9, 0.8]),
    )
    aps = box_ap([truth], [actual], 2)
    np.testing.assert_allclose(aps, [[0.5] * 10, [np.nan] * 10])


def test_box_iou_by_hand():
    a = np.array([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    b = np.array([[5.0, 0, 10, 10], [0, 0, 0, 0]])
    np.testing.assert_allclose(box_iou(a, b), [[1 / 3, 0], [0, 0]])
