"""A cache holds what was put in; a batch of maps is what a batch of images gives."""

import pickle

import pytest
import torch

from fgclip2_det.datasets.feature_cache import (
    FeatureCache,
    FeatureWriter,
    check_disk,
)


def fill(folder, fingerprint='a', names=('x', 'y'), dtype=torch.bfloat16, **options):
    cache = FeatureCache(folder, fingerprint, dtype)
    with FeatureWriter(cache, **options) as writer:
        for i, name in enumerate(names):
            writer.add(name, torch.full((4, 2, 3 + i), i + 0.5), (20 + i, 30))
    cache.refresh()
    return cache


def test_write_and_read(tmp_path):
    cache = fill(tmp_path, shard_bytes=1)  # a shard for each map
    assert len(list(tmp_path.glob('*.safetensors'))) == 2
    fill(tmp_path, names=['z'])  # a later start adds to it
    cache.refresh()
    assert cache.keys() == {'x', 'y', 'z'}
    for read in (cache.read, pickle.loads(pickle.dumps(cache)).read):
        features, size = read('y')
        assert features.dtype == torch.bfloat16
        assert torch.equal(features, torch.full((4, 2, 4), 1.5).bfloat16())
        assert size == (21, 30)


def test_a_killed_writer_leaves_whole_shards(tmp_path):
    cache = FeatureCache(tmp_path, 'a')
    with pytest.raises(KeyboardInterrupt), FeatureWriter(cache, shard_bytes=1) as own:
        own.add('x', torch.ones(4, 2, 2), (9, 9))
        own.shard_bytes = 10**9
        own.add('y', torch.ones(4, 2, 2), (9, 9))
        raise KeyboardInterrupt
    cache.refresh()
    assert cache.keys() == {'x'}


def test_foreign_and_damaged_shards(tmp_path):
    fill(tmp_path)
    with pytest.raises(ValueError, match='another encoder'):
        FeatureCache(tmp_path, 'b')
    (path,) = tmp_path.glob('*.safetensors')
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=f'{path.name} is truncated or damaged'):
        FeatureCache(tmp_path, 'a')
    path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])  # one bit
    cache = FeatureCache(tmp_path, 'a')
    with pytest.raises(ValueError, match=f'{path.name} is truncated or damaged'):
        [cache.read(key) for key in sorted(cache.keys())]
    path.unlink()
    assert not FeatureCache(tmp_path, 'a').keys()


def test_disk(tmp_path):
    check_disk(tmp_path / 'not' / 'there', 10)
    with pytest.raises(ValueError, match='GB free'):
        check_disk(tmp_path, 10**18)


@pytest.mark.parametrize('divisor', [1, 16, 32])
@pytest.mark.parametrize('out_indices', [(), (1, 3)])
def test_mixed_sizes_in_a_batch(divisor, out_indices):
    from mmdet.structures import DetDataSample

    from fgclip2_det.models import FGCLIP2DetDataPreprocessor, FGCLIP2ViT

    backbone = FGCLIP2ViT('tiny', out_indices=out_indices, frozen_stages=4)
    preprocessor = FGCLIP2DetDataPreprocessor(pad_size_divisor=divisor)
    generator = torch.Generator().manual_seed(0)
    images, maps = [], []
    for size in ((80, 144), (112, 48)):  # 5 x 9 and 7 x 3 patches
        image = torch.randint(0, 256, (3, *size), generator=generator).byte()
        alone = preprocessor(dict(inputs=[image], data_samples=None))['inputs']
        own, dense = backbone.extract(alone[..., : size[0], : size[1]], False)
        assert dense is None
        images.append(image)
        maps.append(torch.cat(own, 1)[0])

    def batch(inputs):
        samples = [DetDataSample(metainfo=dict(img_shape=(80, 144))) for _ in inputs]
        return preprocessor(dict(inputs=inputs, data_samples=samples), training=True)

    true, actual = batch(images), batch(maps)
    for ours, theirs in zip(actual['data_samples'], true['data_samples'], strict=True):
        assert ours.metainfo == theirs.metainfo
    expected, _ = backbone.extract(true['inputs'], False)
    ours, dense = backbone.extract(actual['inputs'], False)
    assert dense is None and len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        assert torch.equal(a == 0, b == 0)  # padding is zero at the same places
