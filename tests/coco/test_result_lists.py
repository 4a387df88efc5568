"""One reader of result lists: other tools' numbering, and rows outside their image."""

import json
import logging
from pathlib import Path

import pytest

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.result_lists import read_results, read_rows, row_score
from fgclip2_det.evaluation.protocols import evaluate_results
from fgclip2_det.io import notes

CASES = Path(__file__).resolve().parents[1] / 'data' / 'cases'
NAMES = ['12.jpg', 'b/3.jpg', '000001.jpg', 'x.jpg']
BOXES = [(10, 10, 30, 20), (40, 5, 20, 50), (0, 0, 15, 15), (60, 30, 30, 30)]


@pytest.fixture
def coco(tmp_path) -> dict:
    """As yolo-to-coco writes it: images from 1, categories from 0, one box each."""
    content = {
        'images': [
            {'id': i, 'file_name': name, 'width': 100, 'height': 80}
            for i, name in enumerate(NAMES, 1)
        ],
        'categories': [{'id': i, 'name': n} for i, n in enumerate(['cat', 'dog'])],
        'annotations': [
            {'id': i, 'image_id': i, 'category_id': i % 2, 'bbox': list(box)}
            for i, box in enumerate(BOXES, 1)
        ],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(content))
    return content


@pytest.fixture
def read(tmp_path, coco):
    """Function: rows -> what both readers return; they must agree."""

    def run(rows, ann='ann.json', **options):
        (tmp_path / 'rows.json').write_text(json.dumps(rows))
        truths = read_truths(tmp_path / ann)
        path = tmp_path / 'rows.json'
        try:
            results = read_results(path, truths, drop_outside=True, **options)
        except ValueError as error:
            with pytest.raises(ValueError) as other:
                read_rows(path, truths, **options)
            assert str(other.value) == str(error)
            raise
        actual = read_rows(path, truths, **options)
        assert actual.lines() == results.lines()
        assert [row['bbox'] for row in actual.rows] == results.results.bboxes.tolist()
        return truths, results, actual

    return run


def ultralytics(names=True, categories=1) -> list[dict]:
    """Perfect boxes as ``save_json`` writes them: the stem, and class + 1."""
    rows = []
    for number, (name, box) in enumerate(zip(NAMES, BOXES, strict=True), 1):
        stem = Path(name).stem
        row = {
            'image_id': int(stem) if stem.isnumeric() else stem,
            'category_id': number % 2 + categories,
            'bbox': list(box),
            'score': 0.9,
        }
        rows.append(row | ({'file_name': Path(name).name} if names else {}))
    return rows


def ap50(truths, results) -> float:
    return evaluate_results('coco', truths, results.results).metrics['coco/bbox/AP50']


def test_stems_and_classes_from_1(read):
    options = dict(ids='stem', categories='from-1')
    truths, results, actual = read(ultralytics(), **options)
    assert ap50(truths, results) == 1 and not results.lines()
    assert [row['image_id'] for row in actual.rows] == [1, 2, 3, 4]
    assert [row['category_id'] for row in actual.rows] == [1, 0, 1, 0]
    texts = [row | {'image_id': str(row['image_id'])} for row in ultralytics(False)]
    texts[2]['image_id'] = '000001'
    assert ap50(*read(texts, **options)[:2]) == 1


@pytest.mark.parametrize(
    ('rows', 'options', 'message'),
    [
        (ultralytics(), {}, r'row 0 .*: image 12 is not in .*, which --ids stem reads'),
        (ultralytics()[1:], {}, r"row 0 .*image 3 is '000001.jpg' in the annotation "
         r"file, the row says '3.jpg'; are ids file stems\? --ids stem"),
        (ultralytics(), {'ids': 'stem'}, r'row 0 .*: category 2 is not in .*'
         r'--categories from-1 reads 1 to 2'),
        ([ultralytics()[2] | {'category_name': 'dog', 'category_id': 0,
                              'file_name': '12.jpg'}], {},
         r"category 0 is 'cat' in the annotation file, the row says 'dog'; do they "
         'count. --categories from-1'),
        (ultralytics(categories=0), {'ids': 'stem', 'categories': 'from-1'},
         'category 0 is not in'),
        ([ultralytics()[0] | {'image_id': 'nowhere'}], {'ids': 'stem'},
         "file stem 'nowhere' is not in"),
        ([], {'ids': 'name'}, "ids must be one of .*got 'name'"),
    ],
)  # fmt: skip
def test_what_contradicts_the_file_is_refused(read, rows, options, message):
    with pytest.raises(ValueError, match=message):
        read(rows, **options)


