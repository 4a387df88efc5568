"""tools/evaluate.py and tools/compare_results.py from files to files."""

import json

import pytest

IMAGE = {'id': 1, 'file_name': 'a.jpg', 'width': 100, 'height': 80}


@pytest.fixture
def words(tmp_path) -> list:
    """Two classes; the cat is found, the cup is found as a cat."""
    coco = {
        'images': [
            IMAGE | {'neg_category_ids': [], 'not_exhaustive_category_ids': []},
            IMAGE | {'id': 2, 'neg_category_ids': [1, 2],
                     'not_exhaustive_category_ids': []},
        ],
        'categories': [
            {'id': 1, 'name': 'cat', 'split': 'base', 'frequency': 'f'},
            {'id': 2, 'name': 'cup', 'split': 'novel', 'frequency': 'r'},
            {'id': 3, 'name': 'sky', 'split': 'unused', 'frequency': 'c'},
        ],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 20, 20]},
            {'id': 2, 'image_id': 1, 'category_id': 2, 'bbox': [50, 0, 20, 20]},
        ],
    }  # fmt: skip
    rows = [
        {'image_id': 1, 'category_id': c, 'bbox': b, 'score': s}
        for c, b, s in (
            (1, [0, 0, 20, 20], 0.9), (1, [50, 0, 20, 20], 0.8), (3, [0, 0, 9, 9], 0.7),
        )
    ]  # fmt: skip
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    return ['--ann', tmp_path / 'ann.json', '--predictions', tmp_path / 'rows.json']


def test_ov_coco_by_the_files_own_split(run_tool, words, tmp_path):
    out = tmp_path / 'made' / 'out.json'
    options = ['--protocol', 'ov-coco', '--note', 'templates=photo', '--classwise']
    code, text, err = run_tool('evaluate', *words, *options, '--out', out)
    assert code == 0, err
    content = json.loads(out.read_text())
    assert content['metrics'] == pytest.approx({
        f'ov-coco/bbox/{group}_{name}': value
        for group, value in (('base', 1), ('novel', 0), ('all', 0.5))
        for name in ('ap50', 'ap')
    })  # fmt: skip
    assert content['protocol']['notes'] == {'templates': 'photo'}
    assert content['protocol']['classes']['splits'] == {'base': 1, 'novel': 1}
    assert list(content['classwise']['ov-coco/bbox']) == ['cat', 'cup']
    assert '2 images (1 without predictions), 2 classes, 3 rows' in text
    assert '1 rows of classes that do not count were left out' in text


def test_lines_of_coco_and_comparison_with_lvis(run_tool, words, tmp_path):
    files = {}
    for protocol in ('coco', 'lvis-both'):
        files[protocol] = tmp_path / f'{protocol}.json'
        options = ['--protocol', protocol, '--out', files[protocol], '--classwise']
        code, text, err = run_tool('evaluate', *words, *options)
        assert code == 0, err
        if protocol == 'coco':
            lines = [line for line in text.splitlines() if '@[' in line]
    assert len(lines) == 12
    assert lines[0] == (
        ' Average Precision  AP    @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] '
        '= 0.5000'
    )
    assert lines[5].endswith('area= large | maxDets=100 ] = -1 (no object)')
    metrics = json.loads(files['lvis-both'].read_text())['metrics']
    assert metrics['lvis/bbox/APf'] == pytest.approx(1)
    assert metrics['lvis-fixed/bbox/APr'] == 0 and metrics['lvis/bbox/APc'] == -1
    code, text, err = run_tool('compare_results', *files.values())
    assert code == 1, err
    first, second, *rest = text.splitlines()
    assert first == 'NOT comparable:' and second.startswith('  name: the protocols')
    assert any('lvis/bbox/APf' in line and '1.0000' in line for line in rest)
    out = tmp_path / 'diff.png'
    same = [files['coco'], files['coco'], '--out', out]
    code, text, err = run_tool('compare_results', *same)
    assert code == 0, err
    assert text.startswith('comparable: protocol, images') and '+0.0000' in text
    assert out.read_bytes().startswith(b'\x89PNG')
    code, _, err = run_tool('compare_results', tmp_path / 'ann.json', files['coco'])
    assert code == 2 and 'must hold "metrics" and "protocol"' in err


