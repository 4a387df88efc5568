"""Objects in the colours of others, and the boxes' masks that it needs."""

import numpy as np
import pytest
from mmdet.datasets.transforms import RandomCrop
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from fgclip2_det.datasets.object_masks import box_mask, enlarge, outer_box
from fgclip2_det.datasets.transforms import PackOpenVocabInputs, RecolorObjects

NAMES = ('red cup', 'blue cup', 'red plate', 'clock')
PARTS = {name: name.split() for name in NAMES if ' ' in name}
RED, BLUE, GREY = (40, 40, 200), (200, 60, 40), (120, 130, 125)  # BGR


def scene(*objects, size=(120, 200), noise=4.0, seed=0, masks=False) -> dict:
    """Ellipses (label, colour, x1, y1, x2, y2) on a noisy grey image."""
    height, width = size
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), GREY, np.float32)
    rows, columns = np.mgrid[:height, :width] + 0.5
    shapes = []
    for _, color, x1, y1, x2, y2 in objects:
        inside = ((columns - (x1 + x2) / 2) / (x2 - x1) * 2) ** 2 + (
            (rows - (y1 + y2) / 2) / (y2 - y1) * 2
        ) ** 2 <= 1
        image[inside] = color
        shapes.append(inside)
    image += rng.normal(0, noise, image.shape)
    boxes = np.array([o[2:] for o in objects], np.float32).reshape(-1, 4)
    results = dict(
        img=np.clip(image, 0, 255).astype(np.uint8),
        img_path=f'{seed}-{size}.png',
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([o[0] for o in objects], np.int64),
        gt_ignore_flags=np.zeros(len(objects), bool),
        class_names=NAMES,
    )
    results['shapes'] = shapes
    if masks:
        results['gt_masks'] = BitmapMasks([s.astype(np.uint8) for s in shapes], *size)
    return results


CUP = (0, RED, 20, 20, 60, 90)
BLUE_CUP = (1, BLUE, 110, 30, 150, 100)
PLATE = (2, RED, 150, 10, 190, 50)


def recolor(results, seed=0, **options) -> dict:
    np.random.seed(seed)
    given = {**results, 'img': results['img'].copy()}
    given = RecolorObjects(**{'parts': PARTS, 'prob': 1.0, **options})(given)
    return take_apart(given)


def take_apart(results) -> dict:
    sample = PackOpenVocabInputs(meta_keys=())(dict(results))['data_samples']
    looks = np.full(len(results['gt_bboxes_labels']), -9)
    looks[~results['gt_ignore_flags']] = sample.gt_instances.looks
    looks[results['gt_ignore_flags']] = sample.ignored_instances.looks
    labels = results['gt_bboxes_labels'] % 2**20
    return {**results, 'gt_looks': looks, 'gt_bboxes_labels': labels}


def inner(shape: np.ndarray, times: int = 2) -> np.ndarray:
    """A shape without its border pixels."""
    for _ in range(times):
        padded = np.pad(shape, 1)
        shape = (
            shape
            & padded[:-2, 1:-1]
            & padded[2:, 1:-1]
            & padded[1:-1, :-2]
            & padded[1:-1, 2:]
        )
    return shape


@pytest.mark.parametrize('masks', [False, True])
@pytest.mark.parametrize('scale', [1, 4])
def test_colours_change_places(masks, scale):
    """Objects of 40 and of 160 pixels, whose masks are cut at a reduced size."""
    objects = [
        (*cup[:2], *(scale * value for value in cup[2:])) for cup in (CUP, BLUE_CUP)
    ]
    before = scene(*objects, size=(120 * scale, 200 * scale), masks=masks)
    after = recolor(before)
    assert after['gt_looks'].tolist() == [1, 0]
    assert after['gt_bboxes_labels'].tolist() == [0, 1]
    for i, color in enumerate([BLUE, RED]):
        pixels = after['img'][inner(before['shapes'][i], 2 * scale)].astype(float)
        assert abs(np.median(pixels, 0) - color).max() < 20
    outside = ~(before['shapes'][0] | before['shapes'][1])
    outside = inner(outside, 3 * scale)
    assert (after['img'][outside] == before['img'][outside]).mean() > 0.99


