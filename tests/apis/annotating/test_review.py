"""A person's corrections of a review file, by ids and by place."""

import json

import pytest

from fgclip2_det.apis import apply_review
from tests.apis.annotating.labels import corners, read


@pytest.fixture
def out(label, tmp_path):
    """Labels with both bands: circles from 0.865 on are accepted, squares reviewed."""
    label(accept=0.865, review=0.3, formats=['coco', 'labelme'])
    return tmp_path / 'out'


def boxes(content: dict, image: str) -> list[dict]:
    ids = {each['file_name']: each['id'] for each in content['images']}
    return [e for e in content['annotations'] if e['image_id'] == ids[image]]


def change(content: dict) -> dict:
    """One box deleted, one renamed, one moved by little, one by much, one added; 4.png
    was not looked at."""
    first = content['annotations'][0]
    content['annotations'].remove(boxes(content, '0.png')[0])
    boxes(content, '2.png')[0]['category_id'] = 3
    one = {each['category_id']: each for each in boxes(content, '1.png')}
    one[1]['bbox'] = [x + 1 for x in one[1]['bbox']]
    three = {each['category_id']: each for each in boxes(content, '3.png')}
    three[2]['bbox'] = [0, 0, 30, 20]
    three[2]['area'] = 600
    new = dict(first, id=999, category_id=3, bbox=[-5, 76, 30, 40])
    for key in ('band', 'score'):
        new.pop(key)
    content['annotations'].append(new)
    image = boxes(content, '4.png')[0]
    content['annotations'].remove(image)
    content['images'] = [e for e in content['images'] if e['id'] != image['image_id']]
    return content


def renumbered(content: dict) -> dict:
    """As a tool exports it: ids anew, no fields of ours, no folders in the names."""
    images = {e['id']: i for i, e in enumerate(content['images'][::-1], 100)}
    kinds = {e['id']: i for i, e in enumerate(content['categories'][::-1], 7)}
    return dict(
        images=[
            dict(e, id=images[e['id']], file_name=e['file_name'].rpartition('/')[2])
            for e in content['images']
        ],
        categories=[dict(id=kinds[e['id']], name=e['name'])
                    for e in content['categories']],
        annotations=[
            dict(id=i, image_id=images[e['image_id']], bbox=e['bbox'],
                 category_id=kinds[e['category_id']], area=e['area'], iscrowd=0)
            for i, e in enumerate(content['annotations'][::-1])
        ],
    )  # fmt: skip


@pytest.mark.parametrize('by_id', [True, False])
def test_corrections_go_into_the_labels(out, label, tmp_path, by_id):
    earlier = corners(read(out / 'coco.json'))
    content = read(out / 'review.json')
    circles = {
        e['image_id']: e for e in content['annotations'] if e['category_id'] == 1
    }
    changed = tmp_path / 'changed.json'
    content = change(content)
    changed.write_text(json.dumps(content if by_id else renumbered(content)))
    report = apply_review(changed, out)
    now = corners(read(out / 'coco.json'))
    assert [name for name, _ in now['0.png']] == ['star']
    assert now['0.png'][0][1] == [0, 76, 25, 96]  # cut to the image
    assert [name for name, _ in now['2.png']] == ['star']
    assert [name for name, _ in now['3.png']] == ['蓝色正方形', 'circle']
    assert [name for name, _ in now['下/5.png']] == ['circle', '蓝色正方形']
    assert now['4.png'] == earlier['4.png']  # not looked at
    rows = {row['class']: row for row in report.content['classes']}
    assert report.content['images'] == 5
    accepted = {i: circles[i]['band'] == 'accept' for i in circles}
    first, third = accepted[1], accepted[3]  # 0.png deleted, 2.png renamed
    accept, review = rows['circle']['accept'], rows['circle']['review']
    assert (accept['deleted'], review['deleted']) == (int(first), int(not first))
    assert (accept['renamed'], review['renamed']) == (int(third), int(not third))
    assert accept['kept'] + review['kept'] == 3  # the one moved by a pixel too
    square = rows['蓝色正方形']['review']
    lost = 'moved' if by_id else 'deleted'  # by place it is another box
    assert (square['kept'], square[lost], square['boxes']) == (2, 1, 3)
    assert square['precision'] == pytest.approx(2 / 3) and square['low'] < 2 / 3
    assert rows['star']['added'] == 1 and rows['蓝色正方形']['added'] == (not by_id)
    total = rows['all']
    assert total['accept']['boxes'] + total['review']['boxes'] == 8
    text = list(report.lines())
    assert text[0].split()[:3] == ['class', 'accept:', 'right'] and len(text) == 5
    left = read(out / 'review.json')
    assert [e['file_name'] for e in left['images']] == ['4.png']
    scored = [e for e in read(out / 'coco.json')['annotations'] if 'score' in e]
    assert len(scored) == len(earlier['4.png']) + (6 if by_id else 5)
    label(accept=0.865, review=0.3, formats=['coco'])  # corrections stay
    assert corners(read(out / 'coco.json')) == now
    assert read(out / 'annotate.json')['corrected'] == 5
    # the rest, later
    apply_review(out / 'review.json', out)
    assert len(read(out / 'coco.json')['annotations']) >= sum(map(len, now.values()))
    assert read(out / 'review.json')['images'] == []


