"""What is said about labels that are wrong or doubtful, and what becomes of them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from fgclip2_det.io import InputError
from fgclip2_det.prepare.own_data import as_coco, choose_novel, look
from fgclip2_det.prepare.own_data.findings import KINDS
from fgclip2_det.prepare.own_data.writing import write_coco

BOX = [4, 4, 20, 20]
NAMES = ['red cup', 'red plate', 'blue cup', 'blue plate', 'dog']
COLORS, THINGS = ('red', 'blue'), ('cup', 'jug', 'fork')


def pairs(count: int, first: int = 0) -> tuple[list, list]:
    """Images, and a box of each class in turn."""
    images = [(f'{i}.png', first + i) for i in range(count)]
    return images, [(i + 1, 1 + i % 5, BOX) for i in range(count)]


def test_faults_of_a_coco_file_are_counted_and_left_out(tmp_path, coco):
    images, boxes = pairs(5)
    images += [('gone.png', -1)]
    boxes += [
        (1, 1, [60, 4, 9, 9]),  # off the image
        (1, 1, [40, 4, 12, 9]),  # across its border
        (1, 1, [4, 4, 0, 9]),
        (1, 1, [4, 4, 9, None]),
        (9, 1, BOX),  # of no image
        (2, 9, BOX),  # of no class
        (6, 1, BOX),
    ]
    again = [dict(id=1, image_id=2, category_id=2, bbox=[1, 1, 9, 9], area=81)]
    same = [dict(id=1, file_name='0.png', width=48, height=32)]
    path = coco(tmp_path / 'a.json', images, boxes, NAMES, annotations=again,
                images=same)  # fmt: skip
    (tmp_path / 'left.png').write_bytes((tmp_path / '0.png').read_bytes())
    own = look(tmp_path)
    counts = own.findings.counts
    expected = dict(
        outside=1, crossing=1, empty_box=1, bad_box=1, no_such=2, no_image=1, box_id=1,
        duplicate_id=1, no_labels=1, few=5, made_val=1, no_val=4,
    )  # fmt: skip
    assert counts == expected and own.findings.is_wrong and not own.as_it_is
    first = own.findings.first['outside'][0]
    assert first == "a.json: image 1: 'red cup' 60 4 9 9"
    assert set(counts) <= set(KINDS)
    kept = [box.bbox for image in own.data.images for box in image.boxes]
    assert kept.count(BOX) == 5 and [40, 4, 8, 9] in kept and [1, 1, 9, 9] in kept
    content = as_coco(own.data, own.data.images)
    assert len(content['annotations']) == 7 and path.read_text().count('"bbox"') == 13
    ids = [a['id'] for a in content['annotations']]
    assert ids == list(range(1, 8))


def test_roboflow_folders_are_used_as_they_are(tmp_path, coco):
    root = [dict(id=9, name='kitchen', supercategory='none')]
    for split, first in (('train', 0), ('valid', 10), ('test', 20)):
        images, boxes = pairs(5, first)
        folder = tmp_path / split
        folder.mkdir()
        path = coco(folder / '_annotations.coco.json', images, boxes, NAMES,
                    categories=root)  # fmt: skip
        content = json.loads(path.read_text())
        for category in content['categories'][:5]:
            category['supercategory'] = 'kitchen'
        path.write_text(json.dumps(content))
    own = look(tmp_path)
    assert own.as_it_is and own.prefixes == {
        'train': 'train/', 'val': 'valid/', 'test': 'test/',
    }  # fmt: skip
    assert own.findings.counts == {'root': 3} | {'few': 5} or own.findings['root'] == 3
    assert own.data.names == NAMES and not own.findings.is_wrong
    assert list(own.counts()) == ['train', 'val', 'test']


def test_leaks_and_exif_and_sizes(tmp_path, coco, draw):
    images, boxes = pairs(5)
    coco(tmp_path / 'train.json', images, boxes, NAMES)
    others = [(f'v{i}.png', 40 + i) for i in range(5)]
    coco(tmp_path / 'val.json', others, boxes, NAMES)
    # the first of both is one photograph, saved again at half the size
    with Image.open(tmp_path / '0.png') as image:
        image.resize((24, 16)).save(tmp_path / 'v0.png')
    with Image.open(tmp_path / '1.png') as image:  # lies on its side in the file
        exif = Image.Exif()
        exif[0x0112] = 6
        image.convert('RGB').save(tmp_path / '1.png', exif=exif)
    (tmp_path / '2.png').write_bytes(b'\x89PNG\r\n\x1a\nno more')
    own = look(tmp_path)
    assert own.findings['leak'] == 1 and own.findings['size'] == 1
    assert own.findings['turned_size'] == 1 and own.findings['bad_image'] == 1
    assert own.findings.first['leak'] == ['val: v0.png = 0.png']
    sizes = {image.path: image.size for image in own.data.images}
    assert sizes['1.png'] == (32, 48) and sizes['v0.png'] == (24, 16)
    assert '2.png' not in sizes and own.findings.is_wrong


def test_an_image_that_ends_too_early_is_found(tmp_path, coco):
    images, boxes = pairs(6)
    coco(tmp_path / 'a.json', images, boxes, NAMES)
    path = tmp_path / '3.png'
    path.write_bytes(path.read_bytes()[:-60])
    own = look(tmp_path)
    assert own.findings['bad_image'] == 1 and len(own.data.images) == 5


def test_validation_keeps_copies_together_and_has_every_class(tmp_path, coco):
    images, boxes = pairs(20)
    copies = [(f'copy{i}.png', i) for i in range(5)]
    boxes += [(21 + i, 1 + i % 5, BOX) for i in range(5)]
    coco(tmp_path / 'a.json', images + copies, boxes, NAMES)
    own = look(tmp_path, seed=3)
    splits = {image.path: image.split for image in own.data.images}
    assert all(splits[f'{i}.png'] == splits[f'copy{i}.png'] for i in range(5))
    val = {box.name for image in own.data.of('val') for box in image.boxes}
    assert val == set(NAMES) and own.findings['near'] == 5
    assert len(own.data.of('val')) in (5, 6, 7) and not own.findings['leak']
    again = look(tmp_path, seed=3)
    other = look(tmp_path, seed=4)
    assert [i.split for i in again.data.images] == list(splits.values())
    assert [i.split for i in other.data.images] != list(splits.values())


def test_a_fixed_camera_is_split_all_the_same(tmp_path, coco):
    images, boxes = pairs(8)
    coco(tmp_path / 'a.json', [(name, 7) for name, _ in images], boxes, NAMES)
    own = look(tmp_path)
    assert own.data.of('val') and own.findings['leak'] == len(own.data.of('val'))


def test_names_that_are_one_or_none(tmp_path, coco):
    names = ['cup', 'Cups', 'class_3', 'cup ', 'bus']
    images, boxes = pairs(4)
    coco(tmp_path / 'a.json', images, boxes, names)
    own = look(tmp_path)
    assert own.data.names == ['cup', 'Cups', 'class_3', 'bus']
    assert own.findings['same_name'] == 1 and own.findings['no_word'] == 1
    assert own.findings['spelling'] == 1 and own.findings['never'] == 1


def test_novel_names_by_rule_and_by_name(tmp_path, coco):
    images, boxes = pairs(25)
    coco(tmp_path / 'a.json', images, boxes, NAMES)
    own = look(tmp_path)
    drawn = {tuple(choose_novel(own.data, None, 0.4, seed)) for seed in range(8)}
    assert len(drawn) > 1 and all(len(names) == 2 for names in drawn)
    assert all('dog' not in names for names in drawn)  # its word stands nowhere else
    assert choose_novel(own.data, ['Red_Cup', 'dog']) == ['red cup', 'dog']
    with pytest.raises(InputError, match="did you mean 'red plate'"):
        choose_novel(own.data, ['red plat'])
    with pytest.raises(InputError, match='keep fewer names novel'):
        choose_novel(own.data, NAMES)


def test_the_rule_leaves_every_word_to_train(tmp_path, coco):
    """Each pair alone could go; both names of a word together could not."""
    names = [f'{color} {thing}' for color in COLORS for thing in THINGS]
    images, _ = pairs(48)
    boxes = [(i + 1, 1 + i % len(names), BOX) for i in range(48)]
    coco(tmp_path / 'a.json', images, boxes, names)
    own = look(tmp_path)
    for seed in range(20):
        novel = choose_novel(own.data, None, 0.5, seed)
        base = {word for name in names if name not in novel for word in name.split()}
        assert len(novel) == 3 and base == {*COLORS, *THINGS}


def test_yolo_lines_of_all_kinds(tmp_path, draw):
    for i in range(3):
        draw(tmp_path / 'train' / 'images' / f'{i}.png', seed=i)
    labels = tmp_path / 'train' / 'labels'
    labels.mkdir()
    lines = [
        '0 0.5 0.5 0.25 0.25',
        '1 0.5 0.5 0.25 0.25 0.9',  # a score
        '1 0.1 0.1 0.5 0.1 0.5 0.5',  # a polygon
        '0 0.25 0.5 0.5 0.125 0.75 0.5 0.5 0.875',  # a turned box, 24 x 24 across
        '2 0.5 0.5 0.1 0.1',
        '0 0.5 x 0.1 0.1',
        '0 nan 0.5 0.1 0.1',
        '0 0.5 0.5',
    ]
    (labels / '0.txt').write_text('\n'.join(lines))
    (labels / '1.txt').write_text('')
    (labels / 'none.txt').write_text('0 0.5 0.5 0.5 0.5')
    text = 'train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cup, 007]\n'
    (tmp_path / 'data.yaml').write_text(text)
    own = look(tmp_path)
    counts = own.findings.counts
    kinds = dict(score=1, polygon=1, bad_entry=4, background=1, no_image=1, no_split=1)
    assert {key: counts[key] for key in kinds} == kinds
    image = next(image for image in own.data.images if image.path.endswith('0.png'))
    assert [box.name for box in image.boxes] == ['cup', '007', '007', 'cup']
    assert image.boxes[2].extra['segmentation'][0][:2] == pytest.approx([4.8, 3.2])
    assert image.boxes[3].bbox == pytest.approx([12, 4, 24, 24])
    assert counts['turned_box'] == 1 and counts['no_word'] == 1


def test_voc_counts_from_1_unless_its_files_say_otherwise(tmp_path, draw):
    xml = """<annotation><filename>{0}.png</filename><size><width>48</width>
    <height>32</height></size><object><name>cup</name><difficult>1</difficult><bndbox>
    <xmin>{1}</xmin><ymin>3</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>
    </annotation>"""
    for i in range(2):
        draw(tmp_path / 'train' / f'{i}.png', seed=i)
        (tmp_path / 'train' / f'{i}.xml').write_text(xml.format(i, 3))
    (tmp_path / 'train' / 'bad.xml').write_text('<annotation><size>')
    own = look(tmp_path)
    assert own.data.images[0].boxes[0].bbox == [2, 2, 18, 18]
    assert own.findings['crowd'] == 2 and own.findings['unreadable'] == 1
    (tmp_path / 'train' / '1.xml').write_text(xml.format(1, 0))
    own = look(tmp_path)
    assert own.data.images[0].boxes[0].bbox == [3, 3, 17, 17]
    assert own.findings['origin'] == 2


def test_cvat_shapes(tmp_path, draw):
    draw(tmp_path / 'images' / 'a.png')
    draw(tmp_path / 'images' / 'b.png', seed=1)
    (tmp_path / 'annotations.xml').write_text(
        """<annotations><version>1.1</version><meta><project><labels><label>
        <name>cup</name></label><label><name>bus</name></label></labels></project></meta>
        <image id="0" name="a.png" subset="train" width="48" height="32">
        <box label="cup" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>
        <polygon label="cup" points="1,1;9,1;9,9"/><points label="cup" points="1,1"/>
        <mask label="cup" rle="1" left="3" top="4" width="5" height="6"/>
        <box label="cup" xtl="x" ytl="10" xbr="30" ybr="20"/>
        <box label="cup" xtl="1" ytl="1" xbr="3" ybr="2" rotation="left"/></image>
        <image id="1" name="b.png" subset="Validation" width="48" height="32">
        <box label="cup" xtl="1" ytl="1" xbr="30" ybr="20"/></image></annotations>"""
    )
    own = look(tmp_path)
    boxes = [box.bbox for box in own.data.images[0].boxes]
    assert boxes == [[15, 5, 10, 20], [1, 1, 8, 8], [3, 4, 5, 6]]
    assert own.data.names == ['cup', 'bus'] and list(own.counts()) == ['train', 'val']
    kinds = dict(turned_box=1, polygon=1, shape=1, mask=1, bad_entry=2, never=1)
    assert {key: own.findings[key] for key in kinds} == kinds


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('a.xml', '<!DOCTYPE a [<!ENTITY b "c">]><annotations><meta/></annotations>',
         'defines entities'),
        ('a.xml', '<annotations><meta/><track id="0"/></annotations>', 'of a video'),
        ('a.json', '[' * 5000, 'nested too deeply'),
        ('a.json', '{"images": 1, "annotations": [], "categories": []}', 'images'),
        ('samples.json', '{"samples": [{"filepath": "a.png"}]}', 'one field of'),
        ('data.yaml', 'nc: 2\nnames: [cup]', 'says nc: 2'),
        ('data.yaml', 'names: [!!python/object:a.B []]', 'has the tag'),
        ('a.txt', 'cup', 'no labels of a known layout'),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(tmp_path, draw, name, text, message):
    draw(tmp_path / 'a.png')
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        look(tmp_path)


def yolo_set(folder, draw, lines: list[str]) -> None:
    """An image with a label file for each line, and three names."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
    for i, line in enumerate(lines):
        draw(folder / 'images' / f'{i}.png', seed=i)
        (folder / 'labels' / f'{i}.txt').write_text(line)
    (folder / 'data.yaml').write_text('nc: 3\nnames: [cup, jug, fork]')