def test_labels_tell_whose_colours():
    """Any other object gives its colours, and all do in turn."""
    before = scene(CUP, BLUE_CUP, PLATE, masks=True)
    taken = [recolor(before, seed=seed)['gt_looks'].tolist() for seed in range(40)]
    expected = [{1, 2}, {0, 2}, {0, 1}]
    assert [set(looks) for looks in zip(*taken, strict=True)] == expected


def test_share_of_objects():
    before = scene(CUP, BLUE_CUP, PLATE, masks=True)
    changed = [
        recolor(before, seed=seed, prob=0.25)['gt_looks'] >= 0 for seed in range(200)
    ]
    assert np.mean(changed) == pytest.approx(0.25, abs=0.06)
    untouched = recolor(before, prob=0.0)
    assert (untouched['img'] == before['img']).all()
    assert untouched['gt_looks'].tolist() == [-1, -1, -1]


def test_the_same_for_the_same_seed_whatever_was_cut_before():
    before, other = scene(CUP, BLUE_CUP, PLATE), scene(CUP, BLUE_CUP, seed=1)
    expected = recolor(before, seed=3, prob=0.5)
    transform = RecolorObjects(PARTS, prob=0.5)
    for seed in (1, 2):
        np.random.seed(seed)
        transform({**other, 'img': other['img'].copy()})
    for _ in range(2):  # masks are cut, then known
        np.random.seed(3)
        actual = take_apart(transform({**before, 'img': before['img'].copy()}))
        assert (actual['img'] == expected['img']).all()
        assert (actual['gt_looks'] == expected['gt_looks']).all()


@pytest.mark.parametrize(
    'objects',
    [
        (),
        (CUP,),
        (CUP, (3, BLUE, 110, 30, 150, 100)),  # a clock is not made of parts
    ],
)
def test_nothing_to_take_colours_from(objects):
    before = scene(*objects)
    after = recolor(before)
    assert (after['img'] == before['img']).all()
    assert after['gt_looks'].tolist() == [-1] * len(objects)


def test_objects_that_cannot_be_cut_stay():
    """A box of two pixels, and one that is the whole image."""
    before = scene((0, RED, 10, 10, 12, 12), BLUE_CUP, (2, RED, 0, 0, 200, 120))
    after = recolor(before)
    assert after['gt_looks'].tolist() == [-1, -1, -1]


def test_crowds_stay_and_give_no_colours():
    before = scene(CUP, BLUE_CUP, PLATE)
    before['gt_ignore_flags'][1] = True
    taken = [recolor(before, seed=seed)['gt_looks'].tolist() for seed in range(10)]
    assert taken == [[2, -1, 0]] * 10


def test_polygons():
    corners = np.array([[20, 20, 60, 20, 60, 90, 20, 90]], np.float64)
    before = scene(CUP, BLUE_CUP)
    before['gt_masks'] = PolygonMasks([[corners[0]], [corners[0] + 90]], 200, 200)
    before['img'] = np.pad(before['img'], ((0, 80), (0, 0), (0, 0)), 'edge')
    before['gt_bboxes'].tensor[1] = before['gt_bboxes'].tensor.new_tensor(
        [110, 110, 150, 180]
    )
    before['img'][110:180, 110:150] = BLUE
    before['img'][20:90, 20:60] = RED
    after = recolor(before)
    assert abs(after['img'][25:85, 25:55].reshape(-1, 3).mean(0) - BLUE).max() < 10
    assert (after['img'][100:105] == before['img'][100:105]).all()


def test_box_at_the_border():
    before = scene((0, RED, 0, 0, 40, 70), BLUE_CUP)
    after = recolor(before)
    assert after['gt_looks'].tolist() == [1, 0]
    corner = after['img'][10:50, 5:25].reshape(-1, 3).mean(0)
    assert abs(corner - BLUE).max() < 30