def test_names_that_agree_are_passed(read):
    row = {'image_id': 2, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 0.5}
    for more in ({'file_name': '3.jpg'}, {'file_name': 'images\\b\\3.jpg'},
                 {'category_name': ' DOG'}, {'file_name': None}):  # fmt: skip
        assert len(read([row | more])[1].results) == 1


def test_numbers_that_look_like_stems_get_a_line(read):
    """Without file names nothing is certain: image 3 may be meant."""
    rows = [row | {'image_id': i} for row, i in zip(ultralytics(False), (3, 1),
                                                    strict=False)]  # fmt: skip
    for row in rows:
        row['category_id'] = 1
    stems, classes = read(rows)[1].lines()
    assert 'image 1 of the rows is also the file stem of image 3' in stems
    assert '--ids stem' in stems
    assert classes.startswith("no row has category 0 ('cat')")
    assert '--categories from-1' in classes


def test_shared_stems_are_refused(read, coco, tmp_path):
    coco['images'][1]['file_name'] = 'sub/12.png'
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=r"images \[1, 2\] share the file stem '12'"):
        read([], ids='stem')


def test_rows_wholly_off_the_image_are_dropped_and_counted(read):
    row = {'image_id': 1, 'category_id': 1, 'bbox': [10, 10, 30, 20], 'score': 0.5}
    off = [[-30, 10, 20, 20], [10, 81, 40, 40], [101, 0, 5, 5], [0, -9, 5, 8.5]]
    partial = [[-30, 10, 31, 20], [90, 70, 50, 50], [100, 80, 4, 4], [-5, -5, 5, 5]]
    rows = [row | {'bbox': box} for box in [*partial, *off]]
    _, results, actual = read([row, *rows])
    assert results.num_rows == 9 and results.num_outside == 4
    assert [r['bbox'] for r in actual.rows] == [row['bbox'], *partial]
    assert results.lines()[0] == '4 rows wholly outside their image were left out'


def test_images_of_unknown_size_have_no_outside(read, coco, tmp_path):
    for image in coco['images']:
        del image['width'], image['height']
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    row = {'image_id': 1, 'category_id': 1, 'bbox': [900, 900, 20, 20], 'score': 0.5}
    assert read([row])[1].num_outside == 0


def test_float16_rounds_above_one(read):
    row = {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 1.0000001}
    _, results, actual = read([row, row | {'score': 1 + 2**-10}])
    assert results.results.scores.tolist() == [1.0000001, 1 + 2**-10]
    assert [row_score(r) for r in actual.rows] == [1, 1]
    with pytest.raises(ValueError, match=r'a probability in \[0, 1\], got 1\.01'):
        read([row | {'score': 1.01}])


def test_repeated_rows_are_refused_by_both(read):
    row = {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 0.5}
    with pytest.raises(ValueError, match='two rows are the same'):
        read([row, row])


def test_other_encodings_of_the_list(tmp_path, coco):
    row = {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4], 'score': 0.5}
    truths, path = read_truths(tmp_path / 'ann.json'), tmp_path / 'rows.json'
    for codec in ('utf-8-sig', 'utf-16'):
        path.write_bytes(json.dumps([row]).encode(codec))
        assert len(read_results(path, truths).results) == 1
    path.write_bytes('[{"a": "é"}]'.encode('cp1252'))
    with pytest.raises(ValueError, match=r'rows\.json is not UTF-8 text'):
        read_results(path, truths)
    with pytest.raises(ValueError, match=r'nowhere\.json cannot be read'):
        read_results(tmp_path / 'nowhere.json', truths)


