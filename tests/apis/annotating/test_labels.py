"""A folder labelled: files that other tools read, kills, other settings."""

import contextlib
import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.apis import annotate
from fgclip2_det.apis.annotating import folder as folder_module
from fgclip2_det.apis.annotating import lines, run, sheets
from fgclip2_det.apis.annotating.lock import only_one
from fgclip2_det.prepare import odvg_to_coco, voc_to_coco, yolo_to_coco
from tests.apis.annotating.labels import (
    FORMATS,
    UNREAD,
    assert_same,
    corners,
    read,
    tree,
)


def test_formats_are_read_by_this_package_and_by_others(photos, label, tmp_path):
    done = label(formats=FORMATS)
    out, size = tmp_path / 'out', dict(width=128, height=96)
    assert done.unread.keys() == {UNREAD} and done.num_images == 6
    coco = read(out / 'coco.json')
    assert [each['file_name'] for each in coco['images']] == [
        *(f'{i}.png' for i in range(5)), '下/5.png',
    ]  # fmt: skip
    assert all(each.items() >= size.items() for each in coco['images'])
    assert coco['categories'][0] == dict(id=1, name='circle', name_zh='圆形')
    expected = corners(coco)
    for i, (image, rows) in enumerate(expected.items()):
        names = ['circle', '蓝色正方形'] if i % 2 else ['circle']
        assert [name for name, _ in rows] == names, image
        np.testing.assert_allclose(rows[0][1], [8 + 7 * i, 30, 48 + 7 * i, 70], atol=8)
    target = tmp_path / 'again.json'
    yolo_to_coco(
        out / 'yolo/images', out / 'yolo/labels', out / 'yolo/data.yaml', target
    )
    assert_same(corners(read(target)), expected, 1e-3)
    names = [each['name'] for each in coco['categories']]
    listed = out / 'voc/ImageSets/Main/all.txt'
    voc_to_coco(out / 'voc/Annotations', target, listed, names)
    assert_same(corners(read(target)), expected, 0.51)
    odvg_to_coco(out / 'odvg/od.jsonl', out / 'odvg/label_map.json', target)
    assert_same(corners(read(target)), expected, 1e-4)
    for image, rows in expected.items():
        path = (out / 'labelme' / image).with_suffix('.json')
        own = read(path)
        assert (path.parent / own['imagePath']).resolve() == (photos / image).resolve()
        found = [
            (s['label'], [*s['points'][0], *s['points'][1]]) for s in own['shapes']
        ]
        assert_same({image: sorted(found, key=lambda r: r[1])}, {image: rows}, 0.011)


def test_formats_are_read_by_supervision_and_pycocotools(photos, inferencer, tmp_path):
    """supervision reads no folders below a folder: the image there is left out."""
    sv = pytest.importorskip('supervision')
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO

    flat = tmp_path / 'flat'
    flat.mkdir()
    for path in photos.glob('*.png'):
        shutil.copy(path, flat)
    done = annotate(
        flat, {'red circle': 'circle', 'blue square': '蓝色正方形'}, tmp_path / 'out',
        inferencer, formats=FORMATS,
    )  # fmt: skip
    out = tmp_path / 'out'
    coco = COCO(str(out / 'coco.json'))
    assert len(coco.anns) == sum(row['accept'] for row in done.rows) == 7
    yolo = sv.DetectionDataset.from_yolo(
        str(out / 'yolo/images'), str(out / 'yolo/labels'), str(out / 'yolo/data.yaml')
    )
    sets = [
        sv.DetectionDataset.from_coco(str(flat), str(out / 'coco.json')),
        sv.DetectionDataset.from_pascal_voc(str(flat), str(out / 'voc/Annotations')),
        yolo,
    ]
    expected = corners(read(out / 'coco.json'))
    for own, atol in zip(sets, (0.01, 1.6, 0.01), strict=True):
        for path, _, found in own:
            boxes = sorted(found.xyxy.tolist())
            rows = expected[Path(path).name]
            np.testing.assert_allclose(boxes, [box for _, box in rows], atol=atol)
            assert {own.classes[c] for c in found.class_id} == {n for n, _ in rows}


def test_bands_review_and_the_table(label, tmp_path):
    """Thresholds between the scores: the squares are accepted, circles reviewed."""
    label()
    out = tmp_path / 'out'
    scores = {}
    for each in read(out / 'coco.json')['annotations']:
        scores.setdefault(each['category_id'], []).append(each['score'])
    best, worst = max(map(min, scores.values())), min(map(max, scores.values()))
    accept = round((best + worst) / 2, 4)
    done = label('two', accept=accept, review=0.3)
    upper = max(scores, key=lambda c: min(scores[c])) - 1
    for i, row in enumerate(done.rows[:2]):
        own = scores[i + 1]
        assert row['accept'] == sum(score >= accept for score in own)
        assert row['review'] == sum(score < accept for score in own)
    assert done.rows[upper]['accept'] and done.rows[1 - upper]['review']
    assert done.rows[2] == dict(
        done.rows[2], images=0, accept=0, review=0, mean_score=None
    )
    review = read(tmp_path / 'two/review.json')
    bands = [each['band'] for each in review['annotations']]
    assert sorted(set(bands)) == ['accept', 'review'] and len(bands) == 9
    labels = read(tmp_path / 'two/coco.json')['annotations']
    assert len(labels) == bands.count('accept')
    assert all(each['score'] >= accept for each in labels)
    text = '\n'.join(done.lines())
    assert text.splitlines()[0].split() == [
        'class', 'images', 'accept', 'review', 'mean', 'score', 'accept', 'from',
    ]  # fmt: skip
    assert (
        'never found: 1 (star)' in text and f'could not be read: 1 ({UNREAD})' in text
    )
    assert read(tmp_path / 'two/annotate.json')['classes'] == done.rows


