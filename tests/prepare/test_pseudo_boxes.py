"""Image-level labels become boxes."""

import json

import pytest

from fgclip2_det.prepare import write_pseudo_boxes


def files(tmp_path, **changes):
    images = [
        dict(id=1, file_name='1.jpg', width=100, height=80, labels=[3, 5]),
        dict(id=2, file_name='2.jpg', width=100, height=80, labels=[5]),
    ]
    coco = dict(
        images=images,
        categories=[dict(id=3, name='cat'), dict(id=5, name='dog')],
        annotations=[dict(id=7, image_id=2, category_id=3, bbox=[0, 0, 9, 9])],
    )
    rows = [
        dict(image_id=1, category_id=3, bbox=[0, 0, 10, 10], score=0.9),
        dict(image_id=1, category_id=3, bbox=[0, 0, 40, 40], score=0.5),
        dict(image_id=1, category_id=5, bbox=[5, 5, 20, 20], score=0.2),
        dict(image_id=2, category_id=3, bbox=[0, 0, 50, 50], score=0.8),
    ]
    content = dict(coco=coco, rows=rows) | changes
    for name, value in content.items():
        (tmp_path / f'{name}.json').write_text(json.dumps(value))
    return tmp_path / 'coco.json', tmp_path / 'rows.json', tmp_path / 'out.json'


@pytest.mark.parametrize(
    ('rule', 'min_score', 'boxes', 'without'),
    [
        ('score', 0.3, [(1, 3, 10, 0.9)], 2),
        ('score', 0.1, [(1, 3, 10, 0.9), (1, 5, 20, 0.2)], 1),
        ('size', 0.3, [(1, 3, 40, 0.5), (1, 5, 40, 0.5), (2, 5, 50, 0.8)], 0),
    ],
)
def test_rules(tmp_path, rule, min_score, boxes, without):
    source, rows, out = files(tmp_path)
    counts = write_pseudo_boxes(source, rows, out, rule, min_score)
    first, *added = json.loads(out.read_text())['annotations']
    assert first['id'] == 7  # what was there stays
    actual = [
        (a['image_id'], a['category_id'], a['bbox'][2], a['score']) for a in added
    ]
    assert actual == boxes
    assert [a['id'] for a in added] == list(range(8, 8 + len(boxes)))
    assert all(a['pseudo'] == 1 and a['area'] == a['bbox'][2] ** 2 for a in added)
    assert counts == dict(images=2, labels=3, annotations=len(boxes), without=without)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(rows={}), 'must be a JSON list'),
        (dict(rows=[3]), 'row 0'),
        (dict(rows=[dict(image_id=1, category_id=3, bbox=[0, 0, 1, 1])]), 'score'),
        (dict(coco=[]), 'must be a JSON object'),
        (
            dict(
                rows=[],
                coco=dict(
                    images=[dict(id=1, file_name='a', width=9, height=9, labels=[4])],
                    categories=[dict(id=3, name='cat')],
                ),
            ),
            "image 1 needs 'labels'",
        ),
    ],
)
def test_bad_files(tmp_path, changes, message):
    source, rows, out = files(tmp_path, **changes)
    with pytest.raises(ValueError, match=message):
        write_pseudo_boxes(source, rows, out)
    assert not out.exists()


def test_unknown_rule(tmp_path):
    with pytest.raises(ValueError, match='rule must be'):
        write_pseudo_boxes(*files(tmp_path), rule='area')


def test_rows_of_other_tools(tmp_path):
    """File stems and classes from 1, as ultralytics writes them."""
    source, path, out = files(tmp_path)
    rows = json.loads(path.read_text())
    for row in rows:
        row['category_id'] = {3: 1, 5: 2}[row['category_id']]
        row['file_name'] = f'{row["image_id"]}.jpg'
    path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match='category 1 is not in the annotation file'):
        write_pseudo_boxes(source, path, out)
    options = dict(ids='stem', categories='from-1')
    assert write_pseudo_boxes(source, path, out, **options)['annotations'] == 1
