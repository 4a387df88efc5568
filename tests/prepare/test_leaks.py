"""Every kind of leak is found, and what only looks like one is not."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.prepare import (
    CocoSide,
    check_novel_annotations,
    close_pairs,
    difference_hash,
    find_leaks,
    hash_images,
    near_duplicates,
    novel_names,
)
from fgclip2_det.prepare.novel_boxes import base_names
from fgclip2_det.vocabulary.name_lists import load_list


def make_file(write, name, images, boxes=(), categories=()) -> object:
    size = {'width': 160, 'height': 96}
    content = {
        'images': [size | image for image in images],
        'annotations': [
            {'id': i, 'image_id': image, 'category_id': category, 'bbox': [0, 0, 9, 9]}
            for i, (image, category) in enumerate(boxes, 1)
        ],
        'categories': list(categories),
    }
    return write(content, name)


def findings(train, val, **kwargs) -> dict:
    return {actual.check: actual for actual in find_leaks(train, val, **kwargs)}


@pytest.mark.parametrize(
    ('options', 'split', 'count'),
    [
        ({}, 'novel', 2),
        ({}, 'unseen', 2),
        ({}, None, 0),
        ({'novel': ['cat']}, None, 2),
        ({'novel': ['猫']}, None, 2),
        ({'list_name': 'ov_coco'}, None, 3),
        ({'novel': ['bear']}, 'novel', 0),
    ],
)
def test_novel_annotations(write, options, split, count):
    categories = [
        {'id': 1, 'name': 'person'},
        {'id': 2, 'name': 'cat', 'name_zh': '猫'} | ({'split': split} if split else {}),
        {'id': 3, 'name': 'dog'},
    ]
    boxes = [(5, 1), (5, 2), (5, 3), (6, 2)]
    train = make_file(write, 'a.json', [{'id': 5}, {'id': 6}], boxes, categories)
    val = make_file(write, 'b.json', [], categories=[{'id': 9, 'name': 'bear'}])
    actual = findings(train, val, **options)['novel_annotations']
    assert (actual.count, actual.leaks) == (count, count > 0)
    if count:
        assert actual.first[0] == 'cat: 2 (image 5, 6)' and actual.total == 4
    elif not options:
        assert 'not checked: no novel classes are known' in actual.note


# Objects365 writes 'Dog', VOC 'sofa' and 'aeroplane', others underscores or hyphens
@pytest.mark.parametrize(
    ('options', 'val', 'written', 'is_leak'),
    [
        ({'list_name': 'ov_coco'}, [], 'Dog', True),
        ({'list_name': 'ov_coco'}, [], ' UMBRELLA', True),
        ({'list_name': 'ov_coco'}, [], 'Sofa', True),
        ({'list_name': 'ov_coco'}, [], 'aeroplane', True),
        ({'list_name': 'ov_coco'}, [], '雨伞', True),
        ({'list_name': 'ov_coco'}, [], 'traffic_light', False),
        ({'list_name': 'ov_coco'}, [], 'dog house', False),
        ({'novel': ['traffic light']}, [], 'Traffic_Light', True),
        ({'novel': ['traffic light']}, [], 'traffic-light', True),
        ({'novel': ['sofa']}, ['couch'], 'Couch', True),
        ({'novel': ['couch']}, ['couch', 'sofa'], 'Sofa', False),
        ({}, [{'name': 'Tv', 'split': 'novel'}], 'tvmonitor', True),
        ({}, [{'name': 'x1', 'name_zh': '某', 'split': 'novel'}], '某', True),
        # of LVIS's classes named 'bow' one is rare
        ({'list_name': 'ov_lvis'}, [], 'bow_(decorative_ribbons)', False),
        ({'list_name': 'ov_lvis'}, [], 'bow_(weapon)', True),
        ({'novel': ['bow_(weapon)']}, ['bow_(decorative_ribbons)', 'bow_(weapon)'],
         'Bow (decorative ribbons)', False),
    ],
)  # fmt: skip
def test_a_novel_class_is_known_however_it_is_written(
    write, options, val, written, is_leak
):
    categories = [c if isinstance(c, dict) else {'name': c} for c in val]
    categories = [{'id': i} | c for i, c in enumerate(categories)]
    train = make_file(
        write, 'a.json', [{'id': 5}], [(5, 2)], [{'id': 2, 'name': written}]
    )
    val_file = make_file(write, 'b.json', [], categories=categories)
    actual = findings(train, val_file, **options)['novel_annotations']
    assert actual.leaks == is_leak
    of = len(options.get('novel', ())) or {'ov_coco': 17, 'ov_lvis': 337}.get(
        options.get('list_name'), 1
    )
    assert f'categories for {int(is_leak)} of {of} novel names' in actual.note


@pytest.mark.parametrize('written', ['names', 'chinese', 'with another word'])
def test_base_classes_of_lvis_are_never_novel_ones(written):
    """Not one of 866, though base and rare classes share words, and the Chinese names
    of a few are those of rare ones' aliases."""
    listed = load_list('ov_lvis')
    pairs = list(zip(listed.names, listed.novel, strict=True))
    training = pairs
    if written == 'chinese':
        training = list(zip(listed.chinese, listed.novel, strict=True))
    elif written == 'with another word':
        training = [(f'{name}/satchel', novel) for name, novel in pairs]
    sides = [
        CocoSide(
            Path('a'),
            categories=[
                {'id': i, 'name': n.title()} for i, (n, _) in enumerate(chosen)
            ],
            boxes_of_category={i: [1, {0: None}] for i in range(len(chosen))},
        )
        for chosen in ([p for p in training if not p[1]], pairs)
    ]
    names = novel_names(sides, None, 'ov_lvis')
    base = base_names(sides, names, 'ov_lvis')
    known_here = base_names(sides, names)
    for known in (base, *([known_here] if written != 'chinese' else [])):
        actual = check_novel_annotations(*sides, names, known)
        assert (actual.total, actual.count) == (866, 0)


