"""Images in folders of any name, and what is labelled anew of a folder."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from fgclip2_det.apis import annotate, apply_review
from fgclip2_det.prepare import yolo_to_coco
from fgclip2_det.prepare.own_data import look
from tests.apis.annotating.labels import corners, read


@pytest.fixture
def own(photos, ontology, inferencer, tmp_path):
    """own(names, **options): a folder 'own' of images of these names, labelled."""

    def call(names: list[str], **options):
        for i, name in enumerate(names):
            path = tmp_path / 'own' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                shutil.copy(photos / f'{i}.png', path)
        return annotate(tmp_path / 'own', ontology, tmp_path / 'out', inferencer,
                        **options)  # fmt: skip

    return call


def label_of(image: Path) -> Path:
    """Where ultralytics looks (img2label_paths)."""
    old, new = f'{os.sep}images{os.sep}', f'{os.sep}labels{os.sep}'
    return Path(new.join(str(image).rsplit(old, 1))).with_suffix('.txt')


def test_folders_called_images(own, tmp_path):
    names = ['0.png', 'images/1.png', 'x/images/images/2.png']
    own(names, formats=['coco', 'yolo'])
    yolo = tmp_path / 'out' / 'yolo'
    images = sorted((yolo / 'images').rglob('*.png'))
    assert [label_of(image).is_file() for image in images] == [True] * 3
    paths = [image.relative_to(yolo).as_posix() for image in images]
    assert paths == [
        'images/0.png', 'images/images_/1.png', 'images/x/images_/images_/2.png',
    ]  # fmt: skip
    labels = corners(read(tmp_path / 'out' / 'coco.json'))
    expected = [len(rows) for rows in labels.values()]
    found = look(yolo)
    counts = {image.path: len(image.boxes) for image in found.data.images}
    assert counts == dict(zip(paths, expected, strict=True)) and min(expected) > 0
    assert not found.findings['background'] and not found.findings.is_wrong
    target = tmp_path / 'again.json'
    yolo_to_coco(yolo / 'images', yolo / 'labels', yolo / 'data.yaml', target)
    assert [len(rows) for rows in corners(read(target)).values()] == expected
    other = tmp_path / 'own' / 'images_' / '1.jpg'
    other.parent.mkdir()
    shutil.copy(tmp_path / 'own' / 'images' / '1.png', other)
    with pytest.raises(ValueError, match='would share one label file'):
        own(names, formats=['yolo'], overwrite=True)


@pytest.fixture
def bitmaps(own, photos, tmp_path):
    """Four images whose files have the same size, labelled once."""
    (tmp_path / 'own').mkdir()
    for i in range(4):
        with Image.open(photos / f'{i}.png') as image:
            image.save(tmp_path / 'own' / f'{i}.bmp')
    names = [f'{i}.bmp' for i in range(4)]
    assert own(names).num_new == 4
    return names


def test_another_file_of_the_same_size_is_labelled_anew(own, bitmaps, tmp_path):
    first, path = (tmp_path / 'own' / f'{i}.bmp' for i in range(2))
    lines = tmp_path / 'out' / 'detections.jsonl'
    before = lines.read_bytes()
    os.utime(path, (1, 1))  # the same file
    assert own(bitmaps).num_new == 0
    now = lines.read_bytes()
    assert now != before and now.count(b'\n') == 4
    assert own(bitmaps).num_new == 0 and lines.read_bytes() == now
    path.write_bytes(first.read_bytes())
    assert own(bitmaps).num_new == 1
    found = corners(read(tmp_path / 'out' / 'coco.json'))
    assert found['1.bmp'] == found['0.bmp'] and len(found['3.bmp']) == 2


def test_lines_of_older_versions_go_by_size_and_get_digests(own, bitmaps, tmp_path):
    lines = tmp_path / 'out' / 'detections.jsonl'
    text = lines.read_text('utf-8')
    rows = [json.loads(line) for line in text.splitlines()]
    for row in rows:
        del row['modified'], row['digest']
    lines.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    assert own(bitmaps).num_new == 0 and lines.read_text('utf-8') == text


@pytest.mark.parametrize('change', [False, True])
def test_a_review_from_before_more_images(own, tmp_path, change):
    """Ids of its boxes are now those of others."""
    names = ['1.png', '3.png', '4.png']
    more = ['0.png', '2.png', *names]
    own(names, accept=0.865, review=0.3)
    earlier = tmp_path / 'earlier.json'
    content = read(tmp_path / 'out' / 'review.json')
    if change:
        content['annotations'][0]['bbox'] = [0, 0, 20, 20]  # moved
        content['annotations'].pop()
    earlier.write_text(json.dumps(content))
    own(more, accept=0.865, review=0.3)
    now = read(tmp_path / 'out' / 'review.json')
    assert [a['id'] for a in now['annotations']] != [
        a['id'] for a in content['annotations']
    ]
    report = apply_review(earlier, tmp_path / 'out').content
    total = report['classes'][-1]
    counts = {
        key: total['accept'][key] + total['review'][key]
        for key in ('kept', 'moved', 'renamed', 'deleted')
    }
    boxes = len(content['annotations']) + change
    assert report['images'] == 3 and total['added'] == 0
    assert counts == dict(
        kept=boxes - 2 * change, moved=int(change), renamed=0, deleted=int(change)
    )