def test_minival_ids(run_tool, words, tmp_path):
    (tmp_path / 'ids.json').write_text('[2]')
    out = tmp_path / 'out.json'
    options = ['--protocol', 'lvis', '--minival-ids', tmp_path / 'ids.json']
    code, text, err = run_tool('evaluate', *words, *options, '--out', out)
    assert code == 0, err
    assert '3 rows of images that do not count were left out' in text
    assert json.loads(out.read_text())['metrics']['lvis/bbox/AP'] == -1


def test_rows_as_ultralytics_writes_them(run_tool, tmp_path):
    """File stems and class + 1, over a file that counts categories from 0."""
    coco = {
        'images': [IMAGE | {'id': i, 'file_name': f'{3 - i}.jpg'} for i in (1, 2)],
        'categories': [{'id': i, 'name': name} for i, name in enumerate('ab')],
        'annotations': [
            {'id': i, 'image_id': i, 'category_id': i - 1, 'bbox': [9 * i, 5, 20, 20]}
            for i in (1, 2)
        ],
    }
    rows = [
        {'image_id': 3 - i, 'file_name': f'{3 - i}.jpg', 'category_id': i,
         'bbox': [9 * i, 5, 20, 20], 'score': 0.5}
        for i in (1, 2)
    ]  # fmt: skip
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    out = tmp_path / 'out.json'
    words = ['--ann', tmp_path / 'ann.json', '--predictions', tmp_path / 'rows.json',
             '--protocol', 'coco', '--out', out]  # fmt: skip
    code, _, err = run_tool('evaluate', *words)
    assert code == 2 and '--ids stem' in err
    options = ['--ids', 'stem', '--categories', 'from-1']
    code, _, err = run_tool('evaluate', *words, *options)
    assert code == 0, err
    metrics = json.loads(out.read_text())['metrics']
    assert metrics['coco/bbox/AP50'] == pytest.approx(1)


def test_what_is_wrong_is_one_sentence(run_tool, words, tmp_path):
    out = tmp_path / 'out.json'
    (tmp_path / 'bad.json').write_text('[{"image_id": 1}')
    for options, message in (
        (['--protocol', 'coco', '--novel', 'cup'], 'belong to --protocol ov-coco'),
        (['--protocol', 'ov-coco', '--base', 'cat'], 'needs novel classes'),
        (['--protocol', 'ov-coco', '--novel', 'zebra'], "'zebra'"),
        (['--protocol', 'coco', '--note', 'photo'], "KEY=VALUE, got 'photo'"),
        (['--protocol', 'coco', '--note', 'a=1', '--note', 'a=2'], 'a key twice'),
        (['--protocol', 'coco', '--iou-type', 'segm'], 'segmentation must be'),
        (
            ['--protocol', 'coco', '--predictions', tmp_path / 'bad.json'],
            'may be cut off',
        ),
        (['--protocol', 'coco', '--predictions', 'nowhere'], 'nowhere'),
    ):
        code, _, err = run_tool('evaluate', *words, '--out', out, *options)
        assert code == 2, options
        assert err.startswith('error: ') and message in err, err
        assert 'Traceback' not in err
    assert not out.exists()
    code, text, _ = run_tool('evaluate', '--help')
    assert code == 0 and 'python tools/evaluate.py --protocol lvis-both' in text


def test_protocols_of_phrases(run_tool, tmp_path):
    image = IMAGE | {'caption': 'the cat'}
    box = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 20, 20]}
    coco = {
        'images': [image],
        'annotations': [box],
        'categories': [{'id': 1, 'name': 'object'}],
    }
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'rows.json').write_text(json.dumps([box | {'score': 0.5}]))
    words = ['--ann', tmp_path / 'ann.json', '--predictions', tmp_path / 'rows.json']
    words += ['--protocol', 'refexp', '--out', tmp_path / 'out.json']
    code, text, err = run_tool('evaluate', *words)
    assert code == 0, err
    assert 'refexp/P@1   1.0000' in text
    content = json.loads((tmp_path / 'out.json').read_text())
    assert content['metrics']['refexp/P@10'] == 1
    code, text, _ = run_tool('compare_results', *[tmp_path / 'out.json'] * 2)
    assert code == 0 and 'NOT comparable' not in text
    for more in (
        ['--novel', 'cat'],
        ['--negatives', 3],
        ['--iou-type', 'segm'],
        ['--ids', 'stem'],
        ['--categories', 'from-1'],
    ):
        code, _, err = run_tool('evaluate', *words, *more)
        assert code == 2 and more[0] in err