def test_masks_of_boxes():
    before = scene(CUP, noise=8.0)
    box = np.array(CUP[2:], np.float32)
    place = outer_box(box, before['img'].shape[:2])
    mask = enlarge(box_mask(before['img'], box), place)
    left, top, right, bottom = place
    assert (left, top, right, bottom) == (2, 2, 78, 108)
    true = before['shapes'][0][top:bottom, left:right]
    assert (mask & true).sum() / (mask | true).sum() > 0.9
    assert box_mask(before['img'], np.array([3.0, 3.0, 3.4, 3.4], np.float32)) is None


def test_masks_do_not_depend_on_what_was_cut_before():
    """An object whose colours are nearly those around it: GrabCut begins at random."""
    rows, columns = np.mgrid[:64, :64]
    inside = (columns - 32) ** 2 / 150 + (rows - 32) ** 2 / 400 < 1
    image = np.random.default_rng(0).normal(0, 12, (64, 64, 3)) + GREY
    image[inside] += np.array([40, -30, 20]) * np.sin(rows[inside] / 4)[:, None]
    image = image.clip(0, 255).astype(np.uint8)
    box = np.array([14, 8, 50, 56], np.float32)
    masks = [box_mask(image, box) for _ in range(8)]
    assert all((mask == masks[0]).all() for mask in masks)


def test_looks_go_with_their_boxes():
    """Through a crop that drops boxes; without recolouring there are none."""
    np.random.seed(0)
    results = RecolorObjects(PARTS, prob=1.0)(scene(CUP, BLUE_CUP, PLATE))
    expected = take_apart(results)
    crop = RandomCrop(crop_size=(120, 70), recompute_bbox=False)
    seen = set()
    for seed in range(30):
        np.random.seed(seed)
        cropped = crop(dict(results))
        if cropped is None:
            continue
        packed = PackOpenVocabInputs(meta_keys=())(cropped)['data_samples'].gt_instances
        pairs = zip(packed.labels.tolist(), packed.looks.tolist(), strict=True)
        seen |= set(pairs)
    wanted = zip(expected['gt_bboxes_labels'], expected['gt_looks'], strict=True)
    assert seen == {(int(label), int(look)) for label, look in wanted}
    plain = PackOpenVocabInputs(meta_keys=())(scene(CUP, BLUE_CUP))['data_samples']
    assert plain.gt_instances.looks.tolist() == [-1, -1]
    assert plain.gt_instances.labels.tolist() == [0, 1]


def test_masks_are_known_by_image_flip_and_size():
    transform = RecolorObjects(PARTS, prob=1.0)
    first, other = scene(CUP, BLUE_CUP), scene(CUP, BLUE_CUP, size=(140, 220))
    other['img_path'] = first['img_path']
    flipped = {**first, 'flip_direction': 'horizontal'}
    for results in (first, other, flipped):
        transform({**results, 'img': results['img'].copy()})
    assert len(transform._masks) == 6
    assert all(mask.nbytes < 96 * 96 for mask in transform._masks.values())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(parts={}), 'parts must be a table'),
        (dict(parts=['red cup']), 'parts must be a table'),
        (dict(parts=PARTS, prob=1.5), 'prob must be between 0 and 1, got 1.5'),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        RecolorObjects(**options)


def test_data_sets_without_class_names():
    results = scene(CUP, BLUE_CUP)
    del results['class_names']
    with pytest.raises(ValueError, match='OpenVocabCocoDataset'):
        RecolorObjects(PARTS)(results)


@pytest.mark.parametrize(
    'image', [None, np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8)]
)
def test_images_that_cannot_be_painted(image):
    results = scene(CUP, BLUE_CUP)
    results['img'] = image
    if image is None:
        del results['img']
    with pytest.raises(ValueError, match=r'needs an image \(H, W, 3\) of uint8'):
        RecolorObjects(PARTS)(results)
