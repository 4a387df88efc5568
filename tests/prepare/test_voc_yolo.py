"""XML and text files to COCO, worked out by hand and by a loop back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from fgclip2_det.prepare import read_names, voc_to_coco, yolo_to_coco

XML = """<annotation><filename>{name}.jpg</filename>
<size><width>160</width><height>96</height><depth>3</depth></size>{objects}
</annotation>"""
OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>1</truncated>
<difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>20</ymin>
<xmax>{x2}</xmax><ymax>60</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"""


def voc_object(name='cat', difficult=0, x1=1, x2=40) -> str:
    return OBJECT.format(name=name, difficult=difficult, x1=x1, x2=x2)


@pytest.fixture
def voc(tmp_path):
    """voc({'000002': [object, ...]}, ...) -> (COCO dictionary, counts)."""

    def convert(files: dict, image_set: str | None = None, **kwargs):
        folder = tmp_path / 'Annotations'
        folder.mkdir(exist_ok=True)
        for name, objects in files.items():
            text = XML.format(name=name, objects=''.join(objects))
            (folder / f'{name}.xml').write_text(text)
        if image_set is not None:
            (tmp_path / 'test.txt').write_text(image_set)
            kwargs['image_set'] = tmp_path / 'test.txt'
        target = tmp_path / 'voc.json'
        counts = voc_to_coco(folder, target, **kwargs)
        return json.loads(target.read_text(encoding='utf-8')), counts

    return convert


def test_voc_counts_pixels_from_one(voc, tmp_path):
    hard = voc_object('person', difficult=1, x1=5, x2=5)
    coco, counts = voc({'b': [voc_object(), hard], 'a': []})
    size = {'width': 160, 'height': 96}
    assert coco['images'] == [
        {'id': 1, 'file_name': 'a.jpg'} | size,
        {'id': 2, 'file_name': 'b.jpg'} | size,
    ]
    cat, person = coco['annotations']
    assert cat['bbox'] == [0, 19, 40, 41] and cat['area'] == 40 * 41
    assert person['bbox'] == [4, 19, 1, 41]
    assert (cat['iscrowd'], cat['ignore'], cat['difficult']) == (0, 0, 0)
    assert (person['iscrowd'], person['ignore'], person['difficult']) == (1, 1, 1)
    assert cat['truncated'] == 1 and cat['pose'] == 'Left' and cat['id'] == 1
    names = {c['id']: c['name'] for c in coco['categories']}
    assert names[cat['category_id']] == 'cat' and len(names) == 20
    assert coco['categories'][0]['name_zh'] == '飞机'
    assert counts == {'images': 2, 'annotations': 2, 'difficult': 1}
    assert len(COCO(str(tmp_path / 'voc.json')).anns) == 2


def test_voc_image_set_names_and_zero_based(voc):
    files = {'a': [], 'b': [voc_object('helm')], 'c': []}
    coco, _ = voc(files, 'c\nb  -1\n', names=['vest', 'helm'], zero_based=True)
    assert [image['file_name'] for image in coco['images']] == ['c.jpg', 'b.jpg']
    assert coco['annotations'][0]['bbox'] == [1, 20, 39, 40]
    assert coco['annotations'][0]['category_id'] == 2


@pytest.mark.parametrize(
    ('image_set', 'wanted'),
    [
        ('my photo 1\nmy photo 0\n', ['my photo 1.jpg', 'my photo 0.jpg']),
        ('my photo 1\n my\n', ['my photo 1.jpg', 'my.jpg']),
        ('my photo 1 -1\nmy 1\n', ['my photo 1.jpg', 'my.jpg']),
        ('my\t1\n', ['my.jpg']),
        ('my 2\nmy photo 1 12\n', ['my.jpg', 'my photo 1.jpg']),
    ],
)
def test_names_of_an_image_set_may_have_spaces(voc, image_set, wanted):
    coco, _ = voc({'my': [], 'my photo 0': [], 'my photo 1': []}, image_set)
    assert [image['file_name'] for image in coco['images']] == wanted


@pytest.mark.parametrize('line', ['my photo', 'my photo 7', 'my one two'])
def test_no_other_image_is_taken_for_one_that_is_not_there(voc, line):
    name = 'my one two' if 'one' in line else 'my photo'
    with pytest.raises(ValueError, match=rf'{name}\.xml, which the image set lists'):
        voc({'my': [], 'my photo 1': []}, f'{line}\n')