def test_nothing_changed_is_all_right(out):
    report = apply_review(out / 'review.json', out)
    total = report.content['classes'][-1]
    counts = [total[band] for band in ('accept', 'review')]
    assert all(count['kept'] == count['boxes'] > 0 for count in counts)
    assert all(count['precision'] == 1 > count['low'] for count in counts)
    assert len(read(out / 'coco.json')['annotations']) == 9


def test_a_format_more_and_files_of_a_person(out):
    (out / 'labelme/0.json').write_text('{}')
    report = apply_review(out / 'review.json', out, ['yolo'])
    assert report.kept == ['labelme/0.json']
    assert '--overwrite replaces them' in list(report.lines())[-1]
    assert (out / 'yolo/labels/3.txt').read_text().count('\n') == 2
    assert not apply_review(out / 'review.json', out, overwrite=True).kept
    with pytest.raises(ValueError, match=r"formats must be some of coco.*got 'yaml'"):
        apply_review(out / 'review.json', out, ['yaml'])


def test_what_cannot_be_taken_back(out, tmp_path):
    changed = tmp_path / 'changed.json'

    def refused(content: dict, message: str) -> None:
        changed.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            apply_review(changed, out)

    content = read(out / 'review.json')
    content['categories'][0]['name'] = 'disc'
    refused(content, "boxes are named 'disc', which is no class of the ontology")
    content = read(out / 'review.json')
    content['images'][0]['file_name'] = 'other.png'
    refused(content, r'image other\.png was not labelled here')
    content['images'][0]['file_name'] = content['images'][1]['file_name']
    refused(content, r'image 1\.png is there twice')
    content = read(out / 'review.json')
    content['annotations'][0]['bbox'] = [1, 2, -3, 4]
    refused(content, 'bbox')
    changed.write_text('{')
    with pytest.raises(ValueError, match='cannot be read as JSON'):
        apply_review(changed, out)
    with pytest.raises(ValueError, match=r'has no manifest\.json; let annotate finish'):
        apply_review(out / 'review.json', tmp_path / 'other')
    apply_review(out / 'review.json', out)
    text = (out / 'corrected.json').read_text()
    (out / 'corrected.json').write_text(text.replace('circle', 'disc'))
    with pytest.raises(ValueError, match="corrected to 'disc', which the ontology"):
        apply_review(out / 'review.json', out)


def test_to_label_anew_keeps_the_corrections_aside(out, label):
    apply_review(out / 'review.json', out)
    text = (out / 'corrected.json').read_bytes()
    label(accept=0.5, overwrite=True)
    assert not (out / 'corrected.json').exists()
    assert (out / 'corrected.earlier.json').read_bytes() == text
