"""Label maps of OVShapes: of the images on disk, and in the data set's labels."""

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.datasets.ovshapes.classes import classes_of
from fgclip2_det.datasets.ovshapes.generate import SPLITS, generate_ovshapes
from fgclip2_det.datasets.ovshapes.label_maps import (
    BACKGROUND,
    draw_label_map,
    generate_label_maps,
    label_map_folder,
)
from fgclip2_det.datasets.ovshapes.render import render_image, render_owners

SIZES = dict(num_train=4, num_val=3, image_size=96)
NAMES = [c.name for c in classes_of('base') + classes_of('novel')]


@pytest.mark.parametrize('split', SPLITS)
def test_owners_are_those_of_the_image(split):
    """The same objects; what is no object's has no colour of one."""
    classes = classes_of(*SPLITS[split])
    for index in range(5):
        seed = [0, list(SPLITS).index(split), index]
        image, objects = render_image(np.random.default_rng(seed), classes, 96)
        owner, again = render_owners(np.random.default_rng(seed), classes, 96)
        assert objects == again and owner.shape == image.shape[:2]
        for number, shape in enumerate(objects):
            rows, columns = (owner == number).nonzero()
            x1, y1, x2, y2 = shape.bbox
            assert len(rows) and columns.min() >= x1 - 1 and columns.max() <= x2 + 1
            assert rows.min() >= y1 - 1 and rows.max() <= y2 + 1
        chroma = image.max(2).astype(int) - image.min(2)
        assert np.median(chroma[owner < 0]) < 40


def test_files_and_the_annotations_agree(tmp_path):
    images = generate_ovshapes(tmp_path, **SIZES)
    folder = generate_label_maps(tmp_path, **SIZES, num_workers=2)
    assert folder == label_map_folder(tmp_path, **SIZES)
    for split in SPLITS:
        coco = read_coco(images / f'{split}.json')
        names = {c['id']: c['name'] for c in coco.categories.values()}
        for image in coco.images.values():
            stem = image['file_name'].removesuffix('.jpg')
            labels = np.array(Image.open(folder / split / f'{stem}.png'))
            present = {NAMES[i] for i in np.unique(labels) if i != BACKGROUND}
            own = [a for a in coco.annotations if a['image_id'] == image['id']]
            assert present == {names[a['category_id']] for a in own}
    assert not list(tmp_path.glob('.tmp-*'))


def test_maps_depend_on_the_seed_alone():
    labels = draw_label_map('val', 1, 96)
    assert labels.dtype == np.uint8 and (labels == BACKGROUND).mean() > 0.3
    assert np.array_equal(labels, draw_label_map('val', 1, 96))
    assert not np.array_equal(labels, draw_label_map('val', 1, 96, seed=1))


def test_missing_files_are_found(tmp_path):
    folder = generate_label_maps(tmp_path, **SIZES)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob('*.png')}
    generate_label_maps(tmp_path, **SIZES)
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob('*.png')}
    (folder / 'val' / '000001.png').unlink()
    with pytest.raises(ValueError, match='must hold 3 label maps, found 2; delete'):
        generate_label_maps(tmp_path, **SIZES)


def test_the_data_set_gives_them(tmp_path):
    pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
    from fgclip2_det.datasets.ovshapes.dataset import OVShapesDataset

    dataset = OVShapesDataset(str(tmp_path), 'val', **SIZES, with_seg=True)
    assert list(dataset.metainfo['classes']) == NAMES
    path = dataset.get_data_info(1)['seg_map_path']
    assert np.array_equal(np.array(Image.open(path)), draw_label_map('val', 1, 96))
    plain = OVShapesDataset(str(tmp_path), 'val', **SIZES)
    assert plain.get_data_info(1)['seg_map_path'] is None