@pytest.mark.parametrize(
    ('numbers', 'names', 'first'),
    [
        ('1 2 3 1', 'cup jug fork cup', 1),
        ('3 1 3', 'fork cup fork', 1),
        ('1.0000 3.0000 2.0000', 'cup fork jug', 1),
        ('3 1 1 1', 'jug jug jug', 0),  # one box of class 3 may be a slip
        ('1 2', 'jug fork', 0),  # nothing says that cup has no number
        ('2 3', 'fork', 0),  # nor that 3 is not a slip
        ('0 1 3', 'cup jug', 0),
        ('1 3 4', 'jug', 0),
    ],
)
def test_classes_that_count_from_1(tmp_path, draw, numbers, names, first):
    box = '0.5 0.5 0.25 0.25'
    yolo_set(tmp_path, draw, [f'{number} {box}' for number in numbers.split()])
    own = look(tmp_path)
    found = [box.name for image in own.data.images for box in image.boxes]
    assert sorted(found) == sorted(names.split())
    assert own.findings['from_one'] == first
    assert own.findings['bad_entry'] == len(numbers.split()) - len(found)
    if first:
        assert own.findings.first['from_one'] == ['data.yaml: 1 to 3, none is 0']


def test_several_layouts_are_asked_about(tmp_path, coco):
    images, boxes = pairs(6)
    coco(tmp_path / 'a.json', images, boxes, NAMES)
    (tmp_path / 'data.yaml').write_text('names: [cup]')
    with pytest.raises(InputError, match=r'several layouts: .*coco\|yolo'):
        look(tmp_path)
    assert look(tmp_path, 'coco').data.layout == 'COCO'
    with pytest.raises(InputError, match='has no PASCAL VOC labels'):
        look(tmp_path, 'voc')


