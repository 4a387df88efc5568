"""The size limit of caches, and what goes first."""

import os

import pytest

from fgclip2_det.io.cache_size import VARIABLE, cache_limit, mark_used, trim
from fgclip2_det.io.locks import FolderUse


@pytest.mark.parametrize(
    ('text', 'size'),
    [
        ('', 7), (' ', 7), ('none', None), ('NONE', None), ('512', 512), ('1k', 1000),
        ('500M', 500 * 10**6), ('1.5 GB', 1_500_000_000), ('2tb', 2 * 10**12),
    ],
)  # fmt: skip
def test_sizes(monkeypatch, text, size):
    monkeypatch.setenv(VARIABLE, text)
    assert cache_limit(7) == size


@pytest.mark.parametrize('text', ['0', '-1', '1e9', 'much', '1KiB', '0.1', '5 5G'])
def test_what_is_no_size(monkeypatch, text):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match='must be a size such as 500M') as error:
        cache_limit(None)
    assert repr(text) in str(error.value)


def test_the_least_recently_used_goes_first(tmp_path):
    files = [tmp_path / name for name in 'abcd']
    for number, path in enumerate(files):
        path.write_bytes(b'x' * 10)
        os.utime(path, (number, number))
    mark_used(files[0])
    assert files[0].stat().st_mtime == 0  # a use changes nothing of the file
    trim(files, None, files[3])
    assert len(os.listdir(tmp_path)) == 4
    trim(files, 25, files[1])  # just written, though marked oldest
    assert sorted(os.listdir(tmp_path)) == ['a', 'b']
    trim(files, 5, files[1])
    assert os.listdir(tmp_path) == ['b']


@pytest.fixture
def features(tmp_path):
    """Three shards of one map each; 'b' was used last."""
    pytest.importorskip('mmengine')
    import torch

    from fgclip2_det.datasets.feature_cache import FeatureCache, FeatureWriter

    cache = FeatureCache(tmp_path, 'a')
    with FeatureWriter(cache, shard_bytes=1) as writer:
        for key in 'abc':
            writer.add(key, torch.ones(4, 2, 2), (9, 9))
    cache.refresh()
    for seconds, path in enumerate(sorted(tmp_path.glob('*.safetensors'))):
        os.utime(path, (seconds, seconds))
    mark_used(tmp_path / 'maps-000-00001.safetensors')
    return cache


def test_maps_make_room(features, monkeypatch):
    size = (features.folder / 'maps-000-00000.safetensors').stat().st_size
    assert features.make_room(10**9, {'c'}, False) == 0  # no limit is set
    monkeypatch.setenv(VARIABLE, str(4 * size))
    assert features.make_room(size, {'c', 'new'}, False) == 0
    assert features.make_room(2 * size, {'c', 'new'}, False) == size
    assert features.keys() == {'b', 'c'}  # 'a' was the oldest
    with pytest.raises(ValueError, match=r'maps need 0.000 GB more while another proc'):
        features.make_room(3 * size, {'c'}, True)
    assert features.keys() == {'b', 'c'}
    with pytest.raises(ValueError, match=f'may take .* GB .{VARIABLE}. and the maps'):
        features.make_room(4 * size, {'c'}, False)
    assert features.keys() == {'c'}  # what is needed stays


def test_uses_of_killed_processes_count_nothing(tmp_path):
    (tmp_path / '.use-host-1-00.lock').write_bytes(b'')
    use = FolderUse(tmp_path)
    assert not use.is_shared()
    use.end()
    assert os.listdir(tmp_path) == []