@pytest.mark.parametrize(
    ('novel', 'message'),
    [
        (['cat', 'airplan'], r"'airplan'.*neither.*did you mean 'Airplane'\?"),
        (['qqq'], r"'qqq'.*neither.*correct or remove it"),
    ],
)
def test_novel_names_that_no_file_has_are_refused(write, novel, message):
    train = make_file(write, 'a.json', [], categories=[{'id': 1, 'name': 'Cat'}])
    val = make_file(write, 'b.json', [], categories=[{'id': 1, 'name': 'Airplane'}])
    with pytest.raises(ValueError, match=message):
        find_leaks(train, val, novel=novel)
    assert not findings(train, val, novel=['aeroplane'])['novel_annotations'].count


@pytest.mark.parametrize(
    ('train', 'val', 'check'),
    [
        # one number of COCO, whatever year, folder or id
        (
            {'coco_url': 'http://images.cocodataset.org/train2017/000000000139.jpg'},
            {'file_name': 'COCO_val2014_000000000139.jpg', 'id': 9},
            'coco_number',
        ),
        ({'file_name': 'a/1.jpg'}, {'file_name': '1.jpg', 'id': 9}, 'file_name'),
        ({'file_name': 'a/1.jpg'}, {'file_name': 'b/1.jpg', 'id': 9}, None),
        ({'file_name': '1.jpg'}, {'file_name': '1.jpg', 'id': 9, 'width': 8}, None),
        ({'file_name': '1.jpg'}, {'file_name': '2.jpg'}, None),
        ({}, {}, 'image_id'),
        ({'file_name': '1.jpg'}, {}, 'image_id'),
        ({'file_name': '000000000139.jpg'}, {}, None),
        ({}, {'height': 8}, None),
    ],
)
def test_shared_images(write, train, val, check):
    files = [
        make_file(write, name, [{'id': 7} | image, *others])
        for name, image, others in (
            ('a.json', train, [{'id': 70, 'file_name': 'other.jpg'}]),
            ('b.json', val, []),
        )
    ]
    actual = findings(*files)
    leaking = [name for name, finding in actual.items() if finding.leaks]
    assert leaking == ([check] if check else [])
    if check:
        assert (
            actual[check].count == actual[check].total == len(actual[check].first) == 1
        )


def test_images_of_coco_train_in_lvis_val_are_a_warning(write):
    url = 'http://images.cocodataset.org'
    val = [
        {'id': i, 'coco_url': f'{url}/{s}/{i:012d}.jpg'}
        for i, s in ((1, 'train2017'), (2, 'val2017'), (3, 'train2017'))
    ]
    path = make_file(write, 'b.json', val)
    actual = findings(make_file(write, 'a.json', [{'id': 9}]), path)
    assert not any(finding.leaks for finding in actual.values())
    warning = actual['coco_train_in_val']
    assert (warning.count, warning.total) == (2, 3)
    assert warning.first[1] == 'train2017/000000000003.jpg (id 3)'
    coco_train = make_file(
        write, 'a.json', [{'id': 3, 'file_name': '000000000003.jpg'}]
    )
    assert findings(coco_train, path)['coco_number'].count == 1


def test_real_files_share_nothing_but_lvis_is_coco_val(shared):
    folder = shared / 'data' / 'coco' / 'annotations'
    if not folder.is_dir():
        pytest.skip(f'needs {folder}')
    val = folder / 'val_ov65_base48_novel17.json'
    for train, num_novel in (('train_base48', 0), ('train_all80', None)):
        actual = findings(folder / f'{train}.json', val, list_name='ov_coco')
        novel = actual.pop('novel_annotations')
        assert novel.leaks == (num_novel is None)
        assert not any(finding.count for finding in actual.values())
    lvis = folder / 'lvis_v1ids_val.json'
    assert findings(folder / 'val_all80.json', lvis)['coco_number'].count == 31


def test_options_must_fit(write):
    path = make_file(write, 'a.json', [])
    with pytest.raises(ValueError, match='give both folders'):
        find_leaks(path, path, train_images='x')
    with pytest.raises(ValueError, match='novel classes or a split, not both'):
        find_leaks(path, path, novel=['cat'], list_name='ov_coco')