@pytest.mark.parametrize(
    ('objects', 'image_set', 'message'),
    [
        ([voc_object('helm')], None, r"a\.xml: 'helm' is not one of the 20 classes"),
        ([voc_object(x1=9, x2=8)], None, r"a\.xml: the box of 'cat' is empty"),
        ([voc_object(x1='x')], None, "bndbox/xmin must be a number, got 'x'"),
        ([voc_object(x1='')], None, "object has no 'bndbox/xmin'"),
        (['<object>'], None, r'a\.xml is not XML'),
        ([], 'a\nz\n', r'z\.xml, which the image set lists'),
        ([], '\n', r'test\.txt has no image'),
    ],
)
def test_voc_faults_are_named(voc, objects, image_set, message):
    with pytest.raises(ValueError, match=message):
        voc({'a': objects}, image_set)


# --------------------------------------------------------------------------- YOLO
@pytest.fixture
def yolo(tmp_path):
    """Folders with images of 160 x 96 pixels, the last one turned by its EXIF."""
    for name in ('images/a.png', 'images/sub/b.jpg', 'images/sub/turned.jpg'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if 'turned' in name:
            exif[0x0112] = 6
        Image.new('RGB', (160, 96)).save(path, exif=exif)
    (tmp_path / 'labels' / 'sub').mkdir(parents=True)
    (tmp_path / 'data.yaml').write_text('names: {0: cat, 1: 狗}\n', encoding='utf-8')
    return tmp_path


def convert_yolo(root):
    args = root / 'images', root / 'labels', root / 'data.yaml', root / 'yolo.json'
    counts = yolo_to_coco(*args)
    return json.loads((root / 'yolo.json').read_text(encoding='utf-8')), counts


def test_yolo_by_hand(yolo):
    (yolo / 'labels/a.txt').write_text('1 0.5 0.25 0.5 0.5\n\n0 0.1 0.1 0.2 0.2\n')
    (yolo / 'labels/sub/turned.txt').write_text('0 0.5 0.5 1 1')
    coco, counts = convert_yolo(yolo)
    actual = [(i['file_name'], i['width'], i['height']) for i in coco['images']]
    assert actual == [
        ('a.png', 160, 96),
        ('sub/b.jpg', 160, 96),
        ('sub/turned.jpg', 96, 160),
    ]
    first = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [40, 0, 80, 48]}
    assert coco['annotations'][0] == first | {'area': 3840, 'iscrowd': 0}
    assert [b['bbox'] for b in coco['annotations'][1:]] == [
        [0, 0, 32, 19.2],
        [0, 0, 96, 160],
    ]
    assert coco['categories'] == [{'id': 0, 'name': 'cat'}, {'id': 1, 'name': '狗'}]
    assert counts == {'images': 3, 'annotations': 3, 'without_labels': 1}
    assert len(COCO(str(yolo / 'yolo.json')).anns) == 3


def test_yolo_gives_back_random_boxes(yolo):
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.uniform(size=(2, 40, 2)), axis=0)
    pixels = np.array([160, 96])
    boxes = np.round(np.concatenate([low * pixels, (high - low) * pixels], 1), 2)
    lines = []
    for x, y, w, h in boxes:
        center = ((x + w / 2) / 160, (y + h / 2) / 96)
        lines.append(
            f'0 {center[0]:.12f} {center[1]:.12f} {w / 160:.12f} {h / 96:.12f}'
        )
    (yolo / 'labels/a.txt').write_text('\n'.join(lines))
    actual = [box['bbox'] for box in convert_yolo(yolo)[0]['annotations']]
    np.testing.assert_allclose(actual, boxes, atol=2e-6)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0 0.5 0.5 0.5', "must be 'class cx cy w h'"),
        ('0 0.5 0.5 0.5 0.5 0.9', 'polygons and scores are not read'),
        ('0.5 0.5 0.5 0.5 0.5', "must be 'class"),
        ('2 0.5 0.5 0.5 0.5', 'class 2 is not in 0 to 1'),
        ('0 0.5 0.5 0 0.5', 'empty or not finite'),
        ('0 nan 0.5 0.1 0.5', 'empty or not finite'),
        ('0 0.9 0.5 0.4 0.5', 'reaches outside the image'),
    ],
)
def test_yolo_faults_name_file_and_line(yolo, line, message):
    (yolo / 'labels/a.txt').write_text(f'0 0.5 0.5 0.5 0.5\n{line}\n')
    with pytest.raises(ValueError, match=rf'a\.txt: line 2.*{message}'):
        convert_yolo(yolo)


