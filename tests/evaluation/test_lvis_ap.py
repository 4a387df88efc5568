"""LVIS figures of both flavours against lvis-api."""

import copy
import json
import logging
from collections import defaultdict

import numpy as np
import pytest

from fgclip2_det.coco.ground_truths import read_image_ids, read_truths
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.evaluation import average_precision
from fgclip2_det.evaluation.lvis_ap import lvis_figures, lvis_summary, within_limit
from fgclip2_det.evaluation.protocols import evaluate_results, keep_for

FILES = ('eval_reference/lvis_gt/lvis_val_100.json',
         'coco/annotations/lvis_v1ids_val.json')  # fmt: skip


@pytest.fixture(params=FILES)
def file(shared, request) -> dict:
    return cut(json.loads((shared / 'data' / request.param).read_text()))


def cut(coco: dict, num_images: int = 31) -> dict:
    """The first images and the classes that they know: lvis-api is slow."""
    images = coco['images'][:num_images]
    ids = {image['id'] for image in images}
    annotations = [a for a in coco['annotations'] if a['image_id'] in ids]
    known = {c for image in images for c in image['neg_category_ids'][:2]}
    known |= {a['category_id'] for a in annotations}
    for image in images:
        for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
            image[key] = [c for c in image[key] if c in known]
    categories = [c for c in coco['categories'] if c['id'] in known]
    return dict(images=images, annotations=annotations, categories=categories)


def reference(path, rows, flavour, limit, iou_type='bbox') -> dict[str, float]:
    """lvis-api, with the 'fixed' limit written out."""
    lvis = pytest.importorskip('lvis')
    logging.getLogger('lvis').setLevel(logging.ERROR)
    truth, rows = lvis.LVIS(str(path)), copy.deepcopy(rows)
    if iou_type == 'segm':
        for row in rows:
            row.pop('bbox')  # else areas would be those of the boxes
    if flavour == 'lvis-fixed':
        by_class = defaultdict(list)
        for row in rows:
            by_class[row['category_id']].append(row)
        rows = []
        for own in by_class.values():
            rows += sorted(own, key=lambda row: -row['score'])[:limit]
        limit = -1
    actual = lvis.LVISResults(truth, rows, max_dets=limit)
    evaluator = lvis.LVISEval(truth, actual, iou_type)
    evaluator.params.max_dets = limit
    evaluator.run()
    results = evaluator.get_results()
    return {name.split('@')[0]: float(value) for name, value in results.items()}


def ours(path, rows, folder, flavour, limit, iou_type='bbox') -> dict[str, float]:
    (folder / 'rows.json').write_text(json.dumps(rows))
    truths = read_truths(path, federated=True, masks=iou_type == 'segm')
    results = read_results(
        folder / 'rows.json', truths, (iou_type,), drop_outside=False
    ).results
    figures = lvis_figures(truths, results, flavour, limit)
    with pytest.MonkeyPatch.context() as patch:  # a few classes at a time
        patch.setattr(average_precision, 'ROWS', 40)
        parts = lvis_figures(truths, results, flavour, limit)
    np.testing.assert_array_equal(parts.precision, figures.precision)
    np.testing.assert_array_equal(parts.recall, figures.recall)
    return lvis_summary(figures, truths)


def federated(coco: dict, seed: int) -> dict:
    """More absent and not exhaustive classes, ignored and empty objects, all three
    frequencies."""
    rng = np.random.default_rng(seed)
    used = sorted({a['category_id'] for a in coco['annotations']})
    for image in coco['images']:
        image['neg_category_ids'] += rng.choice(used, 8).tolist()
        own = [
            a['category_id'] for a in coco['annotations']
            if a['image_id'] == image['id']
        ]  # fmt: skip
        image['not_exhaustive_category_ids'] += own[::3]
    for n, a in enumerate(coco['annotations']):
        a['ignore'] = int(n % 11 == 0)
        a['iscrowd'] = int(n % 5 == 0)  # which LVIS does not know
        a['area'] = 0 if n % 37 == 0 else a['area']
    for category in coco['categories']:
        category['frequency'] = 'rcf'[category['id'] % 3]
    return coco


@pytest.mark.parametrize(
    ('flavour', 'limit'),
    [('lvis', 300), ('lvis', 8), ('lvis-fixed', 10_000), ('lvis-fixed', 4)],
)
def test_boxes_equal_lvis_api(file, shaken, tmp_path, flavour, limit):
    coco = federated(file, limit)
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(coco))
    rows = shaken(coco, seed=limit)
    expected = reference(path, rows, flavour, limit)
    actual = ours(path, rows, tmp_path, flavour, limit)
    assert actual == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected['AP'] < 0.9 and len(actual) == 13