def test_case_of_roboflows_root(caplog):
    """AP 1.0 as pycocotools; the category of the project is left out with one line."""
    notes._SAID.clear()
    folder = CASES / 'roboflow_root'
    with caplog.at_level(logging.WARNING):
        truths = read_truths(folder / 'gt.json')
    assert truths.names == ['cat', 'dog', 'cup']
    assert caplog.messages == [
        f"{folder / 'gt.json'}: category 0 ('cat') has no box and only groups the "
        'others; it is left out'
    ]
    results = read_results(folder / 'dt.json', truths)
    metrics = evaluate_results('coco', truths, results.results).metrics
    assert metrics['coco/bbox/AP'] == 1


def test_two_classes_of_one_name_count_by_id(tmp_path, caplog):
    notes._SAID.clear()
    content = json.loads((CASES / 'roboflow_root' / 'gt.json').read_text())
    content['annotations'][0]['category_id'] = 0
    (tmp_path / 'gt.json').write_text(json.dumps(content))
    rows = json.loads((CASES / 'roboflow_root' / 'dt.json').read_text())
    (tmp_path / 'dt.json').write_text(json.dumps(rows))
    truths = read_truths(tmp_path / 'gt.json')
    assert truths.names == ['cat (id 0)', 'cat (id 1)', 'dog', 'cup']
    assert "categories [0, 1] are all named 'cat'" in caplog.text
    results = read_results(tmp_path / 'dt.json', truths).results
    figures = evaluate_results('coco', truths, results)
    rows = figures.classwise['coco/bbox']
    assert rows['cat (id 0)']['AP'] == 0  # its box was found as category 1
    assert 0 < rows['cat (id 1)']['AP'] <= 1 and rows['dog']['AP'] == 1


def test_case_of_rows_outside():
    folder = CASES / 'rows_outside'
    truths = read_truths(folder / 'ann.json')
    actual = read_rows(folder / 'dt.json', truths)
    assert [row['category_id'] for row in actual.rows] == [1]
    assert actual.lines() == ['2 rows wholly outside their image were left out']
    kept = read_results(folder / 'dt.json', truths, drop_outside=False)
    assert kept.num_outside == 2 and len(kept.results) == 3
    assert kept.lines() == [
        '2 rows wholly outside their image count as false positives, as in pycocotools'
    ]
    dropped = read_results(folder / 'dt.json', truths)
    assert dropped.num_outside == 2 and len(dropped.results) == 1
    assert dropped.lines() == actual.lines()


def test_rows_off_the_image_lower_ap_as_in_pycocotools(tmp_path, coco):
    """One true box, found second of two: precision 1/2 at every recall."""
    coco['annotations'] = coco['annotations'][:1]
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    row = {'image_id': 1, 'category_id': 1, 'bbox': list(BOXES[0]), 'score': 0.5}
    off = row | {'bbox': [300, 300, 5, 5], 'score': 0.9}
    (tmp_path / 'rows.json').write_text(json.dumps([row, off]))
    truths = read_truths(tmp_path / 'ann.json')
    for drop, expected in ((False, 0.5), (True, 1)):
        read = read_results(tmp_path / 'rows.json', truths, drop_outside=drop)
        metrics = evaluate_results('coco', truths, read.results).metrics
        assert metrics['coco/bbox/AP'] == pytest.approx(expected)


def test_sides_exchanged_are_said_of_rows(read, coco, tmp_path):
    """100 x 80 is written, the boxes are of an image of 80 x 100."""
    row = {'image_id': 1, 'category_id': 1, 'bbox': [10, 82, 30, 15], 'score': 0.5}
    dropped, *doubts = read([row])[1].lines()
    assert dropped == '1 rows wholly outside their image were left out'
    assert any(d.startswith('1 of the rows outside') and 'EXIF' in d for d in doubts)
    wide = row | {'bbox': [85, 10, 10, 10]}  # tells that 100 is the width
    assert 'EXIF' not in ' '.join(read([row, wide])[1].lines())
