"""RefCOCO and Flickr30k Entities: ranks against loops, and files that are wrong."""

import json

import numpy as np
import pytest

from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.evaluation.phrase_grounding import (
    KS,
    NEVER,
    pair_ranks,
    read_expressions,
    read_phrases,
    score_flickr30k,
    score_refexp,
)


def put(path, content):
    path.write_text(json.dumps(content))
    return path


def iou(a, b) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def refexp(count: int = 40, seed: int = 0) -> tuple[dict, list[dict]]:
    """Expressions on few images; predictions near and far, many of equal score."""
    rng = np.random.default_rng(seed)
    images = [
        {
            'id': 10 + i,
            'file_name': f'COCO_train2014_{i // 3}.jpg',
            'caption': f'thing {i}',
            'width': 200,
            'height': 200,
        }
        for i in range(count)
    ]
    annotations, rows = [], []
    for image in images:
        box = [*rng.uniform(0, 100, 2).tolist(), *rng.uniform(20, 90, 2).tolist()]
        annotations.append({
            'id': image['id'], 'image_id': image['id'], 'category_id': 1, 'bbox': box,
        })  # fmt: skip
        for _ in range(rng.integers(0, 13)):
            moved = np.array(box) + rng.normal(0, 8, 4)
            rows.append({
                'image_id': image['id'], 'category_id': 1,
                'bbox': np.abs(moved).round(3).tolist(),
                'score': float(rng.integers(1, 5) / 5),
            })  # fmt: skip
    categories = [{'id': 1, 'name': 'object'}]
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    return coco, rows


def slow_rank(wanted: list, actual: list[tuple]) -> int:
    """Rank of the first right box; of equal scores all wrong ones come first."""
    best = NEVER
    for box, score in actual:
        if max(iou(box, one) for one in wanted) >= 0.5:
            before = sum(
                other > score
                or (other == score and max(iou(b, one) for one in wanted) < 0.5)
                for b, other in actual
            )
            best = min(best, 1 + before)
    return best


def test_refexp_equals_a_loop(tmp_path):
    coco, rows = refexp()
    ann, predictions = put(tmp_path / 'a.json', coco), put(tmp_path / 'p.json', rows)
    ranks = [
        slow_rank(
            [annotation['bbox']],
            [
                (row['bbox'], row['score'])
                for row in rows
                if row['image_id'] == annotation['image_id']
            ],
        )
        for annotation in coco['annotations']
    ]
    truths = read_expressions(ann)
    results = read_results(predictions, truths).results
    assert pair_ranks(truths, results).tolist() == ranks
    actual = score_refexp(ann, predictions)
    for k in KS:
        expected = np.mean([rank <= k for rank in ranks])
        assert actual['metrics'][f'refexp/P@{k}'] == pytest.approx(expected)
    assert actual['counts'] == {'expressions': 40, 'rows_outside': 0}
    assert 0 < actual['metrics']['refexp/P@1'] < actual['metrics']['refexp/P@5'] < 1
    put(predictions, [])
    assert score_refexp(ann, predictions)['metrics']['refexp/P@10'] == 0


def sentences() -> dict:
    """Two sentences: phrases with one and two boxes; ids of phrases out of order."""
    captions = ['a man and two dogs', 'his hat']
    spans = [[[[0, 5]], [[10, 18]]], [[[0, 7]]]]
    images = [
        {
            'id': f's{i}', 'file_name': f'{i}.jpg', 'caption': caption,
            'tokens_positive_eval': spans[i], 'width': 100, 'height': 100,
        }
        for i, caption in enumerate(captions)
    ]  # fmt: skip
    rows = [
        ('s0', 77, [50, 50, 20, 20]),
        ('s0', 12, [0, 0, 40, 80]),
        ('s0', 77, [70, 50, 20, 20]),
        ('s1', 5, [10, 0, 20, 10]),
    ]
    annotations = [
        {'id': i, 'image_id': s, 'phrase_ids': [p], 'bbox': b, 'category_id': 1}
        for i, (s, p, b) in enumerate(rows)
    ]
    return {'images': images, 'annotations': annotations}


