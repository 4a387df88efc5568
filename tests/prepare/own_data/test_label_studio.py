"""Label Studio's tasks of several projects, and regions of several results."""

import json
from pathlib import Path
from typing import Any

import pytest

from fgclip2_det.prepare.own_data import look

SIZE = dict(original_width=48, original_height=32, image_rotation=0)
PLACE = dict(x=25, y=25, width=50, height=50, rotation=0)
BOX = [12, 8, 24, 16]


def task(image: str, results: list[dict], number: int = 1) -> dict:
    return dict(
        id=number, data={'image': image}, annotations=[dict(id=1, result=results)]
    )


def result(kind: str, place: dict = PLACE, own: Any = 'a', **value: Any) -> dict:
    return dict(id=own, type=kind, value=place | value, **SIZE)


@pytest.fixture
def write(tmp_path, draw):
    """write(tasks): the JSON, and three images."""
    for i in range(3):
        draw(tmp_path / f'{i}.png', seed=i)

    def one(tasks: list[dict]) -> Path:
        (tmp_path / 'result.json').write_text(json.dumps(tasks))
        return tmp_path

    return one


def cup(own: Any = 'a') -> dict:
    return result('rectanglelabels', own=own, rectanglelabels=['cup'])


def test_tasks_of_two_projects_have_the_same_ids(write):
    tasks = [task(f'{i}.png', [cup()], number=1) for i in range(3)]
    own = look(write(tasks))
    assert [image.path for image in own.data.images] == ['0.png', '1.png', '2.png']
    assert not own.findings['repeat'] and not own.findings['annotators']
    own = look(write([*tasks, task('0.png', [cup('a'), cup('b')])]))
    assert own.findings.first['repeat'] == ['result.json: task 1']
    assert [len(image.boxes) for image in own.data.images] == [2, 1, 1]
    rows = [dict(id=1, annotation_id=i, image=f'{i}.png',
                 label=[PLACE | SIZE | {'rectanglelabels': ['cup']}])
            for i in range(3)]  # fmt: skip
    own = look(write([*rows, rows[0]]))
    assert len(own.data.images) == 3 and own.findings['annotators'] == 1


TEXT = result('textarea', text=['a'])
CHOICE = result('choices', choices=['old'])
LABELS = result('labels', labels=['cup'])


@pytest.mark.parametrize(
    'results',
    [
        [result('rectangle'), LABELS, TEXT],
        [TEXT, LABELS, result('rectangle')],
        [cup(), CHOICE, TEXT, result('rating', rating=3), result('number', number=1),
         result('taxonomy', taxonomy=[['a', 'b']])],
        [result('choices', {}, choices=['old']), cup()],
        [cup(), result('choices', {}, None, choices=['of the image'])],
    ],
)  # fmt: skip
def test_a_region_is_one_box(write, results):
    tasks = [task(f'{i}.png', results) for i in range(3)]
    own = look(write(tasks))
    assert [[b.bbox for b in i.boxes] for i in own.data.images] == [[BOX]] * 3
    assert own.data.names == ['cup'] and not own.findings.is_wrong


def test_regions_of_their_own_stay_apart(write):
    results = [cup('a'), cup('b'), cup(None), cup(None)]
    own = look(write([task(f'{i}.png', results) for i in range(3)]))
    assert [len(image.boxes) for image in own.data.images] == [4] * 3


def test_a_region_is_one_row_of_json_min(write):
    place = PLACE | SIZE
    rows = [
        dict(
            id=i, annotation_id=i, image=f'{i}.png', bbox=[place],
            label=[place | {'labels': ['cup']}], state=[place | {'choices': ['old']}],
            text=['a', 'b'],
        )
        for i in range(3)
    ]  # fmt: skip
    own = look(write(rows))
    assert [[b.bbox for b in i.boxes] for i in own.data.images] == [[BOX]] * 3
    assert not own.findings.is_wrong


POINT = dict(x=1, y=1, width=0.5)


@pytest.mark.parametrize(
    'results',
    [
        [result('keypointlabels', POINT, keypointlabels=['nose'])],
        [result('keypoint', POINT), result('labels', POINT, labels=['nose'])],
        [result('brushlabels', {'rle': [1], 'format': 'rle'}, brushlabels=['nose'])],
        [result('brush', {'rle': [1], 'format': 'rle'}),
         result('labels', {'rle': [1], 'format': 'rle'}, labels=['nose'])],
        [result('vectorlabels', {'vertices': []}, vectorlabels=['nose'])],
        [result('bitmasklabels', {'imageDataURL': ''}, bitmasklabels=['nose'])],
    ],
)  # fmt: skip
def test_shapes_without_a_box(write, results):
    for each in results:
        each['id'] = 'shape'
    own = look(write([task(f'{i}.png', [cup(), *results]) for i in range(3)]))
    assert own.findings['shape'] == 3 and not own.findings.is_wrong
    assert [len(image.boxes) for image in own.data.images] == [1] * 3
    assert own.data.names == ['cup']


@pytest.mark.parametrize('key', ['x', 'y', 'width', 'height'])
def test_a_rectangle_without_a_side_is_wrong(write, key):
    place = {k: v for k, v in PLACE.items() if k != key}
    results = [cup('b'), result('rectanglelabels', place, rectanglelabels=['cup'])]
    own = look(write([task(f'{i}.png', results) for i in range(3)]))
    assert own.findings['bad_box'] == 3
    assert [len(image.boxes) for image in own.data.images] == [1] * 3


def test_points_of_json_min(write):
    rows = [dict(id=i, annotation_id=i, image=f'{i}.png', label=[
        PLACE | SIZE | {'rectanglelabels': ['cup']}, POINT | {'keypointlabels': ['a']},
        POINT, POINT | {'labels': ['nose']},
    ]) for i in range(3)]  # fmt: skip
    own = look(write(rows))
    assert own.findings['shape'] == 6 and not own.findings.is_wrong
    assert own.data.names == ['cup']


def test_a_region_without_a_label_is_wrong(write):
    results = [cup('b'), result('rectangle'), CHOICE]
    own = look(write([task(f'{i}.png', results) for i in range(3)]))
    assert own.findings['bad_entry'] == 3
    assert [len(image.boxes) for image in own.data.images] == [1] * 3
