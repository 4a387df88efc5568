"""COCO and OV-COCO figures against pycocotools and against the registered metric."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.evaluation import average_precision
from fgclip2_det.evaluation.coco_ap import COCO_NAMES
from fgclip2_det.evaluation.protocols import check_protocol, evaluate_results


def figures(folder, coco, rows, protocol='coco', iou_types=('bbox',), **options):
    """Metrics by name, from files."""
    (folder / 'ann.json').write_text(json.dumps(coco))
    (folder / 'rows.json').write_text(json.dumps(rows))
    truths = read_truths(folder / 'ann.json', masks='segm' in iou_types)
    read = read_results(folder / 'rows.json', truths, iou_types, drop_outside=False)
    return evaluate_results(protocol, truths, read.results, iou_types, **options)


def reference(coco, rows, iou_type='bbox', keep_boxes=False) -> dict[str, float]:
    coco, rows = copy.deepcopy(coco), copy.deepcopy(rows)
    if iou_type == 'segm' and not keep_boxes:
        for row in rows:
            row.pop('bbox', None)  # else areas would be those of the boxes
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {'info': {}, **coco}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(rows), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(COCO_NAMES, evaluator.stats.tolist(), strict=True))


def check(actual: dict, expected: dict, title: str) -> None:
    for name, value in expected.items():
        assert actual[f'{title}/{name}'] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_reference_results_give_the_published_numbers(
    shared, tmp_path, monkeypatch, iou_type
):
    folder = shared / 'data/eval_reference/cocoapi_gt'
    name = f'instances_val2014_fake{iou_type}100_results.json'
    coco = json.loads((folder / 'instances_val2014_100.json').read_text())
    rows = json.loads((folder / name).read_text())
    actual = figures(tmp_path, coco, rows, iou_types=(iou_type,)).metrics
    check(actual, reference(coco, rows, iou_type), f'coco/{iou_type}')
    monkeypatch.setattr(average_precision, 'ROWS', 60)  # a few classes at a time
    assert figures(tmp_path, coco, rows, iou_types=(iou_type,)).metrics == actual
    published = {'bbox': (0.505, 0.697, 0.573), 'segm': (0.320, 0.562, 0.299)}
    three = [round(actual[f'coco/{iou_type}/{n}'], 3) for n in ('AP', 'AP50', 'AP75')]
    assert three == pytest.approx(published[iou_type])


@pytest.mark.parametrize('seed', range(2))
def test_shaken_boxes_equal_pycocotools(shared, shaken, tmp_path, seed):
    """Real ground truth with crowds; one class has no result, ignore plays no part."""
    path = shared / 'data/coco/annotations/val_all80.json'
    coco = json.loads(path.read_text())
    rows = [row for row in shaken(coco, seed) if row['category_id'] != 1]
    for a in coco['annotations'][:40]:
        a['ignore'] = 1  # pycocotools overwrites it
    actual = figures(tmp_path, coco, rows).metrics
    expected = reference(coco, rows)
    check(actual, expected, 'coco/bbox')
    assert 0.1 < expected['AP'] < 0.9 and sum(a['iscrowd'] for a in coco['annotations'])


def test_shaken_masks_equal_pycocotools(shared, shaken, tmp_path):
    folder = shared / 'data/eval_reference/cocoapi_gt'
    coco = json.loads((folder / 'instances_val2014_100.json').read_text())
    ids = {image['id'] for image in coco['images'][::2]}
    coco['images'] = coco['images'][::2]
    coco['annotations'] = [a for a in coco['annotations'] if a['image_id'] in ids]
    rows = shaken(coco, masks=True)
    assert len(rows) > 300  # its area() takes 255 at once
    actual = figures(tmp_path, coco, rows, iou_types=('segm', 'bbox')).metrics
    check(actual, reference(coco, rows, 'segm'), 'coco/segm')
    check(actual, reference(coco, rows, 'bbox'), 'coco/bbox')


def test_the_size_of_a_mask_is_its_own_even_beside_a_box(tmp_path):
    """pycocotools takes w * h of a row that has a box as well, MMDetection's CocoMetric
    removes the box first. A triangle in a box of 50 x 50 is medium by its box, and half
    as large; one of 40 x 40 is small by its own area alone."""
    coco: dict = {'images': [{'id': 1, 'width': 200, 'height': 99}], 'annotations': []}
    coco['categories'] = [{'id': 1, 'name': 'a'}]
    rows = []
    for n, side in enumerate((40, 50)):
        x = 100 * n
        ring = [[x, 0, x + side, 0, x, side]]
        [mask] = mask_utils.frPyObjects(ring, 99, 200)
        mask['counts'] = mask['counts'].decode()
        entry = {'image_id': 1, 'category_id': 1, 'segmentation': mask}
        box = [x, 0, side, side]
        rows.append(entry | {'score': 0.9, 'bbox': box})
        coco['annotations'].append({
            'id': n + 1, 'iscrowd': 0, 'bbox': box, 'area': side * side / 2,
            **entry, 'segmentation': ring,
        })  # fmt: skip
    # a false positive that is small by its mask, medium by its box
    moved = {**rows[0], 'score': 0.95, 'bbox': [50, 50, 40, 40]}
    [mask] = mask_utils.frPyObjects([[50, 50, 90, 50, 50, 90]], 99, 200)
    rows.append(moved | {'segmentation': mask | {'counts': mask['counts'].decode()}})
    without = [{k: v for k, v in row.items() if k != 'bbox'} for row in rows]
    expected = reference(coco, without, 'segm')
    for given in (rows, without):
        actual = figures(tmp_path, coco, given, iou_types=('segm',)).metrics
        check(actual, expected, 'coco/segm')
    by_boxes = reference(coco, rows, 'segm', keep_boxes=True)
    assert by_boxes['APm'] < expected['APm'] and by_boxes['APs'] > expected['APs']


def test_more_than_a_hundred_boxes_of_one_class(tmp_path):
    """Crowded images: the limits of 1, 10 and 100, ties, and crowds cut in."""
    rng = np.random.default_rng(3)
    coco = {
        'images': [{'id': i, 'width': 300, 'height': 300} for i in (9, 4, 6)],
        'categories': [{'id': 8, 'name': 'b'}, {'id': 3, 'name': 'a'}],
        'annotations': [],
    }
    rows = []
    for image in coco['images'][:2]:
        for n in range(60):
            x, y, w, h = (float(v) for v in rng.uniform(5, 150, 4))
            coco['annotations'].append({
                'id': len(coco['annotations']) + 1, 'image_id': image['id'],
                'category_id': 8, 'bbox': [x, y, w, h], 'area': w * h * 0.7,
                'iscrowd': int(n % 9 == 0),
            })  # fmt: skip
            for shift in rng.normal(0, 6, (3, 2)):
                rows.append({
                    'image_id': image['id'], 'category_id': 8,
                    'bbox': [x + shift[0], y + shift[1], w, h],
                    'score': round(float(rng.random()), 1),
                })  # fmt: skip
    actual = figures(tmp_path, coco, rows).metrics
    expected = reference(coco, rows)
    check(actual, expected, 'coco/bbox')
    assert expected['AR1'] < expected['AR10'] < expected['AR100']


def test_ov_coco_equals_the_registered_metric(shared, shaken, tmp_path):
    pytest.importorskip('mmdet', reason='needs the mm packages')
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from torch import tensor

    from fgclip2_det.coco.class_split import resolve_classes
    from fgclip2_det.coco.published_splits import OV_COCO_NOVEL_CLASSES
    from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric

    path = shared / 'data/coco/annotations/val_ov65_base48_novel17.json'
    coco = json.loads(path.read_text())
    rows = shaken(coco)
    split = resolve_classes(coco['categories'], novel=OV_COCO_NOVEL_CLASSES)
    ids = list(split.category_ids)
    novel_ids = ids[-17:]
    actual = figures(tmp_path, coco, rows, 'ov-coco', novel_ids=novel_ids).metrics
    metric = OpenVocabCocoMetric(ann_file=str(path))
    metric.dataset_meta = vars(split)
    for image in coco['images']:
        own = [row for row in rows if row['image_id'] == image['id']]
        boxes = np.array([row['bbox'] for row in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        sample = DetDataSample(metainfo={'img_id': image['id']})
        sample.pred_instances = InstanceData(
            bboxes=tensor(boxes),
            labels=tensor([ids.index(row['category_id']) for row in own]),
            scores=tensor([row['score'] for row in own]),
        )
        metric.process({}, [sample.to_dict()])
    expected = metric.evaluate(len(coco['images']))
    for name, value in actual.items():
        short = name.removeprefix('ov-coco/bbox/')
        assert value == pytest.approx(expected[f'open_vocab/{short}'], abs=1e-6)
    assert len(actual) == 6 and 0 < actual['ov-coco/bbox/novel_ap50'] < 1


def test_empty_predictions_and_classes_without_objects(tmp_path):
    """AP 0 where there are objects, -1 and None where there are none."""
    coco = {
        'images': [{'id': 1}, {'id': 2}],
        'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 2, 'bbox': [0, 0, 10, 10]}
        ],
    }
    actual = figures(tmp_path, coco, [])
    assert actual.metrics['coco/bbox/AP'] == actual.metrics['coco/bbox/AR100'] == 0
    assert (
        actual.metrics['coco/bbox/APs'] == 0 and actual.metrics['coco/bbox/APl'] == -1
    )
    none, zero = {'AP': None, 'AP50': None}, {'AP': 0.0, 'AP50': 0.0}
    assert actual.classwise == {'coco/bbox': {'a': none, 'b': zero}}
    actual = figures(tmp_path, coco, [], 'ov-coco', novel_ids=[1]).metrics
    assert (
        actual['ov-coco/bbox/novel_ap50'] == -1 and actual['ov-coco/bbox/all_ap'] == 0
    )
    coco['annotations'] = []
    assert figures(tmp_path, coco, []).metrics['coco/bbox/AP'] == -1


def test_by_hand(tmp_path):
    """Best detection wrong, second right: precision 1 / 2 at every recall."""
    coco = {
        'images': [{'id': 'x'}],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [
            {'id': 0, 'image_id': 'x', 'category_id': 1, 'bbox': [0, 0, 10, 10]}
        ],
    }
    rows = [
        {'image_id': 'x', 'category_id': 1, 'bbox': box, 'score': score}
        for box, score in (([50, 50, 10, 10], 0.9), ([0, 0, 10, 10], 0.8))
    ]
    actual = figures(tmp_path, coco, rows).metrics
    assert actual['coco/bbox/AP'] == pytest.approx(0.5)
    assert actual['coco/bbox/AR1'] == 0 and actual['coco/bbox/AR10'] == 1


def test_impossible_protocols_are_named():
    with pytest.raises(ValueError, match=r"protocol must be one of .*got 'voc'"):
        check_protocol('voc', ['bbox'])
    with pytest.raises(ValueError, match='iou types must be one or both of'):
        check_protocol('coco', ['bbox', 'bbox'])
    with pytest.raises(ValueError, match="'ov-coco' needs novel classes"):
        evaluate_results('ov-coco', None, None)
