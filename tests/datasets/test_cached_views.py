"""Views equal MMDetection's transforms, with the image and without it."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det.datasets.feature_cache import (
    FeatureCache,
    FeatureWriter,
    image_digests,
    view_key,
)
from fgclip2_det.datasets.transforms import (
    FGCLIP2ApplyView,
    FGCLIP2LoadView,
    FGCLIP2PackView,
    FGCLIP2Resize,
)


def write_image(folder, size=(90, 60)) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    path = folder / 'image.png'
    Image.fromarray(pixels).save(path)
    return str(path)


def annotations(shape) -> dict:
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    masks = np.zeros((2, *shape), np.uint8)
    masks[0, 5:20, 10:40] = masks[1, 30:50, 60:80] = 1
    boxes = torch.tensor([[10.0, 5, 40, 20], [60, 30, 80, 50]])
    return dict(
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([3, 5]),
        gt_ignore_flags=np.zeros(2, bool),
        gt_masks=BitmapMasks(masks, *shape),
    )


@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize('budget', [40, 100])
def test_a_view_is_resize_and_flip(tmp_path, flip, budget):
    from mmdet.datasets.transforms import RandomFlip

    path = write_image(tmp_path)
    load, apply = FGCLIP2LoadView(budget), FGCLIP2ApplyView()
    ours = load(dict(img_path=path, wanted_view=(budget, flip)))
    ours = apply(ours | annotations(ours['ori_shape']))

    theirs = load.load(dict(img_path=path))
    theirs |= annotations(theirs['ori_shape'])
    theirs = RandomFlip(prob=float(flip))(FGCLIP2Resize(budget)(theirs))
    assert np.array_equal(ours['img'], theirs['img'])
    assert torch.equal(ours['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    assert np.array_equal(ours['gt_masks'].masks, theirs['gt_masks'].masks)
    for name in ('img_shape', 'scale_factor', 'flip', 'flip_direction'):
        assert ours[name] == theirs[name], name

    # the same without the image
    bare = dict(view=(budget, flip), ori_shape=(60, 90), img_shape=(60, 90))
    bare = apply(bare | annotations((60, 90)))
    assert torch.equal(bare['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    for name in ('img_shape', 'scale_factor'):
        assert bare[name] == theirs[name]


def test_every_view_is_drawn(tmp_path):
    path = write_image(tmp_path)
    load = FGCLIP2LoadView([40, 60, 100], flip=True)
    np.random.seed(0)
    drawn = [load(dict(img_path=path))['view'] for _ in range(60)]
    assert set(drawn) == set(load.views)
    assert len(load.views) == 6
    assert FGCLIP2LoadView(40, flip=False).views == [(40, False)]


def fill(folder, key) -> FeatureCache:
    cache = FeatureCache(folder, 'a')
    with FeatureWriter(cache) as writer:
        writer.add(key, torch.ones(4, 2, 3), (60, 90))
    cache.refresh()
    return cache


def test_load_from_a_cache(tmp_path):
    path = write_image(tmp_path)
    load = FGCLIP2LoadView(40, flip=False)
    load.digests = image_digests([path])
    key = view_key(load.digests[path], 40, False)
    load.cache = fill(tmp_path / 'maps', key)
    results = load(dict(img_path=path, width=90, height=60))
    assert 'img' not in results
    results = FGCLIP2ApplyView()(results)
    packed = FGCLIP2PackView(meta_keys=('img_shape', 'flip'))(results)
    assert packed['inputs'].shape == (4, 2, 3)
    assert packed['data_samples'].img_shape == results['img_shape']
    with pytest.raises(ValueError, match='computed from 90 x 60'):
        load(dict(img_path=path, width=90, height=61))
    load.cache = fill(tmp_path / 'others', 'other')
    with pytest.raises(ValueError, match='has no map of'):
        load(dict(img_path=path))


def test_images_are_distinguished_by_content(tmp_path):
    """Of equal size in pixels and bytes, written at the same time."""
    from shutil import copyfile

    paths = [tmp_path / f'{name}.bmp' for name in 'abc']
    for path, color in zip(paths, ('red', 'blue', 'red'), strict=True):
        Image.new('RGB', (9, 6), color).save(path)
        os.utime(path, (0, 0))
    red, blue, again = image_digests([*map(str, paths)]).values()
    assert red == again != blue
    assert paths[0].stat().st_size == paths[1].stat().st_size
    copyfile(paths[1], paths[0])
    os.utime(paths[0], (0, 0))
    missing = str(tmp_path / 'none.bmp')
    actual = image_digests([str(paths[0]), missing])
    assert actual == {str(paths[0]): blue, missing: f'unreadable {missing}'}
