"""Items of AlignmentDataset, object views, and bad records."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.registry import DATASETS
from PIL import Image

from fgclip2_det.datasets.seeding import SeededIndex, seed_everything
from fgclip2_det.engine.hooks.reproducible_hook import SeededDataset
from pretrain.data import AlignmentDataset, Sample, object_samples
from pretrain.data.dataset import MAX_IN_A_ROW


def describe(samples):
    """What may differ between two items."""
    return [
        (s.phrases, s.hard_positives, s.bboxes.tolist(), np.asarray(s.image).sum())
        for s in samples
    ]


def seeded(index, *draw):
    index = SeededIndex(index)
    index.draw = draw
    return index


def test_an_item_is_the_record_and_its_image(write_data):
    folder = write_data('ez')
    config = dict(type='AlignmentDataset', ann=folder, image_root=folder, expr='short')
    data = DATASETS.build(config)
    assert len(data) == 2 and data.languages.tolist() == ['en', 'zh']
    assert data.metainfo == {'dataset_type': 'AlignmentDataset'}
    (sample,) = data[1]
    assert sample.language == 'zh' and sample.short == 'text of 猫1'
    assert sample.image.size == (64, 48) and sample.image.mode == 'RGB'
    assert sample.phrases == ['猫1 no. 0', '猫1 no. 1']
    expected = [[0, 12, 16, 36], [6.4, 12, 22.4, 36]]  # of 64 x 48
    np.testing.assert_allclose(sample.bboxes, expected, rtol=1e-6)
    assert data[-1][0].short == sample.short
    with pytest.raises(IndexError):
        data[2]


def test_boxes_follow_a_resized_image(write_data):
    folder = write_data('e')
    for size, expected in ((32, (32, 32)), ((96, 128), (128, 96))):
        data = AlignmentDataset(folder, folder, image_size=size)
        (sample,) = data[0]
        assert sample.image.size == expected
        w, h = expected
        np.testing.assert_allclose(sample.bboxes[0], [0, h / 4, w / 4, h * 3 / 4])


def test_several_files_with_their_own_image_folders(
    tmp_path, record, write, save_image
):
    for number, name in enumerate(('en', 'zh')):
        write(tmp_path / f'{name}.json', [record(0, name)])
        save_image(tmp_path / name / 'images' / '0.jpg', 10 * number)
    files = [tmp_path / 'en.json', tmp_path / 'zh.json']
    data = AlignmentDataset(files, [tmp_path / 'en', tmp_path / 'zh'])
    brightness = [np.asarray(data[i][0].image)[5, 5, 0] for i in range(2)]
    assert abs(int(brightness[1]) - 40) < 4 and brightness[0] < 4
    with pytest.raises(ValueError, match='one for each of the 2 ann, got 3'):
        AlignmentDataset(files, [tmp_path] * 3)


def test_captions_of_an_image_share_its_id(write_data, tmp_path, record, write):
    """Two records of one image; views of its boxes are images of their own."""
    folder = write_data('ee')
    write(tmp_path / 'records.json', [record(0), record(1), record(0, 'zh')])
    data = AlignmentDataset(folder / 'records.json', folder)
    names = [data[number][0].image_id for number in range(3)]
    assert names[0] == names[2] == f'{folder}/images/0.jpg' != names[1]
    views = AlignmentDataset(
        folder / 'records.json', folder, view='objects', image_size=32
    )
    assert [view.image_id for view in views[2]] == [f'{names[0]}#0', f'{names[0]}#1']


def test_augmented_images(write_data):
    """Each draw has its view, of the size asked for; boxes are refused."""
    folder = write_data('e')
    plain = AlignmentDataset(folder, folder, max_anns=0)
    options = dict(max_anns=0, augment=dict(crop=(0.5, 0.6), rand_augment=None))
    data = AlignmentDataset(folder, folder, **options)
    [before], [view], [same], [other] = (
        each[seeded(0, draw)]
        for each, draw in ((plain, 1), (data, 1), (data, 1), (data, 2))
    )
    assert np.array_equal(np.asarray(view.image), np.asarray(same.image))
    assert view.image.size != other.image.size
    area = view.image.width * view.image.height / (64 * 48)
    assert 0.45 < area < 0.65 and before.image.size == (64, 48)
    square = AlignmentDataset(folder, folder, image_size=32, **options)
    assert square[seeded(0, 1)][0].image.size == (32, 32)
    for changes in (dict(max_anns=4), dict(view='objects', image_size=32)):
        with pytest.raises(ValueError, match='augment is for whole images'):
            AlignmentDataset(folder, folder, **(options | changes))


def test_the_draw_decides_an_item_with_and_without_the_hook(write_data):
    """SeededDataset takes the numbers away and seeds the global generators."""
    folder = write_data('ee', num_boxes=6)
    data = AlignmentDataset(folder, folder)
    items = {}
    for epoch in range(3):
        index = seeded(1, 7, epoch, 1, 2)
        items[epoch] = describe(data[index])
        np.random.seed(epoch)  # must not matter
        assert describe(SeededDataset(data)[index]) == items[epoch]
        assert describe(data[index]) == items[epoch]
    assert items[0] != items[1] != items[2]
    seed_everything(1)
    plain = describe(data[1])
    seed_everything(1)
    assert describe(data[1]) == plain
    state = torch.get_rng_state()
    _ = data[seeded(1, 7, 0, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)  # the model's stay alone


# ------------------------------------------------------------------ object views
def make_sample(boxes, size=(200, 100)):
    x = np.arange(size[0], dtype=np.uint8)[None, :, None]
    image = Image.fromarray(np.broadcast_to(x, (size[1], size[0], 3)).copy())
    n = len(boxes)
    return Sample(
        image=image,
        language='en',
        short='s',
        long='l',
        bboxes=np.array(boxes, np.float32).reshape(-1, 4),
        phrases=[f'p{k}' for k in range(n)],
        hard_positives=[f'p{k}' for k in range(n)],
        hard_negatives=[[f'n{k}'] for k in range(n)],
        true_texts=[(f'p{k}', f'long {k}' if k else None) for k in range(n)],
    )


def test_an_object_view_by_hand():
    """Box 40 x 20 at (100, 50): a square of 50, x 75-125, y 25-75, becomes 100 px:
    the box at 2 x (5, 15, 45, 35)."""
    rng = np.random.default_rng(0)
    sample = make_sample([[80, 40, 120, 60], [0, 0, 8, 8]])
    first, second = object_samples(sample, 100, rng, context=1.25, jitter=0)
    assert first.image.size == (100, 100)
    np.testing.assert_allclose(first.bboxes, [[10, 30, 90, 70]], atol=1e-4)
    assert np.asarray(first.image)[0, 0, 0] in (74, 75, 76)
    assert (first.short, first.long, first.phrases) == ('p0', 'p0', ['p0'])
    assert (second.short, second.long) == ('p1', 'long 1')
    assert second.hard_negatives == [['n1']]
    # a square of 10 that is moved into the corner
    np.testing.assert_allclose(second.bboxes, [[0, 0, 80, 80]], atol=1e-4)


def test_context_of_a_range_shows_objects_at_all_sizes():
    """Sides over that of the box, log-uniform: half of them below sqrt(1.2 * 3)."""
    rng, sample = np.random.default_rng(0), make_sample([[90, 40, 110, 60]])
    views = [
        object_samples(sample, 60, rng, context=(1.2, 3.0), jitter=0)[0]
        for _ in range(400)
    ]
    shares = [60 / (view.bboxes[0, 2] - view.bboxes[0, 0]) for view in views]
    assert 1.2 <= min(shares) < 1.25 and 2.9 < max(shares) <= 3.0001
    assert 170 < sum(share < 3.6**0.5 for share in shares) < 230


def test_a_view_is_not_stretched_where_the_image_is_too_low():
    """A box as large as the image: 125 px would be needed, 100 are there."""
    rng = np.random.default_rng(0)
    view = object_samples(make_sample([[40, 0, 140, 100]]), 50, rng, jitter=0)[0]
    assert view.image.size == (50, 40)  # 125 x 100 pixels
    np.testing.assert_allclose(view.bboxes, [[5, 0, 45, 40]], atol=1e-4)


def test_jittered_views_hold_the_whole_box_and_stay_inside():
    rng, boxes = np.random.default_rng(0), [[80, 40, 120, 60], [0, 0, 8, 90]]
    seen = set()
    for _ in range(200):
        for view in object_samples(make_sample(boxes), 64, rng, jitter=0.1):
            (x1, y1, x2, y2), (w, h) = view.bboxes[0], view.image.size
            assert 0 <= x1 < x2 <= w and 0 <= y1 < y2 <= h and max(w, h) == 64
            seen.add((round(float(x1), 3), w, h))
        wide = view.bboxes[0][2] - view.bboxes[0][0]
        tall = view.bboxes[0][3] - view.bboxes[0][1]
        assert abs(wide / tall - 8 / 90) < 0.01  # nothing is cut off or stretched
    assert len(seen) > 100


def test_views_may_be_parts_of_a_scene():
    rng = np.random.default_rng(0)
    views = object_samples(
        make_sample([(10, 20, 30, 60)] * 50), 64, rng, position_grid=9
    )
    sides, u, v = np.array([view.window for view in views]).T
    assert set(sides) == {9} and 0 <= min(u) < 0.2 and 0.8 < max(v) < 1
    assert object_samples(make_sample([(10, 20, 30, 60)]), 64, rng)[0].window is None


def test_object_items(write_data, tmp_path, record, write):
    folder = write_data('e', num_boxes=6)
    data = AlignmentDataset(folder, folder, view='objects', image_size=32, max_anns=3)
    views = data[0]
    assert len(views) == 3 and all(v.bboxes.shape == (1, 4) for v in views)
    bare = write(tmp_path / 'bare.json', [record(0, num_boxes=0)])
    data = AlignmentDataset(bare, folder, view='objects', image_size=32)
    with pytest.raises(ValueError, match=r'bare.json, record 0 has no boxes'):
        data[0]


# ------------------------------------------------------------------- bad records
def spoil(folder, number):
    """One way to be unusable per number."""
    path = folder / 'images' / f'{number}.jpg'
    if number % 3 == 0:
        path.unlink()
    elif number % 3 == 1:
        path.write_bytes(path.read_bytes()[:300])
    else:
        path.write_bytes(b'')


def test_bad_images_raise_with_file_and_record(write_data):
    folder = write_data('eee')
    data = AlignmentDataset(folder, folder)
    for number in range(3):
        spoil(folder, number)
        match = rf'records.json, record {number}: image .*{number}.jpg cannot be read'
        with pytest.raises(ValueError, match=match):
            data[number]


def test_bad_records_are_replaced_by_the_next_of_their_language(write_data):
    folder = write_data('ezezezz')
    for number in (0, 1, 6):
        spoil(folder, number)
    data = AlignmentDataset(folder, folder, bad_records='skip')
    shorts = [data[i][0].short for i in range(7)]
    assert shorts[0] == shorts[2] == 'text of cat 2'
    assert shorts[1] == shorts[3] == shorts[6] == 'text of 猫3'  # 6 goes around, past 1
    assert [data[i][0].num_bad for i in range(7)] == [1, 1, 0, 0, 0, 0, 2]
    assert data.bad.count == 8  # both rounds


def test_skipping_has_an_end(write_data):
    folder = write_data('ezz')
    spoil(folder, 0)
    data = AlignmentDataset(folder, folder, bad_records='skip')
    with pytest.raises(ValueError, match='none of the 1 records of its language'):
        data[0]
    folder = write_data('e' * (MAX_IN_A_ROW + 1))
    for path in (folder / 'images').iterdir():
        path.unlink()
    data = AlignmentDataset(folder, folder, bad_records='skip')
    with pytest.raises(ValueError, match=r'100 records in a row .*is image_root right'):
        data[0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(expr='both'), 'expr must be one of'),
        (dict(view='boxes'), 'view must be one of'),
        (dict(view='objects'), 'needs image_size'),
        (dict(image_size=0), 'image_size must be'),
        (dict(image_size=(1, 2, 3)), 'image_size must be'),
        (dict(max_anns=-1), 'max_anns must be'),
        (dict(ann_choice='last'), 'ann_choice must be one of'),
        (dict(short_prefix=None), 'short_prefix must be a string'),
        (dict(context=0.5), 'context must be 1 or more'),
        (dict(context=(2.0, 1.5)), r'or a range, .* got \(2.0, 1.5\)'),
        (dict(jitter=1), 'jitter in'),
        (dict(bad_records='ignore'), 'bad_records must be one of'),
        (dict(image_root='nowhere'), 'there is no folder nowhere'),
    ],
)
def test_wrong_options(write_data, options, message):
    folder = write_data('e')
    with pytest.raises(ValueError, match=message):
        AlignmentDataset(folder, **{'image_root': folder} | options)
