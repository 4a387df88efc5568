"""What `check` says of folders in the published layouts."""

import json

import pytest

from fgclip2_det.prepare import LAYOUTS, Layout, check_layout, check_root


def put(path, content='') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding='utf-8')


@pytest.fixture
def minival(tmp_path):
    """Three images of a small LVIS file, one of them missing; and its layout."""
    url = 'http://images.cocodataset.org/val2017'
    content = {
        'images': [{'id': i, 'coco_url': f'{url}/{i:012d}.jpg'} for i in (1, 2, 3)],
        'categories': [{'id': 1, 'name': 'cat'}],
        'annotations': [],
    }
    put(tmp_path / 'coco/annotations/a.json', content)
    for i in (1, 3):
        put(tmp_path / f'coco/val2017/{i:012d}.jpg')
    return Layout('coco/annotations/a.json', ('coco',), 'https://example.org', 3, 1)


def test_usable_and_incomplete(tmp_path, minival):
    actual = check_layout(tmp_path, 'mini', minival)
    assert str(actual) == (
        'incomplete: 1 of 3 images are missing, first val2017/000000000002.jpg'
    )
    put(tmp_path / 'coco/val2017/000000000002.jpg')
    actual = check_layout(tmp_path, 'mini', minival)
    assert str(actual) == 'usable: 3 images, 1 classes'
    other = Layout(minival.annotations, minival.images, minival.url, 4_809, 1)
    assert str(check_layout(tmp_path, 'mini', other)) == (
        'incomplete: the file lists 3 images, expected 4,809'
    )
    other = Layout(minival.annotations, minival.images, minival.url, None, 1_203)
    assert 'lists 1 classes, expected 1,203' in str(
        check_layout(tmp_path, 'mini', other)
    )


def test_missing_files_name_their_page(tmp_path):
    states = {state.name: state for state in check_root(tmp_path)}
    assert list(states) == list(LAYOUTS)
    assert {state.state for state in states.values()} == {'missing'}
    assert str(states['COCO val2017']) == (
        'missing: coco/annotations/instances_val2017.json, '
        'published at https://cocodataset.org/#download'
    )
    assert 'made by tools/prepare_data.py' in states['OV-COCO val'].detail
    with pytest.raises(ValueError, match='there is no folder'):
        check_root(tmp_path / 'no')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"images": [', 'is not a complete JSON file'),
        ({'annotations': []}, "must hold a list of 'images'"),
        ({'images': [{'id': 1}]}, r'image entry 0 .* has no file name'),
    ],
)
def test_unreadable_files_are_incomplete(tmp_path, minival, content, message):
    put(tmp_path / minival.annotations, content)
    actual = check_layout(tmp_path, 'mini', minival)
    assert actual.state == 'incomplete'
    with pytest.raises(ValueError, match=message):
        raise ValueError(actual.detail)


def test_folders_in_names_may_be_cut(tmp_path):
    names = ['images/v1/patch0/a.jpg', 'images/v2/patch1/b.jpg']
    put(
        tmp_path / 'a.json',
        {'images': [{'id': i, 'file_name': name} for i, name in enumerate(names)]},
    )
    put(tmp_path / 'train/patch0/a.jpg')
    put(tmp_path / 'train/b.jpg')
    layout = Layout('a.json', ('train',), 'https://example.org')
    assert str(check_layout(tmp_path, 'o365', layout)) == 'usable: 2 images, 0 classes'


def test_voc_needs_images_and_xml(tmp_path):
    folder = tmp_path / 'VOCdevkit/VOC2007'
    layout = LAYOUTS['VOC2007 test']
    put(folder / 'ImageSets/Main/test.txt', '000001\n000002\n')
    put(folder / 'JPEGImages/000001.jpg')
    put(folder / 'JPEGImages/000002.jpg')
    put(folder / 'Annotations/000001.xml')
    assert str(check_layout(tmp_path, 'voc', layout)) == (
        'incomplete: the file lists 2 images, expected 4,952; '
        '1 of 2 images are missing, first 000002.xml'
    )


def test_boxes_of_one_image_a_line(tmp_path):
    lines = [json.dumps({'img_path': f'val2017/{i % 2}.jpg'}) for i in range(3)]
    put(tmp_path / 'a.jsonl', '\n'.join(lines))
    for i in range(2):
        put(tmp_path / f'coco/val2017/{i}.jpg')
    layout = Layout('a.jsonl', ('coco',), 'https://example.org', 3)
    assert str(check_layout(tmp_path, 'fg', layout)) == 'usable: 2 images, 3 entries'
    layout = Layout('a.jsonl', ('coco',), 'https://example.org', 4)
    assert 'lists 3 boxes, expected 4' in str(check_layout(tmp_path, 'fg', layout))


def test_real_fgovd_files_have_the_expected_number_of_boxes(shared):
    if not (shared / 'data' / 'fgovd').is_dir():
        pytest.skip('needs the FG-OVD files')
    for name in ('hard', 'medium', 'easy', 'trivial'):
        actual = check_layout(shared / 'data', name, LAYOUTS[f'FG-OVD {name}'])
        assert actual.state == 'incomplete' and 'expected' not in actual.detail