def test_sheets_show_both_bands(label, tmp_path):
    label(accept=0.99, review=0.3)
    found = sorted(path.name for path in (tmp_path / 'out/sheets').iterdir())
    assert found == ['000-circle.jpg', '001-蓝色正方形.jpg']
    sheet = np.asarray(Image.open(tmp_path / 'out/sheets/000-circle.jpg'), int)
    red = (sheet[..., 0] > 200) & (sheet[..., 1:].max(-1) < 60)
    assert red[: sheet.shape[0] // 4].sum() < 2000 < red.sum()  # crops are below
    font = sheets._font(14)
    missing = bytes(font.getmask('\U0010fffd'))
    assert all(bytes(font.getmask(c)) != missing for c in '蓝色正方形圆circle')


def test_crops_of_a_box_at_the_border():
    image = Image.new('RGB', (100, 60), 'blue')
    own = sheets.crop(image, [0, 0, 20, 60])
    assert own.size == (sheets.SIDE, sheets.SIDE)
    pixels = np.asarray(own)
    assert pixels[0, 0].tolist() == [200, 200, 196]  # beyond the image
    assert pixels[sheets.SIDE // 2, sheets.SIDE // 2].tolist() == [0, 0, 255]


# ------------------------------------------------------------------ kills
def killed(label, monkeypatch, at: int, **options) -> bool:
    """Label in a process that is killed at its ``at``-th line or file; False if it
    lived to the end."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    torch.set_num_threads(1)  # OpenMP's other threads stayed in the parent
    count = 0

    def step(own):
        def call(*words):
            nonlocal count
            count += 1
            if count == at:
                if own is add:  # half a line is on the disk
                    words[0]._file.write(b'{"image": "1.')
                    words[0]._file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return own(*words)

        return call

    add = lines.LineFile.add
    lines.LineFile.add = step(add)
    os.replace = step(os.replace)
    with contextlib.suppress(BaseException):
        label(**options)
        os._exit(0)
    os._exit(1)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.parametrize('at', [1, 5, 8, 14, 30, 37])
def test_a_kill_at_any_point_changes_nothing(label, whole, monkeypatch, tmp_path, at):
    """Lines, torn ones too, and every file that takes its place at once."""
    assert killed(label, monkeypatch, at, formats=FORMATS, batch_size=2)
    before = tree(tmp_path / 'out')
    label(formats=FORMATS, batch_size=2)
    assert tree(tmp_path / 'out') == whole, list(before)


@pytest.fixture(scope='module')
def whole(photos, ontology, inferencer, tmp_path_factory) -> dict[str, bytes]:
    """What a labelling in one piece leaves; in a folder as deep as tmp_path is."""
    out = tmp_path_factory.mktemp('whole') / 'out'
    annotate(photos, ontology, out, inferencer, formats=FORMATS, batch_size=2)
    return tree(out)


def test_a_second_run_changes_nothing(label, whole, tmp_path, monkeypatch):
    for _ in range(2):
        done = label(formats=FORMATS, batch_size=2)
        assert tree(tmp_path / 'out') == whole
    assert done.num_new == 0 and not done.kept


def test_batches_are_those_of_a_run_in_one_piece(label, tmp_path, monkeypatch):
    """Three lines of batches of two: the third image is detected again."""
    label(batch_size=2)
    path = tmp_path / 'out' / lines.NAME
    text = path.read_bytes()
    path.write_bytes(b''.join(text.splitlines(True)[:3]) + b'{"torn"')
    asked = []
    detect = run.Annotator._detect

    def watched(self, names, *rest):
        asked.append(list(names))
        return detect(self, names, *rest)

    monkeypatch.setattr(run.Annotator, '_detect', watched)
    label(batch_size=2)
    assert asked == [['2.png', '3.png', '4.png', UNREAD, '下/5.png'], []]
    assert path.read_bytes() == text


def test_more_images_and_changed_ones(photos, ontology, inferencer, tmp_path):
    folder, out = tmp_path / 'photos', tmp_path / 'out'
    shutil.copytree(photos, folder)
    shutil.rmtree(folder / '下')
    assert annotate(folder, ontology, out, inferencer).num_new == 6
    shutil.copy(photos / '下/5.png', folder / '0a.png')
    shutil.copy(photos / '1.png', folder / UNREAD)  # repaired
    shutil.copy(photos / '2.png', folder / '4.png')
    (folder / '3.png').unlink()
    done = annotate(folder, ontology, out, inferencer)
    assert done.num_new == 3 and not done.unread
    names = [each['file_name'] for each in read(out / 'coco.json')['images']]
    assert names == ['0.png', '0a.png', '1.png', '2.png', '4.png', UNREAD]
    assert len((out / lines.NAME).read_bytes().splitlines()) == 6
    groups = read(out / 'doubtful.json')['near_duplicates']['groups']
    assert ['1.png', UNREAD] in groups and ['2.png', '4.png'] in groups


# ---------------------------------------------------- what is there already
def test_other_settings_are_refused(label, tmp_path, inferencer, photos, ontology):
    label()
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match=r'other settings \(accept 0\.5 there, 0\.6'):
        label(accept=0.6)
    with pytest.raises(ValueError, match='what was detected is used again'):
        label(accept=0.6)
    with pytest.raises(ValueError, match='batch size 1 there, 2 here') as caught:
        label(batch_size=2)
    assert 'take another --out, or --overwrite' in str(caught.value)
    assert 'used again' not in str(caught.value)
    with pytest.raises(ValueError, match=r'other settings \(prompts; thresholds'):
        annotate(photos, 'red circle', out, inferencer)
    weight = inferencer.model.rpn_head.rpn_cls.bias
    kept = weight.data.clone()
    weight.data += 1
    try:
        with pytest.raises(ValueError, match=r'other settings \(model\)'):
            label()
    finally:
        weight.data = kept
    text = (out / lines.NAME).read_bytes()
    done = label(accept=0.99, overwrite=True)
    assert done.num_new == 0 and not any(row['accept'] for row in done.rows)
    assert (out / lines.NAME).read_bytes() == text
    assert read(out / 'coco.json')['annotations'] == []
    done = annotate(photos, 'red circle', out, inferencer, overwrite=True)
    assert done.num_new == 7 and [row['class'] for row in done.rows] == ['red circle']


def test_label_files_of_a_person_are_kept(label, tmp_path):
    out = tmp_path / 'out'
    (out / 'yolo/labels').mkdir(parents=True)
    (out / 'yolo/labels/0.txt').write_text('0 .5 .5 .1 .1\n')
    done = label(formats=['yolo', 'coco'])
    assert done.kept == ['yolo/labels/0.txt']
    (out / 'coco.json').write_text('{}')
    done = label(formats=['labelme'])  # one more
    assert done.kept == ['coco.json', 'yolo/labels/0.txt']
    assert (out / 'coco.json').read_text() == '{}' and (
        out / 'labelme/0.json'
    ).is_file()
    assert '2 files were there or changed since' in '\n'.join(done.lines())
    assert label(overwrite=True).kept == []
    assert len(read(out / 'coco.json')['annotations']) == 9
    assert (out / 'yolo/labels/0.txt').read_text() != '0 .5 .5 .1 .1\n'


def test_folders_that_are_not_ours(label, photos, ontology, inferencer, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / lines.NAME).write_text('')
    with pytest.raises(ValueError, match='there without a manifest'):
        label()
    label(overwrite=True)
    (tmp_path / 'out/manifest.json').write_text('{"kind": "other"}')
    with pytest.raises(ValueError, match='no manifest of this version'):
        label()
    for out, message in ((photos, 'folder of the images'), (__file__, 'is a file')):
        with pytest.raises(ValueError, match=message):
            annotate(photos, ontology, out, inferencer)


def test_labels_below_the_images(photos, ontology, inferencer, tmp_path):
    """The sheets are no images to label, and no link leads round."""
    folder = tmp_path / 'photos'
    shutil.copytree(photos, folder)
    for _ in range(2):
        done = annotate(folder, ontology, folder / 'labels', inferencer,
                        formats=['yolo'])  # fmt: skip
        assert done.num_images == 6
    with pytest.raises(ValueError, match=r'0\.jpg and 0\.png would share one label'):
        shutil.copy(folder / '0.png', folder / '0.jpg')
        annotate(folder, ontology, tmp_path / 'other', inferencer, formats=['voc'])


def test_two_at_once(label, tmp_path):
    with (
        only_one(tmp_path / 'out'),
        pytest.raises(
            ValueError,
            match=rf'in use by a labelling, process {os.getpid()} on .* another --out',
        ),
    ):
        label()
    label()


def test_unreadable_folders(label, photos, inferencer, tmp_path, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith('下'):
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr(folder_module.os, 'scandir', refuse)
    done = label()
    assert done.num_images == 5
    assert done.unread[str(photos / '下')] == f'{photos / "下"}: Permission denied'
    with pytest.raises(
        ValueError, match='2 images or folders cannot be read, beside 5'
    ):
        done.check_unread()
    empty = tmp_path / 'empty'
    empty.mkdir()
    with pytest.raises(ValueError, match='contains no images'):
        annotate(empty, 'cup', tmp_path / 'x', inferencer)
    (empty / UNREAD).write_bytes(b'')
    with pytest.raises(ValueError, match='none of 1 images can be read'):
        annotate(empty, 'cup', tmp_path / 'x', inferencer)