def test_yolo_files_must_pair(yolo):
    (yolo / 'labels/classes.txt').write_text('cat')
    convert_yolo(yolo)
    (yolo / 'labels/z.txt').write_text('')
    with pytest.raises(ValueError, match=r'z\.txt has no image'):
        convert_yolo(yolo)
    (yolo / 'images/z.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'z\.png cannot be read'):
        convert_yolo(yolo)
    Image.new('L', (4, 4)).save(yolo / 'images/a.bmp')
    with pytest.raises(ValueError, match='share one label file'):
        convert_yolo(yolo)


@pytest.mark.parametrize(
    ('name', 'text', 'expected'),
    [
        ('a.names', 'cat\n\nred dog\n', ['cat', 'red dog']),
        ('a.yaml', 'nc: 2\nnames: [cat, 7]', ['cat', '7']),
        ('a.yml', 'names: {1: b, 0: a}', ['a', 'b']),
    ],
)
def test_names_files(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: {1: a, 2: b}', 'must be 0, 1, 2'),
        ('nc: 2', 'has no class names'),
        ('names: [a, a]', "'a' occurs twice"),
        ('names: [a', 'is not YAML'),
    ],
)
def test_faults_of_names_files(tmp_path, text, message):
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_names(tmp_path / 'a.yaml')


# ----------------------------------------------------- files as other tools write them
CASES = Path(__file__).resolve().parents[1] / 'data' / 'cases'


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('data.yaml', ['02146', '21008', '21010']),
        ('data_no.yaml', ['helmet', 'No']),
    ],
)
def test_yaml_names_are_the_words_as_written(name, expected):
    assert read_names(CASES / 'yaml_names' / name) == expected


@pytest.mark.parametrize(
    'word',
    ['007', '1.10', '12:30:45', 'null', '~', 'yes', 'Off', '0x1F', '1e3', '2001-01-01',
     'NaN', '1_000', '.5', 'true', '白猫', 'traffic light', '=', '0o17'],
)  # fmt: skip
@pytest.mark.parametrize('form', ['names: [{}, b]', 'names: {{0: {}, 1: b}}',
                                  'nc: 2\nnames:\n  - {}\n  - b\n'])  # fmt: skip
def test_a_word_that_yaml_gives_another_meaning(tmp_path, form, word):
    path = tmp_path / 'a.yaml'
    path.write_text(form.format(word), encoding='utf-8')
    assert read_names(path) == [word, 'b']


@pytest.mark.parametrize('codec', ['utf-8-sig', 'utf-16', 'gbk'])
@pytest.mark.parametrize('name', ['a.txt', 'a.yaml'])
def test_names_in_other_encodings(tmp_path, codec, name):
    text = '猫\r\n红色 圆形 \u3000\r\n\r\n'
    if name == 'a.yaml':
        text = 'names:\r\n- 猫\r\n- 红色 圆形\r\n'
    (tmp_path / name).write_bytes(text.encode(codec))
    assert read_names(tmp_path / name) == ['猫', '红色 圆形']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: [a, ""]', "label 1 must have a name, got ''"),
        ('names:\n- a\n-\n', 'label 1 must have a name'),
        ('names:\n- traffic: light\n', 'label 0 must have a name, got .*in quotes'),
        ('nc: 3\nnames: [a, b]', 'has 2 names but says nc: 3'),
        ('names: {a: 0, b: 1}', 'must be 0, 1, 2'),
        ('names: a, b', "needs a list 'names'"),
        ('[a, b]', "needs a list 'names'"),
    ],
)
def test_yaml_that_cannot_be_meant(tmp_path, text, message):
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(ValueError, match=rf'a\.yaml.*{message}'):
        read_names(tmp_path / 'a.yaml')