# ------------------------------------------------------------------ near-duplicates
def noise_image(seed: int, size=(160, 96)) -> Image.Image:
    """Smooth random colours, as a blurred photograph."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def test_hash_by_hand(tmp_path):
    """Brightness falls in the left half and rises in the right half of each row."""
    row = np.abs(np.arange(9) - 4) * 50
    pixels = np.tile(row, (8, 1)).astype(np.uint8).repeat(10, 0).repeat(10, 1)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    expected = np.tile([False] * 4 + [True] * 4, 8)
    np.testing.assert_array_equal(difference_hash(tmp_path / 'a.png'), expected)
    Image.new('RGB', (40, 30), (9, 9, 9)).save(tmp_path / 'flat.png')
    assert difference_hash(tmp_path / 'flat.png') is None


@pytest.mark.parametrize('block', [1, 700, 1 << 23])
@pytest.mark.parametrize('max_distance', [0, 4, 30])
def test_pairs_equal_a_loop(monkeypatch, block, max_distance):
    monkeypatch.setattr(near_duplicates, '_BLOCK', block)
    rng = np.random.default_rng(0)
    first, second = rng.random((50, 64)) < 0.5, rng.random((30, 64)) < 0.5
    second[4], second[9] = first[7], first[7] ^ (np.arange(64) < 4)
    expected = []
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            distance = sum(x != y for x, y in zip(a, b, strict=True))
            if distance <= max_distance:
                expected.append((i, j, distance))
    assert list(close_pairs(first, second, max_distance)) == expected
    assert (7, 4, 0) in expected


def test_empty_sets_and_wrong_distances():
    none = np.zeros((0, 64), dtype=bool)
    some = np.zeros((2, 64), dtype=bool)
    assert list(close_pairs(none, some)) == list(close_pairs(some, none)) == []
    with pytest.raises(ValueError, match='must be 0 to 64 bits, got 65'):
        list(close_pairs(some, some, 65))


def test_copies_are_found_and_others_are_not(write, tmp_path):
    folders = [tmp_path / 'train', tmp_path / 'val']
    for folder in folders:
        folder.mkdir()
    for i in range(12):
        noise_image(i).save(folders[0] / f'{i}.png')
    noise_image(3, (320, 192)).save(folders[1] / 'large.jpg', quality=60)
    noise_image(100).save(folders[1] / 'new.png')
    for folder in folders:
        Image.new('L', (160, 96), 7).save(folder / 'flat.png')
    images = [
        [
            {'id': i, 'file_name': path.name}
            for i, path in enumerate(sorted(f.iterdir()))
        ]
        for f in folders
    ]
    for image in images[0]:
        image |= {'id': image['id'] + 100, 'width': 1}
    files = [
        make_file(write, n, i)
        for n, i in zip(('a.json', 'b.json'), images, strict=True)
    ]
    options = dict(train_images=folders[0], val_images=folders[1], workers=2)
    actual = findings(*files, **options)['near_duplicates']
    assert (actual.count, actual.total, actual.leaks) == (1, 3, True)
    assert actual.first[0].startswith('large.jpg = 3.png (')
    assert '2 of one colour are left out' in actual.note
    assert json.loads(json.dumps(actual.as_dict()))['count'] == 1
    (folders[0] / '5.png').unlink()
    with pytest.raises(ValueError, match=r'image 5\.png is not in'):
        find_leaks(*files, **options)
    (folders[0] / '5.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'5\.png cannot be read'):
        find_leaks(*files, **options)


@pytest.mark.parametrize('form', ['PNG', 'TIFF', 'JPEG', 'WEBP'])
def test_hashes_are_of_the_image_as_it_is_seen(form, tmp_path):
    """Turned by its orientation, and of 16 bit."""
    y, x = np.mgrid[:60, :80]
    grey = (120 + 50 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(np.uint8)
    Image.fromarray(np.rot90(grey, -1)).save(tmp_path / 'upright.png')
    expected = difference_hash(tmp_path / 'upright.png')
    exif = Image.Exif()
    exif[0x112] = 6
    depths = [grey] + [grey.astype(np.uint16) * 257] * (form in ('PNG', 'TIFF'))
    for pixels in depths:
        Image.fromarray(pixels).save(tmp_path / 'a', form, exif=exif)
        assert (difference_hash(tmp_path / 'a') != expected).sum() <= 2


def test_real_photographs_differ_and_their_copies_do_not(shared, tmp_path):
    folder = shared / 'data' / 'coco' / 'images' / 'val2017'
    paths = sorted(folder.glob('*.jpg'))[:40]
    if not paths:
        pytest.skip(f'needs {folder}')
    copies = []
    for path in paths[:10]:
        with Image.open(path) as image:
            half = image.resize((image.width // 2, image.height // 2))
        copies.append(tmp_path / path.name)
        half.convert('RGB').save(copies[-1], quality=50)
    hashes, flat = hash_images(paths)
    copied, _ = hash_images(copies)
    assert not flat.any()
    pairs = [(i, j) for i, j, _ in close_pairs(copied, hashes)]
    assert pairs == [(i, i) for i in range(10)]
    assert len(list(close_pairs(hashes, hashes))) == len(paths)