@pytest.mark.parametrize('flavour', ['lvis', 'lvis-fixed'])
def test_masks_equal_lvis_api(shared, shaken, tmp_path, flavour):
    coco = cut(json.loads((shared / 'data' / FILES[0]).read_text()), 20)
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(coco))
    rows = shaken(coco, masks=True)
    limit = {'lvis': 10, 'lvis-fixed': 5}[flavour]
    expected = reference(path, rows, flavour, limit, 'segm')
    assert ours(path, rows, tmp_path, flavour, limit, 'segm') == pytest.approx(
        expected, abs=1e-9
    )
    assert expected['AP'] > 0.2


def test_what_the_federation_leaves_out(tmp_path):
    """By hand: a wrong box counts where its class is known to be absent, not where
    nothing is known, and not where its class is not labelled in full."""
    images = [
        {'id': i, 'neg_category_ids': [], 'not_exhaustive_category_ids': []}
        for i in (1, 2)
    ]
    coco = {
        'images': images,
        'categories': [{'id': 5, 'name': 'a', 'frequency': 'r'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 5, 'area': 100,
                         'bbox': [0, 0, 10, 10]}],
    }  # fmt: skip
    rows = [
        {'image_id': 1, 'category_id': 5, 'bbox': [0, 0, 10, 10], 'score': 0.5},
        {'image_id': 2, 'category_id': 5, 'bbox': [0, 0, 10, 10], 'score': 0.9},
    ]
    path = tmp_path / 'ann.json'

    def ap() -> float:
        path.write_text(json.dumps(coco))
        return ours(path, rows, tmp_path, 'lvis', None)['APr']

    assert ap() == pytest.approx(1)
    images[1]['neg_category_ids'] = [5]
    assert ap() == pytest.approx(0.5)
    images[1]['not_exhaustive_category_ids'] = [5]
    assert ap() == pytest.approx(1)


def test_both_flavours_while_pruning_equal_all_at_once(shared, shaken, tmp_path):
    """Rows are forgotten as the file is read; figures stay. Minival ids count alone."""
    coco = cut(json.loads((shared / 'data' / FILES[0]).read_text()))
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(coco))
    ids = [image['id'] for image in coco['images'][:20]]
    (tmp_path / 'ids.json').write_text(json.dumps(ids))
    (tmp_path / 'rows.json').write_text(json.dumps(shaken(coco)))
    truths = read_truths(path, True, image_ids=read_image_ids(tmp_path / 'ids.json'))
    keep = keep_for('lvis-both')
    read = read_results(tmp_path / 'rows.json', truths, keep=keep, prune_rows=1)
    whole = read_results(tmp_path / 'rows.json', truths)
    assert read.num_other_images == whole.num_other_images > 0
    assert read.num_rows == len(whole.results) + whole.num_other_images
    actual = evaluate_results('lvis-both', truths, read.results).metrics
    assert actual == evaluate_results('lvis-both', truths, whole.results).metrics
    kept = dict(images=coco['images'][:20], categories=coco['categories'])
    kept['annotations'] = [a for a in coco['annotations'] if a['image_id'] in ids]
    (tmp_path / 'cut.json').write_text(json.dumps(kept))
    rows = [row for row in shaken(coco) if row['image_id'] in ids]
    for flavour, limit in (('lvis', 300), ('lvis-fixed', 10_000)):
        for name, value in reference(
            tmp_path / 'cut.json', rows, flavour, limit
        ).items():
            assert actual[f'{flavour}/bbox/{name}'] == pytest.approx(value, abs=1e-9)


def test_streamed_top_k_is_that_of_all_rows(shared, shaken, tmp_path, monkeypatch):
    """Pieces of ten rows, three a class: the same rows as of the file at once."""
    from fgclip2_det.io import json_stream

    path = shared / 'data' / FILES[0]
    truths = read_truths(path, True)
    rows = shaken(json.loads(path.read_text()))
    (tmp_path / 'rows.json').write_text(json.dumps(rows, indent=1))

    def keep(results) -> np.ndarray:
        return within_limit(results, 'lvis-fixed', 3)

    whole = read_results(tmp_path / 'rows.json', truths, keep=keep).results
    monkeypatch.setattr(json_stream, '_BLOCK', 10)
    monkeypatch.setattr(json_stream, '_CHUNK', 1000)
    parts = read_results(tmp_path / 'rows.json', truths, keep=keep, prune_rows=10)
    for column in ('image', 'category', 'bboxes', 'scores'):
        np.testing.assert_array_equal(
            getattr(parts.results, column), getattr(whole, column)
        )
    assert np.bincount(whole.category).max() == 3


def test_impossible_limits_are_named():
    with pytest.raises(ValueError, match=r"flavour must be one of .*got 'fixed'"):
        within_limit(None, 'fixed')
    with pytest.raises(ValueError, match='limit of lvis must be at least 1, got 0'):
        within_limit(None, 'lvis', 0)
