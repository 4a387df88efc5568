"""tools/prepare_data.py as a user calls it."""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


def read(path) -> dict:
    return json.loads(path.read_text(encoding='utf-8'))


@pytest.fixture
def lvis(tmp_path):
    url = 'http://images.cocodataset.org'
    images = [
        {'id': i, 'coco_url': f'{url}/{s}/{i:012d}.jpg', 'width': 9, 'height': 9}
        for i, s in ((1, 'train2017'), (2, 'val2017'))
    ]
    content = {
        'images': images,
        'annotations': [
            {'id': i, 'image_id': i, 'category_id': i, 'bbox': [0, 0, 5, 5]}
            for i in (1, 2)
        ],
        'categories': [
            {'id': 1, 'name': 'airplane', 'frequency': 'f'},
            {'id': 2, 'name': 'applesauce', 'frequency': 'r'},
        ],
    }
    path = tmp_path / 'lvis.json'
    path.write_text(json.dumps(content))
    return path


def test_lvis_commands(lvis, run_tool, tmp_path):
    out = tmp_path / 'out.json'
    code, printed, _ = run_tool('prepare_data', 'lvis-base', lvis, '--out', out)
    assert code == 0
    assert printed == f'{out}: 2 images, 1 boxes; 1 boxes of rare classes left out\n'
    code, printed, error = run_tool('prepare_data', 'lvis-minival', lvis, '--out', out)
    assert code == 0 and printed == f'{out}: 1 images, 1 boxes\n'
    assert 'warning: LVIS minival has 4,809 images, this file has 1' in error
    assert [image['id'] for image in read(out)['images']] == [2]
    (tmp_path / 'list.txt').write_text('2\n5\n')
    args = ('lvis-minival', lvis, '--out', out, '--images', tmp_path / 'list.txt')
    code, printed, _ = run_tool('prepare_data', *args)
    assert code == 0 and f'1 images of the list are not in {lvis}' in printed


def test_ov_coco_command(run_tool, shared, tmp_path):
    folder = shared / 'data' / 'coco' / 'annotations'
    if not folder.is_dir():
        pytest.skip(f'needs {folder}')
    args = ('--train', folder / 'train_all80.json', '--val', folder / 'val_all80.json')
    code, printed, _ = run_tool('prepare_data', 'ov-coco', *args, '--out-dir', tmp_path)
    assert code == 0
    assert '675 boxes of 48 classes' in printed
    assert '1,335 boxes of 65 classes' in printed
    actual = read(tmp_path / 'instances_val2017_all_2.json')
    assert {c['split'] for c in actual['categories']} == {'base', 'novel'}
    train = tmp_path / 'instances_train2017_seen_2.json'
    val = tmp_path / 'instances_val2017_all_2.json'
    code, printed, _ = run_tool('prepare_data', 'leaks', '--train', train, '--val', val)
    assert code == 0 and 'LEAK' not in printed


def test_odvg_there_and_back(coco_data, run_tool, tmp_path):
    source, lines, labels = coco_data / 'ann.json', tmp_path / 'a', tmp_path / 'l.json'
    args = ('coco-to-odvg', source, '--out', lines, '--label-map', labels)
    code, printed, _ = run_tool('prepare_data', *args)
    assert code == 0 and '4 images, 8 boxes, of which 0 are crowds' in printed
    args = ('odvg-to-coco', lines, '--label-map', labels, '--out', tmp_path / 'b.json')
    code, printed, _ = run_tool('prepare_data', *args, '--categories', source)
    assert code == 0 and printed.endswith('4 images, 8 boxes\n')
    assert read(tmp_path / 'b.json') == read(source)
    with open(lines, 'a') as file:
        file.write('{"filename": "a", "grounding": {}}\n')
    code, _, error = run_tool('prepare_data', *args)
    assert code == 2 and 'leave such lines out with --skip-grounding' in error
    code, printed, _ = run_tool('prepare_data', *args, '--skip-grounding')
    assert code == 0 and '1 lines with captions (grounding) left out' in printed


def test_voc_and_yolo_commands(coco_data, run_tool, tmp_path):
    (tmp_path / 'a.xml').write_text(
        '<annotation><filename>a.jpg</filename><size><width>9</width>'
        '<height>8</height></size></annotation>'
    )
    out = tmp_path / 'out.json'
    code, printed, _ = run_tool('prepare_data', 'voc-to-coco', tmp_path, '--out', out)
    assert code == 0
    assert printed == f'{out}: 1 images, 0 boxes, 0 difficult (iscrowd)\n'
    (tmp_path / 'a.names').write_text('cat\n')
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / '0.txt').write_text('0 0.5 0.5 0.5 0.5')
    folders = ('--images', coco_data, '--labels', tmp_path / 'labels')
    args = ('yolo-to-coco', *folders, '--names', tmp_path / 'a.names', '--out', out)
    code, printed, _ = run_tool('prepare_data', *args)
    assert code == 0
    assert printed == f'{out}: 4 images, 1 boxes; 3 images have no label file\n'
    assert read(out)['annotations'][0]['bbox'] == [40, 24, 80, 48]


def test_check_prints_a_table(run_tool, tmp_path):
    code, printed, _ = run_tool('prepare_data', 'check', tmp_path)
    lines = printed.splitlines()
    assert code == 0 and len(lines) > 40
    assert lines[0].startswith('COCO train2017')
    assert 'missing: coco/annotations/instances_train2017.json' in lines[0]


def test_leaks_end_with_exit_code_one(coco_data, lvis, run_tool, tmp_path):
    out, ann = tmp_path / 'leaks.json', coco_data / 'ann.json'
    args = ('leaks', '--train', ann, '--val', ann, '--novel', 'black cat')
    folders = ('--train-images', coco_data, '--val-images', coco_data)
    code, printed, _ = run_tool('prepare_data', *args, *folders, '--out', out)
    assert code == 1
    content = read(out)
    counts = {check['check']: check['count'] for check in content['checks']}
    assert content['leaks'] is True
    assert counts == {
        'novel_annotations': 4,
        'coco_number': 0,
        'file_name': 4,
        'image_id': 0,
        'coco_train_in_val': 0,
        'near_duplicates': 4,
    }
    assert 'LEAK     file_name          4 of 4: same name and size' in printed
    assert '           0.png (id 0)' in printed
    code, printed, _ = run_tool('prepare_data', 'leaks', '--train', ann, '--val', lvis)
    assert code == 0 and 'warning  coco_train_in_val  1 of 2' in printed


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('check', 'no'), 'there is no folder no'),
        (('ov-coco', '--out-dir', 'x'), 'give --train, --val or both'),
        (
            ('ov-coco', '--out-dir', 'x', '--val', 'no.json'),
            'no annotation file no.json',
        ),
        (('leaks', '--train', 'no.json', '--val', 'a'), 'no annotation file no.json'),
    ],
)
def test_bad_input_is_one_sentence(run_tool, args, message):
    code, _, error = run_tool('prepare_data', *args)
    assert code == 2
    assert error.startswith('error: ') and message in error and error.count('\n') == 1
