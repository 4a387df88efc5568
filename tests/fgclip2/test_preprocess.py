"""Preprocessing: golden patches, parity with transformers, odd image files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import fgclip2_det.fgclip2.image as image_module
from fgclip2_det.fgclip2.preprocess import (
    ImageBatch,
    load_image,
    normalize,
    patch_budget,
    patchify,
    preprocess,
    target_grid,
    unpatchify,
)

# (width, height, budget, grid): the examples of the specification
GRIDS = [
    (640, 480, 1024, (27, 36)),
    (640, 427, 1024, (26, 39)),
    (500, 375, 784, (24, 32)),
    (333, 500, 784, (34, 23)),
    (224, 224, 256, (16, 16)),
    (336, 336, 576, (24, 24)),
    (1333, 800, 1024, (25, 40)),
    (100, 100, 128, (11, 11)),
    (64, 1000, 256, (63, 4)),
]


def noise_image(width: int, height: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8 noise."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(('width', 'height', 'budget', 'grid'), GRIDS)
def test_budget_and_grid_of_known_sizes(width, height, budget, grid):
    assert patch_budget(width, height) == budget
    assert target_grid(height, width, budget) == grid
    batch = preprocess(noise_image(width, height))
    assert batch.pixel_values.shape == (1, grid[0] * grid[1], 768)
    assert batch.grid_sizes.tolist() == [list(grid)]
    assert batch.image_sizes.tolist() == [[height, width]]


def test_budget_limits():
    """One row of n patches: the limits belong to the smaller budget."""
    for count, budget in [(1, 128), (128, 128), (129, 256), (256, 256), (257, 576),
                          (576, 576), (577, 784), (784, 784), (785, 1024)]:  # fmt: skip
        assert patch_budget(16 * count + 15, 31) == budget


def test_golden_patches(fgclip2_tiny):
    expected = np.load(fgclip2_tiny / 'expected.npz')
    for i, entry in enumerate(json.loads((fgclip2_tiny / 'images.json').read_text())):
        batch = preprocess(fgclip2_tiny / entry['image'])
        patches = batch.pixel_values[0].numpy()
        assert batch.patch_mask.all()
        assert batch.grid_sizes[0].tolist() == expected[f'spatial_shape_{i}'].tolist()
        assert patch_budget(entry['width'], entry['height']) == expected[f'budget_{i}']
        for row, name in ((0, f'pixel_row0_{i}'), (-1, f'pixel_rowlast_{i}')):
            np.testing.assert_allclose(patches[row], expected[name], rtol=0, atol=1e-6)


def test_same_as_transformers():
    """Grids of 2,000 sizes up to 1:30,000, and patches of odd images."""
    module = pytest.importorskip(
        'transformers.models.siglip2.image_processing_pil_siglip2',
        reason='needs the PIL processor of SigLIP 2 (transformers 5)',
    )
    generator = np.random.default_rng(0)
    sizes = (10 ** generator.uniform(0, 4.5, (2000, 2))).astype(int).tolist()
    for (h, w), budget in zip(sizes, [1, 2, 100, 256, 1024] * 400, strict=True):
        expected = module.get_image_size_for_max_num_patches(h, w, 16, budget)
        grid = target_grid(h, w, budget)
        assert (grid[0] * 16, grid[1] * 16) == expected
        assert grid[0] * grid[1] <= budget
    processor = module.Siglip2ImageProcessorPil()
    images = [noise_image(w, h) for w, h in [(61, 43), (1, 1), (300, 7), (97, 301)]]
    batch = preprocess(images, 128)
    expected = processor(
        images=images,
        max_num_patches=128,
        input_data_format='channels_last',
        return_tensors='pt',
    )
    length = batch.pixel_values.shape[1]
    assert torch.equal(batch.grid_sizes, expected['spatial_shapes'])
    mask = expected['pixel_attention_mask'][:, :length].bool()
    assert torch.equal(batch.patch_mask, mask)
    torch.testing.assert_close(
        batch.pixel_values,
        expected['pixel_values'][:, :length] * mask[..., None],
        rtol=0,
        atol=1e-6,
    )


def test_patch_order_by_hand():
    """A 2 x 4 image of patches of 2: rows, then columns, then channels."""
    pixels = torch.arange(24.0).reshape(1, 3, 2, 4)  # channel c starts at 8 c
    first = [0, 8, 16, 1, 9, 17, 4, 12, 20, 5, 13, 21]
    assert patchify(pixels, 2).tolist() == [[first, [value + 2 for value in first]]]
    assert torch.equal(unpatchify(patchify(pixels, 2), (1, 2), 2), pixels)


def test_unpatchify_undoes_patchify():
    pixels = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    patches = patchify(pixels)
    assert patches.shape == (2, 60, 768)
    assert torch.equal(unpatchify(patches, (6, 10)), pixels)
    with pytest.raises(ValueError, match='multiples of 16, got 96 x 100'):
        patchify(pixels[..., :100])


def test_normalize():
    values = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalize(values), torch.tensor([-1.0, -0.6, 1.0]))


def test_batch_is_padded_to_its_longest_image_only():
    images = [noise_image(160, 96), noise_image(100, 100, seed=1)]  # 126 and 121
    batch = preprocess(images)
    assert batch.grid_sizes.tolist() == [[9, 14], [11, 11]]
    assert batch.patch_mask.sum(1).tolist() == [126, 121] and len(batch) == 2
    assert batch.patch_mask.shape == (2, 126) and batch.patch_mask.dtype == torch.bool
    assert batch.pixel_values[1, 121:].eq(0).all()
    for i, image in enumerate(images):
        alone = preprocess(image)
        assert alone.patch_mask.all()
        real = batch.pixel_values[i, batch.patch_mask[i]]
        assert torch.equal(real, alone.pixel_values[0])
    assert preprocess([images[0], images[0][::-1]]).patch_mask.all()


def test_auto_budget_is_the_largest_of_the_batch_and_a_number_is_obeyed():
    images = [noise_image(640, 480), noise_image(100, 100)]
    assert preprocess(images).grid_sizes.tolist() == [[27, 36], [32, 32]]
    assert preprocess(images, 256).grid_sizes.tolist() == [[14, 18], [16, 16]]
    assert preprocess(images[1], 1024, patch_size=32).pixel_values.shape[2] == 3072


def test_batch_moves_and_casts_pixels_only():
    batch = preprocess(noise_image(40, 30)).to('cpu', torch.bfloat16)
    assert isinstance(batch, ImageBatch)
    assert batch.pixel_values.dtype == torch.bfloat16
    assert batch.to('meta').grid_sizes.device.type == 'meta'
    dtypes = (batch.patch_mask.dtype, batch.grid_sizes.dtype, batch.image_sizes.dtype)
    assert dtypes == (torch.bool, torch.int64, torch.int64)


def test_every_input_kind_gives_the_same_patches(tmp_path):
    array = noise_image(50, 70)
    Image.fromarray(array).save(tmp_path / 'image.png')
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    path = tmp_path / 'image.png'
    expected = preprocess(array).pixel_values
    for image in (
        str(path),
        path,
        Image.open(path),
        tensor,
        array[:, :, ::-1][..., ::-1],
    ):
        assert torch.equal(preprocess(image).pixel_values, expected)
    grey = array[..., 0]
    assert np.array_equal(np.asarray(load_image(grey)), np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGBA', 'CMYK', 'YCbCr', 'HSV'])
def test_8_bit_modes(mode):
    image = Image.fromarray(noise_image(31, 17)).convert(mode)
    loaded = load_image(image)
    assert loaded.mode == 'RGB' and loaded.size == (31, 17)
    assert np.array_equal(np.asarray(loaded), np.asarray(image.convert('RGB')))


def test_transparency_is_dropped(tmp_path, recwarn):
    """The colour under a transparent pixel stays, also in a palette image."""
    array = np.dstack([noise_image(8, 8) // 64 * 64, np.zeros((8, 8), np.uint8)])
    image = Image.fromarray(array)
    assert np.array_equal(np.asarray(load_image(image)), array[..., :3])
    palette = Image.fromarray(array[..., :3]).quantize(64)
    palette.save(tmp_path / 'image.png', transparency=bytes(range(64)))
    expected = np.asarray(palette.convert('RGB'))
    assert np.array_equal(np.asarray(load_image(tmp_path / 'image.png')), expected)
    assert not recwarn.list


def test_deep_images_are_scaled_not_clipped(tmp_path):
    """0, 1/5, 1 of the range -> 0, 51, 255."""
    values = np.array([[0, 13107, 65535]])
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / '16.png')
    images = [
        tmp_path / '16.png',
        Image.fromarray(values.astype('>u2')),
        Image.fromarray(values.astype(np.int32)),
        Image.fromarray((values / 65535).astype(np.float32)),
        Image.fromarray((values / 257).astype(np.float32)),
    ]
    for image in images:
        assert np.asarray(load_image(image))[0, :, 0].tolist() == [0, 51, 255]
    for value in (70_000.0, -1.0, float('nan')):
        for dtype in (np.float32, np.int32):
            if value == value or dtype is np.float32:
                wrong = Image.fromarray(np.array([[0, value]], dtype))
                with pytest.raises(ValueError, match='scale it to 8 bit first'):
                    load_image(wrong)


def test_exif_rotation(tmp_path):
    """Orientation 6: the stored image is turned a quarter to the right."""
    array = noise_image(20, 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array).save(tmp_path / 'image.png', exif=exif)
    loaded = np.asarray(load_image(tmp_path / 'image.png'))
    assert np.array_equal(loaded, np.rot90(array, -1))
    sizes = preprocess(tmp_path / 'image.png').image_sizes
    assert sizes.tolist() == [[20, 10]]


def test_extreme_sizes():
    one = preprocess(noise_image(1, 1))
    assert one.grid_sizes.tolist() == [[7, 7]]  # scale 100, the largest
    long = preprocess(Image.new('RGB', (20_000, 300)))
    assert long.grid_sizes.tolist() == [[4, 256]]
    assert target_grid(300, 20_000, 1) == (1, 1)


def test_unreadable_files_are_named(tmp_path):
    good = tmp_path / 'good.jpg'
    Image.fromarray(noise_image(64, 64)).save(good)
    data = good.read_bytes()
    contents = {
        'truncated.jpg': data[: len(data) // 2],
        'empty.jpg': b'',
        'text.jpg': b'no image at all',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in [*contents, 'missing.jpg', '.']:
        with pytest.raises(ValueError, match=f'image {tmp_path / name} cannot be read'):
            load_image(tmp_path / name)


def test_images_beyond_the_pixel_limit(tmp_path, monkeypatch):
    Image.fromarray(noise_image(50, 50)).save(tmp_path / 'image.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(ValueError, match=r'image\.png is too large.*MAX_IMAGE_PIXELS'):
        load_image(tmp_path / 'image.png')


def test_a_library_that_lifts_pillows_limit_does_not_lift_ours(tmp_path, monkeypatch):
    Image.fromarray(noise_image(50, 50)).save(tmp_path / 'image.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    monkeypatch.setattr(image_module, 'MAX_PIXELS', 2500)
    assert load_image(tmp_path / 'image.png').size == (50, 50)
    monkeypatch.setattr(image_module, 'MAX_PIXELS', 2499)
    message = r'too large: 50 x 50 pixels are more than 2,4'
    with pytest.raises(ValueError, match=message):
        load_image(tmp_path / 'image.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 2500)  # the user's own
    assert load_image(tmp_path / 'image.png').size == (50, 50)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (
            noise_image(4, 4).astype(np.float32),
            'expected uint8 values of 0-255, got float32',
        ),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), r'a tensor must be \(3, h, w\)'),
        (torch.zeros(3, 4, 4).bfloat16(), 'expected uint8.*got torch.bfloat16'),
        (np.zeros((4, 4, 4), np.uint8), r'an array must be \(h, w, 3\)'),
        (np.zeros((0, 4, 3), np.uint8), r'an array must be \(h, w, 3\)'),
        (np.zeros(4, np.uint8), r'an array must be \(h, w, 3\)'),
        (Image.new('RGB', (0, 5)), 'it has 0 x 5 pixels'),
        (b'abc', 'expected a path, PIL image, array or tensor, got bytes'),
    ],
)
def test_wrong_inputs(image, message):
    with pytest.raises(ValueError, match=message):
        preprocess([image])


def test_wrong_budgets():
    for budget in (0, -1, 2.5, 'big', None, True):
        with pytest.raises(ValueError, match="a positive integer or 'auto', got"):
            preprocess(noise_image(4, 4), budget)
    with pytest.raises(
        ValueError, match='patch_size must be a positive integer, got 0'
    ):
        preprocess(noise_image(4, 4), 128, patch_size=0)
    with pytest.raises(ValueError, match='at least one image'):
        preprocess([])
