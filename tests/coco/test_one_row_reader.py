"""The same bad row of a result list is the same sentence for every reader of one."""

import json
import math

import pytest

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.evaluation.evaluate import evaluate_file
from fgclip2_det.evaluation.hard_vocabularies import score_fgovd_map
from fgclip2_det.prepare.pseudo_boxes import write_pseudo_boxes
from fgclip2_det.zeroshot.candidate_boxes import read_candidates

ROW = {'image_id': 1, 'category_id': 1, 'vocabulary_id': 1, 'bbox': [9, 9, 9, 9]}
ROW |= {'score': 0.5}
CONTENT = {
    'images': [{'id': 1, 'file_name': 'a', 'width': 99, 'height': 50, 'labels': [1]}],
    'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    'annotations': [
        {
            'id': 1,
            'image_id': 1,
            'category_id': 1,
            'bbox': [9, 9, 9, 9],
            'neg_category_ids': [2],
        }
    ],
}


@pytest.fixture
def ann(tmp_path):
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(CONTENT))
    return path


def _pseudo(ann, rows):
    return write_pseudo_boxes(ann, rows, ann.parent / 'out.json')


READERS = {  # and whether it looks at scores and categories
    'results': (lambda ann, rows: read_results(rows, read_truths(ann)), True),
    'evaluation': (lambda ann, rows: evaluate_file('coco', ann, rows), True),
    'predictions': (lambda ann, rows: read_predictions(rows, ann), True),
    'pseudo boxes': (_pseudo, True),
    'hard vocabularies': (lambda ann, rows: score_fgovd_map(ann, rows, 1), True),
    'candidates': (lambda ann, rows: read_candidates(rows, {1: None}, ann), False),
}
BOX = 'bbox must be x, y, width, height, finite and not negative, got'
SCORE = 'score must be a probability in [0, 1], got'
FAULTS = {  # whether it is of a score or category, change of the row, sentence
    'number': (False, 5, 'expected an object, got 5'),
    'list': (False, [1], 'expected an object, got [1]'),
    'no box': (False, {'bbox': ...}, "it has no 'bbox'; a row has "),
    'null box': (False, {'bbox': None}, f'{BOX} None'),
    'three': (False, {'bbox': [1, 2, 3]}, f'{BOX} [1, 2, 3]'),
    'true box': (False, {'bbox': [1, 2, 3.5, True]}, f'{BOX} [1, 2, 3.5, True]'),
    'negative': (False, {'bbox': [1, 2, -3, 4]}, f'{BOX} [1, 2, -3, 4]'),
    'nan': (False, {'bbox': [1, 2, 3, math.nan]}, f'{BOX} [1, 2, 3, nan]'),
    'huge': (False, {'bbox': [1, 2, 3, 10**400]}, f'{BOX} [1, 2, 3, 1000'),
    'no score': (True, {'score': ...}, "it has no 'score'; a row has "),
    'true score': (True, {'score': True}, f'{SCORE} True'),
    'text score': (True, {'score': '0.5'}, f"{SCORE} '0.5'"),
    'nan score': (True, {'score': math.nan}, f'{SCORE} nan'),
    'score above 1': (True, {'score': 1.5}, f'{SCORE} 1.5'),
    'no category': (True, {'category_id': ...}, "it has no 'category_id'; a row has "),
}


def write_rows(path, *rows) -> None:
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('fault', FAULTS)
def test_bad_rows_are_the_same_sentence(fault, reader, ann, tmp_path):
    of_score, change, message = FAULTS[fault]
    read, looks_at_scores = READERS[reader]
    row = change
    if isinstance(change, dict):
        row = {k: v for k, v in (ROW | change).items() if v is not ...}
    path = tmp_path / 'rows.json'
    other = ROW | {'bbox': [1.5, 2, 3, 4], 'score': 0.25}
    write_rows(path, other, row)
    if of_score and not looks_at_scores:
        assert read(ann, path) is not None
        return
    with pytest.raises(ValueError) as caught:
        read(ann, path)
    assert str(caught.value).startswith(f'{path}: row 1 (from 0): {message}')


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    'change', [{'image_id': True}, {'image_id': [1]}, {'image_id': None}]
)
def test_ids_of_other_types_are_refused(change, reader, ann, tmp_path):
    """True is not image 1, though it is equal to it."""
    path = tmp_path / 'rows.json'
    write_rows(path, ROW | change)
    with pytest.raises(ValueError, match=r'rows\.json: row 0 \(from 0\): .*image'):
        READERS[reader][0](ann, path)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    'text', ['[' * 100_000, '[{"image_id": ' + '1' * 9_000, '[{"image_id": 1', '{}', '']
)
def test_files_that_are_no_list_are_named(text, reader, ann, tmp_path):
    path = tmp_path / 'rows.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=str(path)) as caught:
        READERS[reader][0](ann, path)
    assert len(str(caught.value)) < 400


def test_masks_of_another_size_are_refused(tmp_path, ann):
    """Five masks of the transposed image; pycocotools would give AP 0."""
    pytest.importorskip('pycocotools')
    mask = {'size': [99, 50], 'counts': [0, 99 * 50]}
    path = tmp_path / 'rows.json'
    write_rows(path, ROW | {'segmentation': mask})
    with pytest.raises(ValueError, match=r'row 0 .*mask of \[99, 50\] pixels'):
        read_results(path, read_truths(ann), ['segm'])
    content = json.loads(ann.read_text())
    content['annotations'][0]['segmentation'] = mask
    ann.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'annotation 1: mask of \[99, 50\] pixels'):
        read_truths(ann, masks=True)