def test_images_elsewhere_and_nowhere(tmp_path, coco, draw):
    images, boxes = pairs(6)
    labels = tmp_path / 'labels'
    labels.mkdir()
    away = [(f'../../{name}', -1) for name, _ in images]
    coco(labels / 'a.json', away, boxes, NAMES)
    for name, seed in images:
        draw(tmp_path / 'photos' / 'deep' / name, seed=seed)
    with pytest.raises(InputError, match='name their folder with --images'):
        look(labels)
    own = look(labels, images=[tmp_path / 'photos'])
    assert {image.path for image in own.data.images} == {
        f'../photos/deep/{name}' for name, _ in images
    }
    (tmp_path / 'photos' / 'loop').symlink_to(tmp_path / 'photos')
    assert len(look(labels, images=[tmp_path / 'photos']).data.images) == 6


def test_a_name_that_two_files_have_is_not_guessed(tmp_path, coco, draw):
    images, boxes = pairs(6)
    coco(tmp_path / 'a.json', images, boxes, NAMES)
    for name in ('0.png',):
        for folder in ('x', 'y'):
            draw(tmp_path / folder / name, seed=50)
        (tmp_path / name).unlink()
    own = look(tmp_path)
    assert own.findings['two_images'] == 1 and len(own.data.images) == 5
    assert Path(own.folder) == tmp_path