def test_flickr30k_any_and_merged(tmp_path):
    ann = put(tmp_path / 'a.json', sentences())
    truths = read_phrases(ann)
    assert [i['phrases'] for i in truths.images] == [['a man', 'two dogs'], ['his hat']]
    rows = [
        ('s0', 0, [1, 0, 40, 80], 0.9),  # the man
        ('s0', 1, [0, 0, 9, 9], 0.8),
        ('s0', 1, [50, 50, 20, 20], 0.7),  # one of the dogs
        ('s0', 1, [50, 50, 40, 20], 0.6),  # both
        ('s1', 0, [60, 60, 9, 9], 0.6),
    ]
    rows = [
        dict(zip(('image_id', 'category_id', 'bbox', 'score'), row, strict=True))
        for row in rows
    ]
    predictions = put(tmp_path / 'p.json', rows)
    actual = score_flickr30k(ann, predictions)
    assert actual['counts'] == {'sentences': 2, 'phrases': 3, 'rows_outside': 0}
    results = read_results(predictions, truths).results
    assert pair_ranks(truths, results).tolist() == [1, 2, NEVER]
    # half of the merged box is an IoU of 0.5, which is enough
    assert pair_ranks(truths, results, merged=True).tolist() == [1, 2, NEVER]
    rows[2]['bbox'] = [50, 50, 19, 20]
    put(predictions, rows)
    results = read_results(predictions, truths).results
    assert pair_ranks(truths, results, merged=True).tolist() == [1, 3, NEVER]
    metrics = score_flickr30k(ann, predictions)['metrics']
    assert metrics['flickr30k/any/R@1'] == pytest.approx(1 / 3)
    assert metrics['flickr30k/merged/R@5'] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['annotations'].pop(), 'expression 49 has 0 boxes, expected one'),
        (lambda c: c['images'][1].update(caption=' '), 'expression 11 has no caption'),
        (lambda c: c['annotations'][0].update(bbox=[0, 0, 5]), 'bbox'),
        (lambda c: c.update(images=[], annotations=[]), 'has no expressions'),
    ],
)
def test_wrong_refexp_files(tmp_path, change, message):
    coco, _ = refexp()
    change(coco)
    with pytest.raises(ValueError, match=message):
        read_expressions(put(tmp_path / 'a.json', coco))


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['annotations'].pop(), 'sentence s1 has 1 phrases, its boxes'),
        (lambda c: c['annotations'][0].update(phrase_ids=[1, 2]), 'must name one'),
        (lambda c: c['annotations'][0].update(image_id='x'), "image 'x' is not in"),
        (lambda c: c['images'][1].update(tokens_positive_eval=[[5]]), 'not a span'),
        (lambda c: c['images'][1].update(tokens_positive_eval=[[[9, 12]]]), 'outside'),
        (lambda c: c['images'][1].pop('caption'), 'needs a caption'),
        (lambda c: c.pop('annotations'), "a list of 'annotations'"),
        (lambda c: c['annotations'].append(3), 'must be an object'),
        (lambda c: c.update(images=[], annotations=[]), 'has no sentences'),
        (lambda c: c['images'][0].update(id=[1]), 'id must be a whole number'),
        (lambda c: c['images'][0].update(id='s1'), 'image id s1 occurs twice'),
        (
            lambda c: c['annotations'][0].update(image_id=[1]),
            'image_id must be a whole number',
        ),
        (
            lambda c: c['annotations'][0].update(bbox=['a', 0, 5, 5]),
            'bbox must be x, y, width, height, finite',
        ),
        (lambda c: c['annotations'][0].update(bbox=[0, 0, -5, 5]), 'not negative'),
        (lambda c: c['annotations'][0].update(phrase_ids='x'), 'all numbers or'),
        (lambda c: c['images'][1].update(tokens_positive_eval=[[[-3, 7]]]), 'outside'),
        (lambda c: c['images'][1].update(tokens_positive_eval=[[[0, 8]]]), 'outside'),
        (
            lambda c: c['images'][1].update(tokens_positive_eval=[[[0, None]]]),
            'outside',
        ),
    ],
)
def test_wrong_flickr30k_files(tmp_path, change, message):
    content = sentences()
    change(content)
    with pytest.raises(ValueError, match=message):
        read_phrases(put(tmp_path / 'a.json', content))


def mdetr() -> dict:
    """As MDETR's converter writes it: spans, sizes as text, and no phrase_ids. The men
    come twice; the dog's box is nearly that of the men, so both are one box."""
    image = {
        'file_name': '1.jpg', 'height': '334', 'width': '500', 'id': 0,
        'caption': 'Two men see two men and a dog', 'dataset_name': 'flickr',
        'tokens_negative': [[0, 29]], 'sentence_id': 0, 'original_img_id': 1,
        'tokens_positive_eval': [[[0, 7]], [[12, 19]], [[24, 29]]],
    }  # fmt: skip
    rows = [
        ([100.0, 100.0, 50.0, 50.0], [[0, 7], [12, 19]]),
        ([10.0, 10.0, 50.0, 50.0], [[24, 29], [0, 7], [12, 19]]),
    ]
    annotations = [
        {
            'area': 2500.0, 'iscrowd': 0, 'image_id': 0, 'category_id': 1, 'id': i,
            'bbox': box, 'tokens_positive': spans,
        }
        for i, (box, spans) in enumerate(rows)
    ]  # fmt: skip
    categories = [{'supercategory': 'object', 'id': 1, 'name': 'object'}]
    return {'images': [image], 'annotations': annotations, 'categories': categories}


def test_flickr30k_as_mdetr_writes_it(tmp_path):
    content = mdetr()
    ann = put(tmp_path / 'a.json', content)
    truths = read_phrases(ann)
    assert truths.images[0]['phrases'] == ['Two men', 'two men', 'a dog']
    pairs = sorted(
        zip(truths.category.tolist(), truths.bboxes[:, 0].tolist(), strict=True)
    )
    assert pairs == [(0, 10), (0, 100), (1, 10), (1, 100), (2, 10)]
    rows = [
        {'image_id': 0, 'category_id': i, 'bbox': [100, 100, 50, 50], 'score': 0.5}
        for i in range(3)
    ]
    actual = score_flickr30k(ann, put(tmp_path / 'p.json', rows))
    assert actual['counts'] == {'sentences': 1, 'phrases': 3, 'rows_outside': 0}
    assert actual['metrics']['flickr30k/any/R@1'] == pytest.approx(2 / 3)
    assert actual['metrics']['flickr30k/merged/R@1'] == 0
    for spans in ([[0, 6]], 'x', [3], None):
        content['annotations'][0]['tokens_positive'] = spans
        with pytest.raises(ValueError, match='tokens_positive of annotation 0 must'):
            read_phrases(put(ann, content))
    content['annotations'].pop()
    content['annotations'][0]['tokens_positive'] = [[0, 7]]
    with pytest.raises(ValueError, match='has 3 phrases, its boxes belong to 1'):
        read_phrases(put(ann, content))
