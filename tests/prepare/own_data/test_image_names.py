"""Which file a name means where several have it, or none."""

import json

import pytest

from fgclip2_det.prepare.own_data import look
from fgclip2_det.prepare.own_data.image_files import ImageFiles

BOX = [4, 4, 20, 20]


@pytest.fixture
def instances(tmp_path, coco, draw):
    """instances(folder=''): annotations of two splits, whose images 0 to 4 are called
    alike and lie in train/ and val/."""

    def write(folder: str = '') -> None:
        (tmp_path / 'annotations').mkdir()
        for split in ('train', 'val'):
            images = [(f'{folder.format(split)}{i}.png', -1) for i in range(5)]
            boxes = [(i + 1, 1, [*BOX[:2], 9 + i, 9]) for i in range(5)]
            path = tmp_path / 'annotations' / f'instances_{split}.json'
            coco(path, images, boxes, ['cup'])
            for i in range(5):
                draw(tmp_path / split / f'{i}.png', seed=i + 50 * (split == 'val'))

    return write


def test_names_of_two_splits_are_told_apart_by_their_folders(tmp_path, instances):
    instances()
    own = look(tmp_path)
    assert not own.findings['two_images'] and not own.findings['leak']
    found = [(image.split, image.path) for image in own.data.images]
    assert found == [(s, f'{s}/{i}.png') for s in ('train', 'val') for i in range(5)]
    assert own.as_it_is and own.prefixes == {'train': 'train/', 'val': 'val/'}


@pytest.mark.parametrize('folder', ['', '{}/', '{}2017/'])
def test_an_image_that_is_missing_is_not_that_of_another_split(
    tmp_path, instances, folder
):
    instances(folder)
    (tmp_path / 'val' / '2.png').unlink()
    own = look(tmp_path)
    assert own.findings['no_image'] == 1 and not own.findings['twice']
    assert len(own.data.of('val')) == 4 and len(own.data.of('train')) == 5


def test_lists_of_splits_over_one_folder_of_any_name(tmp_path, coco, draw):
    """Where no folder is called val, images of val may lie in train_images."""
    for first, split in ((0, 'train'), (5, 'val')):
        images = [(f'{i}.png', -1) for i in range(first, first + 5)]
        coco(tmp_path / f'{split}.json', images, [(1, 1, BOX)], ['cup'])
        for name, _ in images:
            draw(tmp_path / 'train_images' / name, seed=int(name[0]))
    own = look(tmp_path)
    assert not own.findings['no_image'] and len(own.data.of('val')) == 5


def test_subsets_of_cvat(tmp_path, draw):
    entries = ''
    for split, folder in (('train', 'train'), ('Validation', 'val')):
        draw(tmp_path / folder / 'a.png', seed=len(split))
        entries += (
            f'<image id="0" name="a.png" subset="{split}" width="48" height="32">'
            '<box label="cup" xtl="1" ytl="1" xbr="30" ybr="20"/></image>'
        )
    text = f'<annotations><meta/>{entries}</annotations>'
    (tmp_path / 'annotations.xml').write_text(text)
    own = look(tmp_path)
    paths = [image.path for image in own.data.images]
    assert paths == ['train/a.png', 'val/a.png'] and not own.findings['two_images']


def test_names_are_composed_as_in_no_file(tmp_path, coco, draw):
    images = [(f'\u00e9{i}.png', -1) for i in range(5)]
    coco(tmp_path / 'a.json', images, [(1, 1, BOX)], ['cup'])
    for i in range(5):
        draw(tmp_path / 'images' / f'e\u0301{i}.png', seed=i)
    own = look(tmp_path)
    assert not own.findings['no_image'] and len(own.data.images) == 5
    paths = {image.path for image in own.data.images}
    assert paths == {f'images/e\u0301{i}.png' for i in range(5)}
    draw(tmp_path / '\u00e90.png')
    files = ImageFiles([tmp_path])
    assert files.find('\u00e90.png') == ['\u00e90.png']  # the very name goes first
    assert files.find('e\u03010.png', 'images') == ['images/e\u03010.png']
    assert files.by_stem('\u00e91') == ['images/e\u03011.png']


def test_folders_of_another_computer_name_no_split(tmp_path, draw):
    draw(tmp_path / 'train' / 'a.png')
    draw(tmp_path / 'b' / 'images' / 'a.png')
    files = ImageFiles([tmp_path])
    name = '/home/dev/work/photos/b/pictures/a.png'
    assert files.find(name) == ['b/images/a.png', 'train/a.png']
    assert files.find(name, split='train') == ['train/a.png']
    assert files.find('x/val/a.png') == ['b/images/a.png']
    assert files.find('x/train/a.png') == ['train/a.png']
    draw(tmp_path / 'train' / 'b.png')
    files = ImageFiles([tmp_path])
    for name in ('/home/dev/b.png', r'C:\Users\dev\b.png', 'test_shots/b.png'):
        assert files.find(name) == files.find(name, split='train') == ['train/b.png']


def test_the_folder_of_an_image_is_its_split_where_nothing_else_is(
    tmp_path, coco, draw
):
    images = [(f'train/{i}.png', -1) for i in range(4)] + [('val/4.png', -1)]
    images += [('other/5.png', -1)]
    boxes = [(i + 1, 1, BOX) for i in range(6)]
    path = coco(tmp_path / 'labels.json', images, boxes, ['cup'])
    for name, _ in images:
        draw(tmp_path / name, seed=int(name[-5]))
    own = look(tmp_path)
    found = [image.split for image in own.data.images]
    assert found == ['train'] * 4 + ['val', 'train'] and not own.findings['made_val']
    assert not own.as_it_is  # one file of two splits
    # folders that are all of one split say nothing of training
    content = json.loads(path.read_text())
    content['images'] = content['images'][4:5]
    content['annotations'] = content['annotations'][4:5]
    for i in range(3):
        draw(tmp_path / 'test' / f't{i}.png', seed=20 + i)
        entry = dict(content['images'][0], id=10 + i, file_name=f'test/t{i}.png')
        content['images'].append(entry)
        box = dict(content['annotations'][0], id=10 + i, image_id=10 + i)
        content['annotations'].append(box)
    path.write_text(json.dumps(content))
    own = look(tmp_path)
    assert own.findings['made_val'] == 1 and list(own.counts()) == ['train', 'val']