def test_the_folder_images_beside_the_file_goes_first(tmp_path, coco, draw):
    """As for a COCO file in a folder of its own; thumbnails have the same names."""
    images, boxes = pairs(6)
    away = [(name, -1) for name, _ in images]
    coco(tmp_path / 'labels.json', away, boxes, NAMES)
    for name, seed in images:
        draw(tmp_path / 'images' / name, seed=seed)
        draw(tmp_path / 'thumbnails' / name, seed=seed)
    own = look(tmp_path)
    assert own.findings['two_images'] == 0
    assert {image.path for image in own.data.images} == {
        f'images/{name}' for name, _ in images
    }


def test_two_images_of_one_label_file(tmp_path, draw):
    """Of one stem: nothing says whose the boxes are, and they are not doubled."""
    (tmp_path / 'data.yaml').write_text('names: [cup]')
    for i, name in enumerate(('a.png', 'a.jpg', 'b.png')):
        draw(tmp_path / 'images' / name, seed=i)
    (tmp_path / 'labels').mkdir()
    for stem in 'ab':
        (tmp_path / 'labels' / f'{stem}.txt').write_text('0 0.5 0.5 0.5 0.5\n')
    own = look(tmp_path)
    assert [image.path for image in own.data.images] == ['images/a.jpg', 'images/b.png']
    assert [len(image.boxes) for image in own.data.images] == [1, 1]
    text = 'labels/a.txt: images/a.jpg and images/a.png'
    assert own.findings.first['one_label'] == [text] and own.findings.is_wrong
    assert own.findings['background'] == 0 and own.findings['no_image'] == 0


def test_boxes_that_rounding_makes_empty(tmp_path, coco):
    """A COCO file has four digits of a pixel; thinner boxes would be written as 0."""
    images, boxes = pairs(6)
    thin = [(1, 1, [3, 3, 1e-5, 9]), (2, 1, [-9, 3, 9 + 1e-6, 9])]
    coco(tmp_path / 'a.json', images, [*boxes, *thin], NAMES)
    own = look(tmp_path)
    assert own.findings['empty_box'] == 2
    write_coco(as_coco(own.data, own.data.images), tmp_path / 'out' / 'all.json')


def test_places_of_a_folder_that_is_a_dot(tmp_path, draw, monkeypatch):
    """'./' of what a data.yaml says stays."""
    for i in range(4):
        draw(tmp_path / f'{i}.png', seed=i)
        (tmp_path / f'{i}.txt').write_text('0 0.5 0.5 0.5 0.5')
    (tmp_path / 'data.yaml').write_text('names: [cup]\ntrain: ../nowhere/images')
    monkeypatch.chdir(tmp_path)
    own = look('.')
    assert own.findings.first['no_split'] == ['data.yaml: train: ../nowhere/images']
