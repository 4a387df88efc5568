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
