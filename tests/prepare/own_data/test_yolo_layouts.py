"""YOLO sets whose labels are elsewhere, or that have keypoints."""

from pathlib import Path

import pytest

from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import look

BOX = '0 0.5 0.5 0.25 0.25'


def write(path: Path, text: str = BOX) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(('shape', 'behind'), [('[2, 3]', 6), ('[4, 2]', 8)])
def test_poses_are_boxes_and_their_keypoints_are_counted(tmp_path, draw, shape, behind):
    points = ['0.1', '0.2', '2.0', '0.3', '0.4', '0', '0.5', '0.6'][:behind]
    for i in range(2):
        draw(tmp_path / 'images' / f'{i}.png', seed=i)
        pose = ' '.join([BOX, *points])
        write(tmp_path / 'labels' / f'{i}.txt', f'{pose}\n{BOX}\n{pose} 0.5\n')
    text = f'names: [cup]\nkpt_shape: {shape}\n'
    write(tmp_path / 'data.yaml', text)
    own = look(tmp_path)
    assert [len(image.boxes) for image in own.data.images] == [1, 1]
    box = own.data.images[0].boxes[0]
    assert box.bbox == [18, 12, 12, 8] and 'segmentation' not in box.extra
    assert own.findings['shape'] == 2 and own.findings['bad_entry'] == 4
    expected = f'line 2 has 5 numbers; class, cx, cy, w, h and {behind} of keypoints'
    assert expected in own.findings.first['bad_entry'][0]


@pytest.mark.parametrize('shape', ['[17]', '[0, 3]', '[17, 4]', '17', '[a, 2]', '{}'])
def test_a_shape_of_keypoints_that_is_none(tmp_path, draw, shape):
    draw(tmp_path / 'images' / '0.png')
    write(tmp_path / 'data.yaml', f'names: [cup]\nkpt_shape: {shape}')
    with pytest.raises(InputError, match=r'kpt_shape must be \[number of points, 2 or'):
        look(tmp_path)


def test_images_in_a_folder_of_their_own(tmp_path, draw):
    """As of CVAT, whose labels are in obj_train_data."""
    for i in range(4):
        draw(tmp_path / 'photos' / f'a{i}.png', seed=i)
        write(tmp_path / 'export' / 'obj_train_data' / f'a{i}.txt')
    write(tmp_path / 'export' / 'obj.names', 'cup')
    own = look(tmp_path / 'export', images=[tmp_path / 'photos'])
    assert [len(image.boxes) for image in own.data.images] == [1] * 4
    assert set(own.findings.counts) == {'few', 'made_val'}


def test_other_texts_are_no_labels_where_images_have_their_own(tmp_path, draw):
    """What a detector found in a background image, and a caption of it."""
    for i in range(4):
        draw(tmp_path / 'images' / f'{i}.png', seed=i)
    for i in range(3):
        write(tmp_path / 'labels' / f'{i}.txt')
    write(tmp_path / 'runs' / 'detect' / 'predict' / 'labels' / '3.txt', f'{BOX} 0.4')
    write(tmp_path / 'captions' / '3.txt', 'a cup')
    write(tmp_path / 'data.yaml', 'names: [cup]')
    (tmp_path / 'cache.data').write_bytes(bytes(range(256)))
    own = look(tmp_path)
    assert [len(image.boxes) for image in own.data.images] == [1, 1, 1, 0]
    counts = own.findings.counts
    assert counts['background'] == 1 and counts['no_image'] == 2
    assert 'score' not in counts and 'bad_entry' not in counts


def test_images_of_one_name_in_many_folders(tmp_path, draw):
    """Frames of videos: each finds the label of its own folder."""
    for i in range(3):
        for frame in range(2):
            draw(tmp_path / 'frames' / f'v{i}' / f'{frame}.png', seed=2 * i + frame)
            write(tmp_path / 'boxes' / f'v{i}' / f'{frame}.txt', f'{i} 0.5 0.5 0.5 0.5')
    write(tmp_path / 'classes.txt', 'a\nb\nc')
    own = look(tmp_path)
    found = [(image.path, image.boxes[0].name) for image in own.data.images]
    assert found == [
        (f'frames/v{i}/{frame}.png', 'abc'[i]) for i in range(3) for frame in range(2)
    ]


def test_labels_elsewhere_are_those_of_one_image_alone(tmp_path, draw):
    for i, folder in enumerate(('x', 'y')):
        draw(tmp_path / 'photos' / folder / 'a.png', seed=i)
        write(tmp_path / 'own' / 'labels' / folder / 'a.txt', f'{i} 0.5 0.5 0.5 0.5')
        draw(tmp_path / 'photos' / folder / 'b.png', seed=10 + i)
    write(tmp_path / 'own' / 'labels' / 'b.txt')  # of x/b.png or of y/b.png
    draw(tmp_path / 'photos' / 'val' / 'c.png', seed=20)
    write(tmp_path / 'own' / 'labels' / 'train' / 'c.txt')  # its image is not there
    write(tmp_path / 'own' / 'classes.txt', 'cup\njug')
    own = look(tmp_path / 'own', images=[tmp_path / 'photos'])
    names = {i.path: [box.name for box in i.boxes] for i in own.data.images}
    assert names == {
        '../photos/x/a.png': ['cup'], '../photos/y/a.png': ['jug'],
        '../photos/x/b.png': [], '../photos/y/b.png': [], '../photos/val/c.png': [],
    }  # fmt: skip
    assert own.findings['background'] == 3 and own.findings['no_image'] == 2


def test_decomposed_names_are_those_that_are_composed(tmp_path, draw):
    """A zip of macOS has é as two characters."""
    for i in range(3):
        draw(tmp_path / 'images' / f'e\u0301{i}.png', seed=i)
        write(tmp_path / 'labels' / f'\u00e9{i}.txt')
    write(tmp_path / 'data.yaml', 'names: [cup]\ntrain: train.txt')
    lines = [f'images/\u00e9{i}.png' for i in range(3)]
    write(tmp_path / 'train.txt', '\n'.join(lines))
    own = look(tmp_path)
    assert [len(image.boxes) for image in own.data.images] == [1, 1, 1]
    assert set(own.findings.counts) == {'few', 'made_val'}