@pytest.mark.parametrize('codec', ['utf-8-sig', 'utf-16', 'utf-16-le'])
def test_yolo_labels_of_other_editors(yolo, codec):
    """A byte order mark, blank lines, other blanks, and 1.0 for class 1."""
    text = '\r\n  1.0\t0.5 0.25\u00a00.5 0.5 \r\n\r\n0 0.1 0.1 0.2 0.2'
    (yolo / 'labels/a.txt').write_bytes(text.encode(codec))
    boxes = convert_yolo(yolo)[0]['annotations']
    assert [(b['category_id'], b['bbox']) for b in boxes] == [
        (1, [40, 0, 80, 48]),
        (0, [0, 0, 32, 19.2]),
    ]


def test_voc_in_gb2312(tmp_path):
    """One dog at x 10, y 20 of 40 x 40 pixels; the file is named 图.jpg."""
    voc_to_coco(CASES / 'voc_gb2312', tmp_path / 'o.json')
    coco = json.loads((tmp_path / 'o.json').read_text(encoding='utf-8'))
    [image], [box] = coco['images'], coco['annotations']
    assert (image['file_name'], image['width'], image['height']) == ('图.jpg', 200, 100)
    names = {c['id']: c['name'] for c in coco['categories']}
    assert names[box['category_id']] == 'dog' and box['bbox'] == [10, 20, 40, 40]


@pytest.mark.parametrize(
    ('declared', 'codec'),
    [('gb2312', 'gbk'), ('GBK', 'utf-8'), ('utf-8', 'gbk'), ('UTF-8', 'utf-8-sig'),
     ('utf-8', 'utf-16'), ('utf-16', 'utf-8'), (None, 'gbk'), (None, 'utf-16'),
     ('big5', 'big5'), ('Shift_JIS', 'shift_jis'), ('gb18030', 'gb18030')],
)  # fmt: skip
def test_voc_declarations_right_and_wrong(tmp_path, declared, codec):
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ''
    body = XML.format(name='花', objects=voc_object('白花\u3000'))
    (tmp_path / 'xml').mkdir()
    (tmp_path / 'xml' / 'a.xml').write_bytes((head + body).encode(codec))
    name = '白花'
    voc_to_coco(tmp_path / 'xml', tmp_path / 'o.json', names=['狗', name])
    coco = json.loads((tmp_path / 'o.json').read_text(encoding='utf-8'))
    assert coco['annotations'][0]['category_id'] == 2
    assert coco['images'][0]['file_name'] == '花.jpg'


def test_voc_that_cannot_be_read_is_named(voc, tmp_path):
    folder = tmp_path / 'Annotations'
    folder.mkdir()
    body = XML.format(name='réel', objects='')
    for text, message in (
        (body.encode('cp1252'), r'a\.xml is in an unknown encoding'),
        (b'<?xml version="1.0" encoding="klingon"?>' + body.encode('cp1252'),
         r"a\.xml: the encoding 'klingon' is not known"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', r'a\.xml defines entities'),
        (b'', r'a\.xml is not XML'),
    ):  # fmt: skip
        (folder / 'a.xml').write_bytes(text)
        with pytest.raises(ValueError, match=message):
            voc({})
    said = b'<?xml version="1.0" encoding="iso-8859-1"?>' + body.encode('cp1252')
    (folder / 'a.xml').write_bytes(said)
    assert voc({})[0]['images'][0]['file_name'] == 'réel.jpg'


def test_voc_flags_in_words(voc):
    words = voc_object().replace('<truncated>1<', '<truncated> Unspecified <')
    hard = voc_object(difficult='true').replace('<truncated>1<', '<truncated> <')
    coco, counts = voc({'a': [words, hard]})
    assert [box.get('truncated') for box in coco['annotations']] == [0, None]
    assert counts['difficult'] == 1


def test_voc_boxes_of_a_turned_image_are_reported(voc):
    """160 x 96 is the file's size, the box is of the upright image of 96 x 160."""
    tall = voc_object().replace('<ymin>20<', '<ymin>120<').replace('>60<', '>150<')
    with pytest.raises(ValueError, match=r'a\.xml: bbox .* outside .*EXIF orientation'):
        voc({'a': [tall]})
    with pytest.raises(
        ValueError, match=r'a\.xml: bbox .* outside .*correct or remove'
    ):
        voc({'a': [voc_object(x1=500, x2=600)]})
