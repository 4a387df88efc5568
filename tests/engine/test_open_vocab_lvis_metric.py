"""The registered metric against the figures of a result list."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from pycocotools import mask as mask_utils

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.engine.metrics import open_vocab_lvis_metric as module
from fgclip2_det.engine.metrics.open_vocab_lvis_metric import _encoded
from fgclip2_det.evaluation.protocols import evaluate_results

FILE = 'data/coco/annotations/lvis_v1ids_val.json'
BOTH = ('lvis', 'fixed')


def sample(image_id, rows, ids, masks=False) -> dict:
    boxes = np.array([row['bbox'] for row in rows]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    data = DetDataSample(metainfo={'img_id': image_id})
    data.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes),
        labels=torch.tensor([ids.index(row['category_id']) for row in rows]).long(),
        scores=torch.tensor([row['score'] for row in rows], dtype=torch.float64),
    )
    if masks:
        pixels = [mask_utils.decode(row['segmentation']) for row in rows]
        size = pixels[0].shape if pixels else (1, 1)
        pixels = np.array(pixels, bool).reshape(-1, *size)
        data.pred_instances.masks = torch.from_numpy(pixels)
    return data.to_dict()


@pytest.fixture
def case(shared, shaken):
    """Path, result list and samples; labels are not in the file's order."""

    def make(masks=False, num_images=31):
        path = shared / FILE
        coco = json.loads(path.read_text())
        images = [image['id'] for image in coco['images'][:num_images]]
        rows = [r for r in shaken(coco, masks=masks) if r['image_id'] in images]
        categories = coco['categories'][::-1]
        ids = [c['id'] for c in categories]
        meta = {'classes': tuple(c['name'] for c in categories)}
        samples = [
            sample(i, [r for r in rows if r['image_id'] == i], ids, masks)
            for i in images
        ]
        return path, rows, samples, meta

    return make


def build(path, meta, **options):
    config = dict(type='OpenVocabLVISMetric', ann_file=str(path), **options)
    metric = METRICS.build(config)
    metric.dataset_meta = meta
    return metric


def expected_of(path, rows, folder, iou_types=('bbox',), image_ids=None):
    (folder / 'rows.json').write_text(json.dumps(rows))
    truths = read_truths(path, True, 'segm' in iou_types, image_ids)
    results = read_results(
        folder / 'rows.json', truths, iou_types, drop_outside=False
    ).results
    return evaluate_results('lvis-both', truths, results, iou_types).metrics


def check(actual, expected):
    assert len(actual) == len(expected)
    for name, value in expected.items():
        flavour, iou_type, short = name.split('/')
        prefix = 'fixed_' if flavour == 'lvis-fixed' else ''
        key = f'open_vocab_lvis/{prefix}{iou_type}_{short}'
        assert actual[key] == pytest.approx(value, abs=1e-6)


def test_equals_the_result_list(case, tmp_path, monkeypatch):
    """With rows forgotten on the way, and images that a sampler repeated."""
    monkeypatch.setattr(module, '_PRUNE_ROWS', 100)
    path, rows, samples, meta = case()
    metric = build(path, meta, flavour=BOTH)
    for one in [*samples, samples[3], samples[0]]:
        metric.process({}, [one])
    actual = metric.evaluate(31)
    check(actual, expected_of(path, rows, tmp_path))
    assert 0.1 < actual['open_vocab_lvis/bbox_AP'] < 0.9
    for one in samples:  # a second epoch starts from nothing
        metric.process({}, [one])
    assert metric.evaluate(31) == actual


def test_masks(case, tmp_path):
    path, rows, samples, meta = case(masks=True, num_images=6)
    ids = [one['img_id'] for one in samples]
    metric = build(path, meta, flavour=BOTH, iou_types=('segm', 'bbox'))
    metric.process({}, samples)
    check(metric.evaluate(6), expected_of(path, rows, tmp_path, ('segm', 'bbox'), ids))
    metric.process({}, samples[:0])
    with pytest.raises(ValueError, match=r"'segm' needs pred_instances.masks"):
        del samples[0]['pred_instances']['masks']
        metric.process({}, samples[:1])


def test_processes_together_count_every_image_once(case, monkeypatch):
    """Three of uneven shares; padded samples repeat images of another one."""
    path, _, samples, meta = case()
    whole = build(path, meta, flavour=BOTH)
    whole.process({}, samples)
    expected = whole.evaluate(31)
    shares = [samples[:11], [*samples[11:30], samples[0]], [samples[30], samples[5]]]
    gathered = []
    for share in shares:
        metric = build(path, meta, flavour=BOTH)
        metric.process({}, share)
        gathered.append((sorted(metric._seen), metric._joined()))
    actual = whole.compute_metrics(gathered)
    for name, value in actual.items():
        assert expected[f'open_vocab_lvis/{name}'] == pytest.approx(value, abs=1e-9)


def test_images_that_were_not_processed_do_not_count(case, tmp_path, caplog):
    path, rows, samples, meta = case(num_images=20)
    metric = build(path, meta, flavour=BOTH, classwise=True)
    metric.process({}, samples)
    MMLogger.get_current_instance().addHandler(caplog.handler)
    actual = metric.evaluate(20)
    MMLogger.get_current_instance().removeHandler(caplog.handler)
    ids = [one['img_id'] for one in samples]
    check(actual, expected_of(path, rows, tmp_path, image_ids=ids))
    assert '20 of the 31 images of' in caplog.text
    assert '| lvis-fixed/bbox' in caplog.text and '| aerosol_can' in caplog.text


def test_no_detections_and_labels_without_a_class(case):
    path, _, samples, meta = case(num_images=1)
    metric = build(path, meta)
    metric.process({}, [sample(samples[0]['img_id'], [], [])])
    assert metric.evaluate(1)['open_vocab_lvis/bbox_AP'] == 0
    extra = {'classes': ('aerosol_can', 'unicorn'), 'category_ids': (1, None)}
    metric = build(path, extra)
    row = {'category_id': 9, 'bbox': [1.0, 1, 5, 5], 'score': 0.5}
    metric.process({}, [sample(samples[0]['img_id'], [row], [1, 9])])
    assert len(metric.results[0]) == 0


def test_impossible_input_is_named(case):
    path, _, samples, meta = case(num_images=1)
    with pytest.raises(ValueError, match="flavour must be 'lvis', 'fixed' or both"):
        build(path, meta, flavour='best')
    with pytest.raises(ValueError, match='iou types must be one or both'):
        build(path, meta, iou_types=['keypoints'])
    with pytest.raises(ValueError, match='image 3 is not in'):
        build(path, meta).process({}, [sample(3, [], [])])
    with pytest.raises(ValueError, match="class 'unicorn' of the dataset is not in"):
        build(path, {'classes': ('unicorn',)}).process({}, samples)
    samples[0]['pred_instances']['scores'][0] = float('nan')
    with pytest.raises(ValueError, match='prediction 0 is not finite'):
        build(path, meta).process({}, samples)


def test_rle_masks_are_checked_before_they_are_measured():
    entry, good = {'height': 4, 'width': 5}, {'size': [4, 5], 'counts': b'd0'}
    assert len(_encoded(7, {'masks': [good]}, entry)) == 1
    for bad in ({'size': [5, 4], 'counts': b'd0'}, {'size': [4, 5], 'counts': b'5'}):
        with pytest.raises(ValueError, match=r'image 7: mask 1 .from 0.: '):
            _encoded(7, {'masks': [good, bad]}, entry)
