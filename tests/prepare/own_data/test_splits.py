"""The splits that a data set says it has."""

from pathlib import Path

import pytest

from fgclip2_det.prepare.own_data import Look, look

BOX = '0 0.5 0.5 0.25 0.25'


def splits(own: Look) -> dict[str, str]:
    """Image -> split, which were all given."""
    assert not own.findings['made_val']
    return {image.path: image.split for image in own.data.images}


@pytest.fixture
def yolo(tmp_path, draw):
    """yolo(images, **files): images with label files beside them, and text files."""

    def write(images: list[str], files: dict[str, str]) -> Path:
        for i, name in enumerate(images):
            path = draw(tmp_path / name, seed=i)
            path.with_suffix('.txt').write_text(BOX)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_the_name_of_a_file_is_no_split(yolo):
    images = ['images/bus_test_1.png', 'images/crash-test.png', 'images/val.png']
    images += ['images/val/a.png', 'test/images/train_2.png']
    own = look(yolo(images, {'data.yaml': 'names: [cup]'}))
    found = ['train', 'train', 'train', 'val', 'test']
    assert splits(own) == dict(zip(images, found, strict=True))


@pytest.mark.parametrize(
    ('files', 'lists', 'last'),
    [
        ({'obj.data': 'classes = 1\ntrain = data/train.txt\nvalid = data/test.txt\n',
          'obj.names': 'cup'}, '', 'val'),
        ({'obj.data': 'train = data/train.txt\nvalid = data/test.txt\n',
          'obj.names': 'cup'}, 'data/', 'val'),
        ({'data/obj.data': 'train=data/train.txt\nvalid=data/test.txt\n',
          'data/obj.names': 'cup'}, 'data/', 'val'),
        ({'obj.names': 'cup'}, '', 'test'),  # the lists alone
    ],
)  # fmt: skip
def test_lists_of_darknet(yolo, files, lists, last):
    images = [f'obj/a{i}.png' for i in range(4)]
    parts = {'train': images[:2], 'test': images[2:3], 'valid': images[3:]}
    for name, part in parts.items():
        files = files | {f'{lists}{name}.txt': ''.join(f'data/{p}\n' for p in part)}
    own = look(yolo(images, files))
    found = ['train', 'train', last, 'val' if last == 'test' else 'train']
    assert splits(own) == dict(zip(images, found, strict=True))
    assert not own.findings['no_image'] and not own.findings['background']


def test_lines_of_lists_without_one_file(yolo):
    images = ['x/a.png', 'y/a.png', 'x/b.png', 'x/c.png']
    lists = {'train.txt': 'data/a.png\ndata/b.png\n', 'val.txt': 'c.png\nd.png\n'}
    own = look(yolo(images, {'obj.names': 'cup'} | lists))
    assert own.findings.first['listed'] == [
        'train.txt: data/a.png is 2 files', 'val.txt: d.png is 0 files',
    ]  # fmt: skip
    assert [image.path for image in own.data.of('val')] == ['x/c.png']


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('train: images\nval: images/val\ntest: images/val/last', 'train val test'),
        ('train: images/val\nval: images\n', 'val train train'),
        ('train: images\nval: list.txt', 'train train val'),
        ('train: .\nval: images/val', 'train val val'),
    ],
)
def test_the_deeper_folder_of_a_yaml_counts(yolo, text, expected):
    images = ['images/a.png', 'images/val/b.png', 'images/val/last/c.png']
    files = {'data.yaml': f'names: [cup]\n{text}', 'list.txt': f'{images[2]}\n'}
    own = look(yolo(images, files))
    assert splits(own) == dict(zip(images, expected.split(), strict=True))


def test_one_folder_for_training_and_validation_is_split(yolo):
    files = {'data.yaml': 'names: [cup]\ntrain: images\nval: images'}
    own = look(yolo([f'images/{i}.png' for i in range(5)], files))
    assert own.findings['made_val'] == 1 and not own.findings['leak']


XML = """<annotation><filename>{0}.png</filename><size><width>48</width>
<height>32</height></size><object><name>cup</name><bndbox><xmin>3</xmin>
<ymin>3</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def test_sets_of_two_folders_with_the_same_names(tmp_path, draw):
    for i, (folder, name) in enumerate((('a', 'train'), ('b', 'val'))):
        sets = tmp_path / folder / 'ImageSets' / 'Main'
        sets.mkdir(parents=True)
        (sets / f'{name}.txt').write_text('0\n1\n')
        for stem in '012':  # no list has 2
            path = tmp_path / folder / 'Annotations' / f'{stem}.xml'
            path.parent.mkdir(exist_ok=True)
            path.write_text(XML.format(stem))
            image = tmp_path / folder / 'JPEGImages' / f'{stem}.png'
            draw(image, seed=10 * i + int(stem))
    found = splits(look(tmp_path))
    expected = {'a': ['train', 'train', 'train'], 'b': ['val', 'val', 'train']}
    assert found == {
        f'{folder}/JPEGImages/{i}.png': split
        for folder, own in expected.items()
        for i, split in enumerate(own)
    }


def test_sets_of_folders_below_annotations(tmp_path, draw):
    """As Datumaro and CVAT write 'x/0' into lists."""
    for i, folder in enumerate(('x', 'y')):
        for stem in '012':
            path = tmp_path / 'Annotations' / folder / f'{stem}.xml'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(XML.format(f'{folder}/{stem}'))
            image = tmp_path / 'JPEGImages' / folder / f'{stem}.png'
            draw(image, seed=9 * i + int(stem))
    sets = tmp_path / 'ImageSets' / 'Main'
    sets.mkdir(parents=True)
    (sets / 'train.txt').write_text('x/0\nx/1\nx/2\n')
    (sets / 'val.txt').write_text('y/0\ny/1\ny/2\n')
    found = splits(look(tmp_path))
    assert {path.split('/')[1]: split for path, split in found.items()} == {
        'x': 'train', 'y': 'val',
    }  # fmt: skip
    assert len(found) == 6


def test_sets_of_a_folder_beside_the_annotations(tmp_path, draw):
    for stem in '012':
        draw(tmp_path / 'labels' / f'{stem}.png', seed=int(stem))
        (tmp_path / 'labels' / f'{stem}.xml').write_text(XML.format(stem))
    sets = tmp_path / 'devkit' / 'ImageSets' / 'Main'
    sets.mkdir(parents=True)
    (sets / 'trainval.txt').write_text('0\n1\n2\n')
    (sets / 'val.txt').write_text('1\n')
    found = splits(look(tmp_path))
    assert found == {
        'labels/0.png': 'train', 'labels/1.png': 'val', 'labels/2.png': 'train',
    }  # fmt: skip
