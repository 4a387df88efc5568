"""OVShapes: damaged folders, roots that cannot be written and leftovers."""

import json
import os
import time
from unittest import mock

import pytest

from fgclip2_det.datasets.ovshapes import generate as ovshapes_generate
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

SMALL = {'num_train': 6, 'num_val': 3, 'image_size': 96}


def _remove_image(folder):
    (folder / 'val/000001.jpg').unlink()


def _cut_image(folder):
    os.truncate(folder / 'train/000002.jpg', 100)


def _edit_boxes(folder):
    path = folder / 'val.json'
    path.write_text(path.read_text(encoding='utf-8') + ' ', encoding='utf-8')


def _cut_manifest(folder):
    os.truncate(folder / 'manifest.json', 20)


def _remove_json(folder):
    (folder / 'train.json').unlink()


def _binary_manifest(folder):
    (folder / 'manifest.json').write_bytes(b'\xff\xfe\x00\x80')


def _number_as_manifest(folder):
    (folder / 'manifest.json').write_text('5')


def _edit_manifest(folder):
    path = folder / 'manifest.json'
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))


def _edit_image(folder):
    """Same size, as the hash of names and sizes cannot see."""
    path = folder / 'val/000001.jpg'
    path.write_bytes(path.read_bytes()[:-1] + b'x')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (_remove_image, 'says val num_images = 3, found 2'),
        (_cut_image, 'says train num_bytes = '),
        (_edit_boxes, r'says val\.json = '),
        (_edit_manifest, 'says seed = 1, found 0'),
        (_edit_image, 'says val content = '),
        (_cut_manifest, 'incomplete'),
        (_binary_manifest, 'incomplete'),
        (_number_as_manifest, 'says nothing but = 5'),
        (_remove_json, r'incomplete .*train\.json'),
    ],
)
def test_damage_is_found(tmp_path, monkeypatch, damage, message):
    folder = generate_ovshapes(tmp_path, **SMALL)
    damage(folder)
    monkeypatch.setattr(ovshapes_generate, '_VERIFIED', set())  # as a new process
    with pytest.raises(ValueError, match=f'{message}.*delete .* generated again'):
        generate_ovshapes(tmp_path, **SMALL)


def test_manifest_of_before_the_content_hash_is_accepted(tmp_path, monkeypatch):
    folder = generate_ovshapes(tmp_path, **SMALL)
    manifest = json.loads((folder / 'manifest.json').read_text())
    for split in manifest['files'].values():
        del split['content']
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    monkeypatch.setattr(ovshapes_generate, '_VERIFIED', set())
    assert generate_ovshapes(tmp_path, **SMALL) == folder


def test_image_bytes_are_read_once_per_process(tmp_path):
    folder = generate_ovshapes(tmp_path, **SMALL)
    with mock.patch.object(
        ovshapes_generate, '_fingerprints', wraps=ovshapes_generate._fingerprints
    ) as prints:
        generate_ovshapes(tmp_path, **SMALL)
    prints.assert_called_once_with(folder, with_content=False)


def test_root_must_be_a_folder_that_can_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    for root in (tmp_path / 'file', tmp_path / 'file/below'):
        with pytest.raises(ValueError, match=r'cannot be written to .*file.*data_root'):
            generate_ovshapes(root, **SMALL)
    denied = mock.patch('tempfile.mkdtemp', side_effect=PermissionError('denied'))
    with denied, pytest.raises(ValueError, match=r'denied.*write permission'):
        generate_ovshapes(tmp_path, **SMALL)


def test_day_old_leftovers_are_removed(tmp_path):
    for name, content in (
        ('.tmp-old', 'train'),
        ('.tmp-new', 'train'),
        ('.tmp-foreign', 'thesis'),
    ):
        (tmp_path / name / content).mkdir(parents=True)
        if name != '.tmp-new':
            os.utime(tmp_path / name, (time.time() - 25 * 3600,) * 2)
    generate_ovshapes(tmp_path, **SMALL)
    left = {f.name for f in tmp_path.glob('.tmp-*')}
    assert left == {'.tmp-new', '.tmp-foreign'}
